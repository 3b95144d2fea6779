"""The declarative tree of a TrainingJob to TPOT's search spaces, within the allow-list."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cache
from typing import Any, Final

import numpy as np
from ConfigSpace import Categorical, Float, Integer
from sklearn.utils.validation import has_fit_parameter

from trainingjob_api import Reason
from trainingjob_api.errors import SpecError
from trainingjob_api.search_space import (
    ChoiceNode,
    ChoiceValues,
    DynamicLinearNode,
    DynamicUnionNode,
    EstimatorNode,
    FeatureSetsNode,
    GraphNode,
    GroupNode,
    Range,
    SequentialNode,
    SpaceNode,
    UnionNode,
    WrapperNode,
    parse_tree,
    walk,
)
from trainingjob_trainer.errors import SpecInvalid
from trainingjob_trainer.search_space.allow_list import CATALOGUE, Entry, Kind, entry, suggest
from trainingjob_trainer.search_space.context import SpaceContext
from trainingjob_trainer.search_space.parameters import (
    FUNCTION_PARAMETERS,
    check_value,
    function_named,
    invalid,
)
from trainingjob_trainer.search_space.presets import kind_of, named_space
from trainingjob_trainer.search_space.tpot_fixes.ranges import SharedConfigurationSpace
from trainingjob_trainer.search_space.tpot_fixes.repairs import NUMBERED
from trainingjob_trainer.search_space.tpot_fixes.spaces import (
    FixedChoice,
    FixedDynamicLinear,
    FixedDynamicUnion,
    FixedEstimator,
    FixedFeatureSets,
    FixedGraph,
    FixedSequential,
    FixedUnion,
    FixedWrapper,
)

__all__ = ["Reader", "compile_tree", "hyperparameter_space"]


@dataclass(frozen=True)
class Reader:
    """Reads drawn values: constants are added, and a choice is drawn by its number.

    ConfigSpace knows no None and makes one type of all choices; numbers of choices avoid both.

    Parameters
    ----------
    constants
        Values that are not drawn.
    choices
        The values behind each number, by hyperparameter.
    """

    constants: Mapping[str, Any] = field(default_factory=dict)
    choices: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    def __call__(self, drawn: Mapping[str, Any]) -> dict[str, Any]:
        """Return the hyperparameters of an estimator."""
        read = {
            name: self.choices[name][int(item)] if name in self.choices else item
            for name, item in drawn.items()
        }
        return {**self.constants, **read}


class _Role(Enum):
    PREDICT = "the last step"
    TRANSFORM = "a step before the last"
    INNER = "the inner estimator of a wrapper"


@dataclass(frozen=True)
class _Place:
    """The place of a node: its purpose, and whether its input is the encoded table itself."""

    role: _Role
    first: bool
    path: str

    def below(self, part: str, **changes: Any) -> "_Place":
        return replace(self, path=f"{self.path}.{part}", **changes)

    def wrong(self, cause: str) -> SpecInvalid:
        return SpecInvalid(Reason.WRONG_STEP, f"{self.path}: {cause}")


_NEEDS_INNER: Final = {"RFE", "SelectFromModel"}
_NEEDS_WEIGHTS: Final = {"AdaBoostClassifier"}
_RANKS_NO_COLUMNS: Final = "it has no feature importances; use trees or a linear model"


def compile_tree(tree: Any, context: SpaceContext, source: str) -> tuple[Any, bool]:
    """Return the TPOT search space of a tree, and whether the tree chooses raw columns.

    Parameters
    ----------
    tree
        The mapping that a job holds.
    source
        The field or variable that it comes from, for errors.

    Raises
    ------
    SpecInvalid
        The tree is malformed or too large (``InvalidSearchSpace``), a name, hyperparameter or column is
        unknown, or a step does not fit its place.
    """
    try:
        node = parse_tree(tree, field=source)
    except SpecError as error:
        raise SpecInvalid(Reason.INVALID_SEARCH_SPACE, str(error)) from error
    space = _Compiler(context).space(node, _Place(_Role.PREDICT, first=True, path=source))
    return space, any(isinstance(item, FeatureSetsNode) for _, item in walk(node))


@dataclass(frozen=True)
class _Compiler:
    context: SpaceContext

    def space(self, node: SpaceNode, place: _Place) -> Any:
        match node:
            case EstimatorNode():
                return self._estimator(node, place)
            case GroupNode():
                return self._group(node, place)
            case ChoiceNode(options=options):
                spaces = [self.space(item, place.below(f"options[{n}]")) for n, item in enumerate(options)]
                return spaces[0] if len(spaces) == 1 else FixedChoice(spaces)
            case WrapperNode():
                return self._wrapper(node, place)
        if place.role is _Role.INNER:
            raise place.wrong(
                f"a {node.type} cannot be {place.role.value}: only estimator, group, choice and wrapper."
            )
        match node:
            case SequentialNode(steps=steps):
                return self._sequential(steps, place)
            case GraphNode():
                return self._graph(node, place)
        if place.role is _Role.PREDICT:
            raise place.wrong(f"a {node.type} does not predict; let a classifier or regressor follow it.")
        match node:
            case UnionNode(members=members):
                spaces = [self.space(item, place.below(f"members[{n}]")) for n, item in enumerate(members)]
                return FixedUnion(spaces)
            case DynamicUnionNode():
                return FixedDynamicUnion(self.space(node.member, place.below("member")), node.max_members)
            case DynamicLinearNode():
                inner = place.below("step", first=place.first and node.max_length == 1)
                return FixedDynamicLinear(self.space(node.step, inner), node.max_length)
            case FeatureSetsNode():
                return self._feature_sets(node, place)
        raise place.wrong("this kind of node is not known.")

    def _sequential(self, steps: Sequence[SpaceNode], place: _Place) -> Any:
        last = len(steps) - 1
        spaces = [
            self.space(
                step,
                place.below(
                    f"steps[{n}]",
                    first=place.first and n == 0,
                    role=place.role if n == last else _Role.TRANSFORM,
                ),
            )
            for n, step in enumerate(steps)
        ]
        return FixedSequential(spaces)

    def _graph(self, node: GraphNode, place: _Place) -> Any:
        alone = node.leaf is None and node.inner is None
        root = self.space(node.root, place.below("root", first=place.first and alone))
        leaf = inner = None
        if node.leaf is not None:
            leaf = self.space(node.leaf, place.below("leaf", role=_Role.TRANSFORM))
        if node.inner is not None:
            inner = self.space(node.inner, place.below("inner", role=_Role.TRANSFORM, first=False))
        return FixedGraph(root, leaf, inner, max_size=node.max_size)

    def _group(self, node: GroupNode, place: _Place) -> Any:
        try:
            return named_space(node.names, self.context, predicts=place.role is not _Role.TRANSFORM)
        except SpecInvalid as error:
            raise SpecInvalid(error.reason, f"{place.path}.names: {error.message}") from error

    def _feature_sets(self, node: FeatureSetsNode, place: _Place) -> Any:
        if not place.first:
            raise place.wrong(
                "featureSets choose raw columns, so they must be the first step of their branch."
            )
        for name, columns in node.sets.items():
            for column in columns:
                if column not in self.context.columns:
                    raise SpecInvalid(
                        Reason.UNKNOWN_COLUMN,
                        f"{place.path}.sets.{name}: the table has no feature column {column!r:.80}. "
                        f"{suggest(column, self.context.columns)}",
                    )
        return FixedFeatureSets({name: list(columns) for name, columns in node.sets.items()})

    def _estimator(self, node: EstimatorNode, place: _Place) -> Any:
        if node.name not in CATALOGUE or CATALOGUE[node.name].internal:
            if node.hyperparameters and kind_of(node.name) is not None:
                raise place.wrong(f"{node.name} is TPOT's own and takes no hyperparameters here.")
            return self._group(GroupNode(type="group", names=(node.name,)), place)
        found = CATALOGUE[node.name]
        self._fits(found, place)
        if found.name in _NEEDS_INNER:
            raise place.wrong(f"{found.name} needs a model; write it as a wrapper with that model inside.")
        space, reader = self._hyperparameters(found, node.hyperparameters, place)
        return FixedEstimator(found.cls, space, reader)

    def _wrapper(self, node: WrapperNode, place: _Place) -> Any:
        found = entry(node.estimator)
        if found.slot is None:
            known = [name for name, item in CATALOGUE.items() if item.slot]
            raise place.wrong(f"{found.name} takes no inner estimator. {suggest(found.name, known)}")
        self._fits(found, place)
        inner = self.space(node.inner, place.below("inner", role=_Role.INNER))
        for cls in _classes(inner):
            self._fits_inside(found, cls, place)
        space, reader = self._hyperparameters(found, node.hyperparameters, place)
        return FixedWrapper(found.cls, space, inner, reader)

    def _hyperparameters(self, found: Entry, given: Any, place: _Place) -> tuple[Any, Reader]:
        try:
            return hyperparameter_space(found, given)
        except SpecInvalid as error:
            raise SpecInvalid(error.reason, f"{place.path}.hyperparameters: {error.message}") from error

    def _fits(self, found: Entry, place: _Place) -> None:
        wanted = Kind.CLASSIFIER if self.context.classification else Kind.REGRESSOR
        if place.role is _Role.TRANSFORM and found.predictor:
            raise place.wrong(f"{found.name} is a {found.kind}; {place.role.value} transforms or selects.")
        if place.role is not _Role.TRANSFORM and found.kind is not wanted:
            raise place.wrong(
                f"{found.name} is a {found.kind}; {place.role.value} of a {self.context.task} is a {wanted}."
            )

    def _fits_inside(self, outer: Entry, inner: type, place: _Place) -> None:
        """Refuse an inner estimator that the outer one would refuse in every fit."""
        if outer.name in _NEEDS_WEIGHTS and not has_fit_parameter(inner(), "sample_weight"):
            raise place.wrong(f"{inner.__name__} cannot be inside {outer.name}: it takes no sample weights.")
        if outer.name in _NEEDS_INNER and inner.__name__ in NUMBERED:
            raise place.wrong(
                f"{inner.__name__} cannot be inside {outer.name}: it takes no text labels; take LightGBM."
            )
        if outer.name in _NEEDS_INNER and not _ranks_columns(inner):
            raise place.wrong(f"{inner.__name__} cannot be inside {outer.name}: {_RANKS_NO_COLUMNS}.")


def _classes(space: Any) -> list[type]:
    """Return the classes of the estimators that a space of inner estimators gives."""
    if isinstance(space, FixedChoice):
        return [cls for item in space.search_spaces for cls in _classes(item)]
    return [space.method]


@cache
def _ranks_columns(cls: type) -> bool:
    """Return whether an estimator with its defaults knows, once fitted, how much each column counts."""
    table = np.random.default_rng(0).normal(size=(20, 3))
    fitted = cls().fit(table, np.arange(20) % 2)
    return hasattr(fitted, "feature_importances_") or hasattr(fitted, "coef_")


def hyperparameter_space(found: Entry, given: Mapping[str, Any]) -> tuple[Any, Reader]:
    """Return the space of the hyperparameters that a tree gives, and how drawn values are read.

    Raises
    ------
    SpecInvalid
        A name is unknown (``UnknownHyperparameter``), or a value is refused by the estimator
        (``InvalidHyperparameter``).
    """
    constants: dict[str, Any] = {}
    choices: dict[str, tuple[Any, ...]] = {}
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
            drawn.append(_drawn(name, value))
        elif isinstance(value, ChoiceValues):
            choices[name] = tuple(_checked(found, name, item) for item in value.choice)
            drawn.append(Categorical(name, list(range(len(value.choice)))))
        else:
            constants[name] = _checked(found, name, value)
    space = SharedConfigurationSpace()
    space.add(drawn)
    return (space if drawn else {}), Reader(constants, choices)


def _drawn(name: str, value: Range) -> Any:
    if value.integer:
        return Integer(name, (int(value.low), int(value.high)), log=value.log)
    return Float(name, (float(value.low), float(value.high)), log=value.log)


def _checked(found: Entry, name: str, value: Any) -> Any:
    """Return a value that the estimator accepts; a function is said by its name."""
    if name in FUNCTION_PARAMETERS and isinstance(value, str):
        function = function_named(value)
        if function is None:
            raise invalid(found, name, value, "no such function is allowed")
        return function
    check_value(found, name, value)
    return value
