"""From a table and a job to what a search needs: features, target, metric and splits."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from trainingjob_api import Reason
from trainingjob_api.resolved import ResolvedRun
from trainingjob_api.vocabulary import FeatureType, Task, ValidationStrategy
from trainingjob_trainer.data import Finding, FindingKind
from trainingjob_trainer.data.column_format import ColumnFormat, parse_dates
from trainingjob_trainer.data.columns import Columns, layout_findings, read_columns, read_texts, with_columns
from trainingjob_trainer.data.features import find_leaks, infer_feature_types, without_infinities
from trainingjob_trainer.data.load import Table, TableFile
from trainingjob_trainer.data.metric import Metric, check_metric, metric_task, resolve_metric
from trainingjob_trainer.data.split import (
    Classes,
    Fold,
    Split,
    duplicate_rows,
    find_duplicates,
    sets_of_copies,
    split_by_group,
    split_by_time,
    split_copies,
    split_rows,
)
from trainingjob_trainer.data.target import (
    check_column,
    choose_positive,
    find_imbalance,
    infer_task,
    label_target,
    number_target,
    read_target,
    usable_rows,
)
from trainingjob_trainer.errors import DataError

_GROUP_FIELD = "spec.validation.groupColumn"
_TIME_FIELD = "spec.validation.timeColumn"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A table ready to be searched on. All positions are ``intp`` and count the rows of ``frame``."""

    frame: pd.DataFrame
    """Feature columns alone, as they were read, of the rows with a target; infinities are missing."""
    target: np.ndarray
    """Original labels (booleans, ``int64``, ``float64`` or objects), or ``float64`` for regression."""
    task: Task
    metric: Metric
    classes: tuple[Any, ...] | None
    """All labels in sorted order, or None for regression."""
    positive_label: Any
    """The positive one of two classes, or None."""
    feature_types: dict[str, FeatureType]
    file: TableFile
    row_numbers: np.ndarray
    """Position in the file of each row of ``frame``."""
    train_index: np.ndarray
    holdout_index: np.ndarray
    folds: tuple[Fold, ...]
    """Rows to fit on and rows to score, all among ``train_index``."""
    repeats: tuple[Fold, ...]
    """The same for the finalists of a small table, which is cut twice again; else empty."""
    groups: np.ndarray | None
    """Group of each row, or None."""
    findings: tuple[Finding, ...]
    dropped_rows: int
    """Rows left out, since they have no target (or no time)."""
    cv_folds: int
    """Number of folds, after they were reduced if they had to be."""
    dataset_sha256: str
    formats: dict[str, ColumnFormat] = field(default_factory=dict)
    """How the raw values of each column are read."""
    target_format: ColumnFormat = field(default_factory=ColumnFormat)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    values: np.ndarray
    metric: Metric
    classes: Classes | None = None
    positive_label: Any = None
    findings: tuple[Finding, ...] = ()


