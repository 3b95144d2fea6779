"""The decision for a job: the first of ``POLICIES`` that applies, and what is added to every decision.

Here are the policies for a job that does not end: whether it may run, what it needs, and how it runs.

Pure: no clock, no I/O. Equal inputs give equal decisions, so that every decision can be applied twice and a
restart in the middle of applying it leads to the same end.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from trainingjob_api import Phase, Stage
from trainingjob_api.reasons import Cause, Reason
from trainingjob_operator import end_policies as end
from trainingjob_operator.children import Child
from trainingjob_operator.decision import (
    LEFTOVER_SECONDS,
    OBSTACLE_RECHECK_SECONDS,
    SILENCE_SECONDS,
    Decision,
    Input,
    Suspension,
    with_dask_cluster,
    with_deleted_pods,
)
from trainingjob_operator.end_policies import LASTS_UNTIL, RECHECK_SECONDS
from trainingjob_operator.facts import Observed, PodSeen, TrainerJob
from trainingjob_operator.job_view import JobView

MAX_SILENCE_RECHECK_SECONDS = 300.0
_SAVING = frozenset({Stage.SAVING, Stage.UPLOADING, Stage.FINISHED})
_CREATING = Cause(Reason.CREATING_RESOURCES, "Creating the trainer's resources")


def suspend(given: Input) -> Decision | None:
    """Suspend a running Job; create nothing for a job that has not begun."""
    if not given.view.suspend:
        return None
    job, stopping = given.seen.job, given.seen.active_pod is not None
    change = None
    if job is not None and not job.suspended:
        change, stopping = Suspension(suspend=True, deadline_seconds=_deadline_left(job, given.now)), True
    message = (
        "The trainer saves its work and stops"
        if stopping
        else "spec.suspend is true; set it to false to resume"
    )
    cause = Cause(Reason.SUSPENDED, message)
    return Decision(Phase.SUSPENDED, cause, suspension=change, settled=not stopping)


def _deadline_left(job: TrainerJob, now: datetime) -> int | None:
    """Return the seconds of the Job's deadline that are left, at least 1.

    A Job counts from zero when it resumes. What is left is written in the same request that suspends
    it, so that no restart of the operator in between can lose or repeat the subtraction.
    """
    if job.deadline_seconds is None or job.started is None:
        return job.deadline_seconds
    return max(1, job.deadline_seconds - max(0, int((now - job.started).total_seconds())))


def blocked(given: Input) -> Decision | None:
    """Report the obstacle of a Job that does not run; a running Job continues despite it."""
    obstacle, job = given.seen.obstacle, given.seen.job
    if obstacle is None or (job is not None and not job.suspended):
        return None
    return Decision(
        Phase.PENDING,
        obstacle,
        trouble=obstacle.reason != Reason.WAITING_FOR_PREDECESSOR,
        requeue_after=OBSTACLE_RECHECK_SECONDS,
    )


def record_plan(given: Input) -> Decision | None:
    """Record the plan's digest and the report key in the status before any child exists."""
    seen = given.seen
    if seen.job is not None or seen.committed:
        return None
    make_key = seen.plan is not None and seen.plan.report_key is None
    return Decision(Phase.PENDING, _CREATING, make_key=make_key, requeue_after=0.0)


def wait_for_orphan(given: Input) -> Decision | None:
    """Create no Job while a trainer of a deleted Job remains: both would write into the same folder."""
    seen = given.seen
    pod = next((candidate for candidate in reversed(seen.pods) if candidate.working), None)
    if seen.job is not None or pod is None:
        return None
    create = tuple(child for child in seen.missing if child is not Child.JOB)
    if pod.running and not pod.deleting:
        text = (
            f"The trainer is running in pod {pod.name}, whose Job was deleted; a new Job follows when it ends"
        )
        return replace(_running(pod, given, text), create=create, requeue_after=RECHECK_SECONDS)
    text = f"Pod {pod.name} of the previous Job is still terminating; the next Job follows when it is gone"
    return Decision(
        Phase.PENDING,
        Cause(Reason.WAITING_FOR_PREDECESSOR, text),
        create=create,
        requeue_after=RECHECK_SECONDS,
    )


def create_children(given: Input) -> Decision | None:
    """Create what is missing of a job without a Job."""
    if given.seen.job is not None:
        return None
    return Decision(Phase.PENDING, _CREATING, create=given.seen.missing, requeue_after=RECHECK_SECONDS)


def resume(given: Input) -> Decision | None:
    """Resume a Job that is suspended although the spec is not."""
    if given.seen.job is None or not given.seen.job.suspended:
        return None
    return Decision(
        Phase.PENDING,
        Cause(Reason.RESUMED, "Resuming with the remaining budget and deadline"),
        suspension=Suspension(suspend=False),
        requeue_after=RECHECK_SECONDS,
    )


