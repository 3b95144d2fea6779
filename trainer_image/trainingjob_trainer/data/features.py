"""The feature type of each column, from the spec or its values, and checks for suspicious columns."""

import re
from collections.abc import Mapping
from itertools import islice

import numpy as np
import pandas as pd
from pandas.api.types import (
    infer_dtype,
    is_bool_dtype,
    is_complex_dtype,
    is_datetime64_any_dtype,
    is_float_dtype,
    is_numeric_dtype,
    is_timedelta64_dtype,
)
from sklearn.metrics import r2_score, recall_score
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from trainingjob_api import Reason
from trainingjob_api.vocabulary import FeatureType
from trainingjob_trainer.data import Finding, FindingKind
from trainingjob_trainer.data.column_format import ColumnFormat, parse_dates
from trainingjob_trainer.data.columns import with_columns
from trainingjob_trainer.data.number_format import unreadable_finding
from trainingjob_trainer.data.target import NUMBER_KINDS, nearest_columns
from trainingjob_trainer.errors import DataError, SpecInvalid

_UNIQUE = 0.98
_ID_ROWS = 20  # in fewer rows, all values being different means nothing
_WORDS = 4
_SENTENCE = 40  # characters
_SENTENCES = 100  # distinct values from which long ones are text rather than names of categories
_VARIED = 0.5
_SAMPLE = 5_000
_ID_NAME = re.compile(r"(?:^|[_\W])(?:id|uuid|guid|key|index|idx|rowid|row|unnamed: \d+)$", re.IGNORECASE)
_CAMEL_ID = re.compile(r"[a-z0-9](?:Id|ID|Key|UUID)$")
_LEAK_ROWS = 2_000
_LEAK_COLUMNS = 1_000
_LEAK_CATEGORIES = 50
_LEAK_LEAST_ROWS = 50
_LEAK_ACCURACY = 0.985  # balanced; petal width alone reaches 0.96 on iris, and is not a leak
_LEAK_R2 = 0.99
_LEAVES = 64
_UNSUPPORTED = frozenset({"bytes", "complex", "nested"})
_OBJECT_KINDS = {
    "boolean": "truth",
    "bytes": "bytes",
    "complex": "complex",
    **dict.fromkeys(NUMBER_KINDS, "number"),
    **dict.fromkeys(("date", "datetime", "datetime64"), "date"),
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
        ``spec.featureTypes``; it overrides what is inferred.
    roles
        Columns that validation uses, with the field that names each; by default, a model does not use them.
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


def without_infinities(frame: pd.DataFrame) -> tuple[pd.DataFrame, tuple[Finding, ...]]:
    """Return *frame* with infinite numbers missing, and a finding for each column that had some."""
    findings = []
    changed: dict[str, pd.Series] = {}
    for name in frame.columns:
        column = frame[name]
        if not is_float_dtype(column):
            continue
        infinite = np.isinf(column.to_numpy(dtype="float64", na_value=np.nan))
        if infinite.any():
            changed[name] = column.mask(infinite)
            message = f"{int(infinite.sum()):,} infinite value(s) count as missing"
            findings.append(Finding.warning(FindingKind.INFINITE, name, message))
    return with_columns(frame, changed), tuple(findings)


def find_leaks(
    frame: pd.DataFrame,
    target: np.ndarray,
    types: Mapping[str, FeatureType],
    *,
    formats: Mapping[str, ColumnFormat],
    classify: bool,
    seed: int,
) -> tuple[Finding, ...]:
    """Report columns each of which alone gives the target away; they stay.

    A small tree is fitted on one column at a time, on one half of at most 2,000 rows, and scored on the other
    half: a balanced accuracy of 0.985 or an R² of 0.99 is suspicious. Text, columns with many categories and
    columns beyond the first 1,000 are skipped.
    """
    rows = np.random.default_rng(seed).permutation(len(frame))[:_LEAK_ROWS]
    if len(rows) < _LEAK_LEAST_ROWS:
        return ()
    sample, labels = frame.iloc[rows], target[rows]
    if classify:
        labels = np.unique(labels, return_inverse=True)[1]
    what, bound = ("balanced accuracy", _LEAK_ACCURACY) if classify else ("R²", _LEAK_R2)
    findings = []
    for name, kind in islice(types.items(), _LEAK_COLUMNS):
        codes = _codes(sample[name], kind, formats[name])
        score = -np.inf if codes is None else _score_alone(codes, labels, classify=classify)
        if score >= bound:
            message = (
                f"This column alone predicts the target with a {what} of {score:.3f}; if it is known only "
                "after the target is, set it to ignore in spec.featureTypes"
            )
            findings.append(Finding.warning(FindingKind.LEAKAGE, name, message))
    return tuple(findings)


def _codes(column: pd.Series, kind: FeatureType, how: ColumnFormat) -> np.ndarray | None:
    """Return *column* as numbers, missing ones lowest, or None if it has too many categories."""
    if kind is FeatureType.NUMERIC or kind is FeatureType.DATETIME:
        values = _as_floats(column, kind, how)
        finite = values[np.isfinite(values)]
        below = finite.min() - 1.0 - abs(finite.min()) * 1e-3 if len(finite) else -1.0
        return np.where(np.isfinite(values), values, below)
    if kind is FeatureType.TEXT:
        return column.notna().to_numpy(dtype="float64")
    codes, uniques = pd.factorize(column.astype("str"), sort=True)
    return codes.astype("float64") if len(uniques) <= _LEAK_CATEGORIES else None


def _as_floats(column: pd.Series, kind: FeatureType, how: ColumnFormat) -> np.ndarray:
    if kind is FeatureType.DATETIME:
        dates = parse_dates(column, how.date)
        numbers = dates.astype("int64").astype("float64").mask(dates.isna())
    elif is_timedelta64_dtype(column):
        numbers = column.dt.total_seconds()
    else:
        numbers = pd.to_numeric(column, errors="coerce").astype("float64")
    return np.clip(numbers.to_numpy(dtype="float64"), -1e37, 1e37)


def _score_alone(codes: np.ndarray, labels: np.ndarray, *, classify: bool) -> float:
    half = len(codes) // 2
    X = codes.reshape(-1, 1)
    leaf = 2 if classify else 5
    tree = DecisionTreeClassifier if classify else DecisionTreeRegressor
    fitted = tree(max_leaf_nodes=_LEAVES, min_samples_leaf=leaf, random_state=0).fit(X[:half], labels[:half])
    predicted = fitted.predict(X[half:])
    if not classify:
        return float(r2_score(labels[half:], predicted)) if np.ptp(labels[half:]) > 0 else 0.0
    # Not balanced_accuracy_score: labels that only the second half holds would count against the column.
    seen = np.intersect1d(labels[half:], labels[:half])
    if len(seen) < 2:  # noqa: PLR2004
        return 0.0
    return float(recall_score(labels[half:], predicted, labels=seen, average="macro"))