def prepare(table: Table, run: ResolvedRun) -> Prepared:
    """Return target, features, hold-out and folds of *table*.

    The same table and run give the same result in any process.

    Parameters
    ----------
    run
        Target, task, metric, feature types, validation, folds and seed are read from it.

    Raises
    ------
    DataError
        If the table cannot be learnt from; ``docs/data.md`` has the reasons.
    SpecInvalid
        If the job asks for a metric, label or column that does not fit the table.
    """
    target = run.target_column
    validation = run.validation
    named = ((validation.group_column, _GROUP_FIELD), (validation.time_column, _TIME_FIELD))
    roles = {column: role for column, role in named if column is not None}
    check_column(table.frame, target, "spec.targetColumn", Reason.TARGET_COLUMN_MISSING)
    for name, role in roles.items():
        check_column(table.frame, name, role, Reason.VALIDATION_COLUMN_MISSING)
    columns, target_format = _read(table, run)
    rows, lost = _usable(columns, run)
    frame, infinite = without_infinities(rows)
    task, inferred = infer_task(frame[target], run.task, run.metric)
    goal = _target(frame[target], task, run)
    types, typed = infer_feature_types(
        frame, run.feature_types, target=target, roles=roles, formats=columns.formats
    )
    used: dict[str, FeatureType] = {
        name: kind for name, kind in types.items() if kind is not FeatureType.IGNORE
    }
    split, groups = _split(frame, columns.formats, goal.classes, run, compared=[*used, target])
    features = frame[list(used)].reset_index(drop=True)
    classify = task is Task.CLASSIFICATION
    leaks = find_leaks(
        features,
        goal.values,
        used,
        formats=columns.formats,
        classify=classify,
        seed=run.random_state,
    )
    positive = None if goal.positive_label is None else str(goal.positive_label)
    unsuited = check_metric(
        goal.metric.name, goal.values, split, classes=goal.classes, positive=positive, column=target
    )
    read = [finding for finding in columns.findings if finding.column in {None, target, *used, *roles}]
    csv = run.dataset.csv
    missing = None if csv is None or csv.missing_values is None else tuple(csv.missing_values)
    file = replace(table.file, missing_values=missing)
    about_target = [*([inferred] if inferred else []), *goal.findings, *unsuited]
    return Prepared(
        frame=features,
        target=goal.values,
        task=task,
        metric=goal.metric,
        classes=None if goal.classes is None else goal.classes.labels,
        positive_label=goal.positive_label,
        feature_types=used,
        formats={name: columns.formats[name] for name in used},
        target_format=target_format,
        file=file,
        row_numbers=frame.index.to_numpy(dtype=np.intp),
        train_index=split.train,
        holdout_index=split.holdout,
        folds=split.folds,
        repeats=split.repeats,
        groups=groups,
        findings=(*read, *lost, *about_target, *infinite, *typed, *leaks, *split.findings),
        dropped_rows=len(table.frame) - len(frame),
        cv_folds=len(split.folds),
        dataset_sha256=table.sha256,
    )


def describe_input(prepared: Prepared, target: str) -> dict[str, Any]:
    """Return plain data about what a model takes, without values of the table, and what it answers."""
    frame, positive = prepared.frame, prepared.positive_label
    columns = [
        {
            "name": name,
            "dtype": str(frame[name].dtype),
            "type": kind.value,
            "missing": int(frame[name].isna().sum()),
            "categories": int(frame[name].nunique()) if kind is FeatureType.CATEGORICAL else None,
            "reading": prepared.formats[name].to_dict(),
        }
        for name, kind in prepared.feature_types.items()
    ]
    return {
        "columns": columns,
        "target": target,
        "task": prepared.task.value,
        "classes": None if prepared.classes is None else [str(label) for label in prepared.classes],
        "file": prepared.file.to_dict(),
        "positiveLabel": None if positive is None else str(positive),
    }


def _read(table: Table, run: ResolvedRun) -> tuple[Columns, ColumnFormat]:
    """Return the table with its values instead of their texts, and how those of the target were read."""
    name, layout = run.target_column, table.file.layout
    texts = read_texts(table.frame, run.dataset.csv, None if layout is None else layout.separator)
    wanted = run.task if run.metric is None else metric_task(run.metric)
    target, target_format, found = read_target(table.frame[name], texts, wanted=wanted)
    columns = read_columns(table.frame, texts, run.feature_types, skip=name)
    frame = with_columns(columns.frame, {name: target})
    findings = (*layout_findings(texts), *found, *columns.findings)
    return replace(columns, frame=frame, findings=findings), target_format


