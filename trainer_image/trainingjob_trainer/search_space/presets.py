"""TPOT's templates, groups and estimators by name."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tpot.config import get_search_space
from tpot.config.get_configspace import GROUPNAMES, STRING_TO_CLASS
from tpot.config.template_search_spaces import get_template_search_spaces
from tpot.search_spaces.nodes.estimator_node import EstimatorNode

from trainingjob_api import Preset, Reason
from trainingjob_trainer.errors import SpecInvalid
from trainingjob_trainer.search_space.allow_list import CATALOGUE, Kind, suggest
from trainingjob_trainer.search_space.context import SpaceContext
from trainingjob_trainer.search_space.tpot_fixes.spaces import FixedChoice, FixedGraph, fix
from trainingjob_trainer.search_space.tpot_fixes.transformers import EXCLUDED, REPLACED

__all__ = ["TEMPLATES", "kind_of", "named_space", "preset_space"]

TEMPLATES: Final = tuple(preset.value for preset in Preset)
"""TPOT's whole search spaces."""

_WRAPPED: Final = {
    "RFE_classification": "classification",
    "RFE_regression": "regression",
    "SelectFromModel_classification": "classification",
    "SelectFromModel_regression": "regression",
}
_NO_SPACE_OF_TPOT: Final = {"FeatureSetSelector"}
_GROUPS: Final[Mapping[str, Sequence[str]]] = {
    **GROUPNAMES,
    "classifiers": (*GROUPNAMES["classifiers"], "CatBoostClassifier"),
    "regressors": (*GROUPNAMES["regressors"], "CatBoostRegressor"),
}
"""TPOT's groups, with CatBoost, which TPOT does not know."""


def _sizes(context: SpaceContext) -> dict[str, Any]:
    """Return the sizes on which TPOT's spaces depend; some of its ranges are empty below them."""
    return {
        "n_classes": max(2, context.n_classes),
        "n_samples": max(20, context.n_rows),
        "n_features": max(4, context.n_features),
        "random_state": context.random_state,
        "n_jobs": 1,
    }


def preset_space(name: str, context: SpaceContext) -> Any:
    """Return the fixed search space of a preset.

    Raises
    ------
    SpecInvalid
        The name is unknown (``UnknownPreset``), or what it names does not predict.
    """
    if name in TEMPLATES:
        return _template(name, context)
    known = {*TEMPLATES, *_GROUPS, *CATALOGUE, *STRING_TO_CLASS}
    if name not in known:
        raise SpecInvalid(
            Reason.UNKNOWN_PRESET, f"The search space {name!r:.80} is unknown. {suggest(name, known)}"
        )
    return named_space([name], context, predicts=True)


def _template(name: str, context: SpaceContext) -> Any:
    """Return a template of TPOT, with CatBoost among the predictors of those that are not light."""
    root = fix(
        get_template_search_spaces(
            name,
            classification=context.classification,
            inner_predictors=False,
            cross_val_predict_cv=0,
            **_sizes(context),
        ),
        context,
    )
    if not name.endswith("-light"):
        predictors = root.root_search_space if isinstance(root, FixedGraph) else root.search_spaces[-1]
        name = "CatBoostClassifier" if context.classification else "CatBoostRegressor"
        predictors.search_spaces.append(_one(name, context))
    return root


def kind_of(name: str) -> Kind | None:
    """Return the purposes of an estimator or one of TPOT's names; none if it is unknown."""
    if name in CATALOGUE:
        return None if CATALOGUE[name].internal else CATALOGUE[name].kind
    if name in _WRAPPED:
        return Kind.SELECTOR
    return Kind.TRANSFORMER if name in REPLACED - _NO_SPACE_OF_TPOT else None


def named_space(names: Sequence[str], context: SpaceContext, *, predicts: bool) -> Any:
    """Return the fixed choice among TPOT's groups and estimators.

    With `predicts` they may be a final step, otherwise a step that transforms.

    Raises
    ------
    SpecInvalid
        A name is unknown (``UnknownEstimator``), excluded, or does not fit its place (``WrongStep``).
    """
    members: list[str] = []
    for name in names:
        group = _flat(name)
        if group is None:
            members.append(_fitting(name, context, predicts=predicts))
        else:
            allowed = [item for item in group if item not in EXCLUDED]
            members += [_fitting(item, context, predicts=predicts, group=name) for item in allowed]
    unique = list(dict.fromkeys(members))
    spaces = [_one(name, context) for name in unique]
    return spaces[0] if len(spaces) == 1 else FixedChoice(spaces)


def _flat(name: str) -> list[str] | None:
    """Return the members of a group and of the groups in it, or none if it is not a group."""
    if name not in _GROUPS:
        return None
    found: list[str] = []
    for item in _GROUPS[name]:
        found += _flat(item) or [item]
    return found


def _fitting(name: str, context: SpaceContext, *, predicts: bool, group: str | None = None) -> str:
    """Return *name* if it is allowed at its place."""
    shown = f"{name} (of the group {group})" if group else name
    if name in EXCLUDED:
        raise SpecInvalid(Reason.UNKNOWN_ESTIMATOR, f"{shown} is not allowed: {EXCLUDED[name]}.")
    kind = kind_of(name)
    if kind is None:
        known = {*CATALOGUE, *REPLACED, *_WRAPPED, *_GROUPS}
        raise SpecInvalid(
            Reason.UNKNOWN_ESTIMATOR, f"The estimator {shown!r:.80} is not allowed. {suggest(name, known)}"
        )
    wanted = Kind.CLASSIFIER if context.classification else Kind.REGRESSOR
    if predicts and kind is not wanted:
        raise SpecInvalid(
            Reason.WRONG_STEP, f"{shown} is a {kind}; the last step of a {context.task} is a {wanted}."
        )
    if not predicts and kind in {Kind.CLASSIFIER, Kind.REGRESSOR}:
        raise SpecInvalid(
            Reason.WRONG_STEP, f"{shown} is a {kind}; only the last step, or a wrapper's inner one, may be."
        )
    if _WRAPPED.get(name, context.task) != context.task:
        raise SpecInvalid(Reason.WRONG_STEP, f"{shown} does not fit a {context.task}.")
    return name


def _one(name: str, context: SpaceContext) -> Any:
    """Return the fixed space of one name: TPOT's, or without one the defaults of scikit-learn."""
    if name in STRING_TO_CLASS or name in _WRAPPED:
        return fix(get_search_space(name, **_sizes(context)), context)
    return fix(EstimatorNode(CATALOGUE[name].cls, {}), context)
