"""The search space of a job, compiled to TPOT's search spaces within the allow-list.

A job names a preset, which is a template or group of TPOT or an estimator, or it holds a declarative tree.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import cache
from typing import Any, Final

import numpy as np
from sklearn.utils.validation import has_fit_parameter
from tpot.config import get_search_space
from tpot.config.get_configspace import GROUPNAMES, STRING_TO_CLASS
from tpot.config.template_search_spaces import get_template_search_spaces
from tpot.search_spaces.nodes.estimator_node import EstimatorNode as StockEstimatorNode

from trainingjob_api import Preset, Reason, SpecError
from trainingjob_api.resolved import ResolvedSearchSpace
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
from trainingjob_trainer.encodings import Encoding
from trainingjob_trainer.errors import SpecInvalid
from trainingjob_trainer.search_space.allow_list import CATALOGUE, Entry, Kind, entry, suggest
from trainingjob_trainer.search_space.context import SpaceContext
from trainingjob_trainer.search_space.individual import Individual, random_encoding
from trainingjob_trainer.search_space.tpot_fixes.ranges import Parser, hyperparameter_space
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
    fix,
)
from trainingjob_trainer.search_space.tpot_fixes.transformers import EXCLUDED, REPLACED

_TEMPLATES: Final = tuple(preset.value for preset in Preset)
"""TPOT's whole search spaces."""
_SELECTORS: Final = ("RFE", "SelectFromModel")
"""They ask an estimator how much each column counts."""
_WRAPPED: Final = {f"{name}_{task}": task for name in _SELECTORS for task in ("classification", "regression")}
"""TPOT's names of selectors with an estimator inside, and the task of that."""
_NEEDS_WEIGHTS: Final = {"AdaBoostClassifier"}
_GROUPS: Final[Mapping[str, Sequence[str]]] = {
    **GROUPNAMES,
    "classifiers": (*GROUPNAMES["classifiers"], "CatBoostClassifier"),
    "regressors": (*GROUPNAMES["regressors"], "CatBoostRegressor"),
}
"""TPOT's groups, with CatBoost, which TPOT does not know."""


@dataclass(frozen=True)
class Space:
    """A search space ready for use: TPOT's, fixed, with the encodings of the table."""

    root: Any
    encodings: tuple[Encoding, ...]
    uses_feature_sets: bool = False
    """Whether pipelines choose raw columns, so that the encoder must name its columns."""
    template: str | None = None
    """``linear`` or ``graph`` where it has the shape of TPOT's templates of that name."""

    def generate(self, rng: np.random.Generator) -> Individual:
        """Return a new individual; equal states of `rng` give equal individuals in every process."""
        return Individual(self.root.generate(rng), random_encoding(self.encodings, rng), self.encodings)


def compile_space(search_space: ResolvedSearchSpace, context: SpaceContext) -> Space:
    """Return the search space that a job asks for.

    Raises `SpecInvalid` if the tree is malformed or too large, a name, hyperparameter or column is unknown,
    or a step does not fit its place.
    """
    encodings = tuple(map(Encoding, context.encodings))
    source = search_space.source
    if search_space.tree is None:
        name = search_space.preset or "linear"
        shape = name.partition("-")[0] if name in _TEMPLATES else None
        return Space(preset_space(name, context), encodings, template=shape)
    try:
        node = parse_tree(search_space.tree, field=source)
    except SpecError as error:
        raise SpecInvalid(Reason.INVALID_SEARCH_SPACE, str(error)) from error
    root = _Compiler(context).space(node, _Place(_Role.PREDICT, first=True, path=source))
    chooses = any(isinstance(item, FeatureSetsNode) for _, item in walk(node))
    return Space(root, encodings, uses_feature_sets=chooses)


