"""What is narrowed in TPOT's own spaces so that a fit on 8,000 rows and 50 columns takes seconds.

A tree that names a hyperparameter itself is not narrowed: there the user has the word.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from ConfigSpace import Categorical, Constant, Float, Integer
from ConfigSpace.conditions import EqualsCondition, InCondition, NotEqualsCondition
from ConfigSpace.hyperparameters import FloatHyperparameter, IntegerHyperparameter

from trainingjob_trainer.search_space.refining import SharedConfigurationSpace

__all__ = ["LIMITS", "narrowed"]

Limit: TypeAlias = tuple[float, float] | list[Any] | str | float | None

_FOREST_REGRESSOR: Final[Mapping[str, Limit]] = {
    "criterion": "squared_error",  # absolute_error takes minutes, poisson fails on negative targets
    "max_features": (0.05, 0.6),
    "n_estimators": 100,
}
_BOOSTED_BY_HISTOGRAM: Final[Mapping[str, Limit]] = {"max_leaf_nodes": (3, 255), "learning_rate": (0.01, 1.0)}
_LIGHTGBM: Final[Mapping[str, Limit]] = {"num_leaves": (2, 128)}
_XGBOOST: Final[Mapping[str, Limit]] = {"max_depth": (3, 10)}
_NETWORK: Final[Mapping[str, Limit]] = {
    "n_hidden_layers": (1, 2),
    "n_nodes_per_layer": (16, 128),
    "early_stopping": True,
    "n_iter_no_change": 10,
    "learning_rate_init": (1e-4, 1e-2),
}

LIMITS: Final[Mapping[str, Mapping[str, Limit]]] = MappingProxyType(
    {
        "AdaBoostClassifier": {"n_estimators": (25, 100)},
        "AdaBoostRegressor": {"n_estimators": (25, 100)},
        "BaggingClassifier": {"n_estimators": (3, 30), "oob_score": False},
        "BaggingRegressor": {"n_estimators": (3, 30), "oob_score": False},
        "DecisionTreeRegressor": {"criterion": "squared_error"},
        "ElasticNetCV": {"l1_ratio": [0.1, 0.5, 0.9, 1.0], "alphas": 50},
        "ExtraTreesClassifier": {"max_features": (0.01, 0.6)},
        "ExtraTreesRegressor": _FOREST_REGRESSOR,
        "FastICA": {"n_components": (1, 30)},
        "GradientBoostingClassifier": {"max_leaf_nodes": (3, 63), "max_features": (0.01, 0.5)},
        "GradientBoostingRegressor": {
            "max_leaf_nodes": (3, 63),
            "max_features": (0.01, 0.5),
            "loss": "squared_error",
        },
        "HistGradientBoostingClassifier": _BOOSTED_BY_HISTOGRAM,
        "HistGradientBoostingRegressor": _BOOSTED_BY_HISTOGRAM,
        "KNeighborsClassifier": {"p": (1, 2)},  # the distance of order 3 is ten times as slow
        "KNeighborsRegressor": {"p": (1, 2)},
        "LGBMClassifier": _LIGHTGBM,
        "LGBMRegressor": _LIGHTGBM,
        "LogisticRegression": {"max_iter": 200},
        "MLPClassifier": _NETWORK,
        "MLPRegressor": _NETWORK,
        "Nystroem": {"n_components": (1, 100), "gamma": (1e-4, 1.0)},
        "RBFSampler": {"n_components": (1, 100), "gamma": (1e-4, 1.0)},
        "RFE": {"step": (0.2, 0.9)},
        "RandomForestClassifier": {"max_features": (0.01, 0.6), "n_estimators": 100},
        "RandomForestRegressor": _FOREST_REGRESSOR,
        "XGBClassifier": _XGBOOST,
        "XGBRegressor": _XGBOOST,
    }
)
"""Limits by estimator and hyperparameter: a range, a list of choices, or one value."""


def narrowed(name: str, space: Any) -> Any:
    """Return the space of hyperparameters of an estimator within the limits.

    Parameters
    ----------
    name
        The estimator.
    space
        TPOT's space: a ``ConfigurationSpace``, or a dictionary of constants.
    """
    limits = LIMITS.get(name, {})
    if isinstance(space, dict):
        return {**space, **limits}
    made = SharedConfigurationSpace()
    kept = {item.name: _limited(item, limits) for item in space.values()}
    made.add(list(kept.values()))
    conditions = [_again(item, kept) for item in space.conditions]
    made.add([item for item in conditions if item is not None])
    return made


def _limited(item: Any, limits: Mapping[str, Limit]) -> Any:
    if item.name not in limits:
        return item
    limit = limits[item.name]
    if isinstance(limit, list):
        return Categorical(item.name, limit)
    if not isinstance(limit, tuple):
        return Constant(item.name, limit)
    if not isinstance(item, IntegerHyperparameter | FloatHyperparameter):
        return item
    low, high = max(item.lower, limit[0]), min(item.upper, limit[1])
    if low >= high:
        return Constant(item.name, item.lower if item.lower > limit[1] else high)
    whole = isinstance(item, IntegerHyperparameter)
    if whole:
        return Integer(item.name, (int(low), int(high)), log=item.log)
    return Float(item.name, (float(low), float(high)), log=item.log)


def _again(condition: Any, kept: Mapping[str, Any]) -> Any:
    """Return the condition for the new hyperparameters, or none where its parent is now a constant."""
    child, parent = kept[condition.child.name], kept[condition.parent.name]
    if isinstance(parent, Constant):
        return None
    if isinstance(condition, InCondition):
        return InCondition(child, parent, list(condition.values))
    kind = NotEqualsCondition if isinstance(condition, NotEqualsCondition) else EqualsCondition
    return kind(child, parent, condition.value)
