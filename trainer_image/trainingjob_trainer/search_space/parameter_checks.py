"""Which values an estimator's parameters may have, in a tree and in a pipeline's description.

A description may come from a journal that lay in a bucket. So it is held to what breeding can make: names
that a tree may set, and what the trainer itself sets. A path, a callable or an object to load is neither.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from sklearn.metrics import get_scorer_names

from trainingjob_api import Reason
from trainingjob_trainer.errors import SpecInvalid
from trainingjob_trainer.search_space.catalogue import CATALOGUE, Entry, Kind, nearest
from trainingjob_trainer.search_space.values import FUNCTIONS

__all__ = ["FUNCTION_PARAMETERS", "check_described", "check_value", "invalid"]

FUNCTION_PARAMETERS: Final = frozenset({"pooling_func", "score_func"})
"""The hyperparameters that are functions, which a tree says by name."""

# XGBoost and LightGBM find a wrong value only while they fit, in C++; scikit-learn checks its own.
_NUMBERS: Final[Mapping[str, tuple[float, float]]] = {
    "colsample_bylevel": (1e-3, 1),
    "colsample_bynode": (1e-3, 1),
    "colsample_bytree": (1e-3, 1),
    "gamma": (0, 1e9),
    "learning_rate": (1e-9, 10),
    "max_bin": (2, 65_535),
    "max_delta_step": (0, 1e9),
    "max_depth": (-1, 64),
    "max_leaves": (0, 65_535),
    "min_child_samples": (0, 1e9),
    "min_child_weight": (0, 1e9),
    "min_split_gain": (0, 1e9),
    "n_estimators": (1, 100_000),
    "num_leaves": (2, 131_072),
    "reg_alpha": (0, 1e9),
    "reg_lambda": (0, 1e9),
    "scale_pos_weight": (0, 1e9),
    "subsample": (1e-3, 1),
    "subsample_for_bin": (1, 1e9),
    "subsample_freq": (0, 1e9),
}
_WORDS: Final[Mapping[str, tuple[Any, ...]]] = {
    "booster": ("gbtree", "gblinear", "dart"),
    "boosting_type": ("gbdt", "dart", "goss", "rf"),
    "class_weight": (None, "balanced"),
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


def check_value(found: Entry, name: str, value: Any) -> None:
    """Try a value on an instance, with scikit-learn's own constraints where it has them.

    Parameters
    ----------
    found
        The estimator.
    name, value
        A hyperparameter.

    Raises
    ------
    SpecInvalid
        The estimator refuses the value (``InvalidHyperparameter``).
    """
    if _is_booster(found):
        _check_booster(found, name, value)
        return
    _check_text(found, name, value)
    tree = "DecisionTreeClassifier" if found.kind is Kind.CLASSIFIER else "DecisionTreeRegressor"
    inner = {found.slot: CATALOGUE[tree].cls()} if found.slot else {}
    try:
        found.cls(**{**inner, name: value})._validate_params()  # noqa: SLF001 - fit() would call it too
    except (ValueError, TypeError) as error:
        raise invalid(found, name, value, " ".join(str(error).split())) from error


def check_described(found: Entry, params: Mapping[str, Any]) -> None:
    """Refuse parameters of a description that no pipeline of a search has.

    Parameters
    ----------
    found
        The estimator.
    params
        Its parameters in JSON form; nested estimators are checked where they are built.

    Raises
    ------
    SpecInvalid
        A name is unknown (``UnknownHyperparameter``) or a value refused (``UnknownValue``,
        ``InvalidHyperparameter``).
    """
    for name, value in params.items():
        if name in found.hyperparameters:
            _check_hyperparameter(found, name, value)
        elif name not in found.parameters or (name not in _OWN and name != found.slot):
            raise SpecInvalid(
                Reason.UNKNOWN_HYPERPARAMETER,
                f"{found.name} has no parameter {name!r:.80} that may be set. "
                f"{nearest(name, found.hyperparameters)}",
            )
        elif not (_is_estimator(value) if name == found.slot else _OWN[name](value)):
            raise SpecInvalid(Reason.UNKNOWN_VALUE, f"{found.name}: {name}={value!r:.60} is not allowed.")


def invalid(found: Entry, name: str, value: Any, cause: str) -> SpecInvalid:
    """Return the error for a value that an estimator refuses."""
    return SpecInvalid(
        Reason.INVALID_HYPERPARAMETER, f"{found.name}: {name}={value!r:.60} is not accepted: {cause:.300}."
    )


def _is_booster(found: Entry) -> bool:
    return found.cls.__module__.startswith(("xgboost", "lightgbm"))


def _check_booster(found: Entry, name: str, value: Any) -> None:
    if name in _WORDS:
        if value not in _WORDS[name]:
            raise invalid(found, name, value, f"it is one of {', '.join(map(str, _WORDS[name]))}")
        return
    if value is None and found.cls.__module__.startswith("xgboost"):
        return
    low, high = _NUMBERS.get(name, (0, 1))
    number = isinstance(value, int if name in _WHOLE else int | float) and not isinstance(value, bool)
    if not number or not low <= value <= high:
        kind = "a whole number" if name in _WHOLE else "a number"
        raise invalid(found, name, value, f"it is {kind} between {low:g} and {high:g}")


def _check_text(found: Entry, name: str, value: Any) -> None:
    if name in _TEXTS and isinstance(value, str):
        pattern, wanted = _TEXTS[name]
        if not pattern.fullmatch(value):
            raise invalid(found, name, value, f"it is {wanted}")


def _check_hyperparameter(found: Entry, name: str, value: Any) -> None:
    if _is_booster(found):
        _check_booster(found, name, value)
        return
    _check_text(found, name, value)
    if not (_is_plain(value) or (name in FUNCTION_PARAMETERS and _is_function(value))):
        raise SpecInvalid(Reason.UNKNOWN_VALUE, f"{found.name}: {name}={value!r:.60} is not allowed.")


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
    return isinstance(value, dict) and list(value) == ["$function"] and value["$function"] in FUNCTIONS


def _is_estimator(value: Any) -> bool:
    return isinstance(value, dict) and list(value) == ["$estimator"]


def _is_seed(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _MAX_SEED


def _is_kw_args(value: Any) -> bool:
    match value:
        case {"$dict": dict(items), **rest} if not rest:
            return items.keys() <= _KW_ARGS and all(
                _is_plain(item) and not isinstance(item, str) for item in items.values()
            )
    return False


def _only(allowed: Any) -> Callable[[Any], bool]:
    return lambda value: type(value) is type(allowed) and value == allowed


_OWN: Final[Mapping[str, Callable[[Any], bool]]] = {
    "func": _is_function,
    "importance_getter": _only("var_"),
    "kw_args": _is_kw_args,
    "n_jobs": _only(1),
    "random_state": _is_seed,
    "sparse_output": _only(False),  # noqa: FBT003
    "transformer": _is_estimator,
    "validate": _only(True),  # noqa: FBT003
    "verbose": _only(-1),
    "verbosity": _only(0),
}
"""What repairs and replacements set beside hyperparameters."""