def preset_space(name: str, context: SpaceContext) -> Any:
    """Return the fixed search space of a preset; templates that are not light get CatBoost, too."""
    if name not in _TEMPLATES:
        known = {*_TEMPLATES, *_GROUPS, *CATALOGUE, *STRING_TO_CLASS}
        if name not in known:
            raise SpecInvalid(
                Reason.UNKNOWN_PRESET, f"The search space {name!r:.80} is unknown. {suggest(name, known)}"
            )
        return named_space([name], context, predicts=True)
    template = get_template_search_spaces(
        name,
        classification=context.classification,
        inner_predictors=False,
        cross_val_predict_cv=0,
        **_sizes(context),
    )
    root = fix(template, context)
    if not name.endswith("-light"):
        predictors = root.root_search_space if isinstance(root, FixedGraph) else root.search_spaces[-1]
        booster = "CatBoostClassifier" if context.classification else "CatBoostRegressor"
        predictors.search_spaces.append(_space_of(booster, context))
    return root


def _sizes(context: SpaceContext) -> dict[str, Any]:
    """Return the sizes on which TPOT's spaces depend; some of its ranges are empty below them."""
    return {
        "n_classes": max(2, context.n_classes),
        "n_samples": max(20, context.n_rows),
        "n_features": max(4, context.n_features),
        "random_state": context.random_state,
        "n_jobs": 1,
    }


def _space_of(name: str, context: SpaceContext) -> Any:
    """Return the fixed space of one name: TPOT's, or without one the defaults of scikit-learn."""
    if name in STRING_TO_CLASS or name in _WRAPPED:
        return fix(get_search_space(name, **_sizes(context)), context)
    return fix(StockEstimatorNode(CATALOGUE[name].cls, {}), context)


def kind_of(name: str) -> Kind | None:
    """Return the purpose of an estimator or of one of TPOT's names; none if it is unknown."""
    if name in CATALOGUE:
        return None if CATALOGUE[name].internal else CATALOGUE[name].kind
    if name in _WRAPPED:
        return Kind.SELECTOR
    return Kind.TRANSFORMER if name in REPLACED and name != "FeatureSetSelector" else None


def named_space(names: Sequence[str], context: SpaceContext, *, predicts: bool) -> Any:
    """Return the fixed choice among TPOT's groups and estimators.

    With `predicts` they may be a final step, otherwise a step that transforms. Raises `SpecInvalid` for a
    name that is unknown or excluded (``UnknownEstimator``), or does not fit its place (``WrongStep``).
    """
    members: dict[str, None] = {}
    for name in names:
        for member in _members(name):
            if member in EXCLUDED and member != name:
                continue
            shown = member if member == name else f"{member} (of the group {name})"
            _check_fits(member, shown, context, predicts=predicts)
            members[member] = None
    spaces = [_space_of(name, context) for name in members]
    return spaces[0] if len(spaces) == 1 else FixedChoice(spaces)


def _members(name: str) -> list[str]:
    """Return the members of a group and of the groups in it; of any other name, the name."""
    return [name] if name not in _GROUPS else [found for item in _GROUPS[name] for found in _members(item)]


def _check_fits(name: str, shown: str, context: SpaceContext, *, predicts: bool) -> None:
    if name in EXCLUDED:
        raise SpecInvalid(Reason.UNKNOWN_ESTIMATOR, f"{shown} is not allowed: {EXCLUDED[name]}.")
    kind = kind_of(name)
    if kind is None:
        known = {*CATALOGUE, *REPLACED, *_WRAPPED, *_GROUPS}
        raise SpecInvalid(
            Reason.UNKNOWN_ESTIMATOR, f"The estimator {shown!r:.80} is not allowed. {suggest(name, known)}"
        )
    wanted = Kind.CLASSIFIER if context.classification else Kind.REGRESSOR
    cause = ""
    if predicts and kind is not wanted:
        cause = f"is a {kind}; the last step of a {context.task} is a {wanted}."
    elif not predicts and kind in {Kind.CLASSIFIER, Kind.REGRESSOR}:
        cause = f"is a {kind}; only the last step, or a wrapper's inner one, may be."
    elif _WRAPPED.get(name, context.task) != context.task:
        cause = f"does not fit a {context.task}."
    if cause:
        raise SpecInvalid(Reason.WRONG_STEP, f"{shown} {cause}")


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


