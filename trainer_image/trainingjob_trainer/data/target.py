"""The target: which rows have one, which labels and numbers there are."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from trainingjob_api import Reason, nearest_names
from trainingjob_api.vocabulary import Task
from trainingjob_trainer.data.assumptions import long_codes_finding, quoted, zeros_finding
from trainingjob_trainer.data.columns import (
    NUMBERS,
    Texts,
    as_truths,
    leading_zeros,
    long_codes,
    read_numbers_of,
    without_missing,
)
from trainingjob_trainer.data.finding import Finding, FindingKind, Severity
from trainingjob_trainer.data.notation import Notation
from trainingjob_trainer.data.reading import Reading
from trainingjob_trainer.errors import DataError, SpecInvalid

__all__ = [
    "Labels",
    "choose_positive",
    "find_column",
    "is_whole",
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
_USUAL_POSITIVE = {
    frozenset({"0", "1"}): "1",
    frozenset({"0.0", "1.0"}): "1.0",
    frozenset({"false", "true"}): "true",
}
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
    findings
        Such as labels of mixed types.
    """

    values: np.ndarray
    codes: np.ndarray
    classes: tuple[Any, ...]
    counts: tuple[int, ...]
    findings: tuple[Finding, ...]


def find_column(frame: pd.DataFrame, name: str, field: str, reason: Reason) -> pd.Series:
    """Return the column *name* that *field* of the spec asks for.

    Raises
    ------
    DataError
        With *reason* and the nearest names.
    """
    if name not in frame.columns:
        raise DataError(reason, f"{field}: the table has no column {name!r}; {nearest_columns(name, frame)}")
    column: pd.Series = frame[name]
    return column


def nearest_columns(name: str, frame: pd.DataFrame) -> str:
    """Return the end of a sentence with the columns whose names are like *name*, and no others.

    The file may be one that its user has no business with: a list of its columns would be its first line.
    """
    columns = [str(column) for column in frame.columns if len(str(column)) <= _LONGEST_SHOWN]
    if near := nearest_names(name, columns):
        return f"did you mean {' or '.join(repr(column) for column in near)}?"
    return (
        f"none of its {len(frame.columns):,} columns has a name like it; look at the first line of the file"
    )


def read_target(column: pd.Series, texts: Texts, *, wanted: Task) -> tuple[pd.Series, Reading, list[Finding]]:
    """Return a target with its values, how they are read, and what was assumed.

    Texts become booleans or numbers where all of them are; numbers with marks, signs or placeholders do, too,
    where *wanted* is not classification and they are not a few labels. Words for missing values are labels
    where they stand in 5 % of the rows of a target of texts.

    Raises
    ------
    DataError
        ``TargetNotNumeric`` if nearly all values are numbers and the others stand for nothing known.
    """
    name = str(column.name)
    reading = Reading(missing=texts.missing)
    if name not in texts.looks:
        return column, reading, []
    present = without_missing(column, texts.missing)
    truths = as_truths(present)
    if truths is not None:
        return truths, reading, []
    codes = bool(leading_zeros(present).any() or long_codes(present).any())
    plain = pd.to_numeric(present, errors="coerce")
    if plain.notna().eq(present.notna()).all() and texts.notation_of(name).plain and not codes:
        return plain, reading, _dropped_words(column, present)
    look, notation = texts.looks[name], texts.notation_of(name)
    readable = look.readable(notation)
    among = sum(look.written.values()) + sum(look.tokens.values()) - look.placeholders
    numbers = wanted is Task.REGRESSION or (
        readable >= NUMBERS * among and look.distinct > _FEW_VALUES and not codes
    )
    if wanted is not Task.CLASSIFICATION and readable and numbers:
        return _as_numbers(column, present, texts, notation)
    return _as_labels(column, present, texts)


