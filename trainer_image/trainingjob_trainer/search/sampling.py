"""How many rows the search looks at.

Evaluating on every row of a large table would leave a short budget with a handful of pipelines, so the
folds that candidates are scored on are capped; every candidate and the baseline see the same rows, and the
model that ships is fitted on all of them. Each score carries the number of rows that it was measured on, and
`search.finalists` scores the best on all rows where the budget allows.
"""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import clone

__all__ = [
    "MAX_FOLD_ROWS",
    "MIN_FOLD_ROWS",
    "Folds",
    "encoded_width",
    "fold_row_cap",
    "fold_rows",
    "sample_folds",
]

MAX_FOLD_ROWS = 8_000
"""Most training rows of a fold."""
MIN_FOLD_ROWS = 2_000
"""A fold is never cut below this many training rows."""
_MAX_CELLS = 1_000_000
_WIDTH_ROWS = 1_000

Folds = tuple[tuple[NDArray[np.intp], NDArray[np.intp]], ...]


def fold_rows(folds: Folds) -> tuple[int, int]:
    """Return the most rows that a fold learns from, and the most that one is scored on."""
    return max(len(train) for train, _ in folds), max(len(test) for _, test in folds)


def fold_row_cap(encoded_columns: int) -> int:
    """Return the most training rows of a fold for a table with that many encoded columns."""
    return int(np.clip(_MAX_CELLS // max(encoded_columns, 1), MIN_FOLD_ROWS, MAX_FOLD_ROWS))


def encoded_width(
    encoder: Any, frame: pd.DataFrame, target: NDArray[np.generic], rows: NDArray[np.intp]
) -> int:
    """Return about how many columns an encoder makes, from its fit on some of the rows.

    Parameters
    ----------
    encoder
        Unfitted transformer of the raw table.
    frame, target
        The table and its target.
    rows
        Training rows, as positions; evenly spread ones of them are looked at.
    """
    some = rows[:: max(1, len(rows) // _WIDTH_ROWS)]
    return int(clone(encoder).fit_transform(frame.iloc[some], target[some]).shape[1])


def sample_folds(
    folds: Folds, target: NDArray[np.generic], *, cap: int, stratify: bool, latest: bool, random_state: int
) -> Folds:
    """Cut each fold to at most `cap` training rows and as many test rows.

    Parameters
    ----------
    folds
        Pairs of training and test rows, as positions in the table.
    target
        One value a row of the table, shape (n_rows,).
    cap
        Most rows of either part.
    stratify
        Whether each class keeps its share, with at least two rows where it has them.
    latest
        Whether the last rows of a training part are kept, as time validation wants it.
    random_state
        Seed of the draw.

    Returns
    -------
    tuple of pairs of arrays
        In the order of the folds; row numbers ascend within each part.
    """
    rng = np.random.default_rng([random_state, 0x0F01D5])
    out = []
    for train, test in folds:
        kept = (
            train[-cap:] if latest and len(train) > cap else _draw(train, target, cap, rng, stratify=stratify)
        )
        out.append((kept, _draw(test, target, cap, rng, stratify=stratify)))
    return tuple(out)


def _draw(
    rows: NDArray[np.intp], target: NDArray[np.generic], cap: int, rng: np.random.Generator, *, stratify: bool
) -> NDArray[np.intp]:
    if len(rows) <= cap:
        return rows
    if not stratify:
        return np.sort(rng.choice(rows, cap, replace=False))
    _, codes = np.unique(target[rows], return_inverse=True)
    picked = []
    for code in range(int(codes.max()) + 1):
        members = rows[codes == code]
        size = min(len(members), max(2, round(cap * len(members) / len(rows))))
        picked.append(rng.choice(members, size, replace=False))
    return np.sort(np.concatenate(picked))
