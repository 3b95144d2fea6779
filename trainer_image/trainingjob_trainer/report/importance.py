"""Permutation importance on hold-out rows, within a time limit."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import pandas as pd

__all__ = ["permutation_importance"]

_MAX_ROWS = 1_000
_FEWEST_ROWS = 200
_REPEATS = 3
_SHARE_OF_FIRST = 4
_RESERVE = 0.9
T = TypeVar("T")


def permutation_importance(
    model: Any,
    frame: pd.DataFrame,
    target: Any,
    scorer: Callable[[Any, pd.DataFrame, Any], float],
    *,
    seconds_limit: float,
    random_state: int,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Any]:
    """Measure how much the score falls when a column's values are shuffled.

    Parameters
    ----------
    model
        A fitted pipeline that takes `frame`.
    frame
        Hold-out rows, shape (n, n_columns); at most 1,000 of them, drawn by `random_state`, are used, and
        fewer, down to 200, if the model is too slow for all columns.
    target
        Their targets, shape (n,).
    scorer
        The run's own scorer; greater is better.
    seconds_limit
        No shuffle is begun that would end after this if it took as long as the longest before; columns are
        taken in their order in the table.
    random_state
        Seed of sample and shuffles.
    clock
        Monotonic clock in seconds.

    Returns
    -------
    dict
        ``score`` of the untouched rows, ``rows``, ``repeats``, ``columnsMeasured``, ``columnsTotal``, ``cut``
        (what there was no time for, or None) and ``columns``: ``name``, ``drop`` (mean fall of the score) and
        ``std``, the greatest fall first.

    Raises
    ------
    ValueError
        If there are no rows, the score is not finite, or one scoring alone would use up the time.
    """
    watch = _Watch(seconds_limit, clock)
    rng = np.random.default_rng(random_state)
    order = rng.permutation(len(frame))[:_MAX_ROWS]
    if not len(order):
        raise ValueError("there are no hold-out rows")
    rows = np.sort(order[: _affordable(model, frame, order, watch)])
    sample, truth = frame.iloc[rows], np.asarray(target)[rows]

    def score(table: pd.DataFrame) -> float:
        return watch.timed(lambda: float(scorer(model, table, truth)))

    base = score(sample)
    if not np.isfinite(base):
        raise ValueError("the score of the hold-out rows is not a finite number")
    watch.check_first()
    columns, shuffles = _measure(sample, base, score, rng, watch)
    cut = _cut((len(rows), len(order)), (len(columns), len(sample.columns)), shuffles, columns)
    columns.sort(key=lambda column: -column["drop"] if np.isfinite(column["drop"]) else np.inf)
    return {
        "score": base,
        "rows": len(rows),
        "repeats": _REPEATS,
        "columnsMeasured": len(columns),
        "columnsTotal": len(sample.columns),
        "cut": cut,
        "columns": columns,
    }


def _measure(
    sample: pd.DataFrame,
    base: float,
    score: Callable[[pd.DataFrame], float],
    rng: np.random.Generator,
    watch: "_Watch",
) -> tuple[list[dict[str, Any]], int]:
    """Return the columns that there was time for, and how often the last one of them was shuffled."""
    columns: list[dict[str, Any]] = []
    shuffles = _REPEATS
    for name in sample.columns:
        drops: list[float] = []
        while len(drops) < _REPEATS and watch.allows_another():
            drops.append(base - score(_shuffled(sample, name, rng)))
        if drops:
            columns.append({"name": str(name), "drop": float(np.mean(drops)), "std": float(np.std(drops))})
            shuffles = len(drops)
        if len(drops) < _REPEATS:
            break
    return columns, shuffles


class _Watch:
    """What has been used of the time, and whether there is enough for one scoring more."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seconds = seconds
        self._end = clock() + seconds
        self._longest = 0.0

    def left(self) -> float:
        return self._end - self._clock()

    def timed(self, action: Callable[[], T]) -> T:
        begin = self._clock()
        result = action()
        self._longest = max(self._longest, self._clock() - begin)
        return result

    def check_first(self) -> float:
        """Return how long the first scoring took."""
        if self._longest > self._seconds / _SHARE_OF_FIRST:
            raise ValueError("one scoring takes too much of the time that is left for the report")
        return self._longest

    def allows_another(self) -> bool:
        left = self.left()
        return left > 0 and left >= self._longest


def _affordable(model: Any, frame: pd.DataFrame, order: np.ndarray, watch: _Watch) -> int:
    """Return how many of the rows there is time for, as the model predicts the first few of them."""
    if len(order) <= _FEWEST_ROWS:
        return len(order)
    few = frame.iloc[np.sort(order[:_FEWEST_ROWS])]
    watch.timed(lambda: model.predict(few))
    seconds = watch.check_first()
    scorings = 1 + _REPEATS * len(frame.columns)
    wanted = seconds * scorings * len(order) / _FEWEST_ROWS
    share = min(1.0, _RESERVE * watch.left() / wanted) if wanted > 0 else 1.0
    return max(_FEWEST_ROWS, int(share * len(order)))


def _cut(
    rows: tuple[int, int], columns: tuple[int, int], shuffles: int, measured: list[dict[str, Any]]
) -> str | None:
    """Return what there was time for, if that was not all."""
    parts = []
    if rows[0] < rows[1]:
        parts.append(f"{rows[0]:,} of {rows[1]:,} rows")
    if columns[0] < columns[1]:
        parts.append(f"{columns[0]:,} of {columns[1]:,} columns")
    if measured and shuffles < _REPEATS:
        parts.append(f"{shuffles} of {_REPEATS} shuffles of the last column, {measured[-1]['name']}")
    return f"time allowed for {' and '.join(parts)}" if parts else None


def _shuffled(sample: pd.DataFrame, name: Any, rng: np.random.Generator) -> pd.DataFrame:
    order = rng.permutation(len(sample))
    shuffled = sample.copy(deep=False)
    # By position: the index of the sample must not undo the shuffle.
    shuffled[name] = sample[name].iloc[order].set_axis(sample.index)
    return shuffled
