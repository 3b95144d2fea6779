"""One child from its start to its end: load, prepare, train, save."""

import contextlib
import io
import platform
import shutil
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

import dask.system
import distributed.system
import joblib

from trainingjob_api import Backend, ParallelMode, Resolved, Stage, shorten
from trainingjob_trainer.artifacts.diagnostics import prediction_seconds
from trainingjob_trainer.artifacts.registry import MODEL, write_artifacts
from trainingjob_trainer.dask_cluster.remote import ClusterLookup
from trainingjob_trainer.data.load import load_table
from trainingjob_trainer.data.prepare import Prepared, prepare
from trainingjob_trainer.events import (
    BackendReady,
    DataReady,
    ModelReady,
    Resumed,
    Saved,
)
from trainingjob_trainer.finished_run import FinishedRun, HoldoutPrediction
from trainingjob_trainer.run.fallback import ChildContext, Mode
from trainingjob_trainer.run.final_stage import (
    Trained,
    final_board,
    holdout_interval,
    lost_with_their_process,
    shipped_best,
)
from trainingjob_trainer.run.trainer import Trainer
from trainingjob_trainer.search.candidate import Journal, JournalHeader, JournalMismatch
from trainingjob_trainer.search.dask_pool import DaskPool
from trainingjob_trainer.search.limits import describe_error
from trainingjob_trainer.search.pool import InlinePool, Pool, local_workers
from trainingjob_trainer.search.predictions import gap_warning

_MIB = 1024 * 1024
_MOST_JOBS = 8
_LABEL_CHARS = 256
PACKAGES = (
    "tpot", "scikit-learn", "xgboost", "lightgbm", "catboost", "skrub", "pandas", "numpy", "scipy",
    "ConfigSpace",
)  # fmt: skip
"""Packages whose versions decide what is evaluated and what ships."""

_REPORT_SECONDS = 30.0


