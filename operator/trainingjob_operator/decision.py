"""A decision as a value, and what is added to each, whatever its policy: pods to delete, the Dask cluster.

The operator deletes the pods that no Job ends or deletes. A job never waits for its Dask cluster: without it
the search runs locally.
"""

from dataclasses import KW_ONLY, dataclass, replace
from datetime import datetime, timedelta
from typing import NamedTuple, Self

from trainingjob_api import Phase
from trainingjob_api.reasons import Cause, Reason
from trainingjob_operator.children import DASK_CHILDREN, Child, PodKey, in_order
from trainingjob_operator.facts import DaskSeen, JobOutcome, Observed, PodSeen
from trainingjob_operator.job_view import JobView

OBSTACLE_RECHECK_SECONDS = 15.0
DELETION_RECHECK_SECONDS = 2.0
DASK_RECHECK_SECONDS = 5.0
"""Deployments are not watched, and a cluster that is late is late for a reason."""
LEFTOVER_SECONDS = 30.0
"""How long a sidecar may run after the trainer has ended."""
SILENCE_SECONDS = 45.0
"""A trainer reports every 15 s; after three missing reports something prevents them."""
DASK_SILENCE_SECONDS = 30.0
"""The Dask operator creates Deployments within two or three seconds, ten times that on a busy machine."""
START_SECONDS = 30.0
"""Seconds that a cluster needs to start; with less time left, the operator creates no other."""
_CLEAR = tuple(reversed(DASK_CHILDREN))
"""The cluster goes first: its pods use the certificates and are subject to the policy."""


class Input(NamedTuple):
    """The input of a policy: the job, its observed objects, and the time (aware)."""

    view: JobView
    seen: Observed
    now: datetime


