"""Diagnostics on the hold-out rows: confusion, ROC, calibration, residuals, importance, prediction time."""

import contextlib
import time
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn import inspection
from sklearn.metrics import auc, confusion_matrix, roc_curve

from trainingjob_trainer.finished_run import HoldoutPrediction

__all__ = [
    "calibration",
    "confusion",
    "permutation_importance",
    "prediction_seconds",
    "regression_points",
    "roc",
]

_MAX_CLASSES = 20
_MAX_ROC_CLASSES = 6
_MAX_CURVE = 200
_MAX_POINTS = 600
_BINS = 10
_REST = "(others)"

_MAX_ROWS = 1_000
_FEWEST_ROWS = 200
_REPEATS = 3
_SHARE_OF_FIRST = 4
_RESERVE = 0.9
_TIMED_ROWS = 1_000
_TIMED_RUNS = 9
_TIMED_SECONDS = 3.0

Labels = npt.NDArray[np.str_]
T = TypeVar("T")


def _labels(values: npt.NDArray[Any]) -> Labels:
    return np.asarray([_name(value) for value in values.tolist()], dtype=np.str_)


def _name(label: Any) -> str:
    # numpy's strings lose zero characters at their end.
    return str(label).replace("\x00", "\N{REPLACEMENT CHARACTER}")


def _evenly(length: int, most: int) -> npt.NDArray[np.intp]:
    """Return at most `most` positions, evenly spread, the first and the last among them."""
    return np.unique(np.linspace(0, length - 1, min(length, most)).astype(int))


def confusion(prediction: HoldoutPrediction) -> dict[str, Any]:
    """Return ``labels`` and ``counts`` of the confusion matrix, true labels in rows.

    Beyond 20 classes the rarer ones are counted together.
    """
    truth, guess = _labels(prediction.y_true), _labels(prediction.y_pred)
    names, counts = np.unique(np.concatenate([truth, guess]), return_counts=True)
    labels = [label for label in map(_name, prediction.classes or names.tolist()) if label in set(names)]
    if len(labels) > _MAX_CLASSES:
        often = names[np.argsort(-counts, kind="stable")][: _MAX_CLASSES - 1]
        labels = [label for label in labels if label in set(often)] + [_REST]
        truth = np.where(np.isin(truth, often), truth, _REST)
        guess = np.where(np.isin(guess, often), guess, _REST)
    return {"labels": labels, "counts": confusion_matrix(truth, guess, labels=labels).tolist()}


def roc(prediction: HoldoutPrediction, positive: Any) -> list[dict[str, Any]]:
    """Return the ROC curve of `positive`, or with three to six classes one curve each against the rest.

    Returns
    -------
    list of dict
        ``label``, ``auc``, ``fpr`` and ``tpr``, at most 200 points each.

    Raises
    ------
    ValueError
        There are no probabilities, too many classes, or a class has all rows or none.
    """
    proba, classes = _probabilities(prediction)
    if len(classes) > _MAX_ROC_CLASSES:
        raise ValueError(f"{len(classes)} classes are too many for one plot of ROC curves")
    wanted = [_positive_position(classes, positive)] if len(classes) == 2 else range(len(classes))  # noqa: PLR2004
    truth = _labels(prediction.y_true)
    curves = []
    for position in wanted:
        hit = truth == classes[position]
        if hit.all() or not hit.any():
            raise ValueError(f"the hold-out rows hold only {classes[position]!r}, or none of it")
        fpr, tpr, _ = roc_curve(hit, proba[:, position])
        keep = _evenly(len(fpr), _MAX_CURVE)
        curves.append(
            {"label": classes[position], "auc": float(auc(fpr, tpr)), "fpr": fpr[keep], "tpr": tpr[keep]}
        )
    return curves


