"""Ranges of gradient boosting, in place of TPOT's.

TPOT 1.1.0 fixes the learning rate of LightGBM at 0.1 and the rounds of XGBoost and HistGradientBoosting at
100, and knows no CatBoost. The ranges here hold the settings of AutoGluon's and FLAML's tuned portfolios.
"""

from collections.abc import Mapping
from typing import Any, Final

from ConfigSpace import Categorical, Constant, Float, Integer

from trainingjob_trainer.search_space.context import SpaceContext

__all__ = ["booster_ranges", "rounds_at_most"]

_MOST_ROUNDS: Final = 300
_LEAST_ROUNDS: Final = 100
_LEAVES: Final = 127


def rounds_at_most(context: SpaceContext) -> int:
    """Return the most boosting rounds: 300, fewer with many classes, each of which has a tree a round."""
    return max(_LEAST_ROUNDS, _MOST_ROUNDS // max(1, context.n_classes - 1))


def booster_ranges(name: str, context: SpaceContext) -> list[Any] | None:
    """Return the hyperparameters of a booster with their ranges; None for any other estimator."""
    kind = next((kind for kind in _BOOSTERS if name in (f"{kind}Classifier", f"{kind}Regressor")), None)
    if kind is None:
        return None
    ranges = _BOOSTERS[kind](rounds_at_most(context), max(15, 2 * _LEAVES // max(2, context.n_classes)))
    weights = _WEIGHTS[kind] if context.classification else {}
    return [*ranges, *(Categorical(key, list(values)) for key, values in weights.items())]


def _cat(rounds: int, _leaves: int) -> list[Any]:
    return [
        Integer("n_estimators", (50, rounds), log=True),
        Float("learning_rate", (0.01, 0.3), log=True),
        Integer("max_depth", (2, 8)),
        Float("reg_lambda", (0.1, 30.0), log=True),
        Float("random_strength", (0.1, 10.0), log=True),
        Constant(
            "bootstrap_type", "Bernoulli"
        ),  # Bayesian, the default for many classes, refuses `subsample`
        Float("subsample", (0.5, 1.0)),
        Float("colsample_bylevel", (0.3, 1.0)),
        Integer("max_bin", (32, 254), log=True),
    ]


def _histogram(rounds: int, leaves: int) -> list[Any]:
    return [
        Integer("max_iter", (50, rounds), log=True),
        Float("learning_rate", (0.01, 0.3), log=True),
        Integer("max_leaf_nodes", (3, leaves), log=True),
        Integer("min_samples_leaf", (1, 100), log=True),
        Float("l2_regularization", (1e-6, 10.0), log=True),
        Float("max_features", (0.2, 1.0)),
        Constant("early_stopping", value=False),  # "auto" would stop early from 10,000 rows
    ]


def _light(rounds: int, leaves: int) -> list[Any]:
    return [
        Integer("n_estimators", (50, rounds), log=True),
        Float("learning_rate", (0.01, 0.3), log=True),
        Integer("num_leaves", (2, leaves), log=True),
        Integer("min_child_samples", (1, 100), log=True),
        Float("subsample", (0.5, 1.0)),
        Constant("subsample_freq", 1),
        Float("colsample_bytree", (0.2, 1.0)),
        Float("reg_alpha", (1e-4, 10.0), log=True),
        Float("reg_lambda", (1e-4, 30.0), log=True),
        Categorical("extra_trees", [False, True]),
    ]


def _extreme(rounds: int, leaves: int) -> list[Any]:
    return [
        Integer("n_estimators", (50, rounds), log=True),
        Float("learning_rate", (0.01, 0.3), log=True),
        Integer("max_depth", (2, max(5, leaves.bit_length() + 1))),
        Float("min_child_weight", (0.1, 20.0), log=True),
        Float("subsample", (0.5, 1.0)),
        Float("colsample_bytree", (0.2, 1.0)),
        Float("reg_alpha", (1e-4, 10.0), log=True),
        Float("reg_lambda", (1e-3, 30.0), log=True),
    ]


_BOOSTERS: Final[Mapping[str, Any]] = {
    "CatBoost": _cat,
    "HistGradientBoosting": _histogram,
    "LGBM": _light,
    "XGB": _extreme,
}
_WEIGHTS: Final[Mapping[str, Mapping[str, tuple[Any, ...]]]] = {
    "CatBoost": {"auto_class_weights": (None, "Balanced")},
    "HistGradientBoosting": {"class_weight": (None, "balanced")},
    "LGBM": {"class_weight": (None, "balanced")},
    "XGB": {},
}
