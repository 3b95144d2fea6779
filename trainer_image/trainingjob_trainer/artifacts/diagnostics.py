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

T = TypeVar("T")


def _labels(values: npt.NDArray[Any]) -> npt.NDArray[np.str_]:
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

    Each has ``label``, ``auc``, ``fpr`` and ``tpr``, at most 200 points. A `ValueError` says that there are
    no probabilities, too many classes, or that a class has all rows or none.
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

    The result has ``label``; ``predicted`` (mean probability), ``observed`` (share) and ``rows`` of each
    group; and ``brier``, the mean squared difference. A `ValueError` says that there are no probabilities, or
    not exactly two classes.
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

    The result has ``actual``, ``predicted``, ``rows``, ``mae``, ``rmse``, and ``residuals`` with ``edges``
    and ``counts`` of a histogram of true minus predicted values. A `ValueError` says that none is finite.
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

    The result has ``score`` of the untouched rows, ``rows``, ``repeats``, ``columnsMeasured``,
    ``columnsTotal``, ``cut`` (what there was time for, if not for all) and ``columns``: ``name``, ``drop``
    (mean fall of the score) and ``std``, the greatest fall first. A `ValueError` says that there are no rows,
    that the score is not finite, or that one scoring would use up a quarter of the time.
    """
    end, longest = clock() + seconds_limit, 0.0
    order = np.random.default_rng(random_state).permutation(len(frame))[:_MAX_ROWS]
    if not len(order):
        raise ValueError("there are no hold-out rows")

    def timed(action: Callable[..., T], *arguments: Any) -> T:
        nonlocal longest
        begin = clock()
        result = action(*arguments)
        longest = max(longest, clock() - begin)
        return result

    def check_first() -> None:
        if longest > seconds_limit / _SHARE_OF_FIRST:
            raise ValueError("one scoring takes too much of the time that is left for the report")

    def score(estimator: Any, table: pd.DataFrame, labels: Any) -> float:
        if scores and not 0 < end - clock() >= longest:
            raise _TimeIsUp
        scores.append(float(timed(scorer, estimator, table, labels)))
        if len(scores) == 1:
            if not np.isfinite(scores[0]):
                raise ValueError("the score of the hold-out rows is not a finite number")
            check_first()
        return scores[-1]

    if len(order) > _FEWEST_ROWS:
        # As many rows as there is time for, as the model predicts the first few of them.
        timed(model.predict, frame.iloc[np.sort(order[:_FEWEST_ROWS])])
        check_first()
        wanted = longest * (1 + _REPEATS * len(frame.columns)) * len(order) / _FEWEST_ROWS
        share = min(1.0, _RESERVE * (end - clock()) / wanted) if wanted > 0 else 1.0
        rows = np.sort(order[: max(_FEWEST_ROWS, int(share * len(order)))])
    else:
        rows = np.sort(order)
    sample, truth, scores = frame.iloc[rows], np.asarray(target)[rows], list[float]()

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
    measured, total, of_the_last = len(columns), len(sample.columns), len(shuffled) % _REPEATS
    parts = [
        f"{done:,} of {asked:,} {what}"
        for done, asked, what in ((len(rows), len(order), "rows"), (measured, total, "columns"))
        if done < asked
    ]
    if of_the_last:
        parts.append(f"{of_the_last} of {_REPEATS} shuffles of the last column, {columns[-1]['name']}")
    columns.sort(key=lambda column: -column["drop"] if np.isfinite(column["drop"]) else np.inf)
    return {
        "score": base,
        "rows": len(rows),
        "repeats": _REPEATS,
        "columnsMeasured": measured,
        "columnsTotal": total,
        "cut": f"time allowed for {' and '.join(parts)}" if parts else None,
        "columns": columns,
    }


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
