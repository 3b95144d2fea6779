"""The task that a target sets, and the positive one of two labels."""

from typing import Any

import numpy as np
import pandas as pd

from trainingjob_api import Reason, nearest_names
from trainingjob_api.vocabulary import Task
from trainingjob_trainer.data.columns import is_whole
from trainingjob_trainer.data.findings import Finding, FindingKind
from trainingjob_trainer.data.metric import metric_task
from trainingjob_trainer.data.target import Labels
from trainingjob_trainer.errors import DataError, SpecInvalid

__all__ = ["choose_positive", "infer_task"]

_FEW_VALUES = 20
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


def choose_positive(labels: Labels, asked: str | None, target: str) -> tuple[Any, tuple[Finding, ...]]:
    """Return the positive label of a binary target: the one *asked* for, else 1 or True, else the rarer one.

    Returns
    -------
    tuple
        The label (None with more than two classes) and findings.
    """
    if len(labels.classes) != 2:  # noqa: PLR2004
        if asked is None:
            return None, ()
        message = f"spec.positiveLabel is not used, since the target has {len(labels.classes)} classes"
        return None, (Finding.warning(FindingKind.POSITIVE_LABEL_UNUSED, target, message),)
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
    message = f"The positive label is {label!r}, {why}; set spec.positiveLabel if this is wrong"
    return label, (Finding.info(FindingKind.POSITIVE_LABEL, target, message),)


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
