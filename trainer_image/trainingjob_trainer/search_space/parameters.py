"""Values of parameters: how they are written as JSON without loss, and which an estimator may have.

JSON knows no tuple, no NaN and no function. Each of these, and a nested estimator, is written as an object
with one key that begins with ``$``; a function is written by its name in a fixed table.

A description may come from a journal that lay in a bucket. So it is held to what breeding can make: names
that a tree may set, and what the trainer itself sets. A path, a callable or an object to load is neither.
"""

import math
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from sklearn import feature_selection
from sklearn.metrics import get_scorer_names

from trainingjob_api import Reason
from trainingjob_trainer.errors import SpecInvalid
from trainingjob_trainer.search_space.allow_list import CATALOGUE, Entry, Kind, suggest

_OF_NUMPY: Final = (
    "clip", "count_nonzero", "full_like", "interp", "logical_not", "max", "mean", "median", "min",
    "nan_to_num", "negative", "prod", "reciprocal", "sum",
)  # fmt: skip
_OF_SCIKIT_LEARN: Final = (
    "chi2", "f_classif", "f_regression", "mutual_info_classif", "mutual_info_regression",
)  # fmt: skip

FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = MappingProxyType(
    {f"numpy.{name}": getattr(np, name) for name in _OF_NUMPY}
    | {f"sklearn.feature_selection.{name}": getattr(feature_selection, name) for name in _OF_SCIKIT_LEARN}
)
"""Every function that a pipeline may hold, by the name that is written."""

MOST_ROUNDS: Final = 100_000
"""The most boosting rounds that a pipeline may have."""

_SPECIAL: Final = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def encode_value(value: Any, nested: Callable[[Any], Any]) -> Any:
    """Return the JSON form of a hyperparameter; raises `TypeError` for a value that has none."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": str(value)}
    if isinstance(value, list):
        return [encode_value(item, nested) for item in value]
    if isinstance(value, tuple):
        return {"$tuple": [encode_value(item, nested) for item in value]}
    if isinstance(value, Mapping):
        return {"$dict": {str(key): encode_value(item, nested) for key, item in value.items()}}
    for name, function in FUNCTIONS.items():
        if value is function:
            return {"$function": name}
    if hasattr(value, "get_params") and not isinstance(value, type):
        return {"$estimator": nested(value)}
    raise TypeError(f"A value of type {type(value).__name__} cannot be written in a pipeline's description.")


def decode_value(value: Any, nested: Callable[[Any], Any]) -> Any:
    """Return the hyperparameter that `encode_value` has written; raises `SpecInvalid` for any other form."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list):
        return [decode_value(item, nested) for item in value]
    match value:
        case {"$float": str() as text, **rest} if text in _SPECIAL and not rest:
            return _SPECIAL[text]
        case {"$tuple": list() as items, **rest} if not rest:
            return tuple(decode_value(item, nested) for item in items)
        case {"$dict": dict() as items, **rest} if not rest:
            return {str(key): decode_value(item, nested) for key, item in items.items()}
        case {"$function": str() as name, **rest} if name in FUNCTIONS and not rest:
            return FUNCTIONS[name]
        case {"$estimator": dict() as spec, **rest} if not rest:
            return nested(spec)
    raise SpecInvalid(
        Reason.UNKNOWN_VALUE,
        f"A pipeline's description holds the value {value!r:.100}, which is not allowed.",
    )


_FUNCTION_PARAMETERS: Final = frozenset({"pooling_func", "score_func"})
"""The hyperparameters that are functions, which a tree says by name."""

