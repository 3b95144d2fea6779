"""What a run has told so far, for whoever draws it."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from trainingjob_api import Backend, Fallback, LeaderboardEntry, ParetoPoint, Progress, Resolved, Stage
from trainingjob_trainer.cli.text import pairs
from trainingjob_trainer.events import (
    BackendReady,
    BaselineReady,
    BoardChanged,
    DataReady,
    Evaluated,
    Event,
    FellBack,
    ModelReady,
    Progressed,
    Resumed,
    StageChanged,
    WaitingForCluster,
    Warned,
)

__all__ = ["OUTCOMES", "RunView", "Snapshot"]

OUTCOMES: Mapping[str, str] = MappingProxyType(
    {"ok": "ok", "invalid": "failed", "killed": "killed", "timeout": "timed out"}
)
"""Outcomes of an evaluation, and how the terminal names them."""

_ON_THE_CLOCK = frozenset({Stage.BASELINE, Stage.SEARCHING, Stage.FITTING, Stage.SCORING})
_RECENT = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A run at one moment.

    Parameters
    ----------
    stage
        What it does now.
    clock_seconds, clock_since
        Seconds of the budget that were used at the monotonic time `clock_since`; None if the clock stands.
    progress, resolved, backend, workers, resumed, baseline, model
        What the events of these names said last.
    awaits
        Where the address of a Dask cluster that is waited for comes from.
    counts
        Evaluations by outcome, each counted once however often it was told.
    recent
        The last evaluations, oldest first.
    best_score, best_pipeline
        Of the best evaluation so far.
    leaderboard, pareto_front, fallbacks, warnings
        As they stand.
    read_with
        The call that reads new rows for the model.
    """

    stage: Stage = Stage.STARTING
    clock_seconds: float = 0.0
    clock_since: float | None = None
    progress: Progress | None = None
    resolved: Resolved | None = None
    backend: Backend | None = None
    workers: int | None = None
    awaits: str | None = None
    resumed: Resumed | None = None
    baseline: BaselineReady | None = None
    model: ModelReady | None = None
    counts: Mapping[str, int] = field(default_factory=lambda: MappingProxyType(dict.fromkeys(OUTCOMES, 0)))
    recent: tuple[Evaluated, ...] = ()
    best_score: float | None = None
    best_pipeline: str = ""
    leaderboard: tuple[LeaderboardEntry, ...] = ()
    pareto_front: tuple[ParetoPoint, ...] = ()
    fallbacks: tuple[Fallback, ...] = ()
    warnings: tuple[str, ...] = ()
    read_with: str = 'pd.read_csv("new-rows.csv")'

    def elapsed(self, now: float) -> float:
        """Return the seconds of the budget that are used at the monotonic time `now`."""
        running = 0.0 if self.clock_since is None else max(0.0, now - self.clock_since)
        return self.clock_seconds + running

    @property
    def counts_text(self) -> str:
        """The counts in words."""
        return pairs({OUTCOMES.get(name, name): count for name, count in self.counts.items()})

    @property
    def evaluations(self) -> int:
        """Number of evaluations."""
        return sum(self.counts.values())


class RunView:
    """Takes a run's events; another thread may read `now` at any time, since a snapshot never changes.

    Parameters
    ----------
    clock
        Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.now = Snapshot()
        self._seen: set[int] = set()

    def take(self, event: Event) -> None:
        """Bring `now` up to date."""
        seen = self.now
        match event:
            case StageChanged(stage=stage):
                self.now = self._enter(stage)
            case DataReady(resolved=resolved, read_with=read_with):
                self.now = replace(seen, resolved=resolved, read_with=read_with)
            case BackendReady() | WaitingForCluster():
                self.now = self._workers(event)
            case Resumed(elapsed_seconds=elapsed):
                self.now = replace(seen, resumed=event, clock_seconds=elapsed)
            case BaselineReady():
                self.now = replace(seen, baseline=event)
            case Evaluated(number=number) if number not in self._seen:
                self._seen.add(number)
                self.now = self._count(event)
            case Progressed(progress=progress):
                since = None if seen.clock_since is None else self.clock()
                self.now = replace(
                    seen, progress=progress, clock_seconds=float(progress.elapsed_seconds), clock_since=since
                )
            case BoardChanged(leaderboard=board, pareto_front=front):
                self.now = replace(seen, leaderboard=board, pareto_front=front)
            case FellBack(fallback=fallback):
                self.now = replace(seen, fallbacks=(*seen.fallbacks, fallback))
            case Warned(message=message):
                self.now = replace(seen, warnings=(*seen.warnings, message))
            case ModelReady():
                self.now = replace(seen, model=event)
            case _:
                pass

    def _workers(self, event: BackendReady | WaitingForCluster) -> Snapshot:
        """Note the workers; the run's clock stands while they are waited for."""
        seen, now = self.now, self.clock()
        if isinstance(event, WaitingForCluster):
            return replace(seen, awaits=event.source, clock_seconds=seen.elapsed(now), clock_since=None)
        since = now if seen.awaits is not None else seen.clock_since
        return replace(seen, backend=event.backend, workers=event.workers, awaits=None, clock_since=since)

    def _enter(self, stage: Stage) -> Snapshot:
        seen, now = self.now, self.clock()
        return replace(
            seen,
            stage=stage,
            clock_seconds=seen.elapsed(now),
            clock_since=now if stage in _ON_THE_CLOCK else None,
        )

    def _count(self, event: Evaluated) -> Snapshot:
        seen = self.now
        counts = {**seen.counts, event.outcome: seen.counts.get(event.outcome, 0) + 1}
        recent = seen.recent if event.known else (*seen.recent, event)[-_RECENT:]
        better = event.score is not None and (seen.best_score is None or event.score > seen.best_score)
        return replace(
            seen,
            counts=MappingProxyType(counts),
            recent=recent,
            best_score=event.score if better else seen.best_score,
            best_pipeline=event.pipeline if better else seen.best_pipeline,
        )
