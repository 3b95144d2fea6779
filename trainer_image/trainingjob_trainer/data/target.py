"""The target: how it is read, which rows have one, and its labels or numbers."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from trainingjob_api import Reason, nearest_names
from trainingjob_api.vocabulary import Task
from trainingjob_trainer.data.column_format import PLAIN, ColumnFormat
from trainingjob_trainer.data.columns import (
    NUMBERS,
    Texts,
    as_truths,
    is_whole,
    leading_zeros,
    long_codes,
    missing_words,
    read_numbers_of,
    without_missing,
)
from trainingjob_trainer.data.findings import (
    Finding,
    FindingKind,
    long_codes_finding,
    quoted,
    zeros_finding,
)
from trainingjob_trainer.errors import DataError

__all__ = [
    "Labels",
    "check_column",
    "nearest_columns",
    "read_labels",
    "read_numbers",
    "read_target",
    "usable_rows",
]

_SHOWN = 5
_LONGEST_SHOWN = 64
_FEW_VALUES = 20  # different numbers that may be labels
_MANY_LABELS = 1_000
_LABEL_SHARE = 0.05
_NUMBER_KINDS = frozenset({"integer", "floating", "mixed-integer-float", "decimal"})


@dataclass(frozen=True, slots=True)
class Labels:
    """Labels of a classification target.

    Parameters
    ----------
    values
        One label a row: booleans, ``int64`` or objects (strings).
    codes
        Position in ``classes`` of each row's label (``intp``).
    classes
        The distinct labels, sorted, as plain Python values.
    counts
        Rows of each class.
    """

    values: np.ndarray
    codes: np.ndarray
    classes: tuple[Any, ...]
    counts: tuple[int, ...]
    findings: tuple[Finding, ...]


def check_column(frame: pd.DataFrame, name: str, field: str, reason: Reason) -> None:
    """Reject a column *name* in *field* of the spec that the table does not have, for *reason*."""
    if name not in frame.columns:
        raise DataError(reason, f"{field}: the table has no column {name!r}; {nearest_columns(name, frame)}")


def nearest_columns(name: str, frame: pd.DataFrame) -> str:
    """Return the end of a sentence with the columns whose names are like *name*, and no others.

    The user may have no right to see the file, and a list of its columns would be its first line.
    """
    columns = [str(column) for column in frame.columns if len(str(column)) <= _LONGEST_SHOWN]
    if near := nearest_names(name, columns):
        return f"did you mean {' or '.join(repr(column) for column in near)}?"
    return (
        f"none of its {len(frame.columns):,} columns has a name like it; look at the first line of the file"
    )


def read_target(
    column: pd.Series, texts: Texts, *, wanted: Task
) -> tuple[pd.Series, ColumnFormat, list[Finding]]:
    """Return a target with its values, how they are read, and what was assumed.

    Texts become booleans or numbers where all of them are. Numbers with marks, signs or placeholders do, too,
    where *wanted* is not classification and they are not a few labels. Words for missing values are labels
    where they occur in 5 % of the rows of a target of texts.
    """
    name = str(column.name)
    how = ColumnFormat(missing=texts.missing)
    if name not in texts.profiles:
        return column, how, []
    present = without_missing(column, texts.missing)
    truths = as_truths(present)
    if truths is not None:
        return truths, how, []
    words = missing_words(column, present)
    zeros, long = leading_zeros(present), long_codes(present)
    codes = bool(zeros.any() or long.any())
    profile, number = texts.profiles[name], texts.number_format_of(name)
    plain = pd.to_numeric(present, errors="coerce")
    if plain.notna().eq(present.notna()).all() and number == PLAIN and not codes:
        return plain, how, [_word_finding(column, words, labels=False)] if len(words) else []
    readable = profile.readable(number)
    numbers = wanted is Task.REGRESSION or (
        readable >= NUMBERS * profile.present and profile.distinct > _FEW_VALUES and not codes
    )
    if wanted is not Task.CLASSIFICATION and readable and numbers:
        values, how, findings = read_numbers_of(column, present, texts, number, any_words=False)
        _check_unreadable(column, present[present.notna() & values.isna()].str.strip(), how)
        return values, how, findings
    return _as_labels(column, words, texts)


def _check_unreadable(column: pd.Series, unreadable: pd.Series, how: ColumnFormat) -> None:
    unknown = unreadable[~unreadable.str.fullmatch(how.missing_rule[0])]
    if len(unknown):
        listed = ", ".join(repr(text) for text in unknown.value_counts().index[:_SHOWN])
        raise DataError(
            Reason.TARGET_NOT_NUMERIC,
            f"spec.targetColumn: {len(unknown):,} of {len(column):,} values of {column.name!r} are no "
            f"numbers: {quoted(unknown)}; correct or empty them, or leave these rows out with "
            f"spec.dataset.csv.missingValues: [{listed}]; if they are labels, set spec.task to "
            "classification",
        )


def _as_labels(
    column: pd.Series, words: pd.Series, texts: Texts
) -> tuple[pd.Series, ColumnFormat, list[Finding]]:
    findings: list[Finding] = []
    missing = texts.missing
    if len(words) and texts.csv.missing_values is None:
        rows = words.str.strip().value_counts()
        labels = [text for text in rows.index if rows[text] >= _LABEL_SHARE * column.notna().sum()]
        missing = tuple(text for text in missing if text not in labels)
        for kept in (True, False):
            some = words[words.str.strip().isin(labels) == kept]
            if len(some):
                findings.append(_word_finding(column, some, labels=kept))
    present = without_missing(column, missing)
    zeros, long = leading_zeros(present), long_codes(present)
    if zeros.any():
        findings.append(zeros_finding(present[zeros]))
    if long.any():
        findings.append(long_codes_finding(present[long]))
    return present, ColumnFormat(missing=missing), findings + _similar_labels(present)


def _word_finding(column: pd.Series, words: pd.Series, *, labels: bool) -> Finding:
    if labels:
        message = (
            f"Read as a label, since it is frequent, though it may mean a missing value: {quoted(words)}; to "
            "leave these rows out, list it in spec.dataset.csv.missingValues"
        )
    else:
        message = (
            f"{len(words):,} row(s) with a word for a missing value as target are left out: {quoted(words)}; "
            "if it is a label, list the missing texts without it in spec.dataset.csv.missingValues ([] for "
            "none)"
        )
    return Finding.warning(FindingKind.LABEL_WORDS, column.name, message)


def _similar_labels(labels: pd.Series) -> list[Finding]:
    """Report labels that differ only in spaces or case; they stay different."""
    distinct = labels.dropna().drop_duplicates()
    if len(distinct) > _MANY_LABELS:
        return []
    folded = distinct.str.casefold().str.split().str.join(" ")
    groups = [list(group) for _, group in distinct.groupby(folded) if len(group) > 1]
    if not groups:
        return []
    shown = "; ".join(" and ".join(repr(str(label)) for label in group) for group in groups[:_SHOWN])
    message = (
        f"Labels differ only in spaces or case and count as different: {shown}; make them equal in the "
        "table if they are the same"
    )
    return [Finding.warning(FindingKind.SIMILAR_LABELS, labels.name, message)]


def usable_rows(column: pd.Series) -> np.ndarray:
    """Return which rows have a target: neither missing nor infinite."""
    usable = column.notna().to_numpy(dtype=bool, copy=True)
    if pd.api.types.is_float_dtype(column):
        usable &= ~np.isinf(column.to_numpy(dtype="float64", na_value=np.nan))
    if not usable.any():
        raise DataError(
            Reason.TARGET_ALL_MISSING,
            f"spec.targetColumn: the column {column.name!r} has no value in any row; name another column, or "
            "fill it",
        )
    return usable


def _without_categories(column: pd.Series) -> pd.Series:
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column.astype(column.cat.categories.dtype)
    return column


def read_numbers(column: pd.Series) -> np.ndarray:
    """Return a regression target as ``float64``."""
    numbers = pd.to_numeric(_without_categories(column), errors="coerce").astype("float64")
    numbers = numbers.replace([np.inf, -np.inf], np.nan)
    bad = column[numbers.isna()]
    if len(bad):
        counts = bad.astype("str").value_counts()
        examples = ", ".join(repr(str(value)[:40]) for value in counts.index[:_SHOWN])
        raise DataError(
            Reason.TARGET_NOT_NUMERIC,
            f"spec.targetColumn: regression needs numbers, but {len(bad):,} of {len(column):,} values of "
            f"{column.name!r} are not, such as {examples}; correct or empty them, or set spec.task to "
            "classification",
        )
    values: np.ndarray = numbers.to_numpy(dtype="float64", copy=True)
    if len(np.unique(values)) == 1:
        raise DataError(
            Reason.TARGET_CONSTANT,
            f"spec.targetColumn: every value of {column.name!r} is {values[0]:g}, so there is nothing to "
            "learn; name another column",
        )
    return values


def read_labels(column: pd.Series) -> Labels:
    """Return the labels of a classification target, as they are.

    Whole numbers that pandas made floats of because a value was missing become integers again. Numbers with
    fractions become text, since no classifier takes them.
    """
    values, findings = _label_values(_without_categories(column))
    classes, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
    if len(classes) == 1:
        raise DataError(
            Reason.TARGET_SINGLE_CLASS,
            f"spec.targetColumn: every row with a target has the label {classes[0]!s} in {column.name!r}; a "
            "classifier needs at least two labels",
        )
    return Labels(values, codes.astype(np.intp), tuple(classes.tolist()), tuple(counts.tolist()), findings)


def _label_values(column: pd.Series) -> tuple[np.ndarray, tuple[Finding, ...]]:
    kind = pd.api.types.infer_dtype(column, skipna=True)
    if kind == "boolean":
        return column.to_numpy(dtype=bool, copy=True), ()
    if kind in _NUMBER_KINDS and is_whole(column.astype("float64")):
        return column.astype("float64").to_numpy(dtype="int64", copy=True), ()
    values = column.astype("str").to_numpy(dtype=object, copy=True)
    if kind in {"string", "empty"}:
        return values, ()
    what = "numbers with fractions" if kind in _NUMBER_KINDS else f"of several types ({kind})"
    message = f"The labels are {what}; they are read, and predicted, as text"
    return values, (Finding.warning(FindingKind.LABELS_AS_TEXT, column.name, message),)
