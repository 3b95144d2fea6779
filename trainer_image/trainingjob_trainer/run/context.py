"""What all stages of a child share: its job, its clock and its line to the parent."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from trainingjob_api import Reason, ResolvedRun, Stage
from trainingjob_trainer.events import Channel, Event, StageChanged, Warned
from trainingjob_trainer.run.fallback import Mode, fallback_event
from trainingjob_trainer.run.state import RunState
from trainingjob_trainer.run.workspace import Workspace
from trainingjob_trainer.search.limits import RunClock
from trainingjob_trainer.settings import TrainerSettings

__all__ = ["ChildContext"]


@dataclass(slots=True, kw_only=True)
class ChildContext:
    """A child of a run.

    Parameters
    ----------
    run, settings, workspace
        The job, the trainer's limits and the run's folder.
    channel
        To the parent.
    clock
        The run's clock; it starts when training starts.
    mode
        The rung of the ladder to begin with.
    stop
        Set by a signal: save the best so far.
    started_at
        When the run began.
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
