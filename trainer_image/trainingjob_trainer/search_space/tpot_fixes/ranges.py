"""TPOT's ranges narrowed so that a fit on 8,000 rows and 50 columns takes seconds, and small steps in them.

A tree that names a hyperparameter itself is not narrowed: there the user decides.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final, Self, TypeAlias

import numpy as np
from ConfigSpace import Categorical, ConfigurationSpace, Constant, Float, Integer
from ConfigSpace.conditions import EqualsCondition, InCondition, NotEqualsCondition
from ConfigSpace.hyperparameters import (
    CategoricalHyperparameter,
    FloatHyperparameter,
    IntegerHyperparameter,
    NumericalHyperparameter,
)

from trainingjob_trainer.search_space.context import SpaceContext

__all__ = ["Shared", "SharedConfigurationSpace", "limits", "narrowed", "refined", "space_of"]

Limit: TypeAlias = tuple[float, float] | list[Any] | str | float | None

_TREES: Final = 100
_WORK: Final = 200_000  # rows times columns up to which a forest has all its trees
_STEP: Final = 0.1  # standard deviation of a step, as a share of the range
_SHARE_MOVED: Final = 0.5
_SHARE_SWITCHED: Final = 0.1


class Shared:
    """Makes copies of an individual share its search space: TPOT copies the whole space with each."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return the same object: a search space does not change."""
        return self


class SharedConfigurationSpace(Shared, ConfigurationSpace):
    """A space of hyperparameters that is never copied; its seed is set before each draw."""


def space_of(hyperparameters: Iterable[Any]) -> SharedConfigurationSpace:
    """Return the space of some hyperparameters."""
    made = SharedConfigurationSpace()
    made.add(list(hyperparameters))
    return made


