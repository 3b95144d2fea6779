"""The declarative tree of a TrainingJob to TPOT's search spaces, within the allow-list."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import cache
from typing import Any, Final

import numpy as np
from sklearn.utils.validation import has_fit_parameter

from trainingjob_api import Reason
from trainingjob_api.errors import SpecError
from trainingjob_api.search_space import (
    ChoiceNode,
    DynamicLinearNode,
    DynamicUnionNode,
    EstimatorNode,
    FeatureSetsNode,
    GraphNode,
    GroupNode,
    SequentialNode,
    SpaceNode,
    UnionNode,
    WrapperNode,
    parse_tree,
    walk,
)
from trainingjob_trainer.errors import SpecInvalid
from trainingjob_trainer.search_space import tpot_defects as mended
from trainingjob_trainer.search_space.catalogue import CATALOGUE, Entry, Kind, entry, nearest
from trainingjob_trainer.search_space.context import SpaceContext
from trainingjob_trainer.search_space.hyperparameters import Reader, hyperparameter_space
from trainingjob_trainer.search_space.presets import kind_of, named_space
from trainingjob_trainer.search_space.tpot_graph_defects import MendedGraph

__all__ = ["compile_tree", "has_feature_sets", "read_tree"]


class _Role(Enum):
    PREDICT = "the last step"
    TRANSFORM = "a step before the last"
    INNER = "the inner estimator of a wrapper"


@dataclass(frozen=True)
class _Place:
    """Where a node stands: what it has to do, and whether it sees the encoded table itself."""

    role: _Role
    first: bool
    path: str

    def below(self, part: str, **changes: Any) -> "_Place":
        return replace(self, path=f"{self.path}.{part}", **changes)

    def wrong(self, cause: str) -> SpecInvalid:
        return SpecInvalid(Reason.WRONG_STEP, f"{self.path}: {cause}")


_NEEDS_INNER: Final = {"RFE", "SelectFromModel"}
_NEEDS_WEIGHTS: Final = {"AdaBoostClassifier"}
_RANKS_NO_COLUMNS: Final = "it tells no importances of columns; take trees or a linear model"


def read_tree(tree: Any, source: str) -> SpaceNode:
    """Return the nodes of a tree.

    Parameters
    ----------
    tree
        The mapping that a job holds.
    source
        The field or variable that it comes from.

    Raises
    ------
    SpecInvalid
        It is no tree or too large (``InvalidSearchSpace``).
    """
    try:
        return parse_tree(tree, field=source)
    except SpecError as error:
        raise SpecInvalid(Reason.INVALID_SEARCH_SPACE, str(error)) from error


def has_feature_sets(node: SpaceNode) -> bool:
    """Tell whether a tree chooses raw columns.

    Parameters
    ----------
    node
        Its root.
    """
    return any(isinstance(item, FeatureSetsNode) for _, item in walk(node))


def compile_tree(node: SpaceNode, context: SpaceContext, source: str) -> Any:
    """Return the TPOT search space of a tree.

    Parameters
    ----------
    node
        Its root.
    context
        The problem.
    source
        The field or variable that it comes from, for errors.

    Raises
    ------
    SpecInvalid
        A name, hyperparameter or column is unknown, or a step does not fit its place.
    """
    return _Compiler(context).space(node, _Place(_Role.PREDICT, first=True, path=source))


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
                return spaces[0] if len(spaces) == 1 else mended.MendedChoice(spaces)
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
                return mended.MendedUnion(spaces)
            case DynamicUnionNode():
                return mended.MendedDynamicUnion(
                    self.space(node.member, place.below("member")), node.max_members
                )
            case DynamicLinearNode():
                inner = place.below("step", first=place.first and node.max_length == 1)
                return mended.MendedDynamicLinear(self.space(node.step, inner), node.max_length)
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
        return mended.MendedSequential(spaces)

    def _graph(self, node: GraphNode, place: _Place) -> Any:
        alone = node.leaf is None and node.inner is None
        root = self.space(node.root, place.below("root", first=place.first and alone))
        leaf = inner = None
        if node.leaf is not None:
            leaf = self.space(node.leaf, place.below("leaf", role=_Role.TRANSFORM))
        if node.inner is not None:
            inner = self.space(node.inner, place.below("inner", role=_Role.TRANSFORM, first=False))
        return MendedGraph(root, leaf, inner, max_size=node.max_size)

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
                        f"{nearest(column, self.context.columns)}",
                    )
        return mended.MendedFeatureSets({name: list(columns) for name, columns in node.sets.items()})

    def _estimator(self, node: EstimatorNode, place: _Place) -> Any:
        if node.name not in CATALOGUE or CATALOGUE[node.name].internal:
            if node.hyperparameters and kind_of(node.name) is not None:
                raise place.wrong(f"{node.name} is TPOT's own and takes no hyperparameters here.")
            return self._group(GroupNode(type="group", names=(node.name,)), place)
        found = CATALOGUE[node.name]
        self._fits(found, place)
        if found.name in _NEEDS_INNER:
            raise place.wrong(f"{found.name} asks a model; write it as a wrapper with that model inside.")
        space, reader = self._hyperparameters(found, node.hyperparameters, place)
        return mended.MendedEstimator(found.cls, space, reader)

    def _wrapper(self, node: WrapperNode, place: _Place) -> Any:
        found = entry(node.estimator)
        if found.slot is None:
            known = [name for name, item in CATALOGUE.items() if item.slot]
            raise place.wrong(f"{found.name} takes no inner estimator. {nearest(found.name, known)}")
        self._fits(found, place)
        inner = self.space(node.inner, place.below("inner", role=_Role.INNER))
        for cls in _classes(inner):
            self._fits_inside(found, cls, place)
        space, reader = self._hyperparameters(found, node.hyperparameters, place)
        return mended.MendedWrapper(found.cls, space, inner, reader)

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
            raise place.wrong(f"{inner.__name__} cannot stand in {outer.name}: it takes no sample weights.")
        if outer.name in _NEEDS_INNER and inner.__name__ == "XGBClassifier":
            raise place.wrong(
                f"XGBClassifier cannot stand in {outer.name}: it takes no text labels; take LightGBM."
            )
        if outer.name in _NEEDS_INNER and not _ranks_columns(inner):
            raise place.wrong(f"{inner.__name__} cannot stand in {outer.name}: {_RANKS_NO_COLUMNS}.")


def _classes(space: Any) -> list[type]:
    """Return the classes of the estimators that a space of inner estimators gives."""
    if isinstance(space, mended.MendedChoice):
        return [cls for item in space.search_spaces for cls in _classes(item)]
    return [space.method]


@cache
def _ranks_columns(cls: type) -> bool:
    """Tell whether an estimator with its defaults knows, once fitted, how much each column counts."""
    table = np.random.default_rng(0).normal(size=(20, 3))
    fitted = cls().fit(table, np.arange(20) % 2)
    return hasattr(fitted, "feature_importances_") or hasattr(fitted, "coef_")
