"""Permutation importance on hold-out rows, within a time limit."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["permutation_importance"]

_MAX_ROWS = 1_000
_REPEATS = 3
_SHARE_OF_FIRST = 4


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
        Hold-out rows, shape (n, n_columns); at most 1,000 of them, drawn by `random_state`, are used.
    target
        Their targets, shape (n,).
    scorer
        The run's own scorer; greater is better.
    seconds_limit
        No column is begun after this; columns are taken in their order in the table.
    random_state
        Seed of sample and shuffles.
    clock
        Monotonic clock in seconds.

    Returns
    -------
    dict
        ``score`` of the untouched rows, ``rows``, ``repeats``, ``columnsMeasured``, ``columnsTotal`` and
        ``columns``: ``name``, ``drop`` (mean fall of the score) and ``std``, the greatest fall first.

    Raises
    ------
    ValueError
        If there are no rows, the score is not finite, or one scoring alone would use up the time.
    """
    end = clock() + seconds_limit
    rng = np.random.default_rng(random_state)
    rows = np.sort(rng.permutation(len(frame))[:_MAX_ROWS])
    if not len(rows):
        raise ValueError("there are no hold-out rows")
    sample, truth = frame.iloc[rows], np.asarray(target)[rows]
    begin = clock()
    base = float(scorer(model, sample, truth))
    if not np.isfinite(base):
        raise ValueError("the score of the hold-out rows is not a finite number")
    if clock() - begin > (end - begin) / _SHARE_OF_FIRST:
        raise ValueError("one scoring takes too much of the time that is left for the report")
    columns: list[dict[str, Any]] = []
    for name in sample.columns:
        if clock() >= end:
            break
        drops = [base - float(scorer(model, _shuffled(sample, name, rng), truth)) for _ in range(_REPEATS)]
        columns.append({"name": str(name), "drop": float(np.mean(drops)), "std": float(np.std(drops))})
    columns.sort(key=lambda column: -column["drop"] if np.isfinite(column["drop"]) else np.inf)
    return {
        "score": base,
        "rows": len(rows),
        "repeats": _REPEATS,
        "columnsMeasured": len(columns),
        "columnsTotal": len(sample.columns),
        "columns": columns,
    }


def _shuffled(sample: pd.DataFrame, name: Any, rng: np.random.Generator) -> pd.DataFrame:
    order = rng.permutation(len(sample))
    shuffled = sample.copy(deep=False)
    # By position: the index of the sample must not undo the shuffle.
    shuffled[name] = sample[name].iloc[order].set_axis(sample.index)
    return shuffled
