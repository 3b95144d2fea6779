"""Transformers that would fail, or need TPOT to load, replaced by plain scikit-learn.

A repair keeps a transformer of scikit-learn from failing on some fold; `replaced` writes TPOT's own classes
as steps over a few NumPy functions, since a model must load without TPOT. Where no exact equivalent exists,
``docs/tpot.md`` states the difference.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from trainingjob_trainer.search_space.context import SpaceContext, Width
from trainingjob_trainer.search_space.pipeline import PASSTHROUGH, PipelineSpec, leaf

Params = dict[str, Any]
Steps = tuple[list[PipelineSpec], Width]
"""The steps that replace one, and the width of what they give."""
_Repair = Callable[[str, Params, Width, SpaceContext], Steps]

_NOT_NEGATIVE_KERNELS: Final = {"chi2", "additive_chi2"}
_TWO: Final = 2  # one column, bin or category says nothing
_JUST_BELOW_ZERO: Final = -5e-324  # x > this is x >= 0 for every float
_LARGEST: Final = 1e12  # sums and products end here, so that the square of one is finite

_COMPARES_ROWS: Final = (
    "it compares each row with the first row of the same call, so that a prediction depends on which rows "
    "are predicted together"
)
_CUBIC: Final = "its time grows with the cube of the rows"
EXCLUDED: Final[Mapping[str, str]] = {
    "EQTransformer": _COMPARES_ROWS,
    "NETransformer": _COMPARES_ROWS,
    "GaussianProcessClassifier": _CUBIC,
    "GaussianProcessRegressor": _CUBIC,
    "IterativeImputer": "no missing value reaches the search, and it is experimental in scikit-learn",
    "PassiveAggressiveClassifier": "scikit-learn 1.9 deprecates it; SGDClassifier does the same",
    "MDR": "it needs a package that is not installed",
}
"""Names of TPOT that are rejected, with the reason."""


def bounded(params: Params, name: str, default: int, most: int) -> int:
    """Bound a parameter to 1 … `most` in place, and return it."""
    params[name] = max(1, min(params.get(name, default), most))
    return int(params[name])


def _union(*members: PipelineSpec) -> PipelineSpec:
    return {"class": "FeatureUnion", "members": list(members)}


def _score_by_regression(params: Params, context: SpaceContext) -> None:
    """Score columns against a continuous target by regression; TPOT keeps the score for classes."""
    if "score_func" not in params and not context.classification:
        params["score_func"] = {"$function": "sklearn.feature_selection.f_regression"}


def _significant(name: str, params: Params, width: Width, context: SpaceContext) -> Steps:
    """Keep the best column even where no column is significant."""
    _score_by_regression(params, context)
    score = {key: value for key, value in params.items() if key == "score_func"}
    best = leaf("SelectKBest", k=1, **score)
    return [_union(leaf(name, **params), best)], Width(1, width.most + 1)


def _percentile(name: str, params: Params, width: Width, context: SpaceContext) -> Steps:
    _score_by_regression(params, context)
    if width.least == 1:
        return [], width
    percentile = max(float(params.get("percentile", 10)), min(100.0, 101.0 / width.least))
    params["percentile"] = percentile
    share = percentile / 100
    width = Width(max(1, math.floor(width.least * share)), math.ceil(width.most * share))
    return [leaf(name, **params)], width


def _k_best(name: str, params: Params, width: Width, context: SpaceContext) -> Steps:
    _score_by_regression(params, context)
    if isinstance(params.get("k", 10), int):
        width = Width.exactly(bounded(params, "k", 10, width.least))
    return [leaf(name, **params)], width


def _variance(name: str, params: Params, width: Width, _context: SpaceContext) -> Steps:
    """Keep the column of the largest variance even where none passes the threshold."""
    threshold = params.get("threshold", 0.0)
    if not threshold:
        return [leaf(name)], Width(1, width.most)
    by_variance = {"estimator": {"$estimator": leaf("StandardScaler")}, "importance_getter": "var_"}
    passing = leaf("SelectFromModel", **by_variance, threshold=threshold)
    best = leaf("SelectFromModel", **by_variance, threshold={"$float": "-inf"}, max_features=1)
    return [_union(passing, best)], Width(1, width.most + 1)


def _agglomeration(name: str, params: Params, width: Width, _context: SpaceContext) -> Steps:
    """Form no more clusters than there are columns, and compare directions without dividing by zero."""
    if width.least < _TWO:
        return [], width
    before = []
    if params.get("metric") == "cosine":
        before = [leaf("StandardScaler")]
        params["metric"] = "euclidean"
    params["n_clusters"] = params.get("n_clusters") or 2
    clusters = bounded(params, "n_clusters", 2, width.least)
    return [*before, leaf(name, **params)], Width.exactly(clusters)


def _ica(name: str, params: Params, width: Width, _context: SpaceContext) -> Steps:
    """Whiten only directions that vary: constant and collinear columns would divide by zero."""
    params["n_components"] = params.get("n_components") or width.most
    components = bounded(params, "n_components", width.most, width.least)
    before = [leaf("StandardScaler"), leaf("PCA", n_components=0.9999)]
    return [*before, leaf(name, **params)], Width(1, components)


def _pca(name: str, params: Params, width: Width, _context: SpaceContext) -> Steps:
    given = isinstance(params.get("n_components"), int)
    made = Width.exactly(bounded(params, "n_components", 1, width.least)) if given else Width(1, width.most)
    return [leaf(name, **params)], made


def _svd(name: str, params: Params, width: Width, _context: SpaceContext) -> Steps:
    if width.least < _TWO:
        return [], width
    components = bounded(params, "n_components", 2, width.least)
    return [leaf(name, **params)], Width.exactly(components)


def _nystroem(name: str, params: Params, _width: Width, context: SpaceContext) -> Steps:
    components = bounded(params, "n_components", 100, context.least_fold_rows // 2)
    before = [leaf("MinMaxScaler", clip=True)] if params.get("kernel") in _NOT_NEGATIVE_KERNELS else []
    return [*before, leaf(name, **params)], Width.exactly(components)


def _rbf_sampler(name: str, params: Params, _width: Width, _context: SpaceContext) -> Steps:
    return [leaf(name, **params)], Width.exactly(params.get("n_components", 100))


def _bins(name: str, params: Params, width: Width, context: SpaceContext) -> Steps:
    """Make dense columns, and no more bins than the memory and the rows allow."""
    ordinal = params.get("encode") == "ordinal"
    n_bins = min(params.get("n_bins", 5), context.least_fold_rows // 2)
    n_bins = n_bins if ordinal else min(n_bins, width.room(context))
    if n_bins < _TWO:
        return [], width
    params |= {"n_bins": n_bins, "encode": "ordinal" if ordinal else "onehot-dense"}
    return [leaf(name, **params)], width if ordinal else width.grown(n_bins)


def _one_hot(name: str, params: Params, width: Width, context: SpaceContext) -> Steps:
    most = min(params.get("max_categories") or 10, width.room(context))
    if most < _TWO:
        return [], width
    params |= {"max_categories": most, "handle_unknown": "infrequent_if_exist", "sparse_output": False}
    return [leaf(name, **params)], width.grown(most)


def _ordinal(name: str, params: Params, width: Width, _context: SpaceContext) -> Steps:
    params |= {"handle_unknown": "use_encoded_value", "unknown_value": -1}
    return [leaf(name, **params)], width


def _polynomial(name: str, params: Params, width: Width, context: SpaceContext) -> Steps:
    """Lower the degree until the products fit; with none left, keep the columns."""
    degree = params.get("degree", 2)
    limit = width.room(context) * width.most
    while isinstance(degree, int) and degree > 1 and math.comb(width.most + degree, degree) > limit:
        degree -= 1
    if degree == 1:
        return [], width
    params["degree"] = degree
    most = math.comb(width.most + degree, degree) if isinstance(degree, int) else limit
    return [leaf(name, **params)], Width(width.least, most)


def _spline(name: str, params: Params, width: Width, context: SpaceContext) -> Steps:
    each = params.get("n_knots", 5) + params.get("degree", 3) - 1
    if each > width.room(context):
        return [], width
    return [leaf(name, **params)], width.grown(each)


def _quantile(name: str, params: Params, width: Width, context: SpaceContext) -> Steps:
    params["n_quantiles"] = max(2, min(params.get("n_quantiles", 1000), 1000, context.least_fold_rows))
    return [leaf(name, **params)], width


def _robust(name: str, params: Params, width: Width, _context: SpaceContext) -> Steps:
    """Read TPOT's quantiles, given as fractions, as the percentages that scikit-learn expects."""
    quantiles = params.get("quantile_range")
    if isinstance(quantiles, dict):
        low, high = quantiles["$tuple"]
        if high <= 1:
            params["quantile_range"] = {"$tuple": [100 * low, 100 * high]}
    return [leaf(name, **params)], width


