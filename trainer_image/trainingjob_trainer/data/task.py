"""Which task a target sets."""

import numpy as np
import pandas as pd

from trainingjob_api import Reason
from trainingjob_api.vocabulary import Task
from trainingjob_trainer.data.finding import Finding, FindingKind, Severity
from trainingjob_trainer.data.metric import metric_task
from trainingjob_trainer.data.target import is_whole
from trainingjob_trainer.errors import DataError

__all__ = ["infer_task"]

_FEW_VALUES = 20
_ROWS_PER_VALUE = 10


def infer_task(column: pd.Series, asked: Task, metric: str | None) -> tuple[Task, Finding | None]:
    """Decide the task: the metric decides, else the spec, else the values.

    Text, booleans and categories are classified. So are whole numbers with at most two distinct values, or
    with at most 20 of which each has ten rows on average; all other numbers are regressed.

    Parameters
    ----------
    column
        The target of the usable rows.

    Raises
    ------
    SpecInvalid
        ``UnknownMetric``, or ``MetricDoesNotFit`` where metric and task contradict each other.
    DataError
        ``TargetTypeUnsupported``.
    """
    _check_type(column)
    if metric is not None:
        wanted = metric_task(metric)
        if asked is Task.AUTO or asked is wanted:
            return wanted, None
        # resolve_metric refuses the pair with the list of metrics that fit.
        return asked, None
    if asked is not Task.AUTO:
        return asked, None
    task, why = _by_values(column)
    message = f"the task is {task.value}, since {why}; set spec.task if this is wrong"
    return task, Finding(FindingKind.TASK_INFERRED, Severity.INFO, str(column.name), message)


def _check_type(column: pd.Series) -> None:
    kind = pd.api.types.infer_dtype(column, skipna=True)
    if kind in {
        "datetime64",
        "datetime",
        "date",
        "timedelta64",
        "timedelta",
        "time",
        "period",
        "complex",
        "bytes",
    }:
        raise DataError(
            Reason.TARGET_TYPE_UNSUPPORTED,
            f"spec.targetColumn: the column {column.name!r} holds values of type {kind}; give a target of "
            "numbers, text or booleans",
        )
    if column.dtype == object and column.map(lambda value: not np.isscalar(value)).all():
        raise DataError(
            Reason.TARGET_TYPE_UNSUPPORTED,
            f"spec.targetColumn: the column {column.name!r} holds nested values; give a target of numbers, "
            "text or booleans",
        )


def _by_values(column: pd.Series) -> tuple[Task, str]:
    numbers = _as_numbers(column)
    if numbers is None or pd.api.types.is_bool_dtype(column):
        return Task.CLASSIFICATION, "the target holds text, booleans or categories"
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


def _as_numbers(column: pd.Series) -> pd.Series | None:
    """Return *column* as floats, or None unless each value is a number or the text of one."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return None
    numbers = pd.to_numeric(column, errors="coerce")
    return None if numbers.isna().any() else numbers.astype("float64")
