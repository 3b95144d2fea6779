"""Repairs of transformers and selectors, by the name of the class."""

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from trainingjob_trainer.search_space.context import SpaceContext
from trainingjob_trainer.search_space.pipeline_spec import PipelineSpec, leaf
from trainingjob_trainer.search_space.replacements import Steps
from trainingjob_trainer.search_space.widths import Width

__all__ = ["TRANSFORMERS", "TransformerRepair"]

TransformerRepair = Callable[[dict[str, Any], Width, SpaceContext], Steps]

_NOT_NEGATIVE_KERNELS: Final = {"chi2", "additive_chi2"}
_TWO: Final = 2


def _scored(params: dict[str, Any], context: SpaceContext) -> None:
    """Score columns against a continuous target by regression; TPOT leaves the score for classes."""
    if "score_func" not in params and not context.classification:
        params["score_func"] = {"$function": "sklearn.feature_selection.f_regression"}


def _union(*members: PipelineSpec) -> PipelineSpec:
    return {"class": "FeatureUnion", "members": list(members)}


def _significant(name: str) -> TransformerRepair:
    """Keep the best column even where no column is significant."""

    def made(params: dict[str, Any], width: Width, context: SpaceContext) -> Steps:
        _scored(params, context)
        score = {key: value for key, value in params.items() if key == "score_func"}
        best = leaf("SelectKBest", k=1, **score)
        return [_union(leaf(name, **params), best)], Width(1, width.most + 1)

    return made


def _percentile(params: dict[str, Any], width: Width, context: SpaceContext) -> Steps:
    _scored(params, context)
    if width.least == 1:
        return [], width
    percentile = max(float(params.get("percentile", 10)), min(100.0, 101.0 / width.least))
    params["percentile"] = percentile
    share = percentile / 100
    return [leaf("SelectPercentile", **params)], Width(
        max(1, math.floor(width.least * share)), math.ceil(width.most * share)
    )


def _k_best(params: dict[str, Any], width: Width, context: SpaceContext) -> Steps:
    _scored(params, context)
    k = params.get("k", 10)
    if not isinstance(k, int):
        return [leaf("SelectKBest", **params)], width
    params["k"] = max(1, min(k, width.least))
    return [leaf("SelectKBest", **params)], Width.exactly(params["k"])


def _variance(params: dict[str, Any], width: Width, _context: SpaceContext) -> Steps:
    """Keep the column of the largest variance even where none passes the threshold."""
    threshold = params.get("threshold", 0.0)
    if not threshold:
        return [leaf("VarianceThreshold")], Width(1, width.most)
    by_variance = {"estimator": {"$estimator": leaf("StandardScaler")}, "importance_getter": "var_"}
    passing = leaf("SelectFromModel", **by_variance, threshold=threshold)
    best = leaf("SelectFromModel", **by_variance, threshold={"$float": "-inf"}, max_features=1)
    return [_union(passing, best)], Width(1, width.most + 1)


def _agglomeration(params: dict[str, Any], width: Width, _context: SpaceContext) -> Steps:
    """Form no more clusters than there are columns, and compare directions without dividing by zero."""
    if width.least < _TWO:
        return [], width
    before = []
    if params.get("metric") == "cosine":
        before = [leaf("StandardScaler")]
        params["metric"] = "euclidean"
    params["n_clusters"] = max(1, min(params.get("n_clusters", 2) or 2, width.least))
    return [*before, leaf("FeatureAgglomeration", **params)], Width.exactly(params["n_clusters"])


def _ica(params: dict[str, Any], width: Width, _context: SpaceContext) -> Steps:
    """Whiten only directions that vary: constant and collinear columns would divide by zero."""
    wanted = params.get("n_components") or width.most
    params["n_components"] = max(1, min(wanted, width.least))
    before = [leaf("StandardScaler"), leaf("PCA", n_components=0.9999)]
    return [*before, leaf("FastICA", **params)], Width(1, params["n_components"])


def _pca(params: dict[str, Any], width: Width, _context: SpaceContext) -> Steps:
    wanted = params.get("n_components")
    if isinstance(wanted, int):
        params["n_components"] = max(1, min(wanted, width.least))
        return [leaf("PCA", **params)], Width.exactly(params["n_components"])
    return [leaf("PCA", **params)], width.upto(width.most)


def _svd(params: dict[str, Any], width: Width, _context: SpaceContext) -> Steps:
    if width.least < _TWO:
        return [], width
    params["n_components"] = max(1, min(params.get("n_components", 2), width.least))
    return [leaf("TruncatedSVD", **params)], Width.exactly(params["n_components"])