# XGBoost, LightGBM and CatBoost find a wrong value only while they fit, in C++; scikit-learn checks its own.
_SHARES: Final = ("colsample_bylevel", "colsample_bynode", "colsample_bytree", "subsample")
_NOT_NEGATIVE: Final = (
    "gamma", "max_delta_step", "min_child_samples", "min_child_weight", "min_split_gain", "random_strength",
    "reg_alpha", "reg_lambda", "scale_pos_weight", "subsample_freq",
)  # fmt: skip
_NUMBERS: Final[Mapping[str, tuple[float, float]]] = {
    **dict.fromkeys(_SHARES, (1e-3, 1)),
    **dict.fromkeys(_NOT_NEGATIVE, (0, 1e9)),
    "learning_rate": (1e-9, 10),
    "max_bin": (2, 65_535),
    "max_depth": (-1, 64),
    "max_leaves": (0, 65_535),
    "n_estimators": (1, MOST_ROUNDS),
    "num_leaves": (2, 131_072),
    "subsample_for_bin": (1, 1e9),
}
_SYMMETRIC_DEPTH: Final = (1, 16)
"""Depths of a symmetric tree, which has all leaves of its depth."""
_WORDS: Final[Mapping[str, tuple[Any, ...]]] = {
    "auto_class_weights": (None, "Balanced", "SqrtBalanced"),
    "booster": ("gbtree", "gblinear", "dart"),
    "bootstrap_type": ("Bayesian", "Bernoulli", "MVS", "No"),
    "boosting_type": ("gbdt", "dart", "goss", "rf"),
    "class_weight": (None, "balanced"),
    "extra_trees": (False, True),
    "grow_policy": ("depthwise", "lossguide"),
    "importance_type": ("split", "gain", "weight", "cover", "total_gain", "total_cover"),
    "sampling_method": ("uniform",),
    "tree_method": ("auto", "exact", "approx", "hist"),
}
_WHOLE: Final = {
    "max_bin", "max_depth", "max_leaves", "min_child_samples", "n_estimators", "num_leaves",
    "subsample_for_bin", "subsample_freq",
}  # fmt: skip

# scikit-learn takes any text here and looks at it only while it fits.
_TEXTS: Final[Mapping[str, tuple[re.Pattern[str], str]]] = {
    "scoring": (re.compile("|".join(["loss", *get_scorer_names()])), "the name of a scorer"),
    "threshold": (
        re.compile(r"(\d{1,20}(\.\d{1,20})?(e[+-]?\d{1,3})?\*)?(mean|median)"),
        'a number, "mean", "median" or a multiple of these such as "1.5*mean"',
    ),
}
_MAX_SEED: Final = 2**32 - 1
_MAX_NESTING: Final = 3
_KW_ARGS: Final = {
    "a_max", "a_min", "axis", "fill_value", "fp", "keepdims", "nan", "neginf", "posinf", "xp",
}  # fmt: skip


def hyperparameter(found: Entry, name: str, value: Any) -> Any:
    """Return a value of a tree, which says a function by its name; raises `SpecInvalid` if it is rejected."""
    if name in _FUNCTION_PARAMETERS and isinstance(value, str):
        for full, function in FUNCTIONS.items():
            if full.rpartition(".")[2] == value:
                return function
        raise _invalid(found, name, value, "no such function is allowed")
    check_value(found, name, value)
    return value


def check_value(found: Entry, name: str, value: Any) -> None:
    """Try a value on an instance, with scikit-learn's own constraints; raises `SpecInvalid` if rejected."""
    if _checked_here(found, name, value):
        return
    tree = "DecisionTreeClassifier" if found.kind is Kind.CLASSIFIER else "DecisionTreeRegressor"
    inner = {found.slot: CATALOGUE[tree].cls()} if found.slot else {}
    try:
        found.cls(**{**inner, name: value})._validate_params()  # noqa: SLF001 - fit() would call it too
    except (ValueError, TypeError) as error:
        raise _invalid(found, name, value, " ".join(str(error).split())) from error


