"""Predictors and meta-estimators that would fail, never end, or are deprecated, replaced by what works.

`repair` is given the description of any estimator, the width that reaches it and the step before it, and
returns the steps that replace it. ``docs/tpot.md`` lists the repairs with their reasons.
"""

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from trainingjob_trainer.search_space.allow_list import CATALOGUE
from trainingjob_trainer.search_space.context import SpaceContext, Width
from trainingjob_trainer.search_space.pipeline import PipelineSpec, changed, leaf
from trainingjob_trainer.search_space.tpot_fixes.transformers import TRANSFORMERS, Params, Steps, bounded

Replacement: TypeAlias = list[PipelineSpec] | None
"""The steps in place of a predictor; None for the predictor with its changed parameters."""

_STANDARD: Final = {"StandardScaler", "MinMaxScaler", "QuantileTransformer", "PowerTransformer"}
_TARGET_SCALED: Final = {"HuberRegressor", "LinearSVR", "MLPRegressor", "SGDRegressor", "SVR"}
"""Regressors that diverge or do not improve unless the target has unit scale."""
_SCALE_FIRST: Final = {
    *_TARGET_SCALED,
    "LinearSVC",
    "LogisticRegression",
    "MLPClassifier",
    "SGDClassifier",
    "SVC",
}
_NOT_NEGATIVE: Final = {"ComplementNB", "MultinomialNB"}
NUMBERED: Final = {"CatBoostClassifier", "XGBClassifier"}
"""Classifiers that take or return labels of their own form: whole numbers, or a table of one column."""
_PLAIN_NAMES: Final = ("LGBM", "XGB")
"""Refuse a frame whose column names hold a bracket, comma or colon, as categories may."""
_SMOOTH_LOSSES: Final = {"squared_error", "squared_epsilon_insensitive"}
_ARD_COLUMNS: Final = 100
_REACH: Final = 5.0
_LEAST_RATIO: Final = 0.01


def repair(spec: PipelineSpec, width: Width, context: SpaceContext, previous: PipelineSpec | None) -> Steps:
    """Return the steps that replace one estimator."""
    name, params = spec["class"], dict(spec.get("params", {}))
    found = CATALOGUE[name]
    if found.slot is not None:
        return _meta(spec, found.slot, width, context, previous)
    if found.predictor:
        made = _PREDICTORS[name](params, width, context) if name in _PREDICTORS else None
        steps = made or [leaf(name, **params)]
        return _surrounded(name, steps, previous, context), width
    if name in TRANSFORMERS:
        return TRANSFORMERS[name](name, params, width, context)
    return [leaf(name, **params)], width


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


def _logistic(params: Params, _width: Width, _context: SpaceContext) -> None:
    """Say the penalty by ``l1_ratio``, and leave saga where lbfgs finds the same optimum sooner."""
    penalty = params.pop("penalty", None)
    if penalty == "l1":
        params["l1_ratio"] = 1.0
    elif penalty == "l2":
        params.pop("l1_ratio", None)
    if params.get("l1_ratio", 0.0):
        params["solver"] = "saga"
        params["max_iter"] = min(params.get("max_iter", 100), 200)
        params.setdefault("tol", 1e-3)
    elif params.get("solver") == "saga":
        params.pop("solver")
    params.pop("n_jobs", None)