def _nystroem(params: dict[str, Any], _width: Width, context: SpaceContext) -> Steps:
    wanted = params.get("n_components", 100)
    params["n_components"] = max(1, min(wanted, context.least_fold_rows // 2))
    before = [leaf("MinMaxScaler", clip=True)] if params.get("kernel") in _NOT_NEGATIVE_KERNELS else []
    return [*before, leaf("Nystroem", **params)], Width.exactly(params["n_components"])


def _rbf_sampler(params: dict[str, Any], _width: Width, _context: SpaceContext) -> Steps:
    return [leaf("RBFSampler", **params)], Width.exactly(params.get("n_components", 100))


def _bins(params: dict[str, Any], width: Width, context: SpaceContext) -> Steps:
    """Make dense columns, and no more bins than the memory and the rows allow."""
    ordinal = params.get("encode") == "ordinal"
    n_bins = min(params.get("n_bins", 5), context.least_fold_rows // 2)
    n_bins = n_bins if ordinal else min(n_bins, width.room(context))
    if n_bins < _TWO:
        return [], width
    params |= {"n_bins": n_bins, "encode": "ordinal" if ordinal else "onehot-dense"}
    return [leaf("KBinsDiscretizer", **params)], width if ordinal else width.grown(n_bins)


def _one_hot(params: dict[str, Any], width: Width, context: SpaceContext) -> Steps:
    most = min(params.get("max_categories") or 10, width.room(context))
    if most < _TWO:
        return [], width
    params |= {"max_categories": most, "handle_unknown": "infrequent_if_exist", "sparse_output": False}
    return [leaf("OneHotEncoder", **params)], width.grown(most)


def _ordinal(params: dict[str, Any], width: Width, _context: SpaceContext) -> Steps:
    params |= {"handle_unknown": "use_encoded_value", "unknown_value": -1}
    return [leaf("OrdinalEncoder", **params)], width


def _polynomial(params: dict[str, Any], width: Width, context: SpaceContext) -> Steps:
    """Lower the degree until the products fit; with none left, keep the columns."""
    degree = params.get("degree", 2)
    limit = width.room(context) * width.most
    while isinstance(degree, int) and degree > 1 and math.comb(width.most + degree, degree) > limit:
        degree -= 1
    if degree == 1:
        return [], width
    params["degree"] = degree
    most = math.comb(width.most + degree, degree) if isinstance(degree, int) else limit
    return [leaf("PolynomialFeatures", **params)], Width(width.least, most)


def _spline(params: dict[str, Any], width: Width, context: SpaceContext) -> Steps:
    each = params.get("n_knots", 5) + params.get("degree", 3) - 1
    if each > width.room(context):
        return [], width
    return [leaf("SplineTransformer", **params)], width.grown(each)


def _quantile(params: dict[str, Any], width: Width, context: SpaceContext) -> Steps:
    params["n_quantiles"] = max(2, min(params.get("n_quantiles", 1000), 1000, context.least_fold_rows))
    return [leaf("QuantileTransformer", **params)], width


def _robust(params: dict[str, Any], width: Width, _context: SpaceContext) -> Steps:
    """Read TPOT's quantiles, given as fractions, as the percentages that scikit-learn expects."""
    quantiles = params.get("quantile_range")
    if isinstance(quantiles, dict):
        low, high = quantiles["$tuple"]
        if high <= 1:
            params["quantile_range"] = {"$tuple": [100 * low, 100 * high]}
    return [leaf("RobustScaler", **params)], width


TRANSFORMERS: Final[Mapping[str, TransformerRepair]] = {
    "SelectFwe": _significant("SelectFwe"),
    "SelectFdr": _significant("SelectFdr"),
    "SelectPercentile": _percentile,
    "SelectKBest": _k_best,
    "VarianceThreshold": _variance,
    "FeatureAgglomeration": _agglomeration,
    "FastICA": _ica,
    "PCA": _pca,
    "TruncatedSVD": _svd,
    "Nystroem": _nystroem,
    "RBFSampler": _rbf_sampler,
    "KBinsDiscretizer": _bins,
    "OneHotEncoder": _one_hot,
    "OrdinalEncoder": _ordinal,
    "PolynomialFeatures": _polynomial,
    "SplineTransformer": _spline,
    "QuantileTransformer": _quantile,
    "RobustScaler": _robust,
}
"""Repairs by name; a transformer that is not here needs none and keeps the width."""
