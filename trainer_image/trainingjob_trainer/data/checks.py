"""What is suspicious in a table: infinities, imbalance, leaks."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import r2_score
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from trainingjob_api.vocabulary import FeatureType
from trainingjob_trainer.data.dates import parse_dates
from trainingjob_trainer.data.finding import Finding, FindingKind, Severity

__all__ = ["find_imbalance", "find_leaks", "without_infinities"]

_LEAK_ROWS = 2_000
_LEAK_COLUMNS = 1_000
_LEAK_CATEGORIES = 50
_LEAK_LEAST_ROWS = 50
_LEAK_ACCURACY = 0.985  # balanced; petal width alone reaches 0.96 on iris, and is no leak
_LEAK_R2 = 0.99
_LEAVES = 64
_SMALL_SHARE = 0.2  # of an even share, for many classes; of all rows, for two
_MISSING_CODE = -1.0
_ACCURACIES = frozenset({"accuracy", "f1_micro", "precision_micro", "recall_micro"})


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
            findings.append(Finding(FindingKind.INFINITE, Severity.WARNING, name, message))
    return (frame.assign(**changed) if changed else frame), tuple(findings)


def find_imbalance(
    classes: tuple[Any, ...], counts: tuple[int, ...], metric: str, target: str
) -> tuple[Finding, ...]:
    """Report a class with less than a fifth of the rows (of two) or of its even share (of more)."""
    total = sum(counts)
    least = min(counts)
    bound = _SMALL_SHARE * total if len(classes) == 2 else _SMALL_SHARE * total / len(classes)  # noqa: PLR2004
    if least >= bound:
        return ()
    rare = classes[counts.index(least)]
    advice = (
        f"{metric} is {max(counts) / total:.3g} for a model that always answers the same: read "
        "balanced_accuracy beside it, or set spec.metric to balanced_accuracy or f1_macro"
        if metric in _ACCURACIES
        else "read balanced_accuracy beside the score"
    )
    message = f"the label {rare!r} stands in {least:,} of {total:,} rows ({least / total:.2%}); {advice}"
    return (Finding(FindingKind.IMBALANCED, Severity.WARNING, target, message),)


def find_leaks(
    frame: pd.DataFrame, target: np.ndarray, types: Mapping[str, FeatureType], *, classify: bool, seed: int
) -> tuple[Finding, ...]:
    """Report columns each of which alone gives the target away; they stay.

    A small tree is fitted on one column at a time, on one half of at most 2,000 rows, and scored on the other
    half: a balanced accuracy of 0.985 or an R² of 0.99 is suspicious. Text, columns with many categories and
    columns beyond the first 1,000 are not looked at.
    """
    rows = np.random.default_rng(seed).permutation(len(frame))[:_LEAK_ROWS]
    if len(rows) < _LEAK_LEAST_ROWS:
        return ()
    sample, labels = frame.iloc[rows], target[rows]
    if classify:
        labels = np.unique(labels, return_inverse=True)[1]
    findings = []
    for name in [name for name, kind in types.items() if kind is not FeatureType.IGNORE][:_LEAK_COLUMNS]:
        codes = _codes(sample[name], types[name])
        if codes is None:
            continue
        score = _alone(codes, labels, classify=classify)
        if score >= (_LEAK_ACCURACY if classify else _LEAK_R2):
            what = "balanced accuracy" if classify else "R²"
            message = (
                f"this column alone predicts the target with a {what} of {score:.3f}; if it is known only "
                "after the target is, set it to ignore in spec.featureTypes"
            )
            findings.append(Finding(FindingKind.LEAKAGE, Severity.WARNING, name, message))
    return tuple(findings)


def _codes(column: pd.Series, kind: FeatureType) -> np.ndarray | None:
    """Return *column* as numbers, missing ones lowest, or None if it has too many categories."""
    if kind is FeatureType.NUMERIC or kind is FeatureType.DATETIME:
        values = _as_floats(column, kind)
        finite = values[np.isfinite(values)]
        below = finite.min() - 1.0 - abs(finite.min()) * 1e-3 if len(finite) else _MISSING_CODE
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


def _alone(codes: np.ndarray, labels: np.ndarray, *, classify: bool) -> float:
    half = len(codes) // 2
    X = codes.reshape(-1, 1)
    leaf = 2 if classify else 5
    tree = DecisionTreeClassifier if classify else DecisionTreeRegressor
    fitted = tree(max_leaf_nodes=_LEAVES, min_samples_leaf=leaf, random_state=0).fit(X[:half], labels[:half])
    predicted = fitted.predict(X[half:])
    if not classify:
        return float(r2_score(labels[half:], predicted)) if np.ptp(labels[half:]) > 0 else 0.0
    known = np.isin(labels[half:], np.unique(labels[:half]))
    seen = np.unique(labels[half:][known])
    if len(seen) < 2:  # noqa: PLR2004
        return 0.0
    return float(np.mean([(predicted[labels[half:] == label] == label).mean() for label in seen]))
