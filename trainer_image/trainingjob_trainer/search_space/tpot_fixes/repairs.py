"""Repairs of estimators."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from trainingjob_trainer.search_space.allow_list import CATALOGUE, Kind
from trainingjob_trainer.search_space.context import SpaceContext, Untranslatable, Width
from trainingjob_trainer.search_space.pipeline import PipelineSpec, changed, leaf
from trainingjob_trainer.search_space.tpot_fixes.transformers import TRANSFORMERS, Steps

__all__ = ["PREDICTORS", "TARGET_SCALED", "PredictorRepair", "finish", "repair"]

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


PredictorRepair = Callable[[dict[str, Any], Width, SpaceContext], list[PipelineSpec]]

TARGET_SCALED: Final = frozenset({"HuberRegressor", "LinearSVR", "MLPRegressor", "SGDRegressor", "SVR"})
"""Regressors that diverge or stand still unless the target has unit scale."""

_SMOOTH_LOSSES: Final = {"squared_error", "squared_epsilon_insensitive"}
_ARD_COLUMNS: Final = 100


def _logistic(params: dict[str, Any], _width: Width, _context: SpaceContext) -> list[PipelineSpec]:
    """Say the penalty by ``l1_ratio``, and leave saga where lbfgs finds the same optimum sooner."""
    penalty = params.pop("penalty", None)
    if penalty == "l1":
        params["l1_ratio"] = 1.0
    elif penalty == "l2":
        params.pop("l1_ratio", None)
    elif penalty is None and params.get("solver") == "saga" and "l1_ratio" not in params:
        params.pop("solver")
    if params.get("l1_ratio", 0.0):
        params["solver"] = "saga"
        params["max_iter"] = min(params.get("max_iter", 100), 200)
        params.setdefault("tol", 1e-3)
    elif params.get("solver") == "saga":
        params.pop("solver")
    params.pop("n_jobs", None)
    return [leaf("LogisticRegression", **params)]


def _neighbours(name: str) -> PredictorRepair:
    def made(params: dict[str, Any], _width: Width, context: SpaceContext) -> list[PipelineSpec]:
        most = max(1, context.least_fold_rows // 2)
        params["n_neighbors"] = min(params.get("n_neighbors", 5), most)
        return [leaf(name, **params)]

    return made


def _lda(params: dict[str, Any], width: Width, context: SpaceContext) -> list[PipelineSpec]:
    """Solve by least squares what the eigen solver refuses on a singular covariance."""
    if params.get("solver") == "eigen":
        params["solver"] = "lsqr"
    if params.get("solver", "svd") == "svd":
        params.pop("shrinkage", None)
    if "n_components" in params:
        params["n_components"] = max(1, min(params["n_components"], context.n_classes - 1, width.least))
    return [leaf("LinearDiscriminantAnalysis", **params)]


def _qda(params: dict[str, Any], width: Width, context: SpaceContext) -> list[PipelineSpec]:
    """Keep the covariance of each class regular: more rows than columns, and some regularisation."""
    params.pop("shrinkage", None)
    params.pop("solver", None)
    params["reg_param"] = max(float(params.get("reg_param", 0.0)), 1e-3)
    most = context.least_class_rows - 1
    before = []
    if width.most > most:
        before = [leaf("StandardScaler"), leaf("PCA", n_components=max(1, min(width.least, most)))]
    return [*before, leaf("QuadraticDiscriminantAnalysis", **params)]


def _stopping(name: str) -> PredictorRepair:
    """Keep every class in the part that early stopping sets aside, and drop a fraction of None."""

    def made(params: dict[str, Any], _width: Width, context: SpaceContext) -> list[PipelineSpec]:
        fraction = params.get("validation_fraction", 0.1)
        if fraction is None and name.startswith("GradientBoosting"):
            params.pop("validation_fraction")
        elif isinstance(fraction, float):
            least = min(0.4, 1.5 * max(2, context.n_classes) / context.least_fold_rows)
            params["validation_fraction"] = max(fraction, least)
        if name == "GradientBoostingRegressor" and params.get("loss") in {"log_loss", "exponential"}:
            params.pop("loss")
        return [leaf(name, **params)]

    return made


def _sgd_regressor(params: dict[str, Any], width: Width, _context: SpaceContext) -> list[PipelineSpec]:
    """Bound the first step where the gradient grows with the error, and the columns with it."""
    before: list[PipelineSpec] = []
    if params.get("loss", "squared_error") in _SMOOTH_LOSSES:
        reach = 5.0
        before = [leaf("StandardScaler"), _clipped(reach)]
        if params.get("learning_rate") == "optimal":
            params["learning_rate"] = "invscaling"
        params["eta0"] = min(params.get("eta0", 0.01), 1.0 / (reach**2 * (width.most + 1)))
    return [*before, leaf("SGDRegressor", **params)]


def _clipped(reach: float) -> PipelineSpec:
    bounds = {"$dict": {"a_min": -reach, "a_max": reach}}
    return leaf("FunctionTransformer", func={"$function": "numpy.clip"}, kw_args=bounds)


def _ard(params: dict[str, Any], width: Width, _context: SpaceContext) -> list[PipelineSpec]:
    """Share one precision among the columns where one for each would take too long."""
    if width.most > _ARD_COLUMNS:
        params.pop("threshold_lambda", None)
        return [leaf("BayesianRidge", **params)]
    return [leaf("ARDRegression", **params)]


def _elastic_net_cv(params: dict[str, Any], _width: Width, _context: SpaceContext) -> list[PipelineSpec]:
    """Leave out the mixing weight 0, for which no grid of penalties can be made."""
    ratios = params.get("l1_ratio", 0.5)
    kept = [ratio for ratio in (ratios if isinstance(ratios, list) else [ratios]) if ratio >= 0.01]  # noqa: PLR2004
    params["l1_ratio"] = kept or [0.1]
    return [leaf("ElasticNetCV", **params)]


def _svc(params: dict[str, Any], _width: Width, context: SpaceContext) -> list[PipelineSpec]:
    """Calibrate by cross-validation, since scikit-learn 1.9 deprecates ``probability``."""
    probability = params.pop("probability", False)
    svc = leaf("SVC", **params)
    if not probability:
        return [svc]
    folds = max(2, min(5, context.least_class_rows))
    return [leaf("CalibratedClassifierCV", estimator={"$estimator": svc}, ensemble=False, cv=folds)]


def _trees(name: str) -> PredictorRepair:
    def made(params: dict[str, Any], _width: Width, _context: SpaceContext) -> list[PipelineSpec]:
        if params.get("criterion") == "friedman_mse":  # deprecated, and the same splits
            params.pop("criterion")
        return [leaf(name, **params)]

    return made


PREDICTORS: Final[Mapping[str, PredictorRepair]] = {
    "LogisticRegression": _logistic,
    "KNeighborsClassifier": _neighbours("KNeighborsClassifier"),
    "KNeighborsRegressor": _neighbours("KNeighborsRegressor"),
    "LinearDiscriminantAnalysis": _lda,
    "QuadraticDiscriminantAnalysis": _qda,
    "SGDRegressor": _sgd_regressor,
    "ARDRegression": _ard,
    "ElasticNetCV": _elastic_net_cv,
    "SVC": _svc,
    **{
        name: _stopping(name)
        for name in (
            "GradientBoostingClassifier",
            "GradientBoostingRegressor",
            "HistGradientBoostingClassifier",
            "HistGradientBoostingRegressor",
            "MLPClassifier",
            "MLPRegressor",
            "SGDClassifier",
        )
    },
    **{
        name: _trees(name)
        for name in ("DecisionTreeRegressor", "ExtraTreesRegressor", "RandomForestRegressor")
    },
}
"""Repairs by name; a predictor that is not here needs none."""