@dataclass(frozen=True)
class _Compiler:
    context: SpaceContext

    def space(self, node: SpaceNode, place: _Place) -> Any:
        match node:
            case EstimatorNode():
                return self._estimator(node, place)
            case GroupNode(names=names):
                return self._group(names, place)
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
                return FixedUnion(
                    [self.space(item, place.below(f"members[{n}]")) for n, item in enumerate(members)]
                )
            case DynamicUnionNode():
                return FixedDynamicUnion(self.space(node.member, place.below("member")), node.max_members)
            case DynamicLinearNode():
                inner = place.below("step", first=place.first and node.max_length == 1)
                return FixedDynamicLinear(self.space(node.step, inner), node.max_length)
        return self._feature_sets(node, place)

    def _sequential(self, steps: Sequence[SpaceNode], place: _Place) -> Any:
        spaces = []
        for n, step in enumerate(steps):
            role = place.role if n == len(steps) - 1 else _Role.TRANSFORM
            inner = place.below(f"steps[{n}]", first=place.first and n == 0, role=role)
            spaces.append(self.space(step, inner))
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

    def _group(self, names: Sequence[str], place: _Place) -> Any:
        try:
            return named_space(names, self.context, predicts=place.role is not _Role.TRANSFORM)
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
        found = CATALOGUE.get(node.name)
        if found is None or found.internal:
            if node.hyperparameters and kind_of(node.name) is not None:
                raise place.wrong(f"{node.name} is TPOT's own and takes no hyperparameters here.")
            return self._group([node.name], place)
        self._check_kind(found, place)
        if found.name in _SELECTORS:
            raise place.wrong(f"{found.name} needs a model; write it as a wrapper with that model inside.")
        return FixedEstimator(found.cls, *self._hyperparameters(found, node.hyperparameters, place))

    def _wrapper(self, node: WrapperNode, place: _Place) -> Any:
        outer = entry(node.estimator)
        if outer.slot is None:
            known = [name for name, item in CATALOGUE.items() if item.slot]
            raise place.wrong(f"{outer.name} takes no inner estimator. {suggest(outer.name, known)}")
        self._check_kind(outer, place)
        inner = self.space(node.inner, place.below("inner", role=_Role.INNER))
        for cls in _classes(inner):
            if cause := _why_not_inside(outer.name, cls):
                raise place.wrong(f"{cls.__name__} cannot be inside {outer.name}: {cause}.")
        space, reader = self._hyperparameters(outer, node.hyperparameters, place)
        return FixedWrapper(outer.cls, space, inner, reader)

    def _hyperparameters(self, found: Entry, given: Any, place: _Place) -> tuple[Any, Parser]:
        try:
            return hyperparameter_space(found, given)
        except SpecInvalid as error:
            raise SpecInvalid(error.reason, f"{place.path}.hyperparameters: {error.message}") from error

    def _check_kind(self, found: Entry, place: _Place) -> None:
        wanted = Kind.CLASSIFIER if self.context.classification else Kind.REGRESSOR
        if place.role is _Role.TRANSFORM and found.predictor:
            raise place.wrong(f"{found.name} is a {found.kind}; {place.role.value} transforms or selects.")
        if place.role is not _Role.TRANSFORM and found.kind is not wanted:
            raise place.wrong(
                f"{found.name} is a {found.kind}; {place.role.value} of a {self.context.task} is a {wanted}."
            )


def _classes(space: Any) -> list[type]:
    """Return the classes of the estimators that a space of inner estimators gives."""
    if isinstance(space, FixedChoice):
        return [cls for item in space.search_spaces for cls in _classes(item)]
    return [space.method]


def _why_not_inside(outer: str, inner: type) -> str | None:
    """Return why a meta-estimator would reject an inner estimator in every fit."""
    if outer in _NEEDS_WEIGHTS and not has_fit_parameter(inner(), "sample_weight"):
        return "it takes no sample weights"
    if outer in _SELECTORS and inner.__name__ in NUMBERED:
        return "it takes no text labels; take LightGBM"
    if outer in _SELECTORS and not _ranks_columns(inner):
        return "it has no feature importances; use trees or a linear model"
    return None


@cache
def _ranks_columns(cls: type) -> bool:
    """Return whether an estimator with its defaults knows, once fitted, how much each column counts."""
    table = np.random.default_rng(0).normal(size=(20, 3))
    fitted = cls().fit(table, np.arange(20) % 2)
    return hasattr(fitted, "feature_importances_") or hasattr(fitted, "coef_")