def check_described(found: Entry, params: Mapping[str, Any]) -> None:
    """Raise `SpecInvalid` if a description has a parameter or value that no pipeline of a search has."""
    for name, value in params.items():
        if name in found.hyperparameters:
            function = name in _FUNCTION_PARAMETERS and _is_function(value)
            allowed = _checked_here(found, name, value) or function or _is_plain(value)
        elif name == found.slot:
            allowed = _is_estimator(value)
        elif name in found.parameters and name in _OWN:
            own = _OWN[name]
            allowed = own(value) if callable(own) else (type(value) is type(own) and value == own)
        else:
            raise SpecInvalid(
                Reason.UNKNOWN_HYPERPARAMETER,
                f"{found.name} has no parameter {name!r:.80} that may be set. "
                f"{suggest(name, found.hyperparameters)}",
            )
        if not allowed:
            raise SpecInvalid(Reason.UNKNOWN_VALUE, f"{found.name}: {name}={value!r:.60} is not allowed.")


def _invalid(found: Entry, name: str, value: Any, cause: str) -> SpecInvalid:
    return SpecInvalid(
        Reason.INVALID_HYPERPARAMETER, f"{found.name}: {name}={value!r:.60} is not accepted: {cause:.300}."
    )


def _checked_here(found: Entry, name: str, value: Any) -> bool:
    """Check what the estimator would not before it fits; return whether that says all of the value."""
    if found.cls.__module__.startswith(("xgboost", "lightgbm", "catboost")):
        _check_booster(found, name, value)
        return True
    if name in _TEXTS and isinstance(value, str):
        pattern, wanted = _TEXTS[name]
        if not pattern.fullmatch(value):
            raise _invalid(found, name, value, f"it is {wanted}")
    return False


def _check_booster(found: Entry, name: str, value: Any) -> None:
    if name in _WORDS:
        if value not in _WORDS[name]:
            raise _invalid(found, name, value, f"it is one of {', '.join(map(str, _WORDS[name]))}")
        return
    if value is None and found.cls.__module__.startswith(("xgboost", "catboost")):
        return
    low, high = _NUMBERS.get(name, (0, 1))
    if name == "max_depth" and found.cls.__module__.startswith("catboost"):
        low, high = _SYMMETRIC_DEPTH
    number = isinstance(value, int if name in _WHOLE else int | float) and not isinstance(value, bool)
    if not number or not low <= value <= high:
        kind = "a whole number" if name in _WHOLE else "a number"
        raise _invalid(found, name, value, f"it is {kind} between {low:g} and {high:g}")


def _is_plain(value: Any, depth: int = 0) -> bool:
    """Whether a value in JSON form is a scalar, or a short nesting of lists and tuples of these."""
    match value:
        case {"$tuple": list(items), **rest} if not rest:
            inner = items
        case {"$float": _, **rest} if not rest:
            return True
        case list():
            inner = value
        case _:
            return value is None or isinstance(value, bool | int | float | str)
    return depth < _MAX_NESTING and all(_is_plain(item, depth + 1) for item in inner)


def _is_function(value: Any) -> bool:
    return isinstance(value, dict) and list(value) == ["$function"] and value["$function"] in [*FUNCTIONS]


def _is_estimator(value: Any) -> bool:
    return isinstance(value, dict) and list(value) == ["$estimator"]


def _is_kw_args(value: Any) -> bool:
    match value:
        case {"$dict": dict(items), **rest} if not rest:
            return items.keys() <= _KW_ARGS and all(
                _is_plain(item) and not isinstance(item, str) for item in items.values()
            )
    return False


_OWN: Final[Mapping[str, Any]] = {
    "allow_writing_files": False,
    "func": _is_function,
    "importance_getter": "var_",
    "kw_args": _is_kw_args,
    "logging_level": "Silent",
    "n_jobs": 1,
    "random_state": lambda value: type(value) is int and 0 <= value <= _MAX_SEED,
    "sparse_output": False,
    "thread_count": 1,
    "transformer": _is_estimator,
    "validate": True,
    "verbose": -1,
    "verbosity": 0,
}
"""Parameters that the trainer sets, in addition to hyperparameters: a value, or a test of a value."""