def trainer_running(given: Input) -> Decision | None:
    """Follow the report of a running pod."""
    pod = given.seen.active_pod
    if pod is None or not pod.running:
        return None
    return replace(_running(pod, given, "The trainer is running"), create=_repairs(given.seen))


def complete_job(given: Input) -> Decision | None:
    """Wait for the Job to notice that its trainer has ended well."""
    pod = given.seen.active_pod
    if pod is not None and pod.exit_code != 0:
        return None
    if all(candidate.exit_code != 0 for candidate in given.seen.pods):
        return None
    cause = Cause(Reason.SAVING, "The trainer has ended; its Job is completing")
    return Decision(Phase.SAVING, cause, create=_repairs(given.seen))


def trainer_waiting(given: Input) -> Decision:
    """Say why no trainer runs, or what ended the last attempt."""
    seen, pod, job = given.seen, given.seen.active_pod, given.seen.job
    last = end.last_cause(seen)
    if pod is not None and pod.exit_code is not None:
        trouble = _waits_for_sidecar(pod, last)
    else:
        trouble = (pod.trouble if pod is not None else None) or seen.waiting
    trouble = trouble or seen.obstacle
    if trouble is not None:
        deadline = job.deadline_seconds if job is not None else None
        until = f"{LASTS_UNTIL} ({deadline} s)" if deadline else ""
        cause = Cause(trouble.reason, trouble.message + until)
    elif last is not None:
        cause = Cause(last.reason, f"{last.message}; the next attempt follows")
    else:
        cause = Cause(Reason.WAITING_FOR_TRAINER, "The trainer's pod has not started yet")
    return Decision(
        Phase.PENDING,
        cause,
        create=_repairs(seen),
        trouble=bool(trouble or last),
        requeue_after=RECHECK_SECONDS,
    )


def _repairs(seen: Observed) -> tuple[Child, ...]:
    """Return the children of a run under way that were deleted and are created again."""
    return seen.missing if seen.committed and seen.obstacle is None else ()


def _running(pod: PodSeen, given: Input, text: str) -> Decision:
    """Follow the report of a running pod; requeue if none comes, less often the longer the silence."""
    seen, silence = given.seen, given.seen.silence(pod, given.now)
    phase, cause = Phase.SEARCHING, Cause(Reason.SEARCHING, text)
    if seen.report is not None and seen.report.pod_uid == pod.uid and seen.report.stage in _SAVING:
        phase, cause = Phase.SAVING, Cause(Reason.SAVING, "The model is found; saving artifacts")
    if silence < SILENCE_SECONDS:
        return Decision(phase, cause, requeue_after=SILENCE_SECONDS - silence)
    due = min(silence, MAX_SILENCE_RECHECK_SECONDS)
    if not seen.access_problem:
        return Decision(phase, cause, requeue_after=due)
    cause = Cause(Reason.FORBIDDEN, seen.access_problem)
    return Decision(phase, cause, trouble=True, requeue_after=due)


def _waits_for_sidecar(pod: PodSeen, cause: Cause | None) -> Cause | None:
    """Add the containers that the next attempt waits for."""
    if cause is None or not pod.other_containers:
        return cause
    names = ", ".join(pod.other_containers)
    return Cause(
        cause.reason,
        f"{cause.message}; the next attempt waits for container {names} of pod {pod.name}, which still runs; "
        f"the operator deletes the pod {LEFTOVER_SECONDS:.0f} s after the trainer's end",
    )


POLICIES: tuple[Callable[[Input], Decision | None], ...] = (
    # The resource.
    end.leave_deleted_resource,
    end.ended_already,
    # Whether the job ends now.
    end.job_completed,
    end.job_failed,
    end.succeeded_before_its_job,
    end.storage_exceeded,
    end.reported_without_job,
    end.never_to_begin,
    end.deadline_without_job,
    end.wait_for_pod_failure,
    # Whether it may run.
    suspend,
    blocked,
    # What it needs in order to run.
    record_plan,
    wait_for_orphan,
    create_children,
    resume,
    # How it runs.
    trainer_running,
    complete_job,
    trainer_waiting,
)
"""Each returns a decision, or ``None`` where it does not apply; the last one always applies."""


def decide(view: JobView, seen: Observed, now: datetime) -> Decision:
    """Return the decision for a job: *view*, with what exists of it at the time *now*."""
    given = Input(view, seen, now)
    decision = next(found for policy in POLICIES if (found := policy(given)) is not None)
    return with_dask_cluster(given, with_deleted_pods(given, decision))
