"""The JSON documents of a run, and how they are written and read."""

import json
import math
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

from trainingjob_api import Task, public_uri
from trainingjob_trainer.artifacts.board import front_of, score_std, top_lines, with_finalists
from trainingjob_trainer.artifacts.diagnostics import (
    calibration,
    confusion,
    permutation_importance,
    regression_points,
    roc,
)
from trainingjob_trainer.data.prepare import describe_input
from trainingjob_trainer.finished_run import FinishedRun, HoldoutPrediction
from trainingjob_trainer.search.candidate import Candidate, Outcome
from trainingjob_trainer.search.predictions import CONFIDENCE
from trainingjob_trainer.search_space.pipeline import shares_of, summarize
from trainingjob_trainer.storage import write_text

SCHEMA_VERSION = "1.0"
_MAX_BYTES = 64 * 1024 * 1024
_VALID = (Outcome.OK, Outcome.STOPPED)
_MAX_ERRORS = _MAX_NOT_FITTED = 10
_ERROR_CHARS = 200
_NUMBERS = re.compile(r"0x[0-9a-fA-F]+|-?\d+(\.\d+)?([eE][-+]?\d+)?")
_MAX_TIMELINE = 5_000
_MAX_COLUMNS = 200
_NOTE_CHARS = 300
_IMPORTANCE_SHARE = 0.6

Document = dict[str, Any]
Notes = list[dict[str, str]]


def _head(outcome: FinishedRun, kind: str) -> Document:
    run = outcome.run
    return {
        "schemaVersion": SCHEMA_VERSION,
        "kind": kind,
        "job": {"name": run.name, "namespace": run.namespace, "uid": run.uid},
        "task": outcome.prepared.task,
        "metric": outcome.prepared.metric.name,
    }


def _row(candidate: Candidate) -> Document:
    members = [
        {"key": key, "pipeline": summarize(spec), "weight": round(share, 6)}
        for key, (spec, share) in zip(candidate.members, shares_of(candidate.pipeline), strict=True)
    ]
    return {
        "number": candidate.number,
        "key": candidate.key,
        "origin": candidate.origin,
        "generation": candidate.generation,
        "pipeline": summarize(candidate.final_pipeline),
        "score": candidate.score,
        "scoreStd": score_std(candidate),
        "foldScores": candidate.fold_scores,
        "trainRows": candidate.train_rows,
        "testRows": candidate.test_rows,
        "complexityKiB": candidate.complexity,
        "fitSeconds": candidate.fit_seconds,
        **({} if candidate.rounds is None else {"rounds": candidate.rounds}),
        **({"members": members} if members else {}),
    }


def leaderboard_document(outcome: FinishedRun) -> Document:
    """Return ``leaderboard.json``: the ``leaderboardTopK`` best lines, with the full spec of their first."""
    rows = with_finalists(outcome.candidates, outcome.finalists)
    lines = top_lines(rows, outcome.run.output.leaderboard_top_k, shipped=outcome.best.key)
    entries = [
        {
            "rank": rank,
            **_row(row),
            **({"similar": similar} if similar else {}),
            "spec": row.final_pipeline,
        }
        for rank, row, similar in lines
    ]
    return {**_head(outcome, "Leaderboard"), "valid": len(rows), "entries": entries}


def front_document(outcome: FinishedRun) -> Document:
    """Return ``tp_pareto_front.json``: the pipelines that no other beats in both score and complexity."""
    points = [{**_row(row), "spec": row.final_pipeline} for row in front_of(outcome.candidates)]
    objectives = [
        {"name": "score", "direction": "maximize"},
        {"name": "complexityKiB", "direction": "minimize", "meaning": "size of the fitted pipeline in KiB"},
    ]
    return {**_head(outcome, "ParetoFront"), "objectives": objectives, "points": points}


def input_schema(outcome: FinishedRun) -> Document:
    """Return ``input_schema.json``: the columns that the model takes and how they are read."""
    described = describe_input(outcome.prepared, outcome.run.target_column)
    return {"schemaVersion": SCHEMA_VERSION, "kind": "InputSchema", **described}