TRANSFORMERS: Final[Mapping[str, _Repair]] = {
    "SelectFwe": _significant,
    "SelectFdr": _significant,
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


def _apply(function: str, *, validate: bool = True, **kw_args: Any) -> PipelineSpec:
    """Return a step that applies one NumPy function to the whole table.

    `validate` makes a plain finite array of the input first: a DataFrame has its own ``sum``.
    """
    params: Params = {"func": {"$function": f"numpy.{function}"}}
    if kw_args:
        params["kw_args"] = {"$dict": kw_args}
    if validate:
        params["validate"] = True
    return leaf("FunctionTransformer", **params)


def _reduced(function: str) -> PipelineSpec:
    return _apply(function, axis=1, keepdims=True)


_CLIPPED: Final = _apply("clip", a_min=-_LARGEST, a_max=_LARGEST)
_FINITE: Final = _apply("nan_to_num", validate=False, nan=0.0, posinf=_LARGEST, neginf=-_LARGEST)
_ZERO_IF_INFINITE: Final = _apply("nan_to_num", validate=False, nan=0.0, posinf=0.0, neginf=0.0)
_ZEROS: Final = {"class": "Pipeline", "steps": [_apply("logical_not"), _reduced("count_nonzero")]}

_TO_ONE_COLUMN: Final[Mapping[str, list[PipelineSpec]]] = {
    "AddTransformer": [_reduced("sum"), _FINITE, _CLIPPED],
    "MulTransformer": [_reduced("prod"), _FINITE, _CLIPPED],
    "MinTransformer": [_reduced("min")],
    "MaxTransformer": [_reduced("max")],
    "ZeroTransformer": [_reduced("min"), _apply("full_like", fill_value=0.0)],
    "OneTransformer": [_reduced("min"), _apply("full_like", fill_value=1.0)],
}
"""TPOT's transformers that make one column of a row."""


def _genotype(*codes: int) -> list[PipelineSpec]:
    """Map 0, 1 and 2 to *codes*; a value between is interpolated, one outside is held."""
    return [_apply("interp", xp=[0, 1, 2], fp=list(codes))]


_COLUMN_WISE: Final[Mapping[str, list[PipelineSpec]]] = {
    "Passthrough": [],
    "mul_neg_1_Transformer": [_apply("negative")],
    "SafeReciprocalTransformer": [_apply("reciprocal"), _ZERO_IF_INFINITE, _CLIPPED],
    "GTTransformer": [leaf("Binarizer")],
    "GETransformer": [leaf("Binarizer", threshold=_JUST_BELOW_ZERO)],
    "LTTransformer": [_apply("negative"), leaf("Binarizer")],
    "LETransformer": [_apply("negative"), leaf("Binarizer", threshold=_JUST_BELOW_ZERO)],
    "DominantEncoder": _genotype(1, 1, 0),
    "RecessiveEncoder": _genotype(0, 1, 1),
    "HeterosisEncoder": _genotype(0, 1, 0),
    "UnderDominanceEncoder": _genotype(2, 0, 1),
    "OverDominanceEncoder": _genotype(1, 2, 0),
}
"""TPOT's transformers that keep the number of columns."""

REPLACED: Final = frozenset(
    (
        *_TO_ONE_COLUMN, *_COLUMN_WISE, "ColumnOneHotEncoder", "ColumnOrdinalEncoder", "FeatureSetSelector",
        "NTransformer", "PassKBinsDiscretizer", "SkipTransformer", "ZeroCount",
    )
)  # fmt: skip
"""TPOT's own classes that have a plain equivalent."""


def replaced(name: str, params: Mapping[str, Any], width: Width, context: SpaceContext) -> Steps:
    """Return plain steps for one of `REPLACED` other than SkipTransformer and FeatureSetSelector."""
    if name in _COLUMN_WISE:
        return list(_COLUMN_WISE[name]), width
    if name in _TO_ONE_COLUMN:
        return list(_TO_ONE_COLUMN[name]), Width.exactly(1)
    rare = {"min_frequency": 0.02, "max_categories": 10}
    match name:
        case "ZeroCount":
            counts = _union(_ZEROS, _reduced("count_nonzero"), dict(PASSTHROUGH))
            return [counts], Width(width.least + 2, width.most + 2)
        case "NTransformer":
            value = float(params["n"])
            return [_reduced("min"), _apply("full_like", fill_value=value)], Width.exactly(1)
        case "PassKBinsDiscretizer":
            given = {"n_bins": int(params["n_bins"]), "strategy": str(params["strategy"])}
            return _beside(leaf("KBinsDiscretizer", encode="onehot-dense", **given), "n_bins", width, context)
        case "ColumnOneHotEncoder":
            made = leaf("OneHotEncoder", handle_unknown="infrequent_if_exist", sparse_output=False, **rare)
            return _beside(made, "max_categories", width, context)
    # All values of a continuous column are rare and share one code.
    codes = leaf("OrdinalEncoder", handle_unknown="use_encoded_value", unknown_value=-1, **rare)
    return [_union(dict(PASSTHROUGH), codes)], Width.beside([width, width])


def _beside(made: PipelineSpec, limit: str, width: Width, context: SpaceContext) -> Steps:
    """Keep the columns as they were beside what an estimator makes of them, up to `limit` of each."""
    params = made["params"]
    params[limit] = most = min(params[limit], width.room(context))
    if most < _TWO:
        return [], width
    return [_union(dict(PASSTHROUGH), made)], Width.beside([width, width.grown(most)])
