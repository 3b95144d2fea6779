"""What the hold-out predictions show: confusion, ROC, calibration, residuals; as small plain data."""

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import auc, confusion_matrix, roc_curve

from trainingjob_trainer.outcome import HoldoutPrediction

__all__ = ["calibration", "confusion", "regression_points", "roc"]

_MAX_CLASSES = 20
_MAX_ROC_CLASSES = 6
_MAX_CURVE = 200
_MAX_POINTS = 600
_BINS = 10
_REST = "(others)"

Labels = npt.NDArray[np.str_]


def _labels(values: npt.NDArray[Any]) -> Labels:
    return np.asarray([_name(value) for value in values.tolist()], dtype=np.str_)


def _name(label: Any) -> str:
    # numpy's strings lose zero characters at their end.
    return str(label).replace("\x00", "\N{REPLACEMENT CHARACTER}")


def confusion(prediction: HoldoutPrediction) -> dict[str, Any]:
    """Return the confusion matrix; beyond 20 classes the rarer ones are counted together.

    Returns
    -------
    dict
        ``labels`` and ``counts``, rows being true and columns predicted labels.
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
    """Return ROC curves: one for two classes, one against the rest each for up to six.

    Parameters
    ----------
    prediction
        With probabilities.
    positive
        The positive label of two classes; None takes the second one.

    Returns
    -------
    list of dict
        ``label``, ``auc``, ``fpr`` and ``tpr`` (at most 200 points each).

    Raises
    ------
    ValueError
        If there are no probabilities, too many classes, or a class is absent or alone.
    """
    proba, classes = _probabilities(prediction)
    if len(classes) > _MAX_ROC_CLASSES:
        raise ValueError(f"{len(classes)} classes are too many for one picture of ROC curves")
    wanted = [_positive_position(classes, positive)] if len(classes) == 2 else range(len(classes))  # noqa: PLR2004
    truth = _labels(prediction.y_true)
    curves = []
    for position in wanted:
        hit = truth == classes[position]
        if hit.all() or not hit.any():
            raise ValueError(f"the hold-out rows do not have class {classes[position]!r} beside another")
        fpr, tpr, _ = roc_curve(hit, proba[:, position])
        keep = np.unique(np.linspace(0, len(fpr) - 1, min(len(fpr), _MAX_CURVE)).astype(int))
        curves.append(
            {"label": classes[position], "auc": float(auc(fpr, tpr)), "fpr": fpr[keep], "tpr": tpr[keep]}
        )
    return curves


def calibration(prediction: HoldoutPrediction, positive: Any) -> dict[str, Any]:
    """Return how often the positive label came true, by predicted probability in up to ten equal groups.

    Returns
    -------
    dict
        ``label``, ``predicted`` (mean probability), ``observed`` (share), ``rows`` of each group and
        ``brier``, the mean squared difference.

    Raises
    ------
    ValueError
        If there are no probabilities or not two classes.
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
        raise ValueError("the model gives no probabilities")
    if not np.isfinite(prediction.y_proba).all():
        raise ValueError("some probabilities are not finite")
    return prediction.y_proba, [_name(label) for label in prediction.classes]


def _positive_position(classes: list[str], positive: Any) -> int:
    return classes.index(_name(positive)) if _name(positive) in classes else len(classes) - 1


def regression_points(prediction: HoldoutPrediction) -> dict[str, Any]:
    """Return true and predicted values (at most 600 rows, evenly spread) and errors over all rows.

    Returns
    -------
    dict
        ``actual``, ``predicted``, ``rows``, ``mae``, ``rmse``, and ``residuals`` with ``edges`` and
        ``counts`` of a histogram; a residual is true minus predicted.

    Raises
    ------
    ValueError
        If no prediction is finite.
    """
    truth = np.asarray(prediction.y_true, dtype=np.float64)
    guess = np.asarray(prediction.y_pred, dtype=np.float64)
    fine = np.isfinite(truth) & np.isfinite(guess)
    truth, guess = truth[fine], guess[fine]
    if not len(truth):
        raise ValueError("no prediction is a finite number")
    residual = truth - guess
    counts, edges = np.histogram(residual, bins=min(30, max(5, len(residual) // 10)))
    keep = np.unique(np.linspace(0, len(truth) - 1, min(len(truth), _MAX_POINTS)).astype(int))
    return {
        "actual": truth[keep],
        "predicted": guess[keep],
        "rows": len(truth),
        "mae": float(np.mean(np.abs(residual))),
        "rmse": float(np.sqrt(np.mean(residual**2))),
        "residuals": {"edges": edges, "counts": counts},
    }