def default_jobs(memory_limit_mb: int) -> int:
    """Return how many workers a run gets if it does not say: one core is left to this process.

    Not so of two cores: this process hardly uses its own, and half of the evaluations would be lost. Cores
    and memory are those of the container's own limits.
    """
    cores = int(dask.system.CPU_COUNT)
    by_memory = int(distributed.system.MEMORY_LIMIT // (memory_limit_mb * _MIB))
    return max(1, min(max(cores - 1, min(cores, 2)), _MOST_JOBS, by_memory))


class Session:
    """The parts of a child's work off the clock: load, prepare, judge, save."""

    def __init__(self, context: ChildContext) -> None:
        self._context = context
        self._run = context.run
        self._clock = context.clock
        self._workspace = context.workspace

    @contextmanager
    def opened(self) -> Iterator[Trainer]:
        """Load the table, open the journal and start workers; yield what trains with them.

        Raises
        ------
        TrainingError
            With the reason why there will be no model.
        """
        joining = self._join() if self._distributed else None
        prepared = self._load()
        with self._journal(prepared) as journal, self._pool() as (pool, named):
            yield Trainer(
                context=self._context,
                prepared=prepared,
                journal=journal,
                pool=pool,
                named=named(prepared),
                joining=joining,
            )

    def judged(self, prepared: Prepared, trained: Trained) -> Trained:
        """Stop the clock, report the model, and return the training with what is known of its score.

        It has the interval of the hold-out score, with a warning if that is far from the folds, and what
        could not be fitted, in an earlier child too.
        """
        context = self._context
        self._clock.stop()
        self._workspace.keep_used_seconds(self._clock.elapsed)
        best = trained.best
        interval = holdout_interval(prepared, best, random_state=self._run.random_state)
        context.channel.beat()
        warning = gap_warning(best.candidate, best.holdout.score, interval)
        if warning is not None:
            context.warn(warning)
        not_fitted = trained.not_fitted or lost_with_their_process(trained, context.state.fallbacks)
        trained = replace(trained, interval=interval, not_fitted=not_fitted)
        shipped = shipped_best(trained, holdout_rows=len(prepared.holdout_index))
        if trained.searched.candidates:
            context.send(final_board(trained, self._run, shipped))
        context.send(
            ModelReady(model_source=trained.source, best=shipped, stopped_by=trained.searched.stopped_by)
        )
        return trained

    def save(self, prepared: Prepared, trained: Trained, journal: Journal) -> None:
        """Write every artifact into the run's folder, where they appear together or not at all."""
        context = self._context
        context.enter(Stage.SAVING)
        artifacts = self._workspace.artifacts
        folder = artifacts.with_name("artifacts.partial")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / MODEL).write_bytes(trained.best.model)
        finished = _finished(context, prepared, trained, journal)
        try:
            write_artifacts(finished, folder, seconds_limit=_REPORT_SECONDS)
        except Exception as failure:  # noqa: BLE001 - a report that fails must not cost the model
            traceback.print_exc()
            context.warn(f"The model is saved, but not every artifact beside it: {describe_error(failure)}")
        shutil.rmtree(artifacts, ignore_errors=True)
        folder.rename(artifacts)
        self._workspace.set_state("saved", self._run)
        context.send(Saved(journal_digest=journal.digest()))

    @property
    def _distributed(self) -> bool:
        """Whether this child searches on a Dask cluster if there is one."""
        run = self._run
        return (
            run.parallel_mode is ParallelMode.DISTRIBUTED
            and run.automl_enabled
            and self._context.mode is Mode.FULL
        )

    def _join(self) -> ClusterLookup:
        return ClusterLookup(
            self._context.environment,
            self._run.dask_scheduler_file,
            ready_seconds=float(self._run.dask.ready_timeout_seconds),
        )

    def _load(self) -> Prepared:
        self._context.enter(Stage.LOADING)
        data = self._workspace.scratch / "data"
        data.mkdir(parents=True, exist_ok=True)
        table = load_table(self._run.dataset, settings=self._context.settings, scratch=data)
        self._context.enter(Stage.PREPARING)
        prepared = prepare(table, self._run)
        self._send_data(prepared)
        return prepared

    def _send_data(self, prepared: Prepared) -> None:
        positive = prepared.positive_label
        known = self._run.summary()
        found = Resolved(
            positive_label=None if positive is None else shorten(str(positive), _LABEL_CHARS),
            task=prepared.task,
            metric=prepared.metric.name,
            cv_folds=prepared.cv_folds,
            n_jobs=self._jobs(),
            rows=len(prepared.frame),
            columns=len(prepared.feature_types),
        )
        self._context.send(
            DataReady(
                resolved=known.refined(found),
                holdout_rows=len(prepared.holdout_index),
                classes=None if prepared.classes is None else len(prepared.classes),
                read_with=prepared.file.example,
                data_digest=prepared.dataset_sha256,
                findings=tuple(finding.to_note() for finding in prepared.findings),
            )
        )

    def _jobs(self) -> int:
        if self._run.parallel_mode is ParallelMode.LOCAL:
            return self._run.n_jobs or default_jobs(self._run.memory_limit_mb)
        return 1

    @contextmanager
    def _journal(self, prepared: Prepared) -> Iterator[Journal]:
        """Open the journal; set aside one of another table or other versions, and reset the clock."""
        path = self._workspace.journal
        header = JournalHeader(
            search_digest=self._run.search_digest(),
            data_digest=prepared.dataset_sha256,
            versions=package_versions(),
        )
        highest = prepared.metric.highest
        try:
            journal = Journal(path, header, highest_score=highest)
        except JournalMismatch as mismatch:
            path.rename(path.with_name(f"journal-{datetime.now(UTC):%Y%m%dT%H%M%S}.jsonl"))
            self._clock.used_before = 0.0
            self._context.warn(
                f"The earlier attempt cannot be continued, since {mismatch}; the search starts again."
            )
            journal = Journal(path, header, highest_score=highest)
        if journal.dropped_:
            self._context.warn(
                f"The last {journal.dropped_} lines of the earlier attempt's journal are left out: the first "
                "of them is damaged or is not an evaluation of this job. They are evaluated again."
            )
        if journal.found_:
            self._context.send(
                Resumed(evaluations=len(journal.found_), elapsed_seconds=self._clock.used_before)
            )
        with journal:
            yield journal

    @contextmanager
    def _pool(self) -> Iterator[tuple[Pool, Callable[[Prepared], bool]]]:
        """Start workers, and import TPOT meanwhile; a run without a search does all in this process."""
        if not self._context.searches:
            yield InlinePool(self._context.channel.beat), lambda _prepared: False
            return
        jobs = self._jobs()
        scratch = self._workspace.scratch / "dask"
        scratch.mkdir(parents=True, exist_ok=True)
        workers = local_workers(jobs, memory_limit_mb=self._run.memory_limit_mb, scratch=scratch)
        with ThreadPoolExecutor(max_workers=1) as executor, contextlib.ExitStack() as stack:
            starting = executor.submit(stack.enter_context, workers)
            from trainingjob_trainer.run.search_stage import wants_names  # noqa: PLC0415 - see above

            source = starting.result()
            if not self._distributed:  # else the backend is not known yet
                none = self._run.parallel_mode is ParallelMode.NONE
                self._context.send(
                    BackendReady(backend=Backend.NONE if none else Backend.LOCAL, workers=jobs)
                )
            yield DaskPool(source), lambda prepared: wants_names(self._run, prepared)


def package_versions() -> dict[str, str]:
    """Return the versions of Python and of `PACKAGES`."""
    return {"python": platform.python_version()} | {name: metadata.version(name) for name in PACKAGES}


def _finished(context: ChildContext, prepared: Prepared, trained: Trained, journal: Journal) -> FinishedRun:
    best, baseline, searched = trained.best, trained.baseline, trained.searched
    holdout, model = best.holdout, _load(best.model)
    return FinishedRun(
        run=context.run,
        prepared=prepared,
        candidates=searched.candidates or (baseline.candidate,),
        best=best.candidate,
        baseline=baseline.candidate,
        model=model,
        holdout_model=_load(best.holdout_model),
        prediction=_prediction(model, prepared),
        model_source=trained.source,
        fallbacks=context.state.fallbacks,
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
        started_at=context.started_at,
        completed_at=datetime.now(UTC),
        data_digest=prepared.dataset_sha256,
        spec_digest=context.run.search_digest(),
        journal_digest=journal.digest(),
        warnings=context.state.warnings,
    )


def _prediction(model: Any, prepared: Prepared) -> dict[str, Any] | None:
    """Return how long a model takes to predict, or None if it fails on rows of its own table."""
    try:
        return prediction_seconds(model, prepared.frame)
    except Exception:  # noqa: BLE001 - a report with a gap is better than a run without a model
        return None


def _load(model: bytes) -> Any:
    """Load a model that a worker of this run has just fitted, to describe and to measure it."""
    return joblib.load(io.BytesIO(model))
