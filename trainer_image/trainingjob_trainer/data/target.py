"""The target: how it is read, which rows have one, its task, and its labels or numbers."""

from typing import Any

import numpy as np
import pandas as pd

from trainingjob_api import Reason, nearest_names
from trainingjob_api.vocabulary import Task
from trainingjob_trainer.data import Finding, FindingKind, quoted
from trainingjob_trainer.data.column_format import PLAIN, ColumnFormat
from trainingjob_trainer.data.columns import (
    NUMBERS,
    Texts,
    as_truths,
    code_findings,
    missing_words,
    without_missing,
)
from trainingjob_trainer.data.metric import metric_task
from trainingjob_trainer.data.number_format import is_whole, read_numbers
from trainingjob_trainer.data.split import Classes
from trainingjob_trainer.errors import DataError, SpecInvalid

_SHOWN = 5
_LONGEST_SHOWN = 64
_FEW_VALUES = 20  # different numbers that may be labels
_MANY_LABELS = 1_000
_LABEL_SHARE = 0.05
_SMALL_SHARE = 0.2  # of an even share, for many classes; of all rows, for two
_ACCURACIES = frozenset({"accuracy", "f1_micro", "precision_micro", "recall_micro"})
_ROWS_PER_VALUE = 10
_NO_TARGET_KINDS = frozenset(
    {
        *("datetime64", "datetime", "date", "timedelta64", "timedelta", "time", "period"),
        *("complex", "bytes"),
    }
)
_USUAL_POSITIVE = {
    frozenset({"0", "1"}): "1",
    frozenset({"0.0", "1.0"}): "1.0",
    frozenset({"false", "true"}): "true",
}
NUMBER_KINDS = frozenset({"integer", "floating", "mixed-integer-float", "decimal"})


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
    words, codes = missing_words(column, present), code_findings(present)
    profile, number = texts.profiles[name], texts.number_format_of(name)
    plain = pd.to_numeric(present, errors="coerce")
    if plain.notna().eq(present.notna()).all() and number == PLAIN and not codes:
        return plain, how, [_word_finding(column, words, labels=False)] if len(words) else []
    readable = profile.readable(number)
    numbers = wanted is Task.REGRESSION or (
        readable >= NUMBERS * profile.present and profile.distinct > _FEW_VALUES and not codes
    )
    if wanted is not Task.CLASSIFICATION and readable and numbers:
        values, how, findings = read_numbers(
            column, present, number, profile, csv=texts.csv, missing=texts.missing, any_words=False
        )
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
    return (
        present,
        ColumnFormat(missing=missing),
        findings + code_findings(present) + _similar_labels(present),
    )


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


def number_target(column: pd.Series) -> np.ndarray:
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


def label_target(column: pd.Series) -> tuple[np.ndarray, Classes, tuple[Finding, ...]]:
    """Return a classification target: a label for each row (booleans, ``int64`` or strings), and its classes.

    Whole numbers that pandas made floats of because a value was missing become integers again. Numbers with
    fractions become text, since no classifier takes them.
    """
    values, findings = _label_values(_without_categories(column))
    labels, codes = np.unique(values, return_inverse=True)
    if len(labels) == 1:
        raise DataError(
            Reason.TARGET_SINGLE_CLASS,
            f"spec.targetColumn: every row with a target has the label {labels[0]!s} in {column.name!r}; a "
            "classifier needs at least two labels",
        )
    return values, Classes(codes.astype(np.intp), tuple(labels.tolist())), findings


def _label_values(column: pd.Series) -> tuple[np.ndarray, tuple[Finding, ...]]:
    kind = pd.api.types.infer_dtype(column, skipna=True)
    if kind == "boolean":
        return column.to_numpy(dtype=bool, copy=True), ()
    if kind in NUMBER_KINDS and is_whole(column.astype("float64")):
        return column.astype("float64").to_numpy(dtype="int64", copy=True), ()
    values = column.astype("str").to_numpy(dtype=object, copy=True)
    if kind in {"string", "empty"}:
        return values, ()
    what = "numbers with fractions" if kind in NUMBER_KINDS else f"of several types ({kind})"
    message = f"The labels are {what}; they are read, and predicted, as text"
    return values, (Finding.warning(FindingKind.LABELS_AS_TEXT, column.name, message),)


