"""Estimators that would fail, never end, or are deprecated, replaced by the nearest thing that works.

`repair` is given the description of one estimator, the width that reaches it and the step before it, and
returns the steps that replace it. ``docs/tpot.md`` lists the repairs with their reasons.
"""

from collections.abc import Mapping
from typing import Any, Final

from trainingjob_trainer.search_space.allow_list import CATALOGUE, Kind
from trainingjob_trainer.search_space.context import SpaceContext, Untranslatable, Width
from trainingjob_trainer.search_space.pipeline import PipelineSpec, changed, leaf
from trainingjob_trainer.search_space.tpot_fixes.transformers import TRANSFORMERS, Repair, Steps, bounded

__all__ = ["NUMBERED", "finish", "repair"]

Params = dict[str, Any]

_STANDARD: Final = {"StandardScaler", "MinMaxScaler", "QuantileTransformer", "PowerTransformer"}
_TARGET_SCALED: Final = {"HuberRegressor", "LinearSVR", "MLPRegressor", "SGDRegressor", "SVR"}
"""Regressors that diverge or do not improve unless the target has unit scale."""
_SCALE_FIRST: Final = _TARGET_SCALED | {
    "LinearSVC",
    "LogisticRegression",
    "MLPClassifier",
    "SGDClassifier",
    "SVC",
}
_NOT_NEGATIVE: Final = {"ComplementNB", "MultinomialNB"}
_NEEDS_IMPORTANCES: Final = {"RFE", "SelectFromModel"}
NUMBERED: Final = {"CatBoostClassifier", "XGBClassifier"}
"""Classifiers that take or return labels of their own form: whole numbers, or a table of one column."""
_PLAIN_NAMES: Final = ("LGBM", "XGB")
"""Refuse a frame whose column names hold a bracket, comma or colon, as categories may."""
_KEEPS_N_JOBS_UNSET: Final = {"LogisticRegression"}  # scikit-learn 1.8 deprecates the parameter there
_SMOOTH_LOSSES: Final = {"squared_error", "squared_epsilon_insensitive"}
_ARD_COLUMNS: Final = 100
_REACH: Final = 5.0
_LEAST_RATIO: Final = 0.01