class Suspension(NamedTuple):
    """A change of the Job's ``suspend`` and ``activeDeadlineSeconds``, which ``None`` leaves as it is.

    A Job counts from zero when it resumes, so the deadline is what is left of it.
    """

    suspend: bool
    deadline_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """The actions of a pass for a job, and what the status says about it."""

    phase: Phase
    cause: Cause
    _: KW_ONLY
    make_key: bool = False
    """Whether to make the key that the run signs its reports with; nothing else is made in the same pass."""
    create: tuple[Child, ...] = ()
    delete: tuple[Child, ...] = ()
    """In this order."""
    delete_pods: tuple[PodKey, ...] = ()
    """Pods that neither their Job nor anything else deletes."""
    suspension: Suspension | None = None
    settled: bool = True
    """False while a suspended job still stops."""
    trouble: bool = False
    """Whether *cause* is a problem, as opposed to the ordinary course."""
    ended: datetime | None = None
    """When the job ended, with a terminal phase."""
    write: bool = True
    """Whether the status is written; not while the resource is being deleted."""
    requeue_after: float | None = None
    """Seconds; ``None`` leaves the next pass to events."""
    dask: Cause | None = None
    """Why there is no healthy Dask cluster, for ``DaskReady``; ``None`` while it just starts."""

    def with_refusals(self, job: Cause | None, dask: Cause | None) -> Self:
        """Return the decision with the causes of children of the job, or parts of Dask's, that were rejected.

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


def with_deleted_pods(given: Input, decision: Decision) -> Decision:
    """Add the pods to delete now, and the time at which the next one is due."""
    if given.view.deleting:
        return decision
    delete, waits = list(given.seen.strays), list[float]()
    for pod in given.seen.pods:
        due = None if pod.deleting else _due(given.view, given.seen, pod, given.now)
        if due is not None and due > given.now:
            waits.append((due - given.now).total_seconds())
        elif due is not None:
            delete.append(PodKey(pod.name, pod.uid))
    return replace(
        decision, delete_pods=tuple(delete), requeue_after=earliest(decision.requeue_after, *waits)
    )


def end_of_life(view: JobView) -> datetime | None:
    """Return when pods and Job of a job that has ended are deleted; ``None``: never."""
    ended = view.status.completion_time
    return None if ended is None else ended + timedelta(seconds=view.ttl_seconds)


def _due(view: JobView, seen: Observed, pod: PodSeen, now: datetime) -> datetime | None:
    """Return when to delete *pod*; ``None`` if it ends by itself or its Job deletes it."""
    if pod.finished:
        return end_of_life(view) if pod.orphan and view.ended else None
    if not pod.working:
        alone = (pod.ended or pod.created) + timedelta(seconds=LEFTOVER_SECONDS)
        return alone if pod.other_containers or pod.orphan else None
    if not pod.orphan:
        # A silent pod may have the token of a deleted ServiceAccount, which is never replaced.
        renewed = seen.account_made is not None and seen.account_made > pod.created
        return now if renewed and pod.running and seen.silence(pod, now) >= SILENCE_SECONDS else None
    # A running trainer is waited for; a pod that never started, or has a successor, blocks the next attempt.
    unwanted = view.ended or view.suspend or seen.job is not None or not pod.running
    return now if unwanted else None


def with_dask_cluster(given: Input, decision: Decision) -> Decision:
    """Add what is created and deleted of the Dask cluster, and why there is no healthy one."""
    seen, dask = given.seen, given.seen.dask or DaskSeen()
    exists = dask.present and not dask.deleting
    if not decision.write or not (exists or (seen.plan is not None and seen.plan.distributed)):
        return decision
    if decision.phase.terminal or decision.phase is Phase.SUSPENDED:
        # Certificates cannot be listed: they are deleted before the status says that the job is suspended.
        recorded = given.view.status.phase is decision.phase
        return decision if recorded and not exists else _deletes(decision, _CLEAR)
    begins = Child.JOB in decision.create or decision.suspension is not None
    if seen.left_dask is not None and not begins:
        return _deletes(decision, (Child.DASK_CLUSTER,)) if exists else decision
    report = seen.current_report
    if seen.active_pod is not None and report is not None and report.dask_ready is True:
        return decision
    if dask.impossible is not None:
        return _waits(decision, dask.impossible)
    if begins:
        # Even if the cluster exists or is being deleted: a pod mounts its certificates when it starts.
        return _creates(decision, DELETION_RECHECK_SECONDS)
    if dask.deleting:
        text = "The previous Dask cluster is still being deleted; a new one follows"
        return _waits(decision, Cause(Reason.WAITING_FOR_DASK, text), DELETION_RECHECK_SECONDS)
    if exists:
        return _starts(given, decision, dask)
    # An attempt that only uploads what the one before has saved needs none.
    wanted = decision.phase is not Phase.SAVING and _is_wanted(seen)
    return _creates(decision, DASK_RECHECK_SECONDS) if wanted else decision


def _is_wanted(seen: Observed) -> bool:
    """Return whether an attempt looks for a cluster, or is about to; it reports when it gives up."""
    job, pod = seen.job, seen.active_pod
    runs = job is not None and job.outcome is JobOutcome.OPEN and not job.suspended and not job.failing
    # A pod that has ended is followed by another one, or by the end of the job.
    return runs and (not seen.pods if pod is None else pod.exit_code is None)


def _starts(given: Input, decision: Decision, dask: DaskSeen) -> Decision:
    """Say why a cluster is not up yet; create another one if the Dask operator has lost it."""
    if dask.trouble is not None:
        return _waits(decision, dask.trouble)
    silence = (given.now - dask.changed_at).total_seconds() if dask.changed_at is not None else 0.0
    if (dask.scheduler and dask.workers) or silence < DASK_SILENCE_SECONDS:
        return _waits(decision, None)
    what = "workers" if dask.scheduler else "scheduler"
    text = f"The Dask operator has created no {what} within {DASK_SILENCE_SECONDS:.0f} s"
    if not dask.has_finalizer:
        text += "; check that it runs and watches this namespace"
        return _waits(decision, Cause(Reason.DASK_UNAVAILABLE, text))
    pod, plan = given.seen.active_pod, given.seen.plan
    looked = (given.now - pod.started).total_seconds() if pod is not None and pod.started is not None else 0.0
    if silence < looked / 2:
        # Each cluster gets more time than the one before, or none would ever be ready on a slow machine.
        return _waits(decision, None)
    # A pod that has not started has all its time left.
    left = float("inf")
    if pod is not None and pod.running and plan is not None:
        waits = timedelta(seconds=plan.run.dask.ready_timeout_seconds)
        left = ((pod.started or pod.created) + waits - given.now).total_seconds()
    if left >= START_SECONDS:
        cause = Cause(Reason.DASK_UNAVAILABLE, f"{text}; recreating the cluster")
        return _deletes(_waits(decision, cause, DELETION_RECHECK_SECONDS), (Child.DASK_CLUSTER,))
    return _waits(decision, Cause(Reason.DASK_UNAVAILABLE, f"{text}; see its log"))


def _creates(decision: Decision, delay: float) -> Decision:
    create = in_order((*decision.create, *DASK_CHILDREN))
    return replace(decision, create=create, requeue_after=earliest(decision.requeue_after, delay))


def _deletes(decision: Decision, children: tuple[Child, ...]) -> Decision:
    return replace(decision, delete=(*decision.delete, *children))


def _waits(decision: Decision, cause: Cause | None, delay: float = DASK_RECHECK_SECONDS) -> Decision:
    return replace(decision, dask=cause, requeue_after=earliest(decision.requeue_after, delay))