def infer_task(column: pd.Series, asked: Task, metric: str | None) -> tuple[Task, Finding | None]:
    """Decide the task: the metric decides, else the spec, else the values of the usable rows.

    Text, booleans and categories are classified. So are whole numbers with at most two distinct values, or
    with at most 20 of which each has ten rows on average; all other numbers are regressed.
    """
    kind = pd.api.types.infer_dtype(column, skipna=True)
    nested = column.dtype == object and column.map(lambda value: not np.isscalar(value)).all()
    if kind in _NO_TARGET_KINDS or nested:
        what = f"values of type {kind}" if kind in _NO_TARGET_KINDS else "nested values"
        raise DataError(
            Reason.TARGET_TYPE_UNSUPPORTED,
            f"spec.targetColumn: the column {column.name!r} holds {what}; name a target of numbers, text or "
            "booleans",
        )
    if asked is not Task.AUTO or metric is not None:
        of_metric = None if metric is None else metric_task(metric)
        return (of_metric if of_metric is not None and asked is Task.AUTO else asked), None
    task, why = _by_values(column)
    message = f"The task is {task.value}, since {why}; set spec.task if this is wrong"
    return task, Finding.info(FindingKind.TASK_INFERRED, column.name, message)


def _by_values(column: pd.Series) -> tuple[Task, str]:
    text = isinstance(column.dtype, pd.CategoricalDtype) or pd.api.types.is_bool_dtype(column)
    numbers = None if text else pd.to_numeric(column, errors="coerce")
    if numbers is None or numbers.isna().any():
        return Task.CLASSIFICATION, "the target holds text, booleans or categories"
    numbers = numbers.astype("float64")
    distinct = int(numbers.nunique())
    if distinct <= 2:  # noqa: PLR2004
        return Task.CLASSIFICATION, f"the target has {distinct} distinct value(s)"
    if not is_whole(numbers):
        return Task.REGRESSION, "the target holds numbers with fractions"
    if distinct <= _FEW_VALUES and len(numbers) >= _ROWS_PER_VALUE * distinct:
        return Task.CLASSIFICATION, f"the target holds whole numbers with {distinct} distinct values"
    return (
        Task.REGRESSION,
        f"the target holds whole numbers with {distinct:,} distinct values in {len(numbers):,} rows",
    )


def choose_positive(classes: Classes, asked: str | None, target: str) -> tuple[Any, tuple[Finding, ...]]:
    """Return the positive label of a binary target: the *asked* one, else 1 or True, else the rarer one.

    With more than two classes, there is none.
    """
    if len(classes.labels) != 2:  # noqa: PLR2004
        if asked is None:
            return None, ()
        message = f"spec.positiveLabel is not used, since the target has {len(classes.labels)} classes"
        return None, (Finding.warning(FindingKind.POSITIVE_LABEL_UNUSED, target, message),)
    if asked is not None:
        return _match_label(classes, asked), ()
    first, second = classes.labels
    by_text = {str(label).casefold(): label for label in classes.labels}
    usual = _USUAL_POSITIVE.get(frozenset(by_text))
    if usual is not None:
        label, why = by_text[usual], f"as usual where the labels are {first!r} and {second!r}"
    elif classes.counts[0] == classes.counts[1]:
        label, why = second, "the later one of two that are equally frequent"
    else:
        label, why = first if classes.counts[0] < classes.counts[1] else second, "the rarer one"
    message = f"The positive label is {label!r}, {why}; set spec.positiveLabel if this is wrong"
    return label, (Finding.info(FindingKind.POSITIVE_LABEL, target, message),)


def _match_label(classes: Classes, asked: str) -> Any:
    same = [label for label in classes.labels if str(label) == asked]
    same += [label for label in classes.labels if _same(label, asked.strip())]
    if same:
        return same[0]
    nearest = nearest_names(asked, classes.names, most=1, cutoff=0.0)
    ordered = [*nearest, *(label for label in classes.names if label not in nearest)]
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


def find_imbalance(classes: Classes, metric: str, target: str) -> tuple[Finding, ...]:
    """Report a class with less than a fifth of the rows (of two) or of its even share (of more)."""
    counts = classes.counts
    total, least = int(counts.sum()), int(counts.min())
    if least >= _SMALL_SHARE * total / (1 if len(counts) == 2 else len(counts)):  # noqa: PLR2004
        return ()
    advice = (
        f"{metric} is {counts.max() / total:.3g} for a model that always predicts one label: read "
        "balanced_accuracy beside it, or set spec.metric to balanced_accuracy or f1_macro"
        if metric in _ACCURACIES
        else "also read balanced_accuracy"
    )
    rare = classes.labels[int(counts.argmin())]
    message = f"The label {rare!r} occurs in {least:,} of {total:,} rows ({least / total:.2%}); {advice}"
    return (Finding.warning(FindingKind.IMBALANCED, target, message),)