def limits(context: SpaceContext, *, selecting: bool = False) -> Mapping[str, Mapping[str, Limit]]:
    """Return the limits by estimator and hyperparameter: a range, a list of choices, or one value.

    The larger the table, the fewer trees; the more classes, the fewer leaves. With `selecting`, the estimator
    ranks columns inside a selector, which fits it several times.
    """
    share = min(1.0, _WORK / (max(1, context.n_rows) * max(1, context.n_features)))
    trees = max(20, round(_TREES * share) // 3) if selecting else max(30, round(_TREES * share))
    boosted = max(25, round(_TREES * share))
    bagged = max(8, round(30 * share))
    leaves = max(15, 2 * 127 // max(2, context.n_classes))
    return {**_FIXED, **_forests(trees), **_ensembles(boosted, bagged, leaves)}


def _forests(trees: int) -> dict[str, Mapping[str, Limit]]:
    classifier: dict[str, Limit] = {"max_features": (0.01, 0.6), "n_estimators": trees}
    regressor: dict[str, Limit] = {"max_features": (0.05, 0.6), "n_estimators": trees}
    regressor["criterion"] = "squared_error"  # absolute_error takes minutes, poisson refuses negative targets
    return {
        "ExtraTreesClassifier": classifier,
        "ExtraTreesRegressor": regressor,
        "RandomForestClassifier": {**classifier, "max_features": (0.01, 0.4)},
        "RandomForestRegressor": {**regressor, "max_features": (0.05, 0.4)},
    }


def _ensembles(boosted: int, bagged: int, leaves: int) -> dict[str, Mapping[str, Limit]]:
    ada: dict[str, Limit] = {"n_estimators": (20, boosted)}
    bag: dict[str, Limit] = {"n_estimators": (3, bagged), "oob_score": False}
    gradient: dict[str, Limit] = {"max_leaf_nodes": (3, min(63, leaves)), "max_features": (0.01, 0.5)}
    return {
        "AdaBoostClassifier": ada,
        "AdaBoostRegressor": ada,
        "BaggingClassifier": bag,
        "BaggingRegressor": bag,
        "GradientBoostingClassifier": gradient,
        "GradientBoostingRegressor": {**gradient, "loss": "squared_error"},
    }


_NETWORK: Final[Mapping[str, Limit]] = {
    "n_hidden_layers": (1, 2),
    "n_nodes_per_layer": (16, 128),
    "early_stopping": True,
    "n_iter_no_change": 10,
    "learning_rate_init": (1e-4, 1e-2),
}

_FIXED: Final[Mapping[str, Mapping[str, Limit]]] = {
    "DecisionTreeRegressor": {"criterion": "squared_error"},
    "ElasticNetCV": {"l1_ratio": [0.1, 0.5, 0.9, 1.0], "alphas": 50},
    "FastICA": {"n_components": (1, 30)},
    "KNeighborsClassifier": {"p": (1, 2)},  # the distance of order 3 is ten times as slow
    "KNeighborsRegressor": {"p": (1, 2)},
    "LogisticRegression": {"max_iter": 200},
    "MLPClassifier": _NETWORK,
    "MLPRegressor": _NETWORK,
    "Nystroem": {"n_components": (1, 100), "gamma": (1e-4, 1.0)},
    "RBFSampler": {"n_components": (1, 100), "gamma": (1e-4, 1.0)},
    "RFE": {"step": (0.2, 0.9)},
    "SGDClassifier": {"max_iter": 200},
    "SGDRegressor": {"max_iter": 200},
}


def narrowed(name: str, space: Any, context: SpaceContext, *, selecting: bool = False) -> Any:
    """Return the space of hyperparameters of an estimator within the limits."""
    bounds = limits(context, selecting=selecting).get(name, {})
    if isinstance(space, dict):
        return {**space, **bounds}
    kept = {item.name: _limited(item, bounds) for item in space.values()}
    fixed = [Constant(key, item) for key, item in bounds.items() if key not in kept and not _varies(item)]
    made = space_of([*kept.values(), *fixed])
    conditions = [_condition(item, kept) for item in space.conditions]
    made.add([item for item in conditions if item is not None])
    return made


def _varies(limit: Limit) -> bool:
    return isinstance(limit, list | tuple)


def _limited(item: Any, bounds: Mapping[str, Limit]) -> Any:
    if item.name not in bounds:
        return item
    limit = bounds[item.name]
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


def _condition(condition: Any, kept: Mapping[str, Any]) -> Any:
    """Return the condition for the new hyperparameters, or none where its parent is now a constant."""
    child, parent = kept[condition.child.name], kept[condition.parent.name]
    if isinstance(parent, Constant):
        return None
    if isinstance(condition, InCondition):
        return InCondition(child, parent, list(condition.values))
    kind = NotEqualsCondition if isinstance(condition, NotEqualsCondition) else EqualsCondition
    return kind(child, parent, condition.value)


def refined(params: Mapping[str, Any], space: ConfigurationSpace, rng: np.random.Generator) -> dict[str, Any]:
    """Return hyperparameters near *params*: some numbers take a small step, now and then a choice changes."""
    near = dict(params)
    ranges = {name: space[name] for name in sorted(near) if name in space}
    numbers = [name for name, item in ranges.items() if isinstance(item, NumericalHyperparameter)]
    moved = {name for name in numbers if rng.random() < _SHARE_MOVED}
    if numbers and not moved:
        moved = {numbers[rng.integers(len(numbers))]}
    for name, item in ranges.items():
        if isinstance(item, CategoricalHyperparameter) and (not numbers or rng.random() < _SHARE_SWITCHED):
            near[name] = item.choices[rng.integers(len(item.choices))]
        elif name in moved and isinstance(item, IntegerHyperparameter):
            near[name] = _whole(near[name], item, rng)
        elif name in moved:
            near[name] = _step(float(near[name]), item, rng)
    return near


def _step(value: float, bounds: Any, rng: np.random.Generator) -> float:
    low, high = float(bounds.lower), float(bounds.upper)
    if bounds.log:
        place = math.log(value) + rng.normal(0.0, _STEP) * (math.log(high) - math.log(low))
        return float(min(high, max(low, math.exp(place))))
    return float(min(high, max(low, value + rng.normal(0.0, _STEP) * (high - low))))


def _whole(value: int, bounds: Any, rng: np.random.Generator) -> int:
    """Take a step of at least one, up or down."""
    moved = round(_step(float(value), bounds, rng))
    if moved == value:
        moved = value + int(rng.choice([-1, 1]))
    return int(min(bounds.upper, max(bounds.lower, moved)))
