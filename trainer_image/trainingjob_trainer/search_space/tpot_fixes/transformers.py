"""Repairs of transformers."""

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from trainingjob_trainer.search_space.context import SpaceContext, Width
from trainingjob_trainer.search_space.pipeline import PASSTHROUGH, PipelineSpec, leaf

__all__ = ["EXCLUDED", "REPLACED", "TRANSFORMERS", "Steps", "TransformerRepair", "apply", "replace"]

Steps = tuple[list[PipelineSpec], Width]
"""The steps that stand for one, and the width of what they give."""


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


_JUST_BELOW_ZERO: Final = -5e-324  # x > this is x >= 0 for every float
_LARGEST: Final = 1e12  # sums and products end here, so that the square of one is finite
_CATEGORIES: Final = 10

EXCLUDED: Final[Mapping[str, str]] = {
    "EQTransformer": "it compares each row with the first row of the same call, so that a prediction "
    "depends on which rows are predicted together",
    "NETransformer": "it compares each row with the first row of the same call, so that a prediction "
    "depends on which rows are predicted together",
    "GaussianProcessClassifier": "its time grows with the cube of the rows",
    "GaussianProcessRegressor": "its time grows with the cube of the rows",
    "IterativeImputer": "no missing value reaches the search, and it is experimental in scikit-learn",
    "PassiveAggressiveClassifier": "scikit-learn 1.9 deprecates it; SGDClassifier does the same",
    "MDR": "it needs a package that is not installed",
}
"""Names of TPOT that are refused, with the reason."""


def apply(function: str, *, validate: bool = True, **kw_args: Any) -> PipelineSpec:
    """Return a step that applies one NumPy function to the whole table.

    Parameters
    ----------
    function
        Its name in NumPy.
    validate
        Make a plain finite array of the input first: a DataFrame has its own ``sum``.
    **kw_args
        Its keyword arguments in JSON form.
    """
    params: dict[str, Any] = {"func": {"$function": f"numpy.{function}"}}
    if kw_args:
        params["kw_args"] = {"$dict": kw_args}
    if validate:
        params["validate"] = True
    return leaf("FunctionTransformer", **params)


def _reduced(function: str) -> PipelineSpec:
    return apply(function, axis=1, keepdims=True)


def _bounded() -> list[PipelineSpec]:
    finite = apply("nan_to_num", validate=False, nan=0.0, posinf=_LARGEST, neginf=-_LARGEST)
    return [finite, apply("clip", a_min=-_LARGEST, a_max=_LARGEST)]


def _row_wise(function: str, *after: PipelineSpec) -> Callable[[Width], Steps]:
    return lambda _: ([_reduced(function), *after], Width.exactly(1))


def _each(*steps: PipelineSpec) -> Callable[[Width], Steps]:
    return lambda width: (list(steps), width)


def _constant(value: float) -> Callable[[Width], Steps]:
    return lambda _: ([_reduced("min"), apply("full_like", fill_value=value)], Width.exactly(1))


def _genotype(*codes: int) -> Callable[[Width], Steps]:
    """Map 0, 1 and 2 to *codes*; a value between is interpolated, one outside is held."""
    return _each(apply("interp", xp=[0, 1, 2], fp=list(codes)))


def _zero_count(width: Width) -> Steps:
    zero = {"class": "Pipeline", "steps": [apply("logical_not"), _reduced("count_nonzero")]}
    union = {"class": "FeatureUnion", "members": [zero, _reduced("count_nonzero"), dict(PASSTHROUGH)]}
    return [union], Width(width.least + 2, width.most + 2)


_SIMPLE: Final[Mapping[str, Callable[[Width], Steps]]] = {
    "Passthrough": lambda width: ([], width),
    "ZeroCount": _zero_count,
    "AddTransformer": _row_wise("sum", *_bounded()),
    "MulTransformer": _row_wise("prod", *_bounded()),
    "MinTransformer": _row_wise("min"),
    "MaxTransformer": _row_wise("max"),
    "mul_neg_1_Transformer": _each(apply("negative")),
    "SafeReciprocalTransformer": _each(
        apply("reciprocal"),
        apply("nan_to_num", validate=False, nan=0.0, posinf=0.0, neginf=0.0),
        apply("clip", a_min=-_LARGEST, a_max=_LARGEST),
    ),
    "GTTransformer": _each(leaf("Binarizer")),
    "GETransformer": _each(leaf("Binarizer", threshold=_JUST_BELOW_ZERO)),
    "LTTransformer": _each(apply("negative"), leaf("Binarizer")),
    "LETransformer": _each(apply("negative"), leaf("Binarizer", threshold=_JUST_BELOW_ZERO)),
    "ZeroTransformer": _constant(0.0),
    "OneTransformer": _constant(1.0),
    "DominantEncoder": _genotype(1, 1, 0),
    "RecessiveEncoder": _genotype(0, 1, 1),
    "HeterosisEncoder": _genotype(0, 1, 0),
    "UnderDominanceEncoder": _genotype(2, 0, 1),
    "OverDominanceEncoder": _genotype(1, 2, 0),
}

_WITH_CONTEXT: Final = ("ColumnOneHotEncoder", "ColumnOrdinalEncoder", "PassKBinsDiscretizer", "NTransformer")

REPLACED: Final = frozenset({*_SIMPLE, *_WITH_CONTEXT, "SkipTransformer", "FeatureSetSelector"})
"""TPOT's own classes that have a plain equivalent."""


def replace(name: str, params: Mapping[str, Any], width: Width, context: SpaceContext) -> Steps:
    """Return plain steps for one of TPOT's transformers.

    Parameters
    ----------
    name
        Its class's name, one of `REPLACED` other than SkipTransformer and FeatureSetSelector.
    params
        Its parameters.
    width
        Columns that reach it.
    context
        The problem.
    """
    if name == "NTransformer":
        return _constant(float(params["n"]))(width)
    if name == "PassKBinsDiscretizer":
        return _beside(_beside_bins(params, width, context), width)
    if name in {"ColumnOneHotEncoder", "ColumnOrdinalEncoder"}:
        return _beside(_categories(name, width, context), width)
    return _SIMPLE[name](width)


def _beside_bins(params: Mapping[str, Any], width: Width, context: SpaceContext) -> Steps:
    n_bins = min(int(params["n_bins"]), width.room(context))
    if n_bins < 2:  # noqa: PLR2004 - one bin says nothing
        return [], width
    bins = leaf("KBinsDiscretizer", n_bins=n_bins, encode="onehot-dense", strategy=str(params["strategy"]))
    return [bins], width.grown(n_bins)


def _categories(name: str, width: Width, context: SpaceContext) -> Steps:
    """Encode columns of few values; all values of a continuous one are rare and share one code."""
    if name == "ColumnOrdinalEncoder":
        params = {"handle_unknown": "use_encoded_value", "unknown_value": -1}
        return [leaf("OrdinalEncoder", max_categories=_CATEGORIES, min_frequency=0.02, **params)], width
    most = min(_CATEGORIES, width.room(context))
    if most < 2:  # noqa: PLR2004 - one category says nothing
        return [], width
    params = {"handle_unknown": "infrequent_if_exist", "sparse_output": False}
    return [leaf("OneHotEncoder", max_categories=most, min_frequency=0.02, **params)], width.grown(most)


def _beside(made: Steps, width: Width) -> Steps:
    """Keep the columns as they were beside what was made of them."""
    steps, grown = made
    if not steps:
        return [], width
    return [{"class": "FeatureUnion", "members": [dict(PASSTHROUGH), *steps]}], Width.beside([width, grown])