def evaluation_summary(outcome: FinishedRun) -> Document:
    """Return ``evaluation_summary.json``: request, budget, scores, data and origin of the model."""
    run, prepared = outcome.run, outcome.prepared
    return {
        **_head(outcome, "EvaluationSummary"),
        "modelSource": outcome.model_source,
        "best": {**_row(outcome.best), "holdoutScore": outcome.holdout_score},
        "baseline": {**_row(outcome.baseline), "holdoutScore": outcome.baseline_holdout_score},
        "holdout": {
            "rows": len(prepared.holdout_index),
            "score": outcome.holdout_score,
            "interval": _interval(outcome),
            "baselineScore": outcome.baseline_holdout_score,
            "extra": outcome.holdout_extra,
        },
        "notFitted": [
            {
                "key": missed.candidate.key,
                "pipeline": summarize(missed.candidate.final_pipeline),
                "score": missed.candidate.score,
                "reason": missed.reason,
            }
            for missed in outcome.not_fitted[:_MAX_NOT_FITTED]
        ],
        "evaluations": _evaluations(outcome.evaluated),
        "data": _data(outcome),
        "validation": {**run.validation.model_dump(mode="json", by_alias=True), "cvFolds": prepared.cv_folds},
        "budget": {
            "asked": run.budget.model_dump(mode="json", by_alias=True),
            "used": outcome.budget_used,
            "elapsedSeconds": outcome.elapsed_seconds,
        },
        "search": {
            "automlEnabled": run.automl_enabled,
            "fallbackAllowed": run.automl_fallback,
            "space": run.search_space.preset or run.search_space.source,
            "parallelMode": run.parallel_mode,
            "generationsDone": outcome.generations_done,
            "stoppedBy": outcome.stopped_by,
        },
        "fallbacks": [f.model_dump(mode="json", by_alias=True) for f in outcome.fallbacks],
        "warnings": outcome.warnings,
        "startedAt": outcome.started_at,
        "completedAt": outcome.completed_at,
        "randomState": run.random_state,
        "versions": dict(sorted(outcome.versions.items())),
        "digests": {
            "data": outcome.data_digest,
            "spec": outcome.spec_digest,
            "journal": outcome.journal_digest,
            "image": outcome.image_digest,
        },
    }


def _interval(outcome: FinishedRun) -> Document | None:
    found = outcome.holdout_interval
    if found is None:
        return None
    unit = "rows" if getattr(outcome.prepared, "groups", None) is None else "groups"
    return {"low": found.low, "high": found.high, "confidence": CONFIDENCE, "resampled": unit}


def _evaluations(candidates: tuple[Candidate, ...]) -> Document:
    by_outcome = Counter(candidate.outcome for candidate in candidates)
    errors = Counter(
        (candidate.outcome.value, _without_numbers(candidate.error))
        for candidate in candidates
        if candidate.outcome not in _VALID
    )
    # Equal counts are ordered by their text, so that equal runs give equal files.
    common = sorted(errors.items(), key=lambda item: (-item[1], item[0]))[:_MAX_ERRORS]
    return {
        "total": len(candidates),
        "byOutcome": {kind.value: by_outcome[kind] for kind in Outcome},
        "validShare": sum(by_outcome[kind] for kind in _VALID) / len(candidates) if candidates else None,
        "dominantErrors": [
            {"outcome": kind, "message": message, "count": count} for (kind, message), count in common
        ],
    }


def _without_numbers(error: str | None) -> str:
    """Return an error's first line with its numbers blanked, so that equal causes count together."""
    first = (error or "no cause was recorded").strip().splitlines()[0]
    return _NUMBERS.sub("#", first)[:_ERROR_CHARS]


def _data(outcome: FinishedRun) -> Document:
    run, prepared = outcome.run, outcome.prepared
    return {
        "uri": public_uri(run.dataset.uri),
        "sha256": prepared.dataset_sha256,
        "targetColumn": run.target_column,
        "positiveLabel": None if prepared.positive_label is None else str(prepared.positive_label),
        "classes": None if prepared.classes is None else [str(label) for label in prepared.classes],
        "rows": len(prepared.frame),
        "columns": len(prepared.feature_types),
        "trainRows": len(prepared.train_index),
        "holdoutRows": len(prepared.holdout_index),
        "droppedRows": prepared.dropped_rows,
        "featureTypes": dict(sorted(Counter(str(t) for t in prepared.feature_types.values()).items())),
        "findings": [
            {name: getattr(finding, name) for name in ("kind", "severity", "column", "message")}
            for finding in prepared.findings
        ],
    }


