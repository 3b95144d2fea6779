"""One child from its start to its end: load, prepare, train, save."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import dask.system
import distributed.system

from trainingjob_api import Backend, Fallback, ParallelMode, Resolved, ResolvedRun, Stage
from trainingjob_api.text import shorten
from trainingjob_trainer.data.load import load_table
from trainingjob_trainer.data.prepare import Prepared, prepare
from trainingjob_trainer.events import (
    BackendReady,
    Channel,
    DataReady,
    ModelReady,
    Resumed,
    Saved,
    StageChanged,
    Warned,
)
from trainingjob_trainer.run.cluster_search import Joining
from trainingjob_trainer.run.fallback import Mode
from trainingjob_trainer.run.final_stage import (
    Trained,
    gap_warning,
    holdout_interval,
    lost_with_their_process,
)
from trainingjob_trainer.run.save import package_versions, save
from trainingjob_trainer.run.search_events import final_board, shipped_best
from trainingjob_trainer.run.trainer import Trainer
from trainingjob_trainer.run.workspace import Workspace
from trainingjob_trainer.search.budget import RunClock
from trainingjob_trainer.search.cluster import local_workers
from trainingjob_trainer.search.dask_pool import DaskPool
from trainingjob_trainer.search.journal import Journal, JournalHeader, JournalMismatch
from trainingjob_trainer.search.pool import InlinePool, Pool
from trainingjob_trainer.settings import TrainerSettings

__all__ = ["History", "Session", "default_jobs"]

_MIB = 1024 * 1024
_MOST_JOBS = 8
_LABEL_CHARS = 256


def default_jobs(memory_limit_mb: int) -> int:
    """Return how many workers a run gets if it does not say: one core is left to this process.

    Cores and memory are those of the container's own limits.
    """
    by_memory = int(distributed.system.MEMORY_LIMIT // (memory_limit_mb * _MIB))
    return max(1, min(int(dask.system.CPU_COUNT) - 1, _MOST_JOBS, by_memory))


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What earlier children of the same run have to say in the report.

    Parameters
    ----------
    started_at
        When the run began.
    fallbacks, warnings
        What happened so far.
    """

    started_at: datetime
    fallbacks: tuple[Fallback, ...] = ()
    warnings: tuple[str, ...] = ()