def repair(spec: PipelineSpec, width: Width, context: SpaceContext, previous: PipelineSpec | None) -> Steps:
    """Return the steps that replace one estimator.

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
    repairs = _PREDICTORS if found.predictor else TRANSFORMERS
    made = repairs[name](name, params, width, context) if name in repairs else ([leaf(name, **params)], width)
    return (_surrounded(name, made[0], previous, context), width) if found.predictor else made


def _surrounded(
    name: str, steps: list[PipelineSpec], previous: PipelineSpec | None, context: SpaceContext
) -> list[PipelineSpec]:
    """Put in front of a predictor, or around it, what it needs."""
    if context.named and previous is None and name.startswith(_PLAIN_NAMES):
        steps = [leaf("StandardScaler"), *steps]
    if name in _SCALE_FIRST and (previous is None or previous["class"] not in _STANDARD):
        steps = [leaf("StandardScaler"), *steps]
    if name in _NOT_NEGATIVE:
        steps = [leaf("MinMaxScaler", clip=True), *steps]
    last = steps[-1]
    if last["class"] in _TARGET_SCALED:
        scaled = {"regressor": {"$estimator": last}, "transformer": {"$estimator": leaf("StandardScaler")}}
        last = leaf("TransformedTargetRegressor", **scaled)
    if last["class"] in NUMBERED:
        last = {"class": "VotingClassifier", "voting": "soft", "members": [last]}
    return [*steps[:-1], last]


def _logistic(name: str, params: Params, width: Width, _context: SpaceContext) -> Steps:
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
    return [leaf(name, **params)], width


def _neighbours(name: str, params: Params, width: Width, context: SpaceContext) -> Steps:
    bounded(params, "n_neighbors", 5, max(1, context.least_fold_rows // 2))
    return [leaf(name, **params)], width


def _lda(name: str, params: Params, width: Width, context: SpaceContext) -> Steps:
    """Solve by least squares what the eigen solver refuses on a singular covariance."""
    if params.get("solver") == "eigen":
        params["solver"] = "lsqr"
    if params.get("solver", "svd") == "svd":
        params.pop("shrinkage", None)
    if "n_components" in params:
        bounded(params, "n_components", 1, min(context.n_classes - 1, width.least))
    return [leaf(name, **params)], width


def _qda(name: str, params: Params, width: Width, context: SpaceContext) -> Steps:
    """Keep the covariance of each class regular: more rows than columns, and some regularisation."""
    params.pop("shrinkage", None)
    params.pop("solver", None)
    params["reg_param"] = max(float(params.get("reg_param", 0.0)), 1e-3)
    most = context.least_class_rows - 1
    before = []
    if width.most > most:
        before = [leaf("StandardScaler"), leaf("PCA", n_components=max(1, min(width.least, most)))]
    return [*before, leaf(name, **params)], width


def _stopping(name: str, params: Params, width: Width, context: SpaceContext) -> Steps:
    """Keep every class in the part that early stopping sets aside, and drop a fraction of None."""
    fraction = params.get("validation_fraction", 0.1)
    if fraction is None and name.startswith("GradientBoosting"):
        params.pop("validation_fraction")
    elif isinstance(fraction, float):
        least = min(0.4, 1.5 * max(2, context.n_classes) / context.least_fold_rows)
        params["validation_fraction"] = max(fraction, least)
    if name == "GradientBoostingRegressor" and params.get("loss") in {"log_loss", "exponential"}:
        params.pop("loss")
    return [leaf(name, **params)], width


def _sgd_regressor(name: str, params: Params, width: Width, _context: SpaceContext) -> Steps:
    """Bound the first step where the gradient grows with the error, and the columns with it."""
    before: list[PipelineSpec] = []
    if params.get("loss", "squared_error") in _SMOOTH_LOSSES:
        bounds = {"$dict": {"a_min": -_REACH, "a_max": _REACH}}
        clip = leaf("FunctionTransformer", func={"$function": "numpy.clip"}, kw_args=bounds)
        before = [leaf("StandardScaler"), clip]
        if params.get("learning_rate") == "optimal":
            params["learning_rate"] = "invscaling"
        params["eta0"] = min(params.get("eta0", 0.01), 1.0 / (_REACH**2 * (width.most + 1)))
    return [*before, leaf(name, **params)], width


def _ard(name: str, params: Params, width: Width, _context: SpaceContext) -> Steps:
    """Share one precision among the columns where one for each would take too long."""
    if width.most > _ARD_COLUMNS:
        params.pop("threshold_lambda", None)
        return [leaf("BayesianRidge", **params)], width
    return [leaf(name, **params)], width


def _elastic_net_cv(name: str, params: Params, width: Width, _context: SpaceContext) -> Steps:
    """Leave out the mixing weight 0, for which no grid of penalties can be made."""
    ratios = params.get("l1_ratio", 0.5)
    kept = [ratio for ratio in (ratios if isinstance(ratios, list) else [ratios]) if ratio >= _LEAST_RATIO]
    params["l1_ratio"] = kept or [0.1]
    return [leaf(name, **params)], width


def _svc(name: str, params: Params, width: Width, context: SpaceContext) -> Steps:
    """Calibrate by cross-validation, since scikit-learn 1.9 deprecates ``probability``."""
    probability = params.pop("probability", False)
    svc = leaf(name, **params)
    if not probability:
        return [svc], width
    folds = max(2, min(5, context.least_class_rows))
    calibrated = leaf("CalibratedClassifierCV", estimator={"$estimator": svc}, ensemble=False, cv=folds)
    return [calibrated], width


def _trees(name: str, params: Params, width: Width, _context: SpaceContext) -> Steps:
    if params.get("criterion") == "friedman_mse":  # deprecated, and the same splits
        params.pop("criterion")
    return [leaf(name, **params)], width


_PREDICTORS: Final[Mapping[str, Repair]] = {
    "ARDRegression": _ard,
    "DecisionTreeRegressor": _trees,
    "ElasticNetCV": _elastic_net_cv,
    "ExtraTreesRegressor": _trees,
    "GradientBoostingClassifier": _stopping,
    "GradientBoostingRegressor": _stopping,
    "HistGradientBoostingClassifier": _stopping,
    "HistGradientBoostingRegressor": _stopping,
    "KNeighborsClassifier": _neighbours,
    "KNeighborsRegressor": _neighbours,
    "LinearDiscriminantAnalysis": _lda,
    "LogisticRegression": _logistic,
    "MLPClassifier": _stopping,
    "MLPRegressor": _stopping,
    "QuadraticDiscriminantAnalysis": _qda,
    "RandomForestRegressor": _trees,
    "SGDClassifier": _stopping,
    "SGDRegressor": _sgd_regressor,
    "SVC": _svc,
}
"""Repairs by name; a predictor that is not here needs none."""


def _meta(
    name: str, params: Params, width: Width, context: SpaceContext, previous: PipelineSpec | None
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
    steps, width = made(name, params, width, context) if made else ([leaf(name, **params)], width)
    return [*before, *steps], width


def _unwrapped(spec: PipelineSpec) -> PipelineSpec:
    """Return the estimator inside a wrapper, which hides importances."""
    if spec["class"] == "TransformedTargetRegressor":
        return dict(spec["params"]["regressor"]["$estimator"])
    if spec["class"] == "VotingClassifier":
        raise Untranslatable(
            "XGBClassifier and CatBoostClassifier cannot rank columns for a selector: labels are texts."
        )
    return spec


def _check_ranks(params: Params, context: SpaceContext) -> None:
    if "estimator" not in params:
        raise Untranslatable("A selector that needs a model has no model.")
    kind = Kind.CLASSIFIER if context.classification else Kind.REGRESSOR
    if CATALOGUE[params["estimator"]["$estimator"]["class"]].kind is not kind:
        raise Untranslatable(f"A selector's model is not a {kind}.")


def _rfe(name: str, params: Params, width: Width, context: SpaceContext) -> Steps:
    _check_ranks(params, context)
    if width.least == 1:  # it needs two columns
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
    return [leaf(name, **params)], kept


def _from_model(name: str, params: Params, width: Width, context: SpaceContext) -> Steps:
    """State an absolute threshold as a share of the mean, under which the best column never falls."""
    _check_ranks(params, context)
    threshold = params.get("threshold")
    if isinstance(threshold, int | float):
        params["threshold"] = f"{min(0.99, threshold * width.most):.6g}*mean"
    elif threshold in {"mean", "median"}:
        params["threshold"] = f"0.99*{threshold}"
    return [leaf(name, **params)], Width(1, width.most)


def _calibrated(name: str, params: Params, width: Width, context: SpaceContext) -> Steps:
    folds = params.get("cv")
    params["cv"] = max(2, min(folds if isinstance(folds, int) else 5, context.least_class_rows))
    return [leaf(name, **params)], width


def _bagged(name: str, params: Params, width: Width, _context: SpaceContext) -> Steps:
    params.pop("oob_score", None)  # it costs time, and nothing reads it
    return [leaf(name, **params)], width


_METAS: Final[Mapping[str, Repair]] = {
    "BaggingClassifier": _bagged,
    "BaggingRegressor": _bagged,
    "CalibratedClassifierCV": _calibrated,
    "RFE": _rfe,
    "SelectFromModel": _from_model,
}


def finish(spec: PipelineSpec, context: SpaceContext) -> PipelineSpec:
    """Return *spec* with every seed fixed, one thread and no output, in canonical order."""
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
    fixed = {
        "random_state": context.random_state,
        "n_jobs": 1,
        "thread_count": 1,
        "allow_writing_files": False,
    }
    if found.name.startswith("XGB"):
        fixed["verbosity"] = 0
    if found.name.startswith("LGBM"):
        params["verbose"] = -1
    if found.name.startswith("CatBoost"):
        params["logging_level"] = "Silent"
    if found.name in _KEEPS_N_JOBS_UNSET:
        fixed.pop("n_jobs")
    params |= {key: value for key, value in fixed.items() if key in found.parameters}
    return leaf(found.name, **changed(found.cls, params))


def _finish_value(value: Any, context: SpaceContext) -> Any:
    if isinstance(value, dict) and "$estimator" in value:
        return {"$estimator": finish(value["$estimator"], context)}
    return value
