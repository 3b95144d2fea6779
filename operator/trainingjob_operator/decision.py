"""A decision as a value: what to create, change and delete, and what the status says about it."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple, Self

from trainingjob_api import Phase
from trainingjob_api.reasons import Cause, Reason
from trainingjob_operator.children import Child, PodKey
from trainingjob_operator.job_view import JobView
from trainingjob_operator.observe.facts import Observed

OBSTACLE_RECHECK_SECONDS = 15.0
DASK_RECHECK_SECONDS = 5.0
"""Deployments are not watched, and a cluster that is late is late for a reason."""


class Input(NamedTuple):
    """What a policy sees: the job, what exists of it, and the time (aware)."""

    view: JobView
    seen: Observed
    now: datetime


@dataclass(frozen=True, slots=True)
class Suspension:
    """A change of the Job's ``suspend``.

    Parameters
    ----------
    suspend
        The new value.
    deadline_seconds
        The new ``activeDeadlineSeconds``: what is left of it, since a Job counts from zero when it resumes.
        ``None`` leaves it.
    """

    suspend: bool
    deadline_seconds: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What one pass does for a job.

    Parameters
    ----------
    phase, cause
        For the status.
    make_key
        Whether to make the key that the run signs its reports with; nothing else is made in the same pass.
    create, delete
        Children, in this order.
    delete_pods
        Pods that neither their Job nor anything else deletes.
    suspension
        A change of the Job.
    settled
        Whether nothing is on its way: false while a suspended job still stops.
    trouble
        Whether *cause* is a problem, as opposed to the ordinary course.
    ended
        When the job ended, with a terminal phase.
    write
        Whether the status is written; not while the resource is being deleted.
    requeue_after
        Seconds to the next pass although nothing happens; ``None`` leaves it to events.
    dask
        Why there is no healthy Dask cluster, for ``DaskReady``; ``None`` while it just starts.
    """

    phase: Phase
    cause: Cause
    make_key: bool = False
    create: tuple[Child, ...] = ()
    delete: tuple[Child, ...] = ()
    delete_pods: tuple[PodKey, ...] = ()
    suspension: Suspension | None = None
    settled: bool = True
    trouble: bool = False
    ended: datetime | None = None
    write: bool = True
    requeue_after: float | None = None
    dask: Cause | None = None

    def with_refusals(self, job: Cause | None, dask: Cause | None) -> Self:
        """Return what the status says where the API server refused a child of the job, or a part of Dask's.

        A run that is under way continues, and a job that already has a problem keeps it.
        """
        found = self
        if job is not None and self.phase is Phase.PENDING and not self.trouble:
            trouble = job.reason != Reason.WAITING_FOR_PREDECESSOR
            found = replace(found, cause=job, trouble=trouble, requeue_after=OBSTACLE_RECHECK_SECONDS)
        if dask is not None:
            due = earliest(found.requeue_after, DASK_RECHECK_SECONDS)
            found = replace(found, dask=dask, requeue_after=due)
        return found


def earliest(*delays: float | None) -> float | None:
    """Return the shortest delay, ``None`` if there is none."""
    return min((delay for delay in delays if delay is not None), default=None)
