"""Checks for suspicious tables: infinities, imbalance, leaks and equal rows."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import r2_score, recall_score
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from trainingjob_api.vocabulary import FeatureType
from trainingjob_trainer.data.columns import with_columns
from trainingjob_trainer.data.date_format import parse_dates
from trainingjob_trainer.data.findings import Finding, FindingKind

__all__ = [
    "duplicate_rows",
    "find_duplicates",
    "find_imbalance",
    "find_leaks",
    "sets_of_copies",
    "without_infinities",
]

_LEAK_ROWS = 2_000
_LEAK_COLUMNS = 1_000
_LEAK_CATEGORIES = 50
_LEAK_LEAST_ROWS = 50
_LEAK_ACCURACY = 0.985  # balanced; petal width alone reaches 0.96 on iris, and is not a leak
_LEAK_R2 = 0.99
_LEAVES = 64
_SMALL_SHARE = 0.2  # of an even share, for many classes; of all rows, for two
_ACCURACIES = frozenset({"accuracy", "f1_micro", "precision_micro", "recall_micro"})
_COPY_COLUMNS = 3
_COPY_ROWS = 20_000
_CHANCE = 0.1  # of the equal rows that are there


def without_infinities(frame: pd.DataFrame) -> tuple[pd.DataFrame, tuple[Finding, ...]]:
    """Return *frame* with infinite numbers missing, and a finding for each column that had some."""
    findings = []
    changed: dict[str, pd.Series] = {}
    for name in frame.columns:
        column = frame[name]
        if not pd.api.types.is_float_dtype(column):
            continue
        infinite = np.isinf(column.to_numpy(dtype="float64", na_value=np.nan))
        if infinite.any():
            changed[name] = column.mask(infinite)
            message = f"{int(infinite.sum()):,} infinite value(s) count as missing"
            findings.append(Finding.warning(FindingKind.INFINITE, name, message))
    return with_columns(frame, changed), tuple(findings)


def find_imbalance(
    classes: tuple[Any, ...], counts: tuple[int, ...], metric: str, target: str
) -> tuple[Finding, ...]:
    """Report a class with less than a fifth of the rows (of two) or of its even share (of more)."""
    total, least = sum(counts), min(counts)
    if least >= _SMALL_SHARE * total / (1 if len(classes) == 2 else len(classes)):  # noqa: PLR2004
        return ()
    advice = (
        f"{metric} is {max(counts) / total:.3g} for a model that always predicts one label: read "
        "balanced_accuracy beside it, or set spec.metric to balanced_accuracy or f1_macro"
        if metric in _ACCURACIES
        else "also read balanced_accuracy"
    )
    rare = classes[counts.index(least)]
    message = f"The label {rare!r} occurs in {least:,} of {total:,} rows ({least / total:.2%}); {advice}"
    return (Finding.warning(FindingKind.IMBALANCED, target, message),)


def find_leaks(
    frame: pd.DataFrame, target: np.ndarray, types: Mapping[str, FeatureType], *, classify: bool, seed: int
) -> tuple[Finding, ...]:
    """Report columns each of which alone gives the target away; they stay.

    A small tree is fitted on one column at a time, on one half of at most 2,000 rows, and scored on the other
    half: a balanced accuracy of 0.985 or an R² of 0.99 is suspicious. Text, columns with many categories and
    columns beyond the first 1,000 are skipped.
    """
    rows = np.random.default_rng(seed).permutation(len(frame))[:_LEAK_ROWS]
    if len(rows) < _LEAK_LEAST_ROWS:
        return ()
    sample, labels = frame.iloc[rows], target[rows]
    if classify:
        labels = np.unique(labels, return_inverse=True)[1]
    what, bound = ("balanced accuracy", _LEAK_ACCURACY) if classify else ("R²", _LEAK_R2)
    findings = []
    for name in [name for name, kind in types.items() if kind is not FeatureType.IGNORE][:_LEAK_COLUMNS]:
        codes = _codes(sample[name], types[name])
        score = -np.inf if codes is None else _score_alone(codes, labels, classify=classify)
        if score >= bound:
            message = (
                f"This column alone predicts the target with a {what} of {score:.3f}; if it is known only "
                "after the target is, set it to ignore in spec.featureTypes"
            )
            findings.append(Finding.warning(FindingKind.LEAKAGE, name, message))
    return tuple(findings)


def _codes(column: pd.Series, kind: FeatureType) -> np.ndarray | None:
    """Return *column* as numbers, missing ones lowest, or None if it has too many categories."""
    if kind is FeatureType.NUMERIC or kind is FeatureType.DATETIME:
        values = _as_floats(column, kind)
        finite = values[np.isfinite(values)]
        below = finite.min() - 1.0 - abs(finite.min()) * 1e-3 if len(finite) else -1.0
        return np.where(np.isfinite(values), values, below)
    if kind is FeatureType.TEXT:
        return column.notna().to_numpy(dtype="float64")
    codes, uniques = pd.factorize(column.astype("str"), sort=True)
    return codes.astype("float64") if len(uniques) <= _LEAK_CATEGORIES else None


def _as_floats(column: pd.Series, kind: FeatureType) -> np.ndarray:
    if kind is FeatureType.DATETIME:
        dates = parse_dates(column)
        numbers = dates.astype("int64").astype("float64").mask(dates.isna())
    elif pd.api.types.is_timedelta64_dtype(column):
        numbers = column.dt.total_seconds()
    else:
        numbers = pd.to_numeric(column, errors="coerce").astype("float64")
    return np.clip(numbers.to_numpy(dtype="float64"), -1e37, 1e37)


def _score_alone(codes: np.ndarray, labels: np.ndarray, *, classify: bool) -> float:
    half = len(codes) // 2
    X = codes.reshape(-1, 1)
    leaf = 2 if classify else 5
    tree = DecisionTreeClassifier if classify else DecisionTreeRegressor
    fitted = tree(max_leaf_nodes=_LEAVES, min_samples_leaf=leaf, random_state=0).fit(X[:half], labels[:half])
    predicted = fitted.predict(X[half:])
    if not classify:
        return float(r2_score(labels[half:], predicted)) if np.ptp(labels[half:]) > 0 else 0.0
    # Not balanced_accuracy_score: labels that only the second half holds would count against the column.
    seen = np.intersect1d(labels[half:], labels[:half])
    if len(seen) < 2:  # noqa: PLR2004
        return 0.0
    return float(recall_score(labels[half:], predicted, labels=seen, average="macro"))


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
    different = different.iloc[:: 1 + len(different) // _COPY_ROWS]
    columns = min(_COPY_COLUMNS, frame.shape[1] // 2)
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
