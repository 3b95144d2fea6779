"""Repairs: what would fail, never end, or is deprecated is replaced by the nearest thing that works.

Each repair is given the description of one estimator, the width that reaches it and the step before it,
and returns the steps that stand for it. ``docs/tpot.md`` lists them with their reasons.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from trainingjob_trainer.search_space.catalogue import CATALOGUE, Kind
from trainingjob_trainer.search_space.context import SpaceContext, Untranslatable
from trainingjob_trainer.search_space.pipeline_spec import PipelineSpec, changed, leaf
from trainingjob_trainer.search_space.repairs_of_predictors import PREDICTORS, TARGET_SCALED
from trainingjob_trainer.search_space.repairs_of_transformers import TRANSFORMERS
from trainingjob_trainer.search_space.replacements import Steps
from trainingjob_trainer.search_space.widths import Width

__all__ = ["finish", "repair"]

_STANDARD: Final = {"StandardScaler", "MinMaxScaler", "QuantileTransformer", "PowerTransformer"}
_SCALE_FIRST: Final = {
    "HuberRegressor",
    "LinearSVC",
    "LinearSVR",
    "LogisticRegression",
    "MLPClassifier",
    "MLPRegressor",
    "SGDClassifier",
    "SGDRegressor",
    "SVC",
    "SVR",
}
_NOT_NEGATIVE: Final = {"ComplementNB", "MultinomialNB"}
_NEEDS_IMPORTANCES: Final = {"RFE", "SelectFromModel"}
_KEEPS_N_JOBS_UNSET: Final = {"LogisticRegression"}  # scikit-learn 1.8 deprecates the parameter there


def repair(spec: PipelineSpec, width: Width, context: SpaceContext, previous: PipelineSpec | None) -> Steps:
    """Return the steps that stand for one estimator.

    Parameters
    ----------
    spec
        Its description.
    width
        Columns that reach it.
    context
        The problem.
    previous
        The step before it, if there is one.

    Raises
    ------
    Untranslatable
        A meta-estimator has no inner estimator that it can use.
    """
    name = spec["class"]
    found = CATALOGUE[name]
    params = dict(spec.get("params", {}))
    if found.slot is not None:
        return _meta(name, params, width, context, previous)
    if found.predictor:
        return _predictor(name, params, width, context, previous), width
    made = TRANSFORMERS.get(name)
    return made(params, width, context) if made else ([leaf(name, **params)], width)


def _predictor(
    name: str, params: dict[str, Any], width: Width, context: SpaceContext, previous: PipelineSpec | None
) -> list[PipelineSpec]:
    made = PREDICTORS.get(name)
    steps = made(params, width, context) if made else [leaf(name, **params)]
    if name in _SCALE_FIRST and (previous is None or previous["class"] not in _STANDARD):
        steps = [leaf("StandardScaler"), *steps]
    if name in _NOT_NEGATIVE:
        steps = [leaf("MinMaxScaler", clip=True), *steps]
    if steps[-1]["class"] in TARGET_SCALED:
        steps[-1] = _on_scaled_target(steps[-1])
    if steps[-1]["class"] == "XGBClassifier":
        steps[-1] = {"class": "VotingClassifier", "voting": "soft", "members": [steps[-1]]}
    return steps


def _on_scaled_target(regressor: PipelineSpec) -> PipelineSpec:
    return leaf(
        "TransformedTargetRegressor",
        regressor={"$estimator": regressor},
        transformer={"$estimator": leaf("StandardScaler")},
    )


def _meta(
    name: str, params: dict[str, Any], width: Width, context: SpaceContext, previous: PipelineSpec | None
) -> Steps:
    """Repair the inner estimator; what it needs in front of it goes in front of the whole."""
    slot = CATALOGUE[name].slot or ""
    before: list[PipelineSpec] = []
    inner = params.get(slot)
    if inner is not None:
        *before, last = repair(inner["$estimator"], width, context, previous)[0]
        if name in _NEEDS_IMPORTANCES or name == "TransformedTargetRegressor":
            last = _unwrapped(last)
        params[slot] = {"$estimator": last}
    made = _METAS.get(name)
    steps, width = made(params, width, context) if made else ([leaf(name, **params)], width)
    return [*before, *steps], width


def _unwrapped(spec: PipelineSpec) -> PipelineSpec:
    """Return the estimator inside a wrapper, which hides importances."""
    if spec["class"] == "TransformedTargetRegressor":
        return dict(spec["params"]["regressor"]["$estimator"])
    if spec["class"] == "VotingClassifier":
        raise Untranslatable(
            "XGBClassifier cannot rank columns for a selector, since it takes no text labels."
        )
    return spec


def _importances_of(params: Mapping[str, Any], context: SpaceContext) -> None:
    if "estimator" not in params:
        raise Untranslatable("A selector that asks a model has no model.")
    kind = Kind.CLASSIFIER if context.classification else Kind.REGRESSOR
    if CATALOGUE[params["estimator"]["$estimator"]["class"]].kind is not kind:
        raise Untranslatable(f"A selector's model is not a {kind}.")


def _rfe(params: dict[str, Any], width: Width, context: SpaceContext) -> Steps:
    _importances_of(params, context)
    if width.least < 2:  # noqa: PLR2004 - it needs two columns
        return [], width
    step = params.get("step", 1)
    params["step"] = min(0.9, max(0.1, step)) if isinstance(step, float) else step
    wanted = params.get("n_features_to_select")
    kept = Width(max(1, width.least // 2), max(1, width.most // 2))
    if isinstance(wanted, int):
        params["n_features_to_select"] = min(wanted, width.least)
        kept = Width.exactly(params["n_features_to_select"])
    elif wanted is not None:
        kept = Width(1, width.most)
    return [leaf("RFE", **params)], kept


def _from_model(params: dict[str, Any], width: Width, context: SpaceContext) -> Steps:
    """State an absolute threshold as a share of the mean, under which the best column never falls."""
    _importances_of(params, context)
    threshold = params.get("threshold")
    if isinstance(threshold, int | float):
        params["threshold"] = f"{min(0.99, threshold * width.most):.6g}*mean"
    elif threshold in {"mean", "median"}:
        params["threshold"] = f"0.99*{threshold}"
    return [leaf("SelectFromModel", **params)], Width(1, width.most)


def _calibrated(params: dict[str, Any], width: Width, context: SpaceContext) -> Steps:
    folds = params.get("cv")
    params["cv"] = max(2, min(folds if isinstance(folds, int) else 5, context.least_class_rows))
    return [leaf("CalibratedClassifierCV", **params)], width


def _bagged(name: str) -> Callable[[dict[str, Any], Width, SpaceContext], Steps]:
    def made(params: dict[str, Any], width: Width, _context: SpaceContext) -> Steps:
        params.pop("oob_score", None)  # it costs time and nobody reads it
        return [leaf(name, **params)], width

    return made


_METAS: Final[Mapping[str, Callable[[dict[str, Any], Width, SpaceContext], Steps]]] = {
    "RFE": _rfe,
    "SelectFromModel": _from_model,
    "CalibratedClassifierCV": _calibrated,
    "BaggingClassifier": _bagged("BaggingClassifier"),
    "BaggingRegressor": _bagged("BaggingRegressor"),
}


def finish(spec: PipelineSpec, context: SpaceContext) -> PipelineSpec:
    """Return *spec* with every seed fixed, one thread and no chatter, in canonical order.

    Parameters
    ----------
    spec
        A description.
    context
        The problem.
    """
    done: PipelineSpec = dict(spec)
    for part in ("steps", "members"):
        if part in spec:
            done[part] = [finish(item, context) for item in spec[part]]
    if "estimator" in spec:  # a member of a ColumnTransformer
        done["estimator"] = finish(spec["estimator"], context)
    found = CATALOGUE.get(spec.get("class", ""))
    if found is None:
        return done
    params = {key: _finish_value(value, context) for key, value in spec.get("params", {}).items()}
    params.pop("nthread", None)
    fixed = {"random_state": context.random_state, "n_jobs": 1}
    quiet = {"XGBClassifier": {"verbosity": 0}, "XGBRegressor": {"verbosity": 0}}
    fixed |= quiet.get(found.name, {})
    if found.name.startswith("LGBM"):
        params["verbose"] = -1
    if found.name in _KEEPS_N_JOBS_UNSET:
        fixed.pop("n_jobs")
    params |= {key: value for key, value in fixed.items() if key in found.parameters}
    return leaf(found.name, **changed(found.cls, params))


def _finish_value(value: Any, context: SpaceContext) -> Any:
    if isinstance(value, dict) and "$estimator" in value:
        return {"$estimator": finish(value["$estimator"], context)}
    return value
