"""The published JSON documents: leaderboard, front and summary."""

import re
from collections import Counter
from typing import Any

from trainingjob_api import public_uri
from trainingjob_trainer.outcome import RunOutcome
from trainingjob_trainer.report.board import Summarize, front_of, one_line, score_std, with_finalists
from trainingjob_trainer.report.jsonfile import SCHEMA_VERSION
from trainingjob_trainer.search.candidate import Candidate, Outcome
from trainingjob_trainer.search.interval import CONFIDENCE

__all__ = ["evaluation_summary", "front_document", "head", "leaderboard_document"]

_MAX_ERRORS = 10
_MAX_NOT_FITTED = 10
_ERROR_CHARS = 200
_NUMBERS = re.compile(r"0x[0-9a-fA-F]+|-?\d+(\.\d+)?([eE][-+]?\d+)?")


def head(outcome: RunOutcome, kind: str) -> dict[str, Any]:
    """Return the fields that every document begins with."""
    run = outcome.run
    return {
        "schemaVersion": SCHEMA_VERSION,
        "kind": kind,
        "job": {"name": run.name, "namespace": run.namespace, "uid": run.uid},
        "task": outcome.prepared.task,
        "metric": outcome.prepared.metric.name,
    }


def _row(candidate: Candidate, summarize: Summarize) -> dict[str, Any]:
    return {
        "number": candidate.number,
        "key": candidate.key,
        "origin": candidate.origin,
        "generation": candidate.generation,
        "pipeline": summarize(candidate.pipeline),
        "score": candidate.score,
        "scoreStd": score_std(candidate),
        "foldScores": candidate.fold_scores,
        "trainRows": candidate.train_rows,
        "testRows": candidate.test_rows,
        "complexityKiB": candidate.complexity,
        "fitSeconds": candidate.fit_seconds,
    }


def leaderboard_document(outcome: RunOutcome, summarize: Summarize = one_line) -> dict[str, Any]:
    """Return ``leaderboard.json``: the ``leaderboardTopK`` best pipelines, with the means to rebuild each."""
    rows = with_finalists(outcome.candidates, outcome.finalists)
    entries = [
        {"rank": rank, **_row(row, summarize), "spec": row.pipeline}
        for rank, row in enumerate(rows[: outcome.run.output.leaderboard_top_k], start=1)
    ]
    return {**head(outcome, "Leaderboard"), "valid": len(rows), "entries": entries}


def front_document(outcome: RunOutcome, summarize: Summarize = one_line) -> dict[str, Any]:
    """Return ``tp_pareto_front.json``: what no other pipeline beats in both score and complexity."""
    points = [{**_row(row, summarize), "spec": row.pipeline} for row in front_of(outcome.candidates)]
    objectives = [
        {"name": "score", "direction": "maximize"},
        {"name": "complexityKiB", "direction": "minimize", "meaning": "size of the fitted pipeline in KiB"},
    ]
    return {**head(outcome, "ParetoFront"), "objectives": objectives, "points": points}


def evaluation_summary(outcome: RunOutcome, summarize: Summarize = one_line) -> dict[str, Any]:
    """Return ``evaluation_summary.json``: what was asked, what was spent, what came of it and from what."""
    run, prepared = outcome.run, outcome.prepared
    return {
        **head(outcome, "EvaluationSummary"),
        "modelSource": outcome.model_source,
        "best": {**_row(outcome.best, summarize), "holdoutScore": outcome.holdout_score},
        "baseline": {
            **_row(outcome.baseline, summarize),
            "holdoutScore": outcome.baseline_holdout_score,
        },
        "holdout": {
            "rows": len(prepared.holdout_index),
            "score": outcome.holdout_score,
            "interval": _interval(outcome),
            "baselineScore": outcome.baseline_holdout_score,
            "extra": outcome.holdout_extra,
        },
        "notFitted": [
            {
                "key": one.candidate.key,
                "pipeline": summarize(one.candidate.pipeline),
                "score": one.candidate.score,
                "reason": one.reason,
            }
            for one in outcome.not_fitted[:_MAX_NOT_FITTED]
        ],
        "evaluations": _evaluations(outcome.candidates),
        "data": _data(outcome),
        "validation": {
            "strategy": run.validation.strategy,
            "holdoutFraction": run.validation.holdout_fraction,
            "groupColumn": run.validation.group_column,
            "timeColumn": run.validation.time_column,
            "cvFolds": prepared.cv_folds,
        },
        "budget": _budget(outcome),
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


def _interval(outcome: RunOutcome) -> dict[str, Any] | None:
    found = outcome.holdout_interval
    if found is None:
        return None
    unit = "rows" if getattr(outcome.prepared, "groups", None) is None else "groups"
    return {"low": found.low, "high": found.high, "confidence": CONFIDENCE, "resampled": unit}


def _evaluations(candidates: tuple[Candidate, ...]) -> dict[str, Any]:
    by_outcome = Counter(candidate.outcome for candidate in candidates)
    errors = Counter(
        (candidate.outcome.value, _gist(candidate.error))
        for candidate in candidates
        if candidate.outcome is not Outcome.OK
    )
    # Equal counts are ordered by their text, so that equal runs give equal files.
    common = sorted(errors.items(), key=lambda item: (-item[1], item[0]))[:_MAX_ERRORS]
    return {
        "total": len(candidates),
        "byOutcome": {kind.value: by_outcome[kind] for kind in Outcome},
        "validShare": by_outcome[Outcome.OK] / len(candidates) if candidates else None,
        "dominantErrors": [
            {"outcome": kind, "message": message, "count": count} for (kind, message), count in common
        ],
    }


def _gist(error: str | None) -> str:
    """Return an error's first line with its numbers blanked, so that equal causes count together."""
    first = (error or "no cause was recorded").strip().splitlines()[0]
    return _NUMBERS.sub("#", first)[:_ERROR_CHARS]


def _data(outcome: RunOutcome) -> dict[str, Any]:
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
            {
                "kind": finding.kind,
                "severity": finding.severity,
                "column": finding.column,
                "message": finding.message,
            }
            for finding in prepared.findings
        ],
    }


def _budget(outcome: RunOutcome) -> dict[str, Any]:
    asked = outcome.run.budget
    return {
        "asked": {
            "timeLeftSeconds": asked.time_left_seconds,
            "perRunLimitSeconds": asked.per_run_limit_seconds,
            "generations": asked.generations,
            "populationSize": asked.population_size,
            "cvFolds": asked.cv_folds,
        },
        "used": outcome.budget_used,
        "elapsedSeconds": outcome.elapsed_seconds,
    }
