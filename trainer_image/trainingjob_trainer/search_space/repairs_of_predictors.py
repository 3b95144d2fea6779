"""Repairs of classifiers and regressors, by the name of the class."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from trainingjob_trainer.search_space.context import SpaceContext
from trainingjob_trainer.search_space.pipeline_spec import PipelineSpec, leaf
from trainingjob_trainer.search_space.widths import Width

__all__ = ["PREDICTORS", "TARGET_SCALED", "PredictorRepair"]

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