def _usable(columns: Columns, run: ResolvedRun) -> tuple[pd.DataFrame, tuple[Finding, ...]]:
    """Return the rows with a target, and with a time where time orders the rows."""
    frame = columns.frame
    findings = []
    keep = usable_rows(frame[run.target_column])
    lost = int((~keep).sum())
    if lost:
        message = f"{lost:,} of {len(frame):,} rows have no (or an infinite) target and are left out"
        findings.append(Finding.warning(FindingKind.TARGET_MISSING, run.target_column, message))
    time = run.validation.time_column
    if run.validation.strategy is ValidationStrategy.TIME and time is not None:
        timed = _times(frame[time], columns.formats).notna().to_numpy(dtype=bool)
        lost = int((keep & ~timed).sum())
        keep &= timed
        if not keep.any():
            raise DataError(
                Reason.TIME_COLUMN_UNREADABLE,
                f"{_TIME_FIELD}: no value of {time!r} can be read as a date or a number; choose another "
                "column, or strategy kfold",
            )
        if lost:
            message = f"{lost:,} rows with a target have no readable time and are left out"
            findings.append(Finding.warning(FindingKind.ROWS_WITHOUT_TIME, time, message))
    return (frame if keep.all() else frame[keep]), tuple(findings)


def _times(column: pd.Series, formats: Mapping[str, ColumnFormat]) -> pd.Series:
    """Return the values by which rows are ordered: numbers as they are, everything else as dates."""
    if pd.api.types.is_numeric_dtype(column):
        return column
    return parse_dates(column, formats[str(column.name)].date)


def _target(column: pd.Series, task: Task, run: ResolvedRun) -> _Target:
    if task is Task.REGRESSION:
        numbers = number_target(column)
        return _Target(values=numbers, metric=resolve_metric(run.metric, task, target=numbers))
    values, classes, found = label_target(column)
    positive, chosen = choose_positive(classes, run.positive_label, run.target_column)
    metric = resolve_metric(run.metric, task, classes.labels, positive)
    uneven = find_imbalance(classes, metric.name, run.target_column)
    return _Target(
        values=values,
        metric=metric,
        classes=classes,
        positive_label=positive,
        findings=(*found, *chosen, *uneven),
    )


def _split(
    frame: pd.DataFrame,
    formats: Mapping[str, ColumnFormat],
    classes: Classes | None,
    run: ResolvedRun,
    *,
    compared: list[str],
) -> tuple[Split, np.ndarray | None]:
    """Cut the rows; copies are equal in the *compared* columns, those in use and the target."""
    validation = run.validation
    fraction, folds, seed = validation.holdout_fraction, run.budget.cv_folds, run.random_state
    rows = frame[compared]
    duplicates = duplicate_rows(rows)
    groups: np.ndarray | None = None
    found: tuple[Finding, ...] = ()
    together: Split | None = None
    if validation.strategy is ValidationStrategy.GROUP and validation.group_column is not None:
        groups, found = _groups(frame[validation.group_column])
        split = split_by_group(groups, classes, fraction=fraction, folds=folds, seed=seed)
    elif validation.strategy is ValidationStrategy.TIME and validation.time_column is not None:
        times = _times(frame[validation.time_column], formats).to_numpy()
        split = split_by_time(times, classes, fraction=fraction, folds=folds)
    else:
        sets = sets_of_copies(rows, duplicates)
        if sets is not None:
            together = split_copies(sets, classes, fraction=fraction, folds=folds, seed=seed)
        split = together or split_rows(len(frame), classes, fraction=fraction, folds=folds, seed=seed)
    copies = find_duplicates(duplicates, together=together is not None)
    return replace(split, findings=copies + found + split.findings), groups


def _groups(column: pd.Series) -> tuple[np.ndarray, tuple[Finding, ...]]:
    """Return a number for each group; rows without a group form one group."""
    codes = pd.factorize(column.astype("str"), sort=True)[0].astype(np.intp)
    missing = codes < 0
    if not missing.any():
        return codes, ()
    codes[missing] = codes.max() + 1
    message = f"{int(missing.sum()):,} rows have no group and are kept together as one"
    return codes, (Finding.warning(FindingKind.ROWS_WITHOUT_GROUP, column.name, message),)
