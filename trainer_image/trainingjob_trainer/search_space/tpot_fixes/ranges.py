"""Ranges of hyperparameters: TPOT's narrowed, those of boosters and of a tree, and small steps in them.

TPOT's ranges are narrowed so that a fit on 8,000 rows and 50 columns takes seconds. A tree that names a
hyperparameter itself is not narrowed: there the user decides.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Self, TypeAlias

import numpy as np
from ConfigSpace import Categorical, ConfigurationSpace, Constant, Float, Integer
from ConfigSpace.conditions import InCondition
from ConfigSpace.hyperparameters import (
    CategoricalHyperparameter,
    FloatHyperparameter,
    IntegerHyperparameter,
    NumericalHyperparameter,
)

from trainingjob_api import Reason
from trainingjob_api.search_space import ChoiceValues, Range
from trainingjob_trainer.errors import SpecInvalid
from trainingjob_trainer.search_space.allow_list import Entry, suggest
from trainingjob_trainer.search_space.context import SpaceContext
from trainingjob_trainer.search_space.parameters import check_value, hyperparameter

Limit: TypeAlias = tuple[float, float] | list[Any] | str | float | None
Parser: TypeAlias = Callable[[Mapping[str, Any]], dict[str, Any]]
"""Returns the hyperparameters of an estimator from those that were drawn."""

_TREES: Final = 100
_WORK: Final = 200_000  # rows times columns up to which a forest has all its trees
_STEP: Final = 0.1  # standard deviation of a step, as a share of the range
_SHARE_MOVED: Final = 0.5
_SHARE_SWITCHED: Final = 0.1
_ROUNDS: Final = 300
_ROUNDS_STOPPED_EARLY: Final = 1_000
_LEAST_ROUNDS: Final = 100
_STOPPED_EARLY_FROM: Final = 2_000
"""Training rows from which boosting stops early (`search.fits`): there, rounds are only a cap."""
_LEAVES: Final = 127


class Shared:
    """Makes copies of an individual share its search space: TPOT copies the whole space with each."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return the same object: a search space does not change."""
        return self


class _SharedConfigurationSpace(Shared, ConfigurationSpace):
    """A space of hyperparameters that is never copied; its seed is set before each draw."""


def space_of(hyperparameters: Iterable[Any]) -> ConfigurationSpace:
    """Return the space of some hyperparameters."""
    made = _SharedConfigurationSpace()
    made.add(list(hyperparameters))
    return made