def _as_numbers(
    column: pd.Series, present: pd.Series, texts: Texts, notation: Notation
) -> tuple[pd.Series, Reading, list[Finding]]:
    values, reading, findings = read_numbers_of(column, present, texts, notation, any_words=False)
    unreadable = present[present.notna() & values.isna()].str.strip()
    unknown = unreadable[~unreadable.str.fullmatch(reading.missing_rule[0])]
    if len(unknown):
        listed = ", ".join(repr(text) for text in unknown.value_counts().index[:_SHOWN])
        raise DataError(
            Reason.TARGET_NOT_NUMERIC,
            f"spec.targetColumn: {len(unknown):,} of {len(column):,} values of {column.name!r} are no "
            f"numbers: {quoted(unknown)}; correct or empty them, or leave these rows out with "
            f"spec.dataset.csv.missingValues: [{listed}]; if they are labels, set spec.task to "
            "classification",
        )
    return values, reading, findings


def _dropped_words(column: pd.Series, present: pd.Series) -> list[Finding]:
    words = column[column.notna() & present.isna()]
    words = words[words.str.strip() != ""]
    return [] if words.empty else [_word_finding(column, words, labels=False)]


def _as_labels(
    column: pd.Series, present: pd.Series, texts: Texts
) -> tuple[pd.Series, Reading, list[Finding]]:
    words = column[column.notna() & present.isna()]
    words = words[words.str.strip() != ""]
    findings: list[Finding] = []
    missing = texts.missing
    if len(words) and texts.csv.missing_values is None:
        rows = words.str.strip().value_counts()
        labels = [text for text in rows.index if rows[text] >= _LABEL_SHARE * column.notna().sum()]
        missing = tuple(text for text in missing if text not in labels)
        present = without_missing(column, missing)
        for kept in (True, False):
            some = words[words.str.strip().isin(labels) == kept]
            if len(some):
                findings.append(_word_finding(column, some, labels=kept))
    if leading_zeros(present).any():
        findings.append(zeros_finding(present[leading_zeros(present)]))
    long = long_codes(present)
    if long.any():
        findings.append(long_codes_finding(present[long]))
    findings += _similar_labels(present)
    return present, Reading(missing=missing), findings


def _word_finding(column: pd.Series, words: pd.Series, *, labels: bool) -> Finding:
    if labels:
        message = (
            f"read as a label, since it is frequent, though it may mean a missing value: {quoted(words)}; to "
            "leave these rows out, list it in spec.dataset.csv.missingValues"
        )
    else:
        message = (
            f"{len(words):,} row(s) with a word for a missing value as target are left out: {quoted(words)}; "
            "if it is a label, list the texts that are missing without it in spec.dataset.csv.missingValues "
            "([] for none)"
        )
    return Finding(FindingKind.LABEL_WORDS, Severity.WARNING, str(column.name), message)


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
        f"labels differ only in spaces or case and count as different ones: {shown}; write them alike in the "
        "table if they are one"
    )
    return [Finding(FindingKind.SIMILAR_LABELS, Severity.WARNING, str(labels.name), message)]


def usable_rows(column: pd.Series) -> np.ndarray:
    """Return which rows have a target: neither missing nor infinite.

    Raises
    ------
    DataError
        ``TargetAllMissing``.
    """
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


def is_whole(numbers: pd.Series) -> bool:
    """Return whether all *numbers* (floats) are whole, and small enough to be exact."""
    return bool((numbers == numbers.round()).all()) and bool((numbers.abs() < 2**53).all())


