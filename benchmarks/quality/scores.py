"""Scores of predictions on the rows that no system has seen."""

from pathlib import Path

import numpy as np
import pandas as pd
from catalog import Table
from sklearn.metrics import accuracy_score, log_loss, r2_score, roc_auc_score, root_mean_squared_error
from systems import RunError

__all__ = ["score"]

_BOUNDS = {
    "accuracy": (0, 1),
    "roc_auc": (0, 1),
    "neg_log_loss": (-np.inf, 0),
    "r2": (-np.inf, 1),
    "neg_root_mean_squared_error": (-np.inf, 0),
}


def score(table: Table, data: Path, predictions: Path) -> float:
    """Return the score, greater is better; of an error, as a share of the target's standard deviation.

    Raises
    ------
    RunError
        If there is not one finite prediction for each row.
    """
    truth = pd.read_csv(data / "truth.csv")[table.target]
    frame = pd.read_csv(predictions)
    if len(frame) != len(truth) or frame.isna().any(axis=None):
        raise RunError(
            f"{len(frame)} predictions for {len(truth)} rows, {int(frame.isna().sum().sum())} missing"
        )
    found = _score(table.metric, truth, frame)
    low, high = _BOUNDS[table.metric]
    assert low <= found <= high, f"{table.metric} of {table.name} is {found}"
    return found


def _score(metric: str, truth: pd.Series, frame: pd.DataFrame) -> float:
    if metric == "r2":
        return float(r2_score(truth, frame["prediction"]))
    if metric == "neg_root_mean_squared_error":
        return -float(root_mean_squared_error(truth, frame["prediction"])) / float(truth.std())
    labels = truth.astype(str)
    if metric == "accuracy":
        return float(accuracy_score(labels, frame["prediction"].astype(str)))
    if "prediction" in frame:
        raise RunError("the model gives no probabilities")
    frame = frame.rename(columns=lambda name: name.removeprefix("p:"))
    frame = frame.reindex(columns=sorted(set(labels) | set(frame)), fill_value=0.0)
    if not np.allclose(frame.sum(axis=1), 1, atol=1e-3):
        raise RunError("probabilities do not add up to 1")
    if metric == "roc_auc":
        last = frame.columns[-1]
        return float(roc_auc_score(labels == last, frame[last]))
    return -float(log_loss(labels, frame.div(frame.sum(axis=1), axis=0), labels=list(frame)))
