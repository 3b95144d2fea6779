"""``report_data.json``: the numbers behind the pictures of the report."""

import time
from collections.abc import Callable
from typing import Any

from trainingjob_api import Task
from trainingjob_trainer.outcome import HoldoutPrediction, RunOutcome
from trainingjob_trainer.report.board import Summarize, one_line
from trainingjob_trainer.report.diagnostics import calibration, confusion, regression_points, roc
from trainingjob_trainer.report.documents import head
from trainingjob_trainer.report.importance import permutation_importance

__all__ = ["report_data"]

_MAX_TIMELINE = 5_000
_MAX_COLUMNS = 200
_NOTE_CHARS = 300
_IMPORTANCE_SHARE = 0.6

Notes = list[dict[str, str]]


def report_data(
    outcome: RunOutcome, *, seconds_limit: float, summarize: Summarize = one_line
) -> dict[str, Any]:
    """Return the data of all pictures; a part that fails is left out and leaves a note.

    Parameters
    ----------
    outcome
        The finished run.
    seconds_limit
        For all of it; permutation importance takes at most six tenths.
    summarize
        Makes one line of a pipeline.
    """
    end = time.monotonic() + seconds_limit
    notes: Notes = []
    data: dict[str, Any] = {**head(outcome, "ReportData"), "timeline": _timeline(outcome, summarize)}
    if outcome.holdout_prediction is None:
        notes.append({"section": "holdout", "message": "The hold-out rows could not be predicted."})
    else:
        data.update(_pictures(outcome, outcome.holdout_prediction, notes))
    data["importance"] = _guarded(
        "importance", notes, lambda: _importance(outcome, _IMPORTANCE_SHARE * (end - time.monotonic()))
    )
    return {**data, "notes": notes}


def _guarded(section: str, notes: Notes, action: Callable[[], Any]) -> Any:
    try:
        return action()
    except Exception as error:  # noqa: BLE001 - a report with a gap is better than a run without a model
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        notes.append({"section": section, "message": first[:_NOTE_CHARS]})
        return None


def _timeline(outcome: RunOutcome, summarize: Summarize) -> dict[str, Any]:
    kept = outcome.candidates[:_MAX_TIMELINE]
    return {
        "omitted": len(outcome.candidates) - len(kept),
        "evaluations": [
            {
                "number": c.number,
                "key": c.key,
                "generation": c.generation,
                "origin": c.origin,
                "outcome": c.outcome,
                "score": c.score,
                "complexityKiB": c.complexity,
                "elapsedSeconds": c.elapsed_seconds,
                "pipeline": summarize(c.pipeline),
                "error": c.error,
            }
            for c in kept
        ],
    }


def _pictures(outcome: RunOutcome, prediction: HoldoutPrediction, notes: Notes) -> dict[str, Any]:
    if outcome.prepared.task == Task.REGRESSION:
        return {"regression": _guarded("residuals", notes, lambda: regression_points(prediction))}
    positive = outcome.prepared.positive_label
    binary = prediction.classes is not None and len(prediction.classes) == 2  # noqa: PLR2004
    return {
        "classification": {
            "confusion": _guarded("confusion", notes, lambda: confusion(prediction)),
            "roc": _guarded("roc", notes, lambda: roc(prediction, positive)),
            "calibration": _guarded("calibration", notes, lambda: calibration(prediction, positive))
            if binary
            else None,
        }
    }


def _importance(outcome: RunOutcome, seconds: float) -> dict[str, Any]:
    prepared = outcome.prepared
    unseen = outcome.holdout_model is not None
    found = permutation_importance(
        outcome.holdout_model if unseen else outcome.model,
        prepared.frame.iloc[prepared.holdout_index],
        prepared.target[prepared.holdout_index],
        prepared.metric.scorer,
        seconds_limit=seconds,
        random_state=outcome.run.random_state,
    )
    return {**found, "columns": found["columns"][:_MAX_COLUMNS], "rowsUnseenByModel": unseen}