def _neighbours(params: Params, _width: Width, context: SpaceContext) -> None:
    bounded(params, "n_neighbors", 5, max(1, context.least_fold_rows // 2))


def _lda(params: Params, width: Width, context: SpaceContext) -> None:
    """Solve by least squares what the eigen solver refuses on a singular covariance."""
    if params.get("solver") == "eigen":
        params["solver"] = "lsqr"
    if params.get("solver", "svd") == "svd":
        params.pop("shrinkage", None)
    if "n_components" in params:
        bounded(params, "n_components", 1, min(context.n_classes - 1, width.least))


def _qda(params: Params, width: Width, context: SpaceContext) -> list[PipelineSpec]:
    """Keep the covariance of each class regular: more rows than columns, and some regularisation."""
    params.pop("shrinkage", None)
    params.pop("solver", None)
    params["reg_param"] = max(float(params.get("reg_param", 0.0)), 1e-3)
    most = context.least_class_rows - 1
    qda = leaf("QuadraticDiscriminantAnalysis", **params)
    if width.most <= most:
        return [qda]
    return [leaf("StandardScaler"), leaf("PCA", n_components=max(1, min(width.least, most))), qda]


def _stopped(params: Params, _width: Width, context: SpaceContext) -> None:
    """Keep every class in the part that early stopping sets aside."""
    fraction = params.get("validation_fraction", 0.1)
    if isinstance(fraction, float):
        least = min(0.4, 1.5 * max(2, context.n_classes) / context.least_fold_rows)
        params["validation_fraction"] = max(fraction, least)


def _gradient(params: Params, width: Width, context: SpaceContext) -> None:
    """Drop a fraction of None, and losses of classifiers for a regressor."""
    _stopped(params, width, context)
    if params["validation_fraction"] is None:
        params.pop("validation_fraction")
    if not context.classification and params.get("loss") in {"log_loss", "exponential"}:
        params.pop("loss")


def _sgd_regressor(params: Params, width: Width, _context: SpaceContext) -> Replacement:
    """Bound the first step where the gradient grows with the error, and the columns with it."""
    if params.get("loss", "squared_error") not in _SMOOTH_LOSSES:
        return None
    if params.get("learning_rate") == "optimal":
        params["learning_rate"] = "invscaling"
    params["eta0"] = min(params.get("eta0", 0.01), 1.0 / (_REACH**2 * (width.most + 1)))
    bounds = {"$dict": {"a_min": -_REACH, "a_max": _REACH}}
    clip = leaf("FunctionTransformer", func={"$function": "numpy.clip"}, kw_args=bounds)
    return [leaf("StandardScaler"), clip, leaf("SGDRegressor", **params)]


def _ard(params: Params, width: Width, _context: SpaceContext) -> Replacement:
    """Share one precision among the columns where one for each would take too long."""
    if width.most <= _ARD_COLUMNS:
        return None
    params.pop("threshold_lambda", None)
    return [leaf("BayesianRidge", **params)]


def _elastic_net_cv(params: Params, _width: Width, _context: SpaceContext) -> None:
    """Leave out the mixing weight 0, for which no grid of penalties can be made."""
    ratios = params.get("l1_ratio", 0.5)
    kept = [ratio for ratio in (ratios if isinstance(ratios, list) else [ratios]) if ratio >= _LEAST_RATIO]
    params["l1_ratio"] = kept or [0.1]


def _svc(params: Params, _width: Width, context: SpaceContext) -> list[PipelineSpec]:
    """Calibrate by cross-validation, since scikit-learn 1.9 deprecates ``probability``."""
    probability = params.pop("probability", False)
    svc = leaf("SVC", **params)
    if not probability:
        return [svc]
    folds = max(2, min(5, context.least_class_rows))
    return [leaf("CalibratedClassifierCV", estimator={"$estimator": svc}, ensemble=False, cv=folds)]


def _trees(params: Params, _width: Width, _context: SpaceContext) -> None:
    if params.get("criterion") == "friedman_mse":  # deprecated, and the same splits
        params.pop("criterion")


_PREDICTORS: Final[Mapping[str, Callable[[Params, Width, SpaceContext], Replacement]]] = {
    "ARDRegression": _ard,
    "ElasticNetCV": _elastic_net_cv,
    "LinearDiscriminantAnalysis": _lda,
    "LogisticRegression": _logistic,
    "QuadraticDiscriminantAnalysis": _qda,
    "SGDRegressor": _sgd_regressor,
    "SVC": _svc,
    **dict.fromkeys(("DecisionTreeRegressor", "ExtraTreesRegressor", "RandomForestRegressor"), _trees),
    **dict.fromkeys(("GradientBoostingClassifier", "GradientBoostingRegressor"), _gradient),
    **dict.fromkeys(("HistGradientBoostingClassifier", "HistGradientBoostingRegressor"), _stopped),
    **dict.fromkeys(("KNeighborsClassifier", "KNeighborsRegressor"), _neighbours),
    **dict.fromkeys(("MLPClassifier", "MLPRegressor", "SGDClassifier"), _stopped),
}
"""Repairs by name; a predictor that is not here needs none."""


def _meta(
    spec: PipelineSpec, slot: str, width: Width, context: SpaceContext, previous: PipelineSpec | None
) -> Steps:
    """Repair the inner estimator; what it needs in front of it goes in front of the whole."""
    name, params = spec["class"], dict(spec.get("params", {}))
    before: list[PipelineSpec] = []
    if (inner := params.get(slot)) is not None:
        *before, last = repair(inner["$estimator"], width, context, previous)[0]
        ranks = name in {"RFE", "SelectFromModel"}  # a wrapper would hide importances
        if last["class"] == "TransformedTargetRegressor" and (ranks or name == last["class"]):
            last = last["params"]["regressor"]["$estimator"]
        params[slot] = {"$estimator": last}
    match name:
        case "RFE" if width.least == 1:  # it needs two columns
            return before, width
        case "RFE":
            width = _rfe(params, width)
        case "SelectFromModel":
            width = _from_model(params, width)
        case "CalibratedClassifierCV":
            folds = params.get("cv")
            params["cv"] = max(2, min(folds if isinstance(folds, int) else 5, context.least_class_rows))
    params.pop("oob_score", None)  # it costs time, and nothing reads it
    return [*before, leaf(name, **params)], width


def _rfe(params: Params, width: Width) -> Width:
    step = params.get("step", 1)
    params["step"] = min(0.9, max(0.1, step)) if isinstance(step, float) else step
    wanted = params.get("n_features_to_select")
    if wanted is None:
        return Width(max(1, width.least // 2), max(1, width.most // 2))
    if not isinstance(wanted, int):
        return Width(1, width.most)
    params["n_features_to_select"] = min(wanted, width.least)
    return Width.exactly(params["n_features_to_select"])


def _from_model(params: Params, width: Width) -> Width:
    """State an absolute threshold as a share of the mean, under which the best column never falls."""
    threshold = params.get("threshold")
    if isinstance(threshold, int | float):
        params["threshold"] = f"{min(0.99, threshold * width.most):.6g}*mean"
    elif threshold in {"mean", "median"}:
        params["threshold"] = f"0.99*{threshold}"
    return Width(1, width.most)


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
    params = {
        key: {"$estimator": finish(value["$estimator"], context)}
        if isinstance(value, dict) and "$estimator" in value
        else value
        for key, value in spec.get("params", {}).items()
    }
    params.pop("nthread", None)
    fixed = {
        "random_state": context.random_state, "n_jobs": 1, "thread_count": 1, "allow_writing_files": False,
    }  # fmt: skip
    match found.name.removesuffix("Classifier").removesuffix("Regressor"):
        case "XGB":
            fixed["verbosity"] = 0
        case "LGBM":
            params["verbose"] = -1
        case "CatBoost":
            params["logging_level"] = "Silent"
        case "LogisticRegression":  # scikit-learn 1.8 deprecates the parameter there
            fixed.pop("n_jobs")
    params |= {key: value for key, value in fixed.items() if key in found.parameters}
    return leaf(found.name, **changed(found.cls, params))
