"""Equal rows: copies of one thing, or different things that look the same."""

import numpy as np
import pandas as pd

from trainingjob_trainer.data.finding import Finding, FindingKind, Severity

__all__ = ["duplicate_rows", "find_duplicates", "sets_of_copies"]

_LOOKED_AT = 3  # columns
_SAMPLE = 20_000  # rows
_CHANCE = 0.1  # of the equal rows that are there


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
    two different rows agree in the columns that tell rows apart best (three, but at most half of all) is a
    bound on the chance that they agree in all.

    Parameters
    ----------
    frame
        Features and target.
    duplicates
        From `duplicate_rows`.

    Returns
    -------
    ndarray or None
        Shape (n,), ``intp``; None if no rows are equal or their equality may be chance.
    """
    different = frame[~duplicates]
    different = different.iloc[:: 1 + len(different) // _SAMPLE]
    columns = min(_LOOKED_AT, frame.shape[1] // 2)
    if not duplicates.any() or len(different) < 2 or columns == 0:  # noqa: PLR2004
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
        else "where equal rows stand on both sides of a split, scores are too good:"
    )
    message = (
        f"{count:,} of {len(duplicates):,} rows repeat an earlier row; {then} remove them from the table if "
        "they are one thing counted twice"
    )
    return (Finding(FindingKind.DUPLICATES, Severity.WARNING, None, message),)


def _numbered(frame: pd.DataFrame) -> np.ndarray:
    hashes = pd.util.hash_pandas_object(frame, index=False).to_numpy()
    return np.unique(hashes, return_inverse=True)[1].astype(np.intp)


def _agreement(numbers: np.ndarray) -> float:
    """Return the share of the pairs of rows whose numbers are equal."""
    counts = np.bincount(numbers).astype("float64")
    rows = float(len(numbers))
    return float((counts * (counts - 1.0)).sum() / (rows * (rows - 1.0)))
