"""The feature type of each column: from the spec, else from its values."""

import re
from collections.abc import Mapping

import numpy as np
import pandas as pd
from pandas.api.types import (
    infer_dtype,
    is_bool_dtype,
    is_complex_dtype,
    is_datetime64_any_dtype,
    is_numeric_dtype,
    is_timedelta64_dtype,
)

from trainingjob_api import Reason
from trainingjob_api.vocabulary import FeatureType
from trainingjob_trainer.data.column_format import ColumnFormat
from trainingjob_trainer.data.date_format import parse_dates
from trainingjob_trainer.data.findings import Finding, FindingKind, unreadable_finding
from trainingjob_trainer.data.target import nearest_columns
from trainingjob_trainer.errors import DataError, SpecInvalid

__all__ = ["infer_feature_types"]

_UNIQUE = 0.98
_ID_ROWS = 20  # in fewer rows, all values being different means nothing
_WORDS = 4
_SENTENCE = 40  # characters
_SENTENCES = 100  # distinct values from which long ones are text rather than names of categories
_VARIED = 0.5
_SAMPLE = 5_000
_ID_NAME = re.compile(r"(?:^|[_\W])(?:id|uuid|guid|key|index|idx|rowid|row|unnamed: \d+)$", re.IGNORECASE)
_CAMEL_ID = re.compile(r"[a-z0-9](?:Id|ID|Key|UUID)$")
_UNSUPPORTED = frozenset({"bytes", "complex", "nested"})
_OBJECT_KINDS = {
    "boolean": "truth",
    "integer": "number",
    "floating": "number",
    "mixed-integer-float": "number",
    "decimal": "number",
    "date": "date",
    "datetime": "date",
    "datetime64": "date",
    "bytes": "bytes",
    "complex": "complex",
}


def infer_feature_types(
    frame: pd.DataFrame,
    asked: Mapping[str, FeatureType],
    *,
    target: str,
    roles: Mapping[str, str],
    formats: Mapping[str, ColumnFormat],
) -> tuple[dict[str, FeatureType], tuple[Finding, ...]]:
    """Return the type of each column of *frame* but the target, ``ignore`` included, and what was found.

    Parameters
    ----------
    frame
        The usable rows.
    asked
        ``spec.featureTypes``; it wins over everything that is inferred.
    roles
        Columns that validation uses and a model therefore does not, by default, with the field that names
        each.
    formats
        How each column was read.
    """
    for name in asked:
        if name == target or name not in frame.columns:
            raise SpecInvalid(
                Reason.UNKNOWN_COLUMN,
                f"spec.featureTypes: {name!r} is the target, which is not a feature; leave it out"
                if name == target
                else f"spec.featureTypes: the table has no column {name!r}; {nearest_columns(name, frame)}",
            )
    types: dict[str, FeatureType] = {}
    findings: list[Finding] = []
    for name in frame.columns:
        if name == target:
            continue
        if name in asked:
            types[name] = asked[name]
            findings += _check_asked(frame[name], asked[name], formats[name])
        elif name in roles:
            types[name] = FeatureType.IGNORE
            message = (
                f"The column is left out, since {roles[name]} names it; spec.featureTypes can include it"
            )
            findings.append(Finding.info(FindingKind.ROLE, name, message))
        else:
            types[name], found = _infer(frame[name], formats[name])
            findings += found
    if all(kind is FeatureType.IGNORE for kind in types.values()):
        raise DataError(
            Reason.NO_FEATURES,
            "No column is left to learn from: all are constant, like identifiers, of an unsupported type, "
            "or ignored; give a type to one of them in spec.featureTypes",
        )
    return types, tuple(findings)


def _check_asked(column: pd.Series, asked: FeatureType, how: ColumnFormat) -> list[Finding]:
    if asked is FeatureType.IGNORE:
        return []
    cause = None
    if _value_kind(column) in _UNSUPPORTED:
        cause = "its values are nested, binary or complex"
    elif column.notna().any() and _parsed(column, asked, how).isna().all():
        cause = "none of its values can be read as such"
    if cause is not None:
        raise DataError(
            Reason.FEATURE_TYPE_IMPOSSIBLE,
            f"spec.featureTypes: the column {column.name!r} cannot be {asked.value}, since {cause}; choose "
            "another type or leave it out",
        )
    return _unreadable(column, asked, how)