class Session:
    """Runs a job's training in this process and on its workers.

    Parameters
    ----------
    run, settings, workspace
        The job, the trainer's limits and the run's folder.
    channel
        To the parent.
    clock
        The run's clock, not yet started.
    mode
        The rung of the ladder to begin with.
    history
        Of earlier children.
    stop
        Set by a signal: save the best so far.
    environment
        Names the Dask scheduler and the certificates.
    """

    def __init__(
        self,
        *,
        run: ResolvedRun,
        settings: TrainerSettings,
        workspace: Workspace,
        channel: Channel,
        clock: RunClock,
        mode: Mode,
        history: History,
        stop: threading.Event,
        environment: Mapping[str, str],
    ) -> None:
        self._run = run
        self._settings = settings
        self._workspace = workspace
        self._channel = channel
        self._clock = clock
        self._mode = mode
        self._history = history
        self._stop = stop
        self._environment = environment
        self._fallbacks: list[Fallback] = list(history.fallbacks)
        self._warnings: list[str] = list(history.warnings)

    def execute(self) -> None:
        """Do it all.

        Raises
        ------
        TrainingError
            With the reason why there is no model.
        """
        joining = self._join() if self._distributed else None
        prepared = self._load()
        trainer = Trainer(
            run=self._run,
            prepared=prepared,
            workspace=self._workspace,
            channel=self._channel,
            clock=self._clock,
            mode=self._mode,
            should_stop=self._stop.is_set,
            warn=self._warn,
        )
        with self._journal(prepared) as journal:
            with self._pool(searches=trainer.searches) as (pool, named):
                trained = trainer.train(pool, journal, named=named(prepared), joining=joining)
                self._stop_clock()
                self._fallbacks.extend(trained.fallbacks)
                trained = self._judged(prepared, trained)
                self._tell_model(prepared, trained)
            self._channel.send(StageChanged(stage=Stage.SAVING))
            save(
                run=self._run,
                prepared=prepared,
                trained=trained,
                workspace=self._workspace,
                journal=journal,
                started_at=self._history.started_at,
                fallbacks=self._fallbacks,
                warnings=self._warnings,
                on_warning=self._warn,
            )
            self._channel.send(Saved(journal_digest=journal.digest()))

    @property
    def _distributed(self) -> bool:
        """Whether this child searches on a Dask cluster if there is one."""
        run = self._run
        return (
            run.parallel_mode is ParallelMode.DISTRIBUTED and run.automl_enabled and self._mode is Mode.FULL
        )

    def _join(self) -> Joining:
        return Joining(
            self._environment,
            self._run.dask_scheduler_file,
            ready_seconds=float(self._run.dask.ready_timeout_seconds),
        )

    def _load(self) -> Prepared:
        self._channel.send(StageChanged(stage=Stage.LOADING))
        data = self._workspace.scratch / "data"
        data.mkdir(parents=True, exist_ok=True)
        table = load_table(self._run.dataset, settings=self._settings, scratch=data)
        self._channel.send(StageChanged(stage=Stage.PREPARING))
        prepared = prepare(table, self._run)
        self._tell_data(prepared)
        return prepared

    def _tell_data(self, prepared: Prepared) -> None:
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
        self._channel.send(
            DataReady(
                resolved=known.refined(found),
                holdout_rows=len(prepared.holdout_index),
                classes=None if prepared.classes is None else len(prepared.classes),
                read_with=prepared.schema.file.example,
                data_digest=prepared.dataset_sha256,
                findings=tuple(one.to_note() for one in prepared.findings),
            )
        )

    def _jobs(self) -> int:
        if self._run.parallel_mode is ParallelMode.LOCAL:
            return self._run.n_jobs or default_jobs(self._run.memory_limit_mb)
        return 1

    @contextmanager
    def _journal(self, prepared: Prepared) -> Iterator[Journal]:
        """Open the journal; one of another table or other versions is set aside and the clock begins anew."""
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
            self._warn(f"The earlier attempt cannot be continued, since {mismatch}; the search begins anew.")
            journal = Journal(path, header, highest_score=highest)
        if journal.dropped_:
            self._warn(
                f"The last {journal.dropped_} lines of the earlier attempt's journal are left out: the first "
                "of them is damaged or is not an evaluation of this job. They are evaluated again."
            )
        if journal.found_:
            self._channel.send(
                Resumed(evaluations=len(journal.found_), elapsed_seconds=self._clock.used_before)
            )
        with journal:
            yield journal

    @contextmanager
    def _pool(self, *, searches: bool) -> Iterator[tuple[Pool, Callable[[Prepared], bool]]]:
        """Start workers, and import TPOT meanwhile; a run without a search does all in this process."""
        if not searches:
            yield InlinePool(self._channel.beat), lambda _prepared: False
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
                self._channel.send(
                    BackendReady(backend=Backend.NONE if none else Backend.LOCAL, workers=jobs)
                )
            yield DaskPool(source), lambda prepared: wants_names(self._run, prepared)

    def _judged(self, prepared: Prepared, trained: Trained) -> Trained:
        """Return the training with the interval of its hold-out score; warn if that is far from the folds.

        It also has what could not be fitted, in an earlier child too.
        """
        best = trained.best
        interval = holdout_interval(prepared, best, random_state=self._run.random_state)
        self._channel.beat()
        warning = gap_warning(best.candidate, best.holdout.score, interval)
        if warning is not None:
            self._warn(warning)
        not_fitted = trained.not_fitted or lost_with_their_process(trained, self._fallbacks)
        return replace(trained, interval=interval, not_fitted=not_fitted)

    def _tell_model(self, prepared: Prepared, trained: Trained) -> None:
        best = shipped_best(trained, holdout_rows=len(prepared.holdout_index))
        if trained.finalists:
            self._channel.send(final_board(trained, self._run, best))
        self._channel.send(
            ModelReady(model_source=trained.source, best=best, stopped_by=trained.searched.stopped_by)
        )

    def _stop_clock(self) -> None:
        self._clock.stop()
        self._workspace.keep_used_seconds(self._clock.elapsed)

    def _warn(self, message: str) -> None:
        self._warnings.append(message)
        self._channel.send(Warned(message=message))
