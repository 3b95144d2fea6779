"""Writes what a finished training leaves behind into the run's folder, ready to be published."""

import io
import platform
import shutil
import traceback
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

import joblib

from trainingjob_api import Fallback, ResolvedRun
from trainingjob_trainer.artifacts.registry import MODEL, write_artifacts
from trainingjob_trainer.data.prepare import Prepared
from trainingjob_trainer.finished_run import FinishedRun, HoldoutPrediction
from trainingjob_trainer.run.final_stage import Trained
from trainingjob_trainer.run.workspace import Workspace
from trainingjob_trainer.search.journal import Journal
from trainingjob_trainer.search.limits import describe_error

__all__ = ["PACKAGES", "package_versions", "save"]

PACKAGES = ("tpot", "scikit-learn", "xgboost", "lightgbm", "skrub", "pandas", "numpy", "scipy", "ConfigSpace")
"""Packages whose versions decide what is evaluated and what ships."""

_REPORT_SECONDS = 30.0


def package_versions() -> dict[str, str]:
    """Return the versions of Python and of `PACKAGES`."""
    return {"python": platform.python_version()} | {name: metadata.version(name) for name in PACKAGES}


def save(
    *,
    run: ResolvedRun,
    prepared: Prepared,
    trained: Trained,
    workspace: Workspace,
    journal: Journal,
    started_at: datetime,
    fallbacks: Sequence[Fallback],
    warnings: Sequence[str],
    on_warning: Callable[[str], None],
) -> None:
    """Write every artifact.

    Parameters
    ----------
    run, prepared, trained
        The job, its table and the models.
    workspace
        Its ``artifacts`` folder appears whole or not at all.
    journal
        Its digest goes into the summary.
    started_at
        When the run began.
    fallbacks, warnings
        Of earlier children of the same run, and of this one.
    on_warning
        Called if something but the model could not be written.
    """
    folder = workspace.artifacts.with_name("artifacts.partial")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / MODEL).write_bytes(trained.best.model)
    outcome = _outcome(
        run=run,
        prepared=prepared,
        trained=trained,
        journal=journal,
        started_at=started_at,
        fallbacks=fallbacks,
        warnings=warnings,
    )
    try:
        write_artifacts(outcome, folder, seconds_limit=_REPORT_SECONDS)
    except Exception as failure:  # noqa: BLE001 - a report that fails must not cost the model
        traceback.print_exc()
        on_warning(f"The model is saved, but not every artifact beside it: {describe_error(failure)}")
    shutil.rmtree(workspace.artifacts, ignore_errors=True)
    folder.rename(workspace.artifacts)
    workspace.set_state("saved", run)


def _outcome(
    *,
    run: ResolvedRun,
    prepared: Prepared,
    trained: Trained,
    journal: Journal,
    started_at: datetime,
    fallbacks: Sequence[Fallback],
    warnings: Sequence[str],
) -> FinishedRun:
    best, baseline, searched = trained.best, trained.baseline, trained.searched
    holdout = best.holdout
    candidates = searched.candidates or (baseline.candidate,)
    return FinishedRun(
        run=run,
        prepared=prepared,
        candidates=candidates,
        best=best.candidate,
        baseline=baseline.candidate,
        model=_load(best.model),
        holdout_model=_load(best.holdout_model),
        model_source=trained.source,
        fallbacks=tuple(fallbacks),
        holdout_score=holdout.score,
        baseline_holdout_score=baseline.holdout.score,
        finalists=trained.finalists,
        not_fitted=trained.not_fitted,
        holdout_interval=trained.interval,
        holdout_extra=holdout.extra,
        holdout_prediction=HoldoutPrediction(
            index=prepared.holdout_index,
            y_true=prepared.target[prepared.holdout_index],
            y_pred=holdout.predicted,
            y_proba=holdout.probabilities,
            classes=holdout.classes,
        ),
        budget_used=trained.seconds,
        elapsed_seconds=trained.seconds["total"],
        generations_done=searched.generations,
        stopped_by=searched.stopped_by,
        versions=package_versions(),
        started_at=started_at,
        completed_at=datetime.now(UTC),
        data_digest=prepared.dataset_sha256,
        spec_digest=run.search_digest(),
        journal_digest=journal.digest(),
        warnings=tuple(warnings),
    )


def _load(model: bytes) -> Any:
    """Load a model that a worker of this run has just fitted."""
    return joblib.load(io.BytesIO(model))