def _parsed(column: pd.Series, kind: FeatureType, how: ColumnFormat) -> pd.Series:
    if kind is FeatureType.DATETIME:
        return parse_dates(column, how.date)
    if kind is FeatureType.NUMERIC and not is_timedelta64_dtype(column):
        return pd.to_numeric(column, errors="coerce")
    return column


def _unreadable(column: pd.Series, kind: FeatureType, how: ColumnFormat) -> list[Finding]:
    bad = column[column.notna() & _parsed(column, kind, how).isna()]
    return [] if bad.empty else [unreadable_finding(bad, kind.value)]


def _infer(column: pd.Series, how: ColumnFormat) -> tuple[FeatureType, list[Finding]]:
    kind = _value_kind(column)
    if kind in _UNSUPPORTED:
        message = (
            "The column is ignored, since its values are nested, binary or complex; flatten it to use it"
        )
        return FeatureType.IGNORE, [Finding.warning(FindingKind.UNSUPPORTED, column.name, message)]
    if len(column.drop_duplicates()) <= 1:
        what = "has no value in any row" if column.isna().all() else "has the same value in every row"
        message = f"The column is ignored, since it {what}"
        return FeatureType.IGNORE, [Finding.info(FindingKind.CONSTANT, column.name, message)]
    inferred = _by_kind(column, kind, how)
    if not how.time_of_day and _is_identifier(column, inferred):
        message = (
            "The column is ignored, since nearly every row has a different value, as an identifier has; "
            "give it a type in spec.featureTypes to use it"
        )
        return FeatureType.IGNORE, [Finding.warning(FindingKind.IDENTIFIER, column.name, message)]
    return inferred, _unreadable(column, inferred, how) if kind == "text" else []


def _by_kind(column: pd.Series, kind: str, how: ColumnFormat) -> FeatureType:
    match kind:
        case "number":
            return FeatureType.NUMERIC
        case "date":
            return FeatureType.DATETIME
        case "text" if how.date is not None:
            return FeatureType.DATETIME
        case "text" if not isinstance(column.dtype, pd.CategoricalDtype) and _is_free_text(column):
            return FeatureType.TEXT
        case _:
            return FeatureType.CATEGORICAL


def _value_kind(column: pd.Series) -> str:
    """Return ``number``, ``truth``, ``date``, ``text``, or a word for what cannot be a feature."""
    if is_bool_dtype(column):
        return "truth"
    if is_complex_dtype(column):
        return "complex"
    if is_numeric_dtype(column) or is_timedelta64_dtype(column):
        return "number"
    if is_datetime64_any_dtype(column):
        return "date"
    if column.dtype != object:
        return "text"
    present = column.dropna()
    # What cannot be hashed is a list, a dict or an array.
    if present.map(lambda value: getattr(type(value), "__hash__", None) is None).any():
        return "nested"
    return _OBJECT_KINDS.get(infer_dtype(present, skipna=True), "text")


def _is_free_text(column: pd.Series) -> bool:
    values = column.dropna().astype("str")
    sample = values.sample(n=min(_SAMPLE, len(values)), random_state=0)
    words = float(np.median(sample.str.count(r"\S+")))
    length = float(np.median(sample.str.len()))
    varied = values.nunique() >= min(_SENTENCES, max(_ID_ROWS, _VARIED * len(values)))
    return varied and (words >= _WORDS or length >= _SENTENCE)


def _is_identifier(column: pd.Series, kind: FeatureType) -> bool:
    present = column.dropna()
    if len(present) < _ID_ROWS or kind in {FeatureType.TEXT, FeatureType.DATETIME}:
        return False
    if present.nunique() / len(present) < _UNIQUE:
        return False
    if kind is FeatureType.CATEGORICAL:
        return True
    numbers = pd.to_numeric(present, errors="coerce").dropna().astype("float64")
    if not (numbers == numbers.round()).all():
        return False
    name = str(column.name)
    steps = np.diff(numbers.to_numpy())
    counts_up = bool(len(steps)) and bool((steps == 1).mean() >= _UNIQUE)
    return counts_up or bool(_ID_NAME.search(name) or _CAMEL_ID.search(name))