def limits(context: SpaceContext, *, selecting: bool = False) -> Mapping[str, Mapping[str, Limit]]:
    """Return the limits by estimator and hyperparameter: a range, a list of choices, or one value.

    The larger the table, the fewer trees; the more classes, the fewer leaves. With `selecting`, the estimator
    ranks columns inside a selector, which fits it several times.
    """
    share = min(1.0, _WORK / (max(1, context.n_rows) * max(1, context.n_features)))
    all_trees = round(_TREES * share)
    trees = max(20, all_trees // 3) if selecting else max(30, all_trees)
    classifier: dict[str, Limit] = {"max_features": (0.01, 0.6), "n_estimators": trees}
    regressor: dict[str, Limit] = {"max_features": (0.05, 0.6), "n_estimators": trees}
    regressor["criterion"] = "squared_error"  # absolute_error takes minutes, poisson refuses negative targets
    ada: dict[str, Limit] = {"n_estimators": (20, max(25, all_trees))}
    bag: dict[str, Limit] = {"n_estimators": (3, max(8, round(30 * share))), "oob_score": False}
    leaves = min(63, _leaves(context))
    gradient: dict[str, Limit] = {"max_leaf_nodes": (3, leaves), "max_features": (0.01, 0.5)}
    return {
        **_FIXED,
        **dict.fromkeys(("AdaBoostClassifier", "AdaBoostRegressor"), ada),
        **dict.fromkeys(("BaggingClassifier", "BaggingRegressor"), bag),
        "ExtraTreesClassifier": classifier,
        "ExtraTreesRegressor": regressor,
        "GradientBoostingClassifier": gradient,
        "GradientBoostingRegressor": {**gradient, "loss": "squared_error"},
        "RandomForestClassifier": {**classifier, "max_features": (0.01, 0.4)},
        "RandomForestRegressor": {**regressor, "max_features": (0.05, 0.4)},
    }


def _leaves(context: SpaceContext) -> int:
    """Return the most leaves of a boosted tree, of which each class has one a round."""
    return max(15, 2 * _LEAVES // max(2, context.n_classes))


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
    kept = {
        item.name: _limited(item, bounds[item.name]) if item.name in bounds else item
        for item in space.values()
    }
    fixed = [
        Constant(key, limit)
        for key, limit in bounds.items()
        if key not in kept and not isinstance(limit, list | tuple)
    ]
    made = space_of([*kept.values(), *fixed])
    conditions = []
    for condition in space.conditions:
        child, parent = kept[condition.child.name], kept[condition.parent.name]
        if isinstance(parent, Constant):
            continue
        value = list(condition.values) if isinstance(condition, InCondition) else condition.value
        conditions.append(type(condition)(child, parent, value))
    made.add(conditions)
    return made


def _limited(item: Any, limit: Limit) -> Any:
    if isinstance(limit, list):
        return Categorical(item.name, limit)
    if not isinstance(limit, tuple):
        return Constant(item.name, limit)
    if not isinstance(item, IntegerHyperparameter | FloatHyperparameter):
        return item
    low, high = max(item.lower, limit[0]), min(item.upper, limit[1])
    if low >= high:
        return Constant(item.name, item.lower if item.lower > limit[1] else high)
    return _range(item.name, low, high, whole=isinstance(item, IntegerHyperparameter), log=item.log)


def _range(name: str, low: float, high: float, *, whole: bool, log: bool) -> Any:
    if whole:
        return Integer(name, (int(low), int(high)), log=log)
    return Float(name, (float(low), float(high)), log=log)


def rounds_at_most(context: SpaceContext) -> int:
    """Return the most boosting rounds, fewer with many classes, each of which has a tree a round."""
    most = _ROUNDS if context.n_rows < _STOPPED_EARLY_FROM else _ROUNDS_STOPPED_EARLY
    return max(_LEAST_ROUNDS, most // max(1, context.n_classes - 1))


def booster_ranges(name: str, context: SpaceContext) -> list[Any] | None:
    """Return the hyperparameters of a booster with their ranges; None for any other estimator.

    TPOT 1.1.0 fixes the learning rate of LightGBM at 0.1 and the rounds of XGBoost and HistGradientBoosting
    at 100, and knows no CatBoost. The ranges hold the settings of AutoGluon's and FLAML's tuned portfolios.
    """
    booster = name.removesuffix("Classifier").removesuffix("Regressor")
    leaves, most = _leaves(context), rounds_at_most(context)
    weights: dict[str, str] = {"class_weight": "balanced"}
    match booster:
        case "CatBoost":
            weights = {"auto_class_weights": "Balanced"}
            ranges = [
                Integer("max_depth", (2, 8)),
                Float("reg_lambda", (0.1, 30.0), log=True),
                Float("random_strength", (0.1, 10.0), log=True),
                # Bayesian, the default for many classes, refuses `subsample`.
                Constant("bootstrap_type", "Bernoulli"),
                Float("subsample", (0.5, 1.0)),
                Float("colsample_bylevel", (0.3, 1.0)),
                Integer("max_bin", (32, 254), log=True),
            ]
        case "HistGradientBoosting":
            ranges = [
                Integer("max_leaf_nodes", (3, leaves), log=True),
                Integer("min_samples_leaf", (1, 100), log=True),
                Float("l2_regularization", (1e-6, 10.0), log=True),
                Float("max_features", (0.2, 1.0)),
                Constant("early_stopping", value=False),  # "auto" would stop early from 10,000 rows
            ]
        case "LGBM":
            ranges = [
                Integer("num_leaves", (2, leaves), log=True),
                Integer("min_child_samples", (1, 100), log=True),
                Float("subsample", (0.5, 1.0)),
                Constant("subsample_freq", 1),
                Float("colsample_bytree", (0.2, 1.0)),
                Float("reg_alpha", (1e-4, 10.0), log=True),
                Float("reg_lambda", (1e-4, 30.0), log=True),
                Categorical("extra_trees", [False, True]),
            ]
        case "XGB":
            weights = {}
            ranges = [
                Integer("max_depth", (2, max(5, leaves.bit_length() + 1))),
                Float("min_child_weight", (0.1, 20.0), log=True),
                Float("subsample", (0.5, 1.0)),
                Float("colsample_bytree", (0.2, 1.0)),
                Float("reg_alpha", (1e-4, 10.0), log=True),
                Float("reg_lambda", (1e-3, 30.0), log=True),
            ]
        case _:
            return None
    rounds = "max_iter" if booster == "HistGradientBoosting" else "n_estimators"
    if context.n_rows >= _STOPPED_EARLY_FROM:  # rounds that stop early need no choice
        ranges += [Constant(rounds, most), Float("learning_rate", (0.02, 0.3), log=True)]
    else:
        ranges += [Integer(rounds, (50, most), log=True), Float("learning_rate", (0.01, 0.3), log=True)]
    if context.classification:
        ranges += [Categorical(key, [None, balanced]) for key, balanced in weights.items()]
    return ranges


def hyperparameter_space(found: Entry, given: Mapping[str, Any]) -> tuple[Any, Parser]:
    """Return the space of the hyperparameters that a tree gives, and how drawn values are read.

    ConfigSpace knows no None and makes one type of all choices; choices are drawn by their number instead.
    Raises `SpecInvalid` for an unknown name or a value that the estimator rejects.
    """
    constants: dict[str, Any] = {}
    choices: dict[str, list[Any]] = {}
    drawn = []
    for name, value in sorted(given.items()):
        if name not in found.hyperparameters:
            known = f"{found.name} has no hyperparameter {name!r:.80} that may be set."
            raise SpecInvalid(
                Reason.UNKNOWN_HYPERPARAMETER, f"{known} {suggest(name, found.hyperparameters)}"
            )
        if isinstance(value, Range):
            for bound in (value.low, value.high):
                check_value(found, name, int(bound) if value.integer else float(bound))
            drawn.append(_range(name, value.low, value.high, whole=value.integer, log=value.log))
        elif isinstance(value, ChoiceValues):
            choices[name] = [hyperparameter(found, name, item) for item in value.choice]
            drawn.append(Categorical(name, list(range(len(value.choice)))))
        else:
            constants[name] = hyperparameter(found, name, value)

    def read(sample: Mapping[str, Any]) -> dict[str, Any]:
        chosen = {name: options[int(sample[name])] for name, options in choices.items() if name in sample}
        return {**constants, **sample, **chosen}

    return (space_of(drawn) if drawn else {}), read


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
        elif name in moved:
            near[name] = _step(near[name], item, rng)
    return near


def _step(value: float, item: Any, rng: np.random.Generator) -> float:
    """Return a value near another one within its range; a whole number moves by at least one."""
    low, high = float(item.lower), float(item.upper)
    if item.log:
        moved = math.exp(math.log(value) + rng.normal(0.0, _STEP) * (math.log(high) - math.log(low)))
    else:
        moved = value + rng.normal(0.0, _STEP) * (high - low)
    near = float(min(high, max(low, moved)))
    if isinstance(item, FloatHyperparameter):
        return near
    whole = round(near) if round(near) != value else value + int(rng.choice([-1, 1]))
    return int(min(item.upper, max(item.lower, whole)))