def report_data(outcome: FinishedRun, *, seconds_limit: float) -> Document:
    """Return ``report_data.json``: the numbers behind the plots of the report.

    A part that fails is left out and leaves a note. Permutation importance takes at most 60 % of
    `seconds_limit`.
    """
    end = time.monotonic() + seconds_limit
    notes: Notes = []
    data = {**_head(outcome, "ReportData"), "timeline": _timeline(outcome)}
    if outcome.holdout_prediction is None:
        notes.append({"section": "holdout", "message": "The hold-out rows could not be predicted."})
    else:
        data |= _predictions(outcome, outcome.holdout_prediction, notes)
    data["prediction"] = outcome.prediction
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


def _timeline(outcome: FinishedRun) -> Document:
    kept = outcome.evaluated[:_MAX_TIMELINE]
    return {
        "omitted": len(outcome.evaluated) - len(kept),
        "evaluations": [
            {
                "number": c.number,
                "key": c.key,
                "generation": c.generation,
                "origin": c.origin,
                "outcome": c.outcome,
                "score": c.score,
                **({"foldScores": c.fold_scores} if c.outcome is Outcome.STOPPED else {}),
                "complexityKiB": c.complexity,
                "elapsedSeconds": c.elapsed_seconds,
                "pipeline": summarize(c.final_pipeline),
                "error": c.error,
            }
            for c in kept
        ],
    }


def _predictions(outcome: FinishedRun, prediction: HoldoutPrediction, notes: Notes) -> Document:
    if outcome.prepared.task == Task.REGRESSION:
        return {"regression": _guarded("residuals", notes, lambda: regression_points(prediction))}
    positive = outcome.prepared.positive_label
    found = {
        "confusion": _guarded("confusion", notes, lambda: confusion(prediction)),
        "roc": _guarded("roc", notes, lambda: roc(prediction, positive)),
        "calibration": None,
    }
    if prediction.classes is not None and len(prediction.classes) == 2:  # noqa: PLR2004
        found["calibration"] = _guarded("calibration", notes, lambda: calibration(prediction, positive))
    return {"classification": found}


def _importance(outcome: FinishedRun, seconds: float) -> Document:
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


def plain(value: Any) -> Any:
    """Return a value as plain JSON values; numbers that are not finite become None.

    Keys become strings, times ISO 8601 in UTC, arrays lists; values of unknown types become their text.
    """
    match value:
        case Enum():
            return plain(value.value)
        case None | bool():
            return value
        case int():
            return int(value)
        case float():
            return float(value) if math.isfinite(value) else None
        case np.generic() | np.ndarray():
            return plain(value.tolist())
        case Mapping():
            return {_key(key): plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case AbstractSet():
            return sorted((plain(item) for item in value), key=str)
        case datetime():
            aware = value if value.tzinfo else value.replace(tzinfo=UTC)
            return aware.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        case date():
            return value.isoformat()
        case _:
            # Lone surrogates, which a table may hold, cannot be written as UTF-8.
            return str(value).encode("utf-8", errors="replace").decode("utf-8")


def _key(key: Any) -> str:
    inner = plain(key)
    return inner if isinstance(inner, str) else json.dumps(inner)


def write_json(path: Path, content: Mapping[str, Any]) -> Path:
    """Write a document and return its path; equal content gives equal bytes."""
    return write_text(path, json.dumps(plain(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Return a document that `write_json` wrote; `ValueError` if it is over 64 MiB, not JSON or no object."""
    if path.stat().st_size > _MAX_BYTES:
        raise ValueError(f"{path.name} is larger than {_MAX_BYTES} bytes")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError(f"{path.name} is nested too deeply") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} is not a JSON object")  # noqa: TRY004 - the content is wrong, not a type
    return content
