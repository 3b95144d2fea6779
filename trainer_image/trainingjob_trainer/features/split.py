"""Hold-out and folds, cut once and the same for every candidate."""

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import (
    GroupKFold,
    GroupShuffleSplit,
    KFold,
    StratifiedGroupKFold,
    StratifiedKFold,
    TimeSeriesSplit,
)

from trainingjob_trainer.errors import DataError
from trainingjob_trainer.features.finding import Finding, FindingKind, Severity

__all__ = ["Fold", "Split", "split_by_group", "split_by_time", "split_rows"]

Fold = tuple[np.ndarray, np.ndarray]
"""Positions (``intp``) of the rows to fit on and of those to score."""

_SHOWN = 5
_LEAST = 2  # rows of a class or parts of a table that a split needs


@dataclass(frozen=True, slots=True)
class Split:
    """Where each row goes; all are positions (``intp``), sorted where time does not order them."""

    train: np.ndarray
    holdout: np.ndarray
    folds: tuple[Fold, ...]
    findings: tuple[Finding, ...]


def split_rows(target: np.ndarray, *, classify: bool, fraction: float, folds: int, seed: int) -> Split:
    """Set aside a random *fraction* and cut the rest into shuffled *folds*, stratified for classification.

    The hold-out takes from each class its share, but leaves two rows of it.

    Raises
    ------
    DataError
        ``ClassTooSmall`` or ``TooFewRows``.
    """
    rng = np.random.default_rng(seed)
    holdout = _stratified(target, fraction, rng) if classify else _random(len(target), fraction, rng)
    train = np.setdiff1d(np.arange(len(target)), holdout)
    _check_sizes(train, holdout, target, classify=classify)
    count, findings = _reduce(
        folds, _smallest(target[train]) if classify else len(train), "the smallest class has"
    )
    cutter = StratifiedKFold if classify else KFold
    parts = cutter(n_splits=count, shuffle=True, random_state=seed).split(
        train, target[train] if classify else None
    )
    return Split(train, holdout, _positions(train, parts), findings)


def split_by_group(
    target: np.ndarray, groups: np.ndarray, *, classify: bool, fraction: float, folds: int, seed: int
) -> Split:
    """Set aside about a *fraction* of the rows, and cut the rest, with equal *groups* never on both sides.

    Raises
    ------
    DataError
        ``TooFewGroups``, ``ClassTooSmall`` or ``TooFewRows``.
    """
    count = len(np.unique(groups))
    if count <= _LEAST:
        raise DataError(
            "TooFewGroups",
            f"spec.validation.groupColumn: the column has {count} group(s), but hold-out and two folds need "
            "at least "
            "three; choose another column, or strategy kfold",
        )
    train, holdout = _group_holdout(target, groups, classify=classify, fraction=fraction, seed=seed)
    _check_sizes(train, holdout, target, classify=classify)
    inside = groups[train]
    wanted, findings = _reduce(folds, len(np.unique(inside)), "the rows outside the hold-out have groups:")

    def cut(number: int) -> tuple[Fold, ...]:
        parts = _cut_groups(target[train], inside, classify=classify, number=number, seed=seed)
        return _positions(train, parts)

    parts, more = _whole_folds(cut, target, wanted, classify=classify)
    return Split(train, holdout, parts, findings + more)


def split_by_time(
    target: np.ndarray, times: np.ndarray, *, classify: bool, fraction: float, folds: int
) -> Split:
    """Set aside the last *fraction* in time; each fold is fitted on what lies before the rows that it scores.

    Parameters
    ----------
    times
        Sortable, without missing values. Equal times never stand on both sides of the hold-out, if there are
        others.

    Raises
    ------
    DataError
        ``TooFewRows`` or ``ClassTooSmall``.
    """
    order = np.argsort(times, kind="stable").astype(np.intp)
    cut = len(order) - max(1, round(fraction * len(order)))
    first = int(np.searchsorted(times[order], times[order[cut]], side="left"))
    cut = first if first > len(order) // 2 else cut
    train, holdout = order[:cut], order[cut:]
    _check_sizes(train, holdout, target, classify=classify)
    wanted, findings = _reduce(folds, len(train) - 1, "the rows outside the hold-out allow")
    parts, more = _whole_folds(
        lambda number: _positions(train, TimeSeriesSplit(n_splits=number).split(train)),
        target,
        wanted,
        classify=classify,
    )
    return Split(train, holdout, parts, findings + more)


def _random(rows: int, fraction: float, rng: np.random.Generator) -> np.ndarray:
    size = min(max(1, round(fraction * rows)), rows)
    return np.sort(rng.permutation(rows)[:size]).astype(np.intp)