def calibration(prediction: HoldoutPrediction, positive: Any) -> dict[str, Any]:
    """Return how often the positive label occurs, by predicted probability in up to ten equal groups.

    Returns
    -------
    dict
        ``label``; ``predicted`` (mean probability), ``observed`` (share) and ``rows`` of each group; and
        ``brier``, the mean squared difference.

    Raises
    ------
    ValueError
        There are no probabilities, or not exactly two classes.
    """
    proba, classes = _probabilities(prediction)
    if len(classes) != 2:  # noqa: PLR2004
        raise ValueError("calibration is drawn for two classes only")
    position = _positive_position(classes, positive)
    chance = proba[:, position]
    hit = (_labels(prediction.y_true) == classes[position]).astype(float)
    order = np.argsort(chance, kind="stable")
    groups = [g for g in np.array_split(order, min(_BINS, max(1, len(order) // 5))) if len(g)]
    return {
        "label": classes[position],
        "predicted": [float(chance[g].mean()) for g in groups],
        "observed": [float(hit[g].mean()) for g in groups],
        "rows": [len(g) for g in groups],
        "brier": float(np.mean((chance - hit) ** 2)),
    }


def _probabilities(prediction: HoldoutPrediction) -> tuple[npt.NDArray[np.float64], list[str]]:
    if prediction.y_proba is None or prediction.classes is None:
        raise ValueError("the model does not predict probabilities")
    if not np.isfinite(prediction.y_proba).all():
        raise ValueError("some probabilities are not finite")
    return prediction.y_proba, [_name(label) for label in prediction.classes]


def _positive_position(classes: list[str], positive: Any) -> int:
    return classes.index(_name(positive)) if _name(positive) in classes else len(classes) - 1


def regression_points(prediction: HoldoutPrediction) -> dict[str, Any]:
    """Return true and predicted values of at most 600 rows, and the errors over all rows.

    Returns
    -------
    dict
        ``actual``, ``predicted``, ``rows``, ``mae``, ``rmse``, and ``residuals`` with ``edges`` and
        ``counts`` of a histogram of true minus predicted values.

    Raises
    ------
    ValueError
        No prediction is finite.
    """
    truth = np.asarray(prediction.y_true, dtype=np.float64)
    guess = np.asarray(prediction.y_pred, dtype=np.float64)
    fine = np.isfinite(truth) & np.isfinite(guess)
    truth, guess = truth[fine], guess[fine]
    if not len(truth):
        raise ValueError("no prediction is a finite number")
    residual = truth - guess
    counts, edges = np.histogram(residual, bins=min(30, max(5, len(residual) // 10)))
    keep = _evenly(len(truth), _MAX_POINTS)
    return {
        "actual": truth[keep],
        "predicted": guess[keep],
        "rows": len(truth),
        "mae": float(np.mean(np.abs(residual))),
        "rmse": float(np.sqrt(np.mean(residual**2))),
        "residuals": {"edges": edges, "counts": counts},
    }


class _TimeIsUp(Exception):  # noqa: N818 - ends scikit-learn's loop; nothing failed
    """No time is left for another scoring."""


class _Watch:
    """Whether there is time for another scoring, by the longest one so far."""

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
    """Measure how much the score falls when a column is shuffled, within a time limit.

    At most 1,000 rows are used, and fewer, down to 200, if the model is too slow for all columns. Columns
    are taken in the order of the table; no shuffle begins that would end after the limit if it took as long
    as the longest one before.

    Parameters
    ----------
    scorer
        The run's own scorer; greater is better.

    Returns
    -------
    dict
        ``score`` of the untouched rows, ``rows``, ``repeats``, ``columnsMeasured``, ``columnsTotal``, ``cut``
        (what there was no time for, or None) and ``columns``: ``name``, ``drop`` (mean fall of the score) and
        ``std``, the greatest fall first.

    Raises
    ------
    ValueError
        There are no rows, the score is not finite, or one scoring would use up a quarter of the time.
    """
    watch = _Watch(seconds_limit, clock)
    order = np.random.default_rng(random_state).permutation(len(frame))[:_MAX_ROWS]
    if not len(order):
        raise ValueError("there are no hold-out rows")
    rows = np.sort(order[: _affordable(model, frame, order, watch)])
    sample, truth, scores = frame.iloc[rows], np.asarray(target)[rows], list[float]()

    def score(estimator: Any, table: pd.DataFrame, labels: Any) -> float:
        if scores and not watch.allows_another():
            raise _TimeIsUp
        scores.append(watch.timed(lambda: float(scorer(estimator, table, labels))))
        if len(scores) == 1:
            if not np.isfinite(scores[0]):
                raise ValueError("the score of the hold-out rows is not a finite number")
            watch.check_first()
        return scores[-1]

    with contextlib.suppress(_TimeIsUp):
        inspection.permutation_importance(
            model, sample, truth, scoring=score, n_repeats=_REPEATS, random_state=random_state
        )
    base, *shuffled = scores
    drops = [base - np.array(shuffled[at : at + _REPEATS]) for at in range(0, len(shuffled), _REPEATS)]
    columns: list[dict[str, Any]] = [
        {"name": str(name), "drop": float(np.mean(drop)), "std": float(np.std(drop))}
        for name, drop in zip(sample.columns, drops, strict=False)
    ]
    measured = len(columns), len(sample.columns)
    cut = _cut((len(rows), len(order)), measured, len(shuffled) % _REPEATS, columns)
    columns.sort(key=lambda column: -column["drop"] if np.isfinite(column["drop"]) else np.inf)
    return {
        "score": base,
        "rows": len(rows),
        "repeats": _REPEATS,
        "columnsMeasured": measured[0],
        "columnsTotal": measured[1],
        "cut": cut,
        "columns": columns,
    }


def _affordable(model: Any, frame: pd.DataFrame, order: npt.NDArray[np.intp], watch: _Watch) -> int:
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
    rows: tuple[int, int], columns: tuple[int, int], of_the_last: int, measured: list[dict[str, Any]]
) -> str | None:
    """Return which part of the work was done in time, or None for all of it."""
    parts = []
    if rows[0] < rows[1]:
        parts.append(f"{rows[0]:,} of {rows[1]:,} rows")
    if columns[0] < columns[1]:
        parts.append(f"{columns[0]:,} of {columns[1]:,} columns")
    if of_the_last:
        parts.append(f"{of_the_last} of {_REPEATS} shuffles of the last column, {measured[-1]['name']}")
    return f"time allowed for {' and '.join(parts)}" if parts else None


def prediction_seconds(model: Any, frame: pd.DataFrame) -> dict[str, Any]:
    """Return the median of some runs that predict 1,000 rows of the table; a smaller one repeats its rows."""
    rows = frame.iloc[np.resize(np.arange(len(frame)), _TIMED_ROWS)]
    model.predict(rows)  # the first run also imports and allocates
    end = time.monotonic() + _TIMED_SECONDS
    taken: list[float] = []
    while len(taken) < _TIMED_RUNS and (not taken or time.monotonic() < end):
        started = time.perf_counter()
        model.predict(rows)
        taken.append(time.perf_counter() - started)
    return {"rows": _TIMED_ROWS, "p50Seconds": round(float(np.median(taken)), 6), "runs": len(taken)}
