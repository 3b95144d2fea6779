"""Hyperparameter values to JSON and back, without loss and without running anything.

JSON knows no tuple, no NaN and no function. Each of these, and a nested estimator, is written as an
object with one key that begins with ``$``; a function is written by its name in a fixed table.
"""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from sklearn.feature_selection import (
    chi2,
    f_classif,
    f_regression,
    mutual_info_classif,
    mutual_info_regression,
)

from trainingjob_api import Reason
from trainingjob_trainer.errors import SpecInvalid

__all__ = ["FUNCTIONS", "JsonValue", "decode_value", "encode_value", "function_named"]

JsonValue = Any

FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = MappingProxyType(
    {
        "numpy.clip": np.clip,
        "numpy.count_nonzero": np.count_nonzero,
        "numpy.full_like": np.full_like,
        "numpy.interp": np.interp,
        "numpy.logical_not": np.logical_not,
        "numpy.max": np.max,
        "numpy.mean": np.mean,
        "numpy.median": np.median,
        "numpy.min": np.min,
        "numpy.nan_to_num": np.nan_to_num,
        "numpy.negative": np.negative,
        "numpy.prod": np.prod,
        "numpy.reciprocal": np.reciprocal,
        "numpy.sum": np.sum,
        "sklearn.feature_selection.chi2": chi2,
        "sklearn.feature_selection.f_classif": f_classif,
        "sklearn.feature_selection.f_regression": f_regression,
        "sklearn.feature_selection.mutual_info_classif": mutual_info_classif,
        "sklearn.feature_selection.mutual_info_regression": mutual_info_regression,
    }
)
"""Every function that a pipeline may hold, by the name that is written."""

_SPECIAL: Final = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def function_named(name: str) -> Callable[..., Any] | None:
    """Return the allowed function with the short *name*, such as ``mean`` or ``f_classif``.

    Parameters
    ----------
    name
        The last part of a name in `FUNCTIONS`.
    """
    return next((f for full, f in FUNCTIONS.items() if full.rpartition(".")[2] == name), None)


def encode_value(value: Any, nested: Callable[[Any], Any]) -> JsonValue:
    """Return the JSON form of a hyperparameter.

    Parameters
    ----------
    value
        None, a boolean, number, string, NumPy scalar or array, list, tuple, dictionary with string keys,
        a function of `FUNCTIONS`, or an estimator.
    nested
        Describes an estimator.

    Raises
    ------
    TypeError
        The value has no JSON form.
    """
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


def decode_value(value: JsonValue, nested: Callable[[Any], Any]) -> Any:
    """Return the hyperparameter that `encode_value` has written.

    Parameters
    ----------
    value
        The JSON form.
    nested
        Builds an estimator from its description.

    Raises
    ------
    SpecInvalid
        The value is not of a form that `encode_value` writes (``UnknownValue``).
    """
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
