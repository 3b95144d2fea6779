"""A decision as a value: what to make, what to remove, what the status says about it."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto

from trainingjob_api import Phase
from trainingjob_operator.names import Child, PodKey

__all__ = ["ClusterStep", "DaskChange", "Step", "Suspension"]


class DaskChange(Enum):
    """What to do about a job's Dask cluster."""

    MAKE = auto()
    """Certificates, policy and cluster, those that are missing."""
    REMOVE = auto()
    """The cluster goes; what is left serves the next one."""
    CLEAR = auto()
    """All of it goes."""


@dataclass(frozen=True, slots=True)
class ClusterStep:
    """The next step for a job's Dask cluster.

    Parameters
    ----------
    change
        What to do; ``None`` leaves everything as it is.
    reason, message
        Why there is no healthy cluster, if anything but its start is in the way; for ``DaskReady``.
    again_after
        Seconds after which to look again.
    """

    change: DaskChange | None = None
    reason: str = ""
    message: str = ""
    again_after: float | None = None


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
    make_key
        Whether the key is made that the run signs its reports with; nothing else is made in the same pass.
    ensure
        Children to make, in this order.
    remove
        Children to remove.
    remove_pods
        Pods to remove that neither the Job nor anything else removes.
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
    cluster
        The step for its Dask cluster.
    """

    phase: Phase
    reason: str
    message: str = ""
    make_key: bool = False
    ensure: tuple[Child, ...] = ()
    remove: tuple[Child, ...] = ()
    remove_pods: tuple[PodKey, ...] = ()
    suspension: Suspension | None = None
    settled: bool = True
    trouble: bool = False
    ended: datetime | None = None
    write: bool = True
    again_after: float | None = None
    cluster: ClusterStep = ClusterStep()
