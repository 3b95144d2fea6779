"""The request of a run, its state as folded from its events, and its result."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from trainingjob_api import (
    Artifact,
    Backend,
    Best,
    Failure,
    Fallback,
    FindingNote,
    LeaderboardEntry,
    ModelSource,
    ParallelMode,
    ParetoPoint,
    Progress,
    Resolved,
    Severity,
    Stage,
)
from trainingjob_api.report import MAX_FINDINGS
from trainingjob_certificates import ReportKey
from trainingjob_trainer.errors import RunFailed
from trainingjob_trainer.events import (
    BackendReady,
    BaselineReady,
    BoardChanged,
    DataReady,
    Evaluated,
    Event,
    Failed,
    FellBack,
    ModelReady,
    Progressed,
    Resumed,
    Saved,
    StageChanged,
    WaitingForCluster,
    Warned,
)

OUTCOMES = ("ok", "stopped", "invalid", "killed", "timeout")
"""How an evaluation can end, in the order of display."""

MESSAGE_CHARS = 1000
_ON_THE_CLOCK = frozenset({Stage.BASELINE, Stage.SEARCHING, Stage.FITTING, Stage.SCORING})
_MOST_RECENT = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """A run at one moment. It never changes, so another thread may read it while events arrive.

    Parameters
    ----------
    stage, resolved, backend, dask_ready, model_source, fallbacks, progress, best, leaderboard, pareto_front, artifacts, findings, warnings, failure, final
        As in the report, which has the last fallbacks and warnings only.
    clock_seconds, clock_since
        Seconds of the budget that were used at the monotonic time `clock_since`; None while it stops.
    workers, awaits
        Number of workers, and where the address of a Dask cluster comes from while the run waits for one.
    counts, numbers, recent
        Evaluations by outcome, their numbers (each counts once, however often it is reported), and the last
        few, oldest first.
    best_score, best_pipeline
        Of the best evaluation so far.
    read_with
        The call that reads new rows for the model.
    """  # noqa: E501

    stage: Stage = Stage.STARTING
    resolved: Resolved | None = None
    backend: Backend | None = None
    dask_ready: bool | None = None
    model_source: ModelSource | None = None
    fallbacks: tuple[Fallback, ...] = ()
    progress: Progress | None = None
    best: Best | None = None
    leaderboard: tuple[LeaderboardEntry, ...] = ()
    pareto_front: tuple[ParetoPoint, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    findings: tuple[FindingNote, ...] = ()
    warnings: tuple[str, ...] = ()
    failure: Failure | None = None
    final: bool = False
    data_digest: str | None = None
    journal_digest: str | None = None
    clock_seconds: float = 0.0
    clock_since: float | None = None
    workers: int | None = None
    awaits: str | None = None
    resumed_from: Resumed | None = None
    baseline: BaselineReady | None = None
    counts: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    numbers: frozenset[int] = frozenset()
    recent: tuple[Evaluated, ...] = ()
    best_score: float | None = None
    best_pipeline: str = ""
    read_with: str = 'pd.read_csv("new-rows.csv")'
    stopped_by: str = ""

    @property
    def evaluations(self) -> int:
        """Number of evaluations."""
        return len(self.numbers)

    @property
    def metric(self) -> str:
        """Name of the scorer; empty until the table is read."""
        return (self.resolved and self.resolved.metric) or ""

    def elapsed(self, now: float) -> float:
        """Return the seconds of the budget that are used at the monotonic time `now`."""
        running = 0.0 if self.clock_since is None else max(0.0, now - self.clock_since)
        return self.clock_seconds + running

    def after(self, event: Event, now: float) -> "RunState":
        """Return the state after an event that arrives at the monotonic time `now`."""
        match event:
            case StageChanged(stage=stage):
                since = now if stage in _ON_THE_CLOCK else None
                return replace(self, stage=stage, clock_seconds=self.elapsed(now), clock_since=since)
            case DataReady():
                # A second child finds the same again.
                ordered = sorted(event.findings, key=lambda finding: finding.severity is not Severity.WARNING)
                return replace(
                    self,
                    resolved=event.resolved,
                    read_with=event.read_with,
                    data_digest=event.data_digest,
                    findings=tuple(ordered[:MAX_FINDINGS]),
                )
            case BackendReady(backend=backend, workers=workers):
                since = now if self.awaits is not None else self.clock_since
                ready = backend is Backend.DASK if self._wants_dask else self.dask_ready
                return replace(
                    self, backend=backend, workers=workers, awaits=None, clock_since=since, dask_ready=ready
                )
            case WaitingForCluster(source=source):
                return replace(self, awaits=source, clock_seconds=self.elapsed(now), clock_since=None)
            case Resumed(elapsed_seconds=elapsed):
                return replace(self, resumed_from=event, clock_seconds=elapsed)
            case BaselineReady():
                return replace(self, baseline=event)
            case Evaluated(number=number) if number not in self.numbers:
                return self._counted(event)
            case Progressed(progress=progress):
                since = None if self.clock_since is None else now
                seconds = float(progress.elapsed_seconds)
                return replace(self, progress=progress, clock_seconds=seconds, clock_since=since)
            case _:
                return self._after_result(event)

    def _after_result(self, event: Event) -> "RunState":
        match event:
            case BoardChanged(best=best, leaderboard=board, pareto_front=front):
                return replace(self, best=best, leaderboard=board, pareto_front=front)
            case FellBack(fallback=fallback):
                ready = False if fallback.from_ == "dask" else self.dask_ready
                return replace(self, fallbacks=(*self.fallbacks, fallback), dask_ready=ready)
            case Warned(message=message):
                return replace(self, warnings=(*self.warnings, message))
            case ModelReady(model_source=source, best=best, stopped_by=stopped_by):
                return replace(self, model_source=source, best=best, stopped_by=stopped_by)
            case Saved(journal_digest=digest):
                return replace(self, journal_digest=digest)
            case Failed(reason=reason, message=message, exit_code=code):
                failure = Failure(reason=reason, message=message[:MESSAGE_CHARS], exit_code=code)
                return replace(self, failure=failure, final=True)
            case _:
                return self

    @property
    def _wants_dask(self) -> bool:
        return self.resolved is not None and self.resolved.parallel_mode is ParallelMode.DISTRIBUTED

    def _counted(self, event: Evaluated) -> "RunState":
        better = event.score is not None and (self.best_score is None or event.score > self.best_score)
        return replace(
            self,
            numbers=self.numbers | {event.number},
            counts={**self.counts, event.outcome: self.counts.get(event.outcome, 0) + 1},
            recent=self.recent if event.known else (*self.recent, event)[-_MOST_RECENT:],
            best_score=event.score if better else self.best_score,
            best_pipeline=event.pipeline if better else self.best_pipeline,
        )


Listener = Callable[[Event, RunState], None]
"""Takes an event and the state after it."""


class Interrupted(RunFailed):
    """A signal ended the run before there was a model; an unfinished run can be continued."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """Options of a run, in addition to its job.

    Parameters
    ----------
    work_dir
        Where run folders are when the output is not a folder on this machine.
    fresh
        Whether to leave an unfinished run of the same job alone.
    save_on_signal
        Whether the first signal saves the best model so far. False: it ends the run at once, and what has
        been evaluated is kept for the next attempt.
    report_seconds
        Between two reports that differ only in progress.
    upload_patience_seconds
        How long publishing is begun again where the output does not take the artifacts.
    report_key
        What the run signs its published result with; None outside a cluster.
    refusal_patience_seconds
        How long an attempt that is not the first waits for an output that it cannot use.
    """

    work_dir: Path = Path(".trainingjob")
    fresh: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    attempt: int = 1
    pod_uid: str | None = None
    save_on_signal: bool = True
    report_seconds: float = 2.0
    upload_patience_seconds: float = 0.0
    refusal_patience_seconds: float = 0.0
    report_key: ReportKey | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult(RunState):
    """The last state of a run that ended in a published model, and where that is.

    Parameters
    ----------
    location, home
        URI of the folder with the artifacts, and the run's folder on this machine with its log and journal.
    elapsed_seconds
        The run's clock.
    accepted, acceptance_message
        Whether the model meets ``spec.acceptance``, and why; None and empty if nothing was asked.
    """

    best: Best
    model_source: ModelSource
    location: str
    home: Path
    elapsed_seconds: float
    resumed: bool
    accepted: bool | None
    acceptance_message: str
