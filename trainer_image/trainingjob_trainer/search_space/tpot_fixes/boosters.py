"""Ranges of gradient boosting, in place of TPOT's.

TPOT 1.1.0 fixes the learning rate of LightGBM at 0.1 and the rounds of XGBoost and HistGradientBoosting at
100, and knows no CatBoost. The ranges here hold the settings of AutoGluon's and FLAML's tuned portfolios.
"""

from collections.abc import Mapping
from typing import Any, Final

from ConfigSpace import Categorical, Constant, Float, Integer

from trainingjob_trainer.search_space.context import SpaceContext

__all__ = ["booster_ranges", "rounds_at_most"]

_ROUNDS: Final = 300
_ROUNDS_STOPPED_EARLY: Final = 1_000
_LEAST_ROUNDS: Final = 100
_STOPPED_EARLY_FROM: Final = 2_000
"""Training rows from which boosting stops early (`search.fits`): there, rounds are only a cap."""
_LEAVES: Final = 127


def rounds_at_most(context: SpaceContext) -> int:
    """Return the most boosting rounds, fewer with many classes, each of which has a tree a round."""
    most = _ROUNDS if context.n_rows < _STOPPED_EARLY_FROM else _ROUNDS_STOPPED_EARLY
    return max(_LEAST_ROUNDS, most // max(1, context.n_classes - 1))


def _rounds(name: str, context: SpaceContext) -> list[Any]:
    """Return the ranges of rounds and learning rate; rounds that stop early need no choice."""
    most = rounds_at_most(context)
    if context.n_rows >= _STOPPED_EARLY_FROM:
        return [Constant(name, most), Float("learning_rate", (0.02, 0.3), log=True)]
    return [Integer(name, (50, most), log=True), Float("learning_rate", (0.01, 0.3), log=True)]


def booster_ranges(name: str, context: SpaceContext) -> list[Any] | None:
    """Return the hyperparameters of a booster with their ranges; None for any other estimator."""
    kind = next((kind for kind in _BOOSTERS if name in (f"{kind}Classifier", f"{kind}Regressor")), None)
    if kind is None:
        return None
    rounds = _rounds("max_iter" if kind == "HistGradientBoosting" else "n_estimators", context)
    ranges = [*rounds, *_BOOSTERS[kind](max(15, 2 * _LEAVES // max(2, context.n_classes)))]
    weights = _WEIGHTS[kind] if context.classification else {}
    return [*ranges, *(Categorical(key, list(values)) for key, values in weights.items())]


def _cat(_leaves: int) -> list[Any]:
    return [
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


def _histogram(leaves: int) -> list[Any]:
    return [
        Integer("max_leaf_nodes", (3, leaves), log=True),
        Integer("min_samples_leaf", (1, 100), log=True),
        Float("l2_regularization", (1e-6, 10.0), log=True),
        Float("max_features", (0.2, 1.0)),
        Constant("early_stopping", value=False),  # "auto" would stop early from 10,000 rows
    ]


def _light(leaves: int) -> list[Any]:
    return [
        Integer("num_leaves", (2, leaves), log=True),
        Integer("min_child_samples", (1, 100), log=True),
        Float("subsample", (0.5, 1.0)),
        Constant("subsample_freq", 1),
        Float("colsample_bytree", (0.2, 1.0)),
        Float("reg_alpha", (1e-4, 10.0), log=True),
        Float("reg_lambda", (1e-4, 30.0), log=True),
        Categorical("extra_trees", [False, True]),
    ]


def _extreme(leaves: int) -> list[Any]:
    return [
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
