"""Hold-out and folds, cut once and the same for every candidate, and rows that are copies of others."""

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import (
    GroupKFold,
    GroupShuffleSplit,
    KFold,
    StratifiedGroupKFold,
    StratifiedKFold,
    TimeSeriesSplit,
)

from trainingjob_api import Reason
from trainingjob_trainer.data import Finding, FindingKind, listed
from trainingjob_trainer.errors import DataError

Fold = tuple[np.ndarray, np.ndarray]
"""Positions (``intp``) of the rows to fit on and of those to score."""

_SHOWN = 5
_LARGEST_SET = 20  # the reciprocal of its share of the rows
_LEAST = 2  # rows of a class or parts of a table that a split needs
_COPY_COLUMNS = 3
_COPY_ROWS = 20_000
_CHANCE = 0.1  # of the equal rows that are there
_FEW_ROWS = 2_000
"""Rows outside the hold-out up to which the best of many pipelines owes much to luck with its folds."""
_REPEATS = 2
_SEEDS = 2**32


@dataclass(frozen=True, slots=True)
class Classes:
    """Class of each row, as a position (``intp``) in ``labels``: sorted, distinct, plain Python values."""

    codes: np.ndarray
    labels: tuple[Any, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The labels as messages show them."""
        return tuple(map(str, self.labels))

    @property
    def counts(self) -> np.ndarray:
        """Rows of each class."""
        return np.bincount(self.codes)


@dataclass(frozen=True, slots=True)
class Split:
    """Where each row goes; all are positions (``intp``), in time's order within folds, else ascending.

    `repeats` are the same rows cut twice again, where they are few and in no order and no groups.
    """

    train: np.ndarray
    holdout: np.ndarray
    folds: tuple[Fold, ...]
    findings: tuple[Finding, ...]
    repeats: tuple[Fold, ...] = ()


def split_copies(
    sets: np.ndarray, classes: Classes | None, *, fraction: float, folds: int, seed: int
) -> Split | None:
    """Cut like `split_rows`, with the rows of equal *sets* on the same side; None if that costs too much.

    One row of each set is cut and the others follow it, which keeps the strata as long as sets are small. The
    rows of a set are of the same class. It costs too much if a set has more than a twentieth of all rows, or
    if a class has too few different rows for the folds.
    """
    number, first, inverse, counts = np.unique(
        sets, return_index=True, return_inverse=True, return_counts=True
    )
    if counts.max() * _LARGEST_SET > len(sets):
        return None
    those = None if classes is None else replace(classes, codes=classes.codes[first])
    try:
        split = split_rows(len(number), those, fraction=fraction, folds=folds, seed=seed)
    except DataError:
        return None
    if split.findings:
        return None

    def rows_of(chosen: np.ndarray) -> np.ndarray:
        return np.flatnonzero(np.isin(inverse, chosen)).astype(np.intp)

    def parts_of(folds: Iterable[Fold]) -> tuple[Fold, ...]:
        return tuple((rows_of(fit), rows_of(score)) for fit, score in folds)

    return Split(
        rows_of(split.train), rows_of(split.holdout), parts_of(split.folds), (), parts_of(split.repeats)
    )


def split_rows(rows: int, classes: Classes | None, *, fraction: float, folds: int, seed: int) -> Split:
    """Set aside a random *fraction* and cut the rest into shuffled *folds*, stratified by *classes*.

    The hold-out takes from each class its share, but leaves two rows of it.
    """
    rng = np.random.default_rng(seed)
    holdout = _random(rows, fraction, rng) if classes is None else _stratified(classes, fraction, rng)
    train = np.setdiff1d(np.arange(rows), holdout)
    _check_sizes(train, holdout, classes)
    if classes is None:
        inside = None
        count, findings = _reduce(folds, len(train), "rows are outside the hold-out")
    else:
        inside = classes.codes[train]
        smallest = int(np.bincount(inside).min())
        count, findings = _reduce(folds, smallest, "rows of the smallest class are outside the hold-out")

    def cut(seed: int) -> tuple[Fold, ...]:
        kind = KFold if inside is None else StratifiedKFold
        return _positions(train, kind(n_splits=count, shuffle=True, random_state=seed).split(train, inside))

    seeds = [(seed + 1 + repeat) % _SEEDS for repeat in range(_REPEATS if len(train) <= _FEW_ROWS else 0)]
    repeats = tuple(fold for other in seeds for fold in cut(other))
    return Split(train, holdout, cut(seed), findings, repeats)


def split_by_group(
    groups: np.ndarray, classes: Classes | None, *, fraction: float, folds: int, seed: int
) -> Split:
    """Set aside about a *fraction* of the rows, and cut the rest, with equal *groups* never on both sides."""
    count = len(np.unique(groups))
    if count <= _LEAST:
        raise DataError(
            Reason.TOO_FEW_GROUPS,
            f"spec.validation.groupColumn: the column has {count} group(s), but hold-out and two folds need "
            "at least three; choose another column, or strategy kfold",
        )
    if classes is None:
        shuffle = GroupShuffleSplit(n_splits=1, test_size=fraction, random_state=seed)
        train, holdout = next(shuffle.split(groups, groups=groups))
    else:
        number = min(max(_LEAST, round(1 / fraction)), count)
        train, holdout = _cut_groups(groups, classes.codes, number=number, seed=seed)[0]
    train, holdout = np.sort(train).astype(np.intp), np.sort(holdout).astype(np.intp)
    _check_sizes(train, holdout, classes)
    inside = groups[train]
    codes = None if classes is None else classes.codes[train]
    wanted, findings = _reduce(folds, len(np.unique(inside)), "groups are outside the hold-out")

    def cut(number: int) -> tuple[Fold, ...]:
        return _positions(train, _cut_groups(inside, codes, number=number, seed=seed))

    parts, more = _whole_folds(cut, train, classes, wanted)
    return Split(train, holdout, parts, findings + more)


def split_by_time(times: np.ndarray, classes: Classes | None, *, fraction: float, folds: int) -> Split:
    """Set aside the last *fraction* in time; each fold is fitted on what lies before the rows that it scores.

    Equal *times*, none of them missing, are on the same side, unless more than half of the rows would be held
    out.
    """
    order = np.argsort(times, kind="stable").astype(np.intp)
    cut = len(order) - max(1, round(fraction * len(order)))
    first = int(np.searchsorted(times[order], times[order[cut]], side="left"))
    cut = first if first > len(order) // 2 else cut
    train, holdout = order[:cut], order[cut:]
    _check_sizes(train, holdout, classes)
    wanted, findings = _reduce(
        folds, len(train) - 1, "folds in time order fit into the rows outside the hold-out"
    )

    def parts_of(number: int) -> tuple[Fold, ...]:
        return _positions(train, TimeSeriesSplit(n_splits=number).split(train))

    parts, more = _whole_folds(parts_of, train, classes, wanted)
    return Split(np.sort(train), np.sort(holdout), parts, findings + more)


def _random(rows: int, fraction: float, rng: np.random.Generator) -> np.ndarray:
    return np.sort(rng.permutation(rows)[: max(1, round(fraction * rows))]).astype(np.intp)


def _stratified(classes: Classes, fraction: float, rng: np.random.Generator) -> np.ndarray:
    # Not train_test_split: it rejects classes of one row, whose absence is reported later, by name.
    shuffled = rng.permutation(len(classes.codes))
    by_class = shuffled[np.argsort(classes.codes[shuffled], kind="stable")]
    members = np.split(by_class, np.cumsum(classes.counts)[:-1])
    chosen = [rows[: min(round(fraction * len(rows)), max(0, len(rows) - _LEAST))] for rows in members]
    return np.sort(np.concatenate(chosen)).astype(np.intp)


def _cut_groups(groups: np.ndarray, codes: np.ndarray | None, *, number: int, seed: int) -> list[Fold]:
    if codes is None:
        return list(GroupKFold(n_splits=number, shuffle=True, random_state=seed).split(groups, groups=groups))
    number = max(_LEAST, min(number, int(np.bincount(codes).max())))
    with warnings.catch_warnings():
        # Small classes are checked afterwards, in the folds that came out.
        warnings.simplefilter("ignore", UserWarning)
        cutter = StratifiedGroupKFold(n_splits=number, shuffle=True, random_state=seed)
        return list(cutter.split(codes, codes, groups))


def _positions(train: np.ndarray, parts: Iterable[Fold]) -> tuple[Fold, ...]:
    return tuple((train[fit].astype(np.intp), train[score].astype(np.intp)) for fit, score in parts)


def _check_sizes(train: np.ndarray, holdout: np.ndarray, classes: Classes | None) -> None:
    if classes is not None:
        total, names = classes.counts, classes.names
        small = np.flatnonzero(np.bincount(classes.codes[train], minlength=len(total)) < _LEAST)
        if len(small):
            few = [f"{names[i]} ({total[i]} in all)" for i in small]
            raise DataError(
                Reason.CLASS_TOO_SMALL,
                f"spec.targetColumn: {len(small)} of {len(total)} classes have fewer than two rows outside "
                f"the hold-out: {listed(few, most=_SHOWN)}; add rows, merge or remove these classes, or set "
                "spec.task to regression if the target is a quantity",
            )
    if len(holdout) == 0 or len(train) < 2 * _LEAST:
        raise DataError(
            Reason.TOO_FEW_ROWS,
            f"{len(train) + len(holdout)} row(s) with a target are too few to set a hold-out aside and cut "
            "folds; add rows",
        )


def _reduce(wanted: int, most: int, available: str) -> tuple[int, tuple[Finding, ...]]:
    number = min(wanted, max(_LEAST, most))
    return number, _fewer(wanted, number, f"only {most} {available}") if most < wanted else ()


def _fewer(wanted: int, number: int, why: str) -> tuple[Finding, ...]:
    message = f"{number} folds instead of {wanted} (spec.budget.cvFolds), since {why}"
    return (Finding.warning(FindingKind.FOLDS_REDUCED, None, message),)


def _whole_folds(
    cut: Callable[[int], tuple[Fold, ...]], train: np.ndarray, classes: Classes | None, wanted: int
) -> tuple[tuple[Fold, ...], tuple[Finding, ...]]:
    """Return the most folds, up to *wanted*, in each of which every class is fitted and two are scored."""
    if classes is None:
        return cut(wanted), ()
    codes = classes.codes
    every = len(np.unique(codes[train]))

    def classes_in(rows: np.ndarray) -> int:
        return len(np.unique(codes[rows]))

    tried = [cut(number) for number in range(wanted, _LEAST - 1, -1)]
    whole = [
        tuple(
            (fit, score) for fit, score in parts if classes_in(fit) == every and classes_in(score) >= _LEAST
        )
        for parts in tried
    ]
    # Folds that leave no row unscored come first, then the most that hold what they need.
    complete = [kept for kept, parts in zip(whole, tried, strict=True) if len(kept) == len(parts)]
    best = max(complete or whole, key=len)
    if len(best) >= _LEAST:
        why = "with more, a class would be missing from the rows of a fold"
        return best, () if len(best) == wanted else _fewer(wanted, len(best), why)
    for parts in tried:
        if all(classes_in(fit) >= _LEAST for fit, _ in parts):
            message = "Some folds do not hold every class, so that their scores say less; see spec.validation"
            return parts, (Finding.warning(FindingKind.FOLD_CLASSES, None, message),)
    raise DataError(
        Reason.FOLDS_SINGLE_CLASS,
        "spec.validation: every way to cut the folds leaves one of them with a single class to learn from; "
        "choose another groupColumn or timeColumn, or strategy kfold",
    )


def duplicate_rows(frame: pd.DataFrame) -> np.ndarray:
    """Return which rows repeat an earlier one in every column; none, where values cannot be compared."""
    try:
        return frame.duplicated().to_numpy(dtype=bool)
    except TypeError:  # nested values
        return np.zeros(len(frame), dtype=bool)


def sets_of_copies(frame: pd.DataFrame, duplicates: np.ndarray) -> np.ndarray | None:
    """Return a number for each row, the same for equal rows, if equal rows are copies of each other.

    In a table of a few categories, different things have equal rows all the time, and a model that has seen
    one may well be asked about another. Rows are copies if they are far too many for that: the chance that
    two different rows agree in the columns that distinguish rows best (three, but at most half of all) is a
    bound on the chance that they agree in all.

    Returns
    -------
    ndarray or None
        Shape (n,), ``intp``; None if no rows are equal or their equality may be chance.
    """
    different = frame[~duplicates]
    different = different.iloc[:: 1 + len(different) // _COPY_ROWS]
    columns = min(_COPY_COLUMNS, frame.shape[1] // 2)
    if not duplicates.any() or len(different) < _LEAST or columns == 0:
        return None
    alike = [_agreement(_numbered(different[[name]])) for name in frame.columns]
    best = [frame.columns[position] for position in np.argsort(alike, kind="stable")[:columns]]
    by_chance = len(frame) * _agreement(_numbered(different[best]))
    return _numbered(frame) if by_chance <= _CHANCE * duplicates.mean() else None


def find_duplicates(duplicates: np.ndarray, *, together: bool) -> tuple[Finding, ...]:
    """Report rows that repeat an earlier one, which stay, and whether splits keep them *together*."""
    count = int(duplicates.sum())
    if count == 0:
        return ()
    then = (
        "equal rows are kept on the same side of each split:"
        if together
        else "where equal rows are on both sides of a split, scores are too high:"
    )
    message = (
        f"{count:,} of {len(duplicates):,} rows repeat an earlier row; {then} remove them from the table if "
        "they are one thing counted twice"
    )
    return (Finding.warning(FindingKind.DUPLICATES, None, message),)


def _numbered(frame: pd.DataFrame) -> np.ndarray:
    hashes = pd.util.hash_pandas_object(frame, index=False).to_numpy()
    return np.unique(hashes, return_inverse=True)[1].astype(np.intp)


def _agreement(numbers: np.ndarray) -> float:
    """Return the share of the pairs of rows whose numbers are equal."""
    counts = np.bincount(numbers).astype("float64")
    rows = float(len(numbers))
    return float((counts * (counts - 1.0)).sum() / (rows * (rows - 1.0)))
