"""Plain scikit-learn in the place of TPOT's own transformers.

A model must load without TPOT, so each of TPOT's classes is written as steps of scikit-learn over a few
NumPy functions. Where no exact equivalent exists the difference is said in ``docs/tpot.md``.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from trainingjob_trainer.search_space.context import SpaceContext
from trainingjob_trainer.search_space.pipeline_spec import PASSTHROUGH, PipelineSpec, leaf
from trainingjob_trainer.search_space.widths import Width

__all__ = ["EXCLUDED", "REPLACED", "Steps", "apply", "replace"]

Steps = tuple[list[PipelineSpec], Width]
"""The steps that stand for one, and the width of what they give."""

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
        return _beside(_bins(params, width, context), width)
    if name in {"ColumnOneHotEncoder", "ColumnOrdinalEncoder"}:
        return _beside(_categories(name, width, context), width)
    return _SIMPLE[name](width)


def _bins(params: Mapping[str, Any], width: Width, context: SpaceContext) -> Steps:
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
