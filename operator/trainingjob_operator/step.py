"""A decision as a value: what to make, what to remove, what the status says about it."""

from dataclasses import dataclass
from datetime import datetime

from trainingjob_api import Phase
from trainingjob_operator.names import Child

__all__ = ["Step", "Suspension"]


@dataclass(frozen=True, slots=True)
class Suspension:
    """A change of the Job's ``suspend``.

    Parameters
    ----------
    suspend
        The new value.
    deadline_seconds
        Its new ``activeDeadlineSeconds``: what is left of it, since a Job counts anew when it resumes.
        ``None`` leaves it.
    """

    suspend: bool
    deadline_seconds: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The next step for a job.

    Parameters
    ----------
    phase, reason, message
        For the status.
    ensure
        Children to make, in this order.
    remove
        Children to remove.
    suspension
        A change of the Job.
    settled
        Whether nothing is on its way: false while a suspended job still stops.
    trouble
        Whether *reason* names something that is wrong, as opposed to the ordinary course.
    ended
        When the job ended, with a terminal phase.
    write
        Whether the status is written at all; not while the resource is being deleted.
    again_after
        Seconds after which to look again although nothing has happened; ``None`` leaves it to events.
    """

    phase: Phase
    reason: str
    message: str = ""
    ensure: tuple[Child, ...] = ()
    remove: tuple[Child, ...] = ()
    suspension: Suspension | None = None
    settled: bool = True
    trouble: bool = False
    ended: datetime | None = None
    write: bool = True
    again_after: float | None = None
