"""The state machine's part about the Dask cluster: what is seen and the job's step in, the cluster's out.

Pure, as all of it. The cluster is never in the job's way: the trainer looks for it and goes on without.
"""

from datetime import datetime, timedelta

from trainingjob_api import Phase, Reason
from trainingjob_operator.names import Child
from trainingjob_operator.observe import DaskSeen, JobOutcome, Observed, PodSeen
from trainingjob_operator.resolution import wants_cluster
from trainingjob_operator.step import ClusterStep, DaskChange, Step
from trainingjob_operator.subject import Subject

__all__ = ["decide_dask"]

WAITING_RECHECK_SECONDS = 5.0
"""Deployments are not watched, and a cluster that is late is late for a reason."""
GOING_RECHECK_SECONDS = 2.0
SILENT_SECONDS = 30.0
"""The Dask operator makes Deployments within two or three seconds, ten times that on a busy machine."""
ROOM_SECONDS = 30.0
"""What a cluster takes to come up: with less than that there is no use in another one."""
_NOTHING = ClusterStep()


def decide_dask(subject: Subject, seen: Observed, step: Step, now: datetime) -> ClusterStep:
    """Return the step for the Dask cluster of *subject*.

    Parameters
    ----------
    subject, seen
        The job, and what is there.
    step
        What was decided for the job itself.
    now
        The time, aware.
    """
    dask = seen.dask or DaskSeen()
    there = dask.present and not dask.going
    if not there and (seen.plan is None or not wants_cluster(seen.plan)):
        return _NOTHING
    if step.phase.terminal or step.phase is Phase.SUSPENDED:
        # Certificates cannot be seen: they are taken away before the status says that the job stands still.
        told = subject.status.phase is step.phase
        return ClusterStep(None if told and not there else DaskChange.CLEAR)
    begins = Child.JOB in step.ensure or step.suspension is not None
    if seen.left_dask is not None and not begins:
        return ClusterStep(DaskChange.REMOVE) if there else _NOTHING
    if seen.active_pod is not None and _is_ready(seen):
        return _NOTHING
    if dask.impossible is not None:
        return _why(dask.impossible.reason, dask.impossible.message)
    if begins:
        # Also where there is a cluster, or one that goes: the pod mounts certificates when it starts.
        return ClusterStep(DaskChange.MAKE, again_after=GOING_RECHECK_SECONDS)
    if dask.going:
        text = "the Dask cluster before is still going away; a new one follows"
        return ClusterStep(None, Reason.WAITING_FOR_DASK, text, GOING_RECHECK_SECONDS)
    if not there:
        # An attempt that only uploads what the one before has saved needs none.
        return _missing(seen) if step.phase is not Phase.SAVING else _NOTHING
    return _starting(dask, seen, now)


def _is_ready(seen: Observed) -> bool:
    report = seen.current_report
    return report is not None and report.dask_ready is True


def _missing(seen: Observed) -> ClusterStep:
    """Make a cluster for an attempt that looks for one, or is about to; it says itself when it gives up."""
    job, pod = seen.job, seen.active_pod
    goes_on = job is not None and job.outcome is JobOutcome.OPEN and not job.suspended and not job.failing
    # A pod that has ended is followed by another one, or by the end of the job.
    waits = pod is None and not seen.pods
    looks = pod is not None and pod.exit_code is None
    if not (goes_on and (waits or looks)):
        return _NOTHING
    return ClusterStep(DaskChange.MAKE, again_after=WAITING_RECHECK_SECONDS)


def _starting(dask: DaskSeen, seen: Observed, now: datetime) -> ClusterStep:
    """Say why a cluster is not there yet; make it anew if the Dask operator has lost it."""
    if dask.trouble is not None:
        return _why(dask.trouble.reason, dask.trouble.message)
    silence = (now - dask.touched).total_seconds() if dask.touched is not None else 0.0
    if (dask.scheduler and dask.workers) or silence < SILENT_SECONDS:
        return ClusterStep(again_after=WAITING_RECHECK_SECONDS)
    what = "workers" if dask.scheduler else "scheduler"
    text = f"the Dask operator has made no {what} within {SILENT_SECONDS:.0f} s"
    if not dask.noticed:
        return _why(Reason.DASK_UNAVAILABLE, f"{text}; does it run, and does it watch this namespace?")
    pod = seen.active_pod
    looked = (now - pod.started).total_seconds() if pod is not None and pod.started is not None else 0.0
    if silence < looked / 2:
        # Each one is given more time than the one before: where all is slow, none would ever be done.
        return ClusterStep(again_after=WAITING_RECHECK_SECONDS)
    if pod is None or _seconds_left(pod, seen, now) >= ROOM_SECONDS:
        text = f"{text}; the cluster is made anew"
        return ClusterStep(
            DaskChange.REMOVE, Reason.DASK_UNAVAILABLE, text, again_after=GOING_RECHECK_SECONDS
        )
    return _why(Reason.DASK_UNAVAILABLE, f"{text}; its log may say why")


def _seconds_left(pod: PodSeen, seen: Observed, now: datetime) -> float:
    """Return how long a pod still looks for a cluster; one that has not started has all its time left."""
    if not pod.running or seen.plan is None:
        return float("inf")
    wait = timedelta(seconds=seen.plan.run.dask.ready_timeout_seconds)
    return ((pod.started or pod.created) + wait - now).total_seconds()


def _why(reason: str, message: str) -> ClusterStep:
    return ClusterStep(None, reason, message, WAITING_RECHECK_SECONDS)