def _stratified(target: np.ndarray, fraction: float, rng: np.random.Generator) -> np.ndarray:
    chosen = []
    for label in np.unique(target):
        members = np.flatnonzero(target == label)
        size = min(round(fraction * len(members)), max(0, len(members) - _LEAST))
        chosen.append(rng.permutation(members)[:size])
    return np.sort(np.concatenate(chosen)).astype(np.intp)


def _group_holdout(
    target: np.ndarray, groups: np.ndarray, *, classify: bool, fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    rows = np.arange(len(target))
    if classify:
        number = min(max(_LEAST, round(1 / fraction)), len(np.unique(groups)))
        train, holdout = _cut_groups(target, groups, classify=True, number=number, seed=seed)[0]
    else:
        shuffle = GroupShuffleSplit(n_splits=1, test_size=fraction, random_state=seed)
        train, holdout = next(shuffle.split(rows, groups=groups))
    return np.sort(train).astype(np.intp), np.sort(holdout).astype(np.intp)


def _cut_groups(
    target: np.ndarray, groups: np.ndarray, *, classify: bool, number: int, seed: int
) -> list[Fold]:
    cutter = StratifiedGroupKFold if classify else GroupKFold
    if classify:
        number = max(_LEAST, min(number, int(np.unique(target, return_counts=True)[1].max())))
    with warnings.catch_warnings():
        # Small classes are looked at afterwards, in the folds that came out.
        warnings.simplefilter("ignore", UserWarning)
        cut = cutter(n_splits=number, shuffle=True, random_state=seed)
        return list(cut.split(np.arange(len(target)), target, groups))


def _positions(train: np.ndarray, parts: Iterable[Fold]) -> tuple[Fold, ...]:
    return tuple((train[fit].astype(np.intp), train[score].astype(np.intp)) for fit, score in parts)


def _smallest(target: np.ndarray) -> int:
    return int(np.unique(target, return_counts=True)[1].min())


def _check_sizes(train: np.ndarray, holdout: np.ndarray, target: np.ndarray, *, classify: bool) -> None:
    if classify:
        classes, counts = np.unique(target, return_counts=True)
        inside = [int((target[train] == label).sum()) for label in classes]
        small = [i for i, rows in enumerate(inside) if rows < _LEAST]
        if small:
            shown = ", ".join(f"{classes[i]!s} ({counts[i]} in all)" for i in small[:_SHOWN])
            raise DataError(
                "ClassTooSmall",
                f"spec.targetColumn: {len(small)} of {len(classes)} classes have fewer than two rows outside "
                f"the hold-out: {shown}; add rows, merge or remove these classes, lower "
                "spec.validation.holdoutFraction, or set spec.task to regression if the target is a quantity",
            )
    if len(holdout) == 0 or len(train) < 2 * _LEAST:
        raise DataError(
            "TooFewRows",
            f"{len(target)} row(s) with a target are too few to set a hold-out aside and cut folds; add rows",
        )


def _reduce(wanted: int, most: int, why: str) -> tuple[int, tuple[Finding, ...]]:
    if most >= wanted:
        return wanted, ()
    number = max(_LEAST, most)
    return number, (_fewer(wanted, number, f"{why} {most}"),)


def _fewer(wanted: int, number: int, why: str) -> Finding:
    message = f"{number} folds instead of {wanted} (spec.budget.cvFolds): {why}"
    return Finding(FindingKind.FOLDS_REDUCED, Severity.WARNING, None, message)


def _whole_folds(
    cut: Callable[[int], tuple[Fold, ...]], target: np.ndarray, wanted: int, *, classify: bool
) -> tuple[tuple[Fold, ...], tuple[Finding, ...]]:
    """Return the most folds, up to *wanted*, in which every class is fitted and two are scored."""
    if not classify:
        return cut(wanted), ()
    tried = [cut(number) for number in range(wanted, _LEAST - 1, -1)]
    rows = np.unique(np.concatenate([np.concatenate(fold) for fold in tried[0]]))
    classes = len(np.unique(target[rows]))
    for parts in tried:
        fitted = min(len(np.unique(target[fit])) for fit, _ in parts)
        scored = min(len(np.unique(target[score])) for _, score in parts)
        if fitted == classes and scored >= _LEAST:
            why = "with more, a class is missing from the rows of a fold"
            return parts, () if len(parts) == wanted else (_fewer(wanted, len(parts), why),)
    for parts in tried:
        if min(len(np.unique(target[fit])) for fit, _ in parts) >= _LEAST:
            message = "some folds do not hold every class, so their scores say less; see spec.validation"
            return parts, (Finding(FindingKind.FOLD_CLASSES, Severity.WARNING, None, message),)
    raise DataError(
        "FoldsSingleClass",
        "spec.validation: every way to cut the folds leaves one of them with a single class to learn from; "
        "choose "
        "another groupColumn or timeColumn, or strategy kfold",
    )