def read_numbers(column: pd.Series) -> np.ndarray:
    """Return a regression target as ``float64``.

    Raises
    ------
    DataError
        ``TargetNotNumeric`` with the values at fault, or ``TargetConstant``.
    """
    source = (
        column.astype(column.cat.categories.dtype)
        if isinstance(column.dtype, pd.CategoricalDtype)
        else column
    )
    numbers = pd.to_numeric(source, errors="coerce").astype("float64").replace([np.inf, -np.inf], np.nan)
    bad = column[numbers.isna()]
    if len(bad):
        examples = ", ".join(
            repr(str(value)[:40]) for value in bad.astype("str").value_counts().index[:_SHOWN]
        )
        raise DataError(
            Reason.TARGET_NOT_NUMERIC,
            f"spec.targetColumn: regression needs numbers, but {len(bad):,} of {len(column):,} values of "
            f"{column.name!r} are none, such as {examples}; correct or empty them, or set spec.task to "
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

    Raises
    ------
    DataError
        ``TargetSingleClass``.
    """
    values, findings = _label_values(column)
    classes, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
    if len(classes) == 1:
        raise DataError(
            Reason.TARGET_SINGLE_CLASS,
            f"spec.targetColumn: every row with a target has the label {classes[0]!s} in {column.name!r}; a "
            "classifier needs at least two labels",
        )
    return Labels(
        values=values,
        codes=codes.astype(np.intp),
        classes=tuple(classes.tolist()),
        counts=tuple(int(count) for count in counts),
        findings=findings,
    )


def _label_values(column: pd.Series) -> tuple[np.ndarray, tuple[Finding, ...]]:
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    kind = pd.api.types.infer_dtype(column, skipna=True)
    if kind == "boolean":
        return column.to_numpy(dtype=bool, copy=True), ()
    if kind in _NUMBER_KINDS and is_whole(column.astype("float64")):
        return column.astype("float64").to_numpy(dtype="int64", copy=True), ()
    values = column.astype("str").to_numpy(dtype=object, copy=True)
    if kind in {"string", "empty"}:
        return values, ()
    what = "numbers with fractions" if kind in _NUMBER_KINDS else f"of several types ({kind})"
    message = f"the labels are {what}; they are read, and predicted, as text"
    return values, (Finding(FindingKind.LABELS_AS_TEXT, Severity.WARNING, str(column.name), message),)


def choose_positive(labels: Labels, asked: str | None, target: str) -> tuple[Any, tuple[Finding, ...]]:
    """Return the positive label of a binary target: the one *asked* for, else 1 or True, else the rarer one.

    Returns
    -------
    tuple
        The label (None with more than two classes) and findings.

    Raises
    ------
    SpecInvalid
        ``PositiveLabelUnknown`` with the labels that there are.
    """
    if len(labels.classes) != 2:  # noqa: PLR2004
        if asked is None:
            return None, ()
        message = f"spec.positiveLabel is not used, since the target has {len(labels.classes)} classes"
        return None, (Finding(FindingKind.POSITIVE_LABEL_UNUSED, Severity.WARNING, target, message),)
    if asked is not None:
        return _match_label(labels.classes, asked), ()
    first, second = labels.classes
    by_text = {str(label).casefold(): label for label in labels.classes}
    usual = _USUAL_POSITIVE.get(frozenset(by_text))
    if usual is not None:
        label, why = by_text[usual], f"as usual where the labels are {first!r} and {second!r}"
    elif labels.counts[0] == labels.counts[1]:
        label, why = second, "the later one of two that are equally frequent"
    else:
        label, why = first if labels.counts[0] < labels.counts[1] else second, "the rarer one"
    message = f"the positive label is {label!r}, {why}; set spec.positiveLabel if this is wrong"
    return label, (Finding(FindingKind.POSITIVE_LABEL, Severity.INFO, target, message),)


def _match_label(classes: tuple[Any, ...], asked: str) -> Any:
    for label in classes:
        if str(label) == asked:
            return label
    for label in classes:
        if _same(label, asked.strip()):
            return label
    known = [str(label) for label in classes]
    nearest = nearest_names(asked, known, most=1, cutoff=0.0)
    ordered = [*nearest, *(label for label in known if label not in nearest)]
    raise SpecInvalid(
        Reason.POSITIVE_LABEL_UNKNOWN,
        f"spec.positiveLabel {asked!r} is not a label of the target; its labels are "
        f"{', '.join(repr(label) for label in ordered)}",
    )


def _same(label: Any, asked: str) -> bool:
    """Return whether *asked* is another way to write *label*: 1 and 1.0, True and true."""
    if isinstance(label, bool):
        return asked.casefold() == str(label).casefold() or asked == str(int(label))
    if isinstance(label, int | float):
        try:
            return float(asked) == float(label)
        except ValueError:
            return False
    return False
