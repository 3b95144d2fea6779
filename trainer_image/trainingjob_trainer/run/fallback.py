"""A child on the ladder: what its stages share, and with what the next child begins after one that failed.

Each run has a bounded number of children. A search that dies is started again once, since a crash is often a
single pipeline's; then the best of the journal is fitted; then the baseline; then the dummy model.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from trainingjob_api import Fallback, ParallelMode, Reason, ResolvedRun, Stage
from trainingjob_trainer.errors import RunFailed
from trainingjob_trainer.events import Channel, Event, FellBack, StageChanged, Warned
from trainingjob_trainer.run.state import RunState
from trainingjob_trainer.run.watch import ChildEnd, Ended
from trainingjob_trainer.run.workspace import Workspace
from trainingjob_trainer.search.limits import RunClock, overrun_allowance
from trainingjob_trainer.settings import TrainerSettings


class Mode(StrEnum):
    """The rung of the ladder on which a child begins; the parent goes down a rung after each crash."""

    FULL = "full"
    LOCAL = "local"
    """A search with one worker of this process, where the job asks for a Dask cluster."""
    FINISH = "finish"
    """No more search: fit the best of what the journal holds."""
    BASELINE = "baseline"
    DUMMY = "dummy"


INLINE = frozenset({Mode.BASELINE, Mode.DUMMY})
"""Modes that need no workers."""

_SEARCH = (Mode.FULL, Mode.FULL, Mode.FINISH, Mode.BASELINE, Mode.DUMMY)
_NO_SEARCH = (Mode.BASELINE, Mode.BASELINE, Mode.DUMMY)
_DISTRIBUTED = (Mode.FULL, Mode.LOCAL, Mode.FINISH, Mode.BASELINE, Mode.DUMMY)
_REASONS = {
    Ended.CRASHED: Reason.TRAINER_CRASHED,
    Ended.OUT_OF_MEMORY: Reason.OUT_OF_MEMORY,
    Ended.HUNG: Reason.TRAINER_HUNG,
    Ended.OVERRAN: Reason.BUDGET_OVERRUN,
    Ended.STRANDED: Reason.SCHEDULER_LOST,
}
_LIGHT_SECONDS = 30.0
_MESSAGE_CHARS = 300


def first_ladder(run: ResolvedRun) -> list[Mode]:
    """Return the rungs of a run, the first one first."""
    if not run.automl_enabled:
        return list(_NO_SEARCH)
    leaves = run.parallel_mode is ParallelMode.DISTRIBUTED and run.automl_fallback
    return list(_DISTRIBUTED if leaves else _SEARCH)


def rungs_left(run: ResolvedRun, ladder: Sequence[Mode], end: ChildEnd, *, used_seconds: float) -> list[Mode]:
    """Return the rungs that are worth trying after a child that ended badly.

    Once the budget is used up nothing is searched, but the best of the journal is fitted, unless that is
    what took too long. `ladder` has the rungs below that child's.
    """
    spent = used_seconds >= run.budget.time_left_seconds
    fits = end.ended is not Ended.OVERRAN
    return [mode for mode in ladder if mode in INLINE or (fits and (mode is Mode.FINISH or not spent))]


def clock_limit(run: ResolvedRun, mode: Mode, used_seconds: float) -> float:
    """Return the reading of the clock, in seconds, at which a child is ended.

    Below the search, which may have used up the budget, there is always time for a light model.
    """
    budget = float(run.budget.time_left_seconds)
    if mode not in INLINE:
        return budget + overrun_allowance(budget)
    return max(budget, used_seconds) + overrun_allowance(budget) + _LIGHT_SECONDS


def step_down(
    run: ResolvedRun, mode: Mode, end: ChildEnd, *, log: Path, left_dask: bool = False
) -> Warned | FellBack:
    """Return the event for the step to the next child's `mode`, after a child that ended badly.

    Parameters
    ----------
    left_dask
        Whether the search has left its Dask cluster before.

    Raises
    ------
    RunFailed
        If the job does not allow the step.
    """
    details = f" (log: {log})"
    stranded = end.ended is Ended.STRANDED and not run.automl_fallback
    if stranded or (mode is Mode.LOCAL and not left_dask):
        source, target = "dask", "local"
    elif mode not in INLINE or (mode is Mode.BASELINE and not run.automl_enabled):
        message = f"{end.message}{details}; it is restarted, and finished evaluations are kept"
        return Warned(message=message)
    else:
        source, target = ("tpot", "baseline") if mode is Mode.BASELINE else ("baseline", "dummy")
    return fallback_event(run, source, target, _REASONS[end.ended], end.message, details=details)


def fallback_event(
    run: ResolvedRun, source: str, target: str, reason: Reason, message: str, *, details: str = ""
) -> FellBack:
    """Return the event of a step down the ladder; an error has `details` behind its message.

    Raises
    ------
    RunFailed
        If the job does not allow the step.
    """
    if not run.automl_fallback:
        without = "no local search" if target == "local" else f"no {target} model"
        raise RunFailed(reason, f"{message}{details}; automl.fallback is false, so there is {without}")
    return FellBack(
        fallback=Fallback(
            from_=source,
            to=target,
            reason=reason,
            time=datetime.now(UTC),
            message=message[:_MESSAGE_CHARS],
        )
    )


@dataclass(slots=True, kw_only=True)
class ChildContext:
    """A child of a run.

    Parameters
    ----------
    clock
        The run's clock; it starts when training starts.
    mode
        The rung of the ladder to begin with.
    stop
        Set by a signal: save the best so far.
    environment
        Names the Dask scheduler and the certificates.
    state
        Folded from the events of this child and, for fallbacks and warnings, of earlier ones.
    """

    run: ResolvedRun
    settings: TrainerSettings
    workspace: Workspace
    channel: Channel
    clock: RunClock
    mode: Mode
    stop: threading.Event
    started_at: datetime
    environment: Mapping[str, str]
    state: RunState = field(default_factory=RunState)

    @property
    def searches(self) -> bool:
        """Whether this child searches, or takes what a search has left in the journal."""
        return self.run.automl_enabled and self.mode not in INLINE

    def send(self, event: Event) -> None:
        """Send an event to the parent and fold it into the state."""
        self.state = self.state.after(event, self.clock.elapsed)
        self.channel.send(event)

    def warn(self, message: str) -> None:
        """Warn the user, in the report and in the artifacts."""
        self.send(Warned(message=message))

    def enter(self, stage: Stage) -> None:
        """Report which stage begins."""
        self.send(StageChanged(stage=stage))

    def step_down(self, source: str, target: str, reason: Reason, message: str) -> None:
        """Record a step down the ladder.

        Raises
        ------
        RunFailed
            If the job does not allow it.
        """
        self.send(fallback_event(self.run, source, target, reason, message))
