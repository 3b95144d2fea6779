"""The state machine: a job, what is seen of it and the time in, the next step out.

Pure: no clock, no I/O, no library of the cluster. Equal observations give equal steps, so that every
step can be taken twice, and a restart in the middle of one leads to the same end.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from trainingjob_api import EXIT_INVALID, Phase, Reason, Stage
from trainingjob_operator import outcome
from trainingjob_operator.decide_dask import decide_dask
from trainingjob_operator.leftovers import LEFTOVER_SECONDS, SILENCE_SECONDS, end_of_life, leftovers
from trainingjob_operator.names import Child
from trainingjob_operator.observe import JobOutcome, Observed, Obstacle, PodSeen, TrainerJob, Trouble
from trainingjob_operator.step import Step, Suspension
from trainingjob_operator.subject import Subject

__all__ = ["decide"]

PENDING_RECHECK_SECONDS = 10.0
"""A Job that makes no pod says so in events only, which are not watched."""
OBSTACLE_RECHECK_SECONDS = 15.0
MAX_SILENCE_RECHECK_SECONDS = 300.0
_SAVING = frozenset({Stage.SAVING, Stage.UPLOADING, Stage.FINISHED})


def decide(subject: Subject, seen: Observed, now: datetime) -> Step:
    """Return the next step for *subject*.

    Parameters
    ----------
    subject
        The job.
    seen
        What is there.
    now
        The time, aware.
    """
    step = _course(subject, seen, now)
    remove, wait = leftovers(subject, seen, now)
    due = (delay for delay in (step.again_after, wait) if delay is not None)
    step = replace(step, remove_pods=remove, again_after=min(due, default=None))
    return replace(step, cluster=decide_dask(subject, seen, step, now)) if step.write else step


def _course(subject: Subject, seen: Observed, now: datetime) -> Step:
    """Return the step without its part about the Dask cluster."""
    if subject.deleting:
        # Owner references take everything away; what is made now would be in their way.
        phase = subject.status.phase or Phase.PENDING
        return Step(phase=phase, reason="Deleting", write=False)
    if subject.ended:
        return _after_the_end(subject, seen, now)
    ending = outcome.ending(subject, seen, now)
    if ending is not None:
        return ending
    if seen.job is not None and _failing(seen.job, seen):
        # Its pods are being taken away; what the status says of them is what the end will be explained by.
        phase = subject.status.phase or Phase.PENDING
        return Step(phase=phase, reason="Failing", write=False, again_after=PENDING_RECHECK_SECONDS)
    if subject.suspend:
        return _suspended(seen, now)
    if seen.obstacle is not None:
        return _blocked(seen.obstacle, seen, now)
    if seen.job is None:
        return _without_job(seen, now) if seen.committed else _recording(seen)
    if seen.job.suspended:
        return Step(
            phase=Phase.PENDING,
            reason=Reason.RESUMED,
            message="the job goes on with what is left of its budget and deadline",
            suspension=Suspension(suspend=False),
            again_after=PENDING_RECHECK_SECONDS,
        )
    return _under_way(seen.job, seen, now)


def _failing(job: TrainerJob, seen: Observed) -> bool:
    """Return whether the Job has failed, or is about to: its policy knows no mercy with exit status 2."""
    return job.failing or any(pod.exit_code == EXIT_INVALID for pod in seen.pods)


def _after_the_end(subject: Subject, seen: Observed, now: datetime) -> Step:
    """Keep the phase for ever; remove the pods when their time has come, and what should not run at once."""
    phase = subject.status.phase or Phase.FAILED
    reason, message = outcome.latched(subject.status)
    step = Step(phase=phase, reason=reason, message=message)
    if seen.job is None:
        return step
    due = end_of_life(subject)
    if seen.job.outcome is JobOutcome.OPEN:
        due = subject.status.completion_time or now
        if phase is Phase.SUCCEEDED and all(pod.exit_code is not None for pod in seen.pods):
            # A container beside the trainer may still end by itself: then pod and log stay for their time.
            due += timedelta(seconds=LEFTOVER_SECONDS)
    if due is None:
        return step
    left = (due - now).total_seconds()
    return replace(step, again_after=left) if left > 0 else replace(step, remove=(Child.JOB,))


def _recording(seen: Observed) -> Step:
    """Record the plan's digest in the status before any child exists."""
    return Step(
        phase=Phase.PENDING,
        reason=Reason.CREATING_RESOURCES,
        message="the trainer's resources are being made",
        make_key=seen.record is None,
        again_after=0.0,
    )


def _without_job(seen: Observed, now: datetime) -> Step:
    """Create what is missing; the Job only when no trainer of an earlier Job is left."""
    pod = next((candidate for candidate in reversed(seen.pods) if candidate.working), None)
    if pod is None:
        return Step(
            phase=Phase.PENDING,
            reason=Reason.CREATING_RESOURCES,
            message="the trainer's resources are being made",
            ensure=seen.missing,
            again_after=PENDING_RECHECK_SECONDS,
        )
    ensure = tuple(child for child in seen.missing if child is not Child.JOB)
    if pod.running and not pod.going:
        text = f"the trainer is running in pod {pod.name}, whose Job was deleted; a new Job waits for its end"
        return replace(_running(pod, seen, now, text), ensure=ensure, again_after=PENDING_RECHECK_SECONDS)
    return Step(
        phase=Phase.PENDING,
        reason=Reason.WAITING_FOR_PREDECESSOR,
        message=f"pod {pod.name} of the previous Job is still terminating; the next Job waits for its end",
        ensure=ensure,
        again_after=PENDING_RECHECK_SECONDS,
    )


def _suspended(seen: Observed, now: datetime) -> Step:
    """Stop what runs; what has not begun does not begin."""
    job, stopping = seen.job, seen.active_pod is not None
    change = None
    if job is not None and not job.suspended:
        change, stopping = Suspension(suspend=True, deadline_seconds=_deadline_left(job, now)), True
    message = (
        "the trainer saves its work and stops"
        if stopping
        else "spec.suspend is true; set it to false to go on"
    )
    return Step(
        phase=Phase.SUSPENDED,
        reason=Reason.SUSPENDED,
        message=message,
        suspension=change,
        settled=not stopping,
    )


def _deadline_left(job: TrainerJob, now: datetime) -> int | None:
    """Return the seconds of the Job's deadline that are left, at least 1.

    A Job counts from zero when it resumes. What is left is written in the same request that suspends
    it, so that no restart of the operator in between can lose or repeat the subtraction.
    """
    if job.deadline_seconds is None or job.started is None:
        return job.deadline_seconds
    return max(1, job.deadline_seconds - max(0, int((now - job.started).total_seconds())))


def _blocked(obstacle: Obstacle, seen: Observed, now: datetime) -> Step:
    """Say what is in the way; a run that is under way is not stopped by it."""
    if seen.job is not None and not seen.job.suspended:
        return _under_way(seen.job, seen, now)
    return Step(
        phase=Phase.PENDING,
        reason=obstacle.reason,
        message=obstacle.message,
        trouble=obstacle.reason != Reason.WAITING_FOR_PREDECESSOR,
        again_after=OBSTACLE_RECHECK_SECONDS,
    )


def _under_way(job: TrainerJob, seen: Observed, now: datetime) -> Step:
    """Follow the pod; replace a child that somebody removed."""
    ensure = seen.missing if seen.committed and seen.obstacle is None else ()
    pod = seen.active_pod
    if pod is not None and pod.running:
        return replace(_running(pod, seen, now), ensure=ensure)
    if (pod is None or pod.exit_code == 0) and any(one.exit_code == 0 for one in seen.pods):
        message = "the trainer has ended; its Job is being completed"
        return Step(phase=Phase.SAVING, reason=Reason.SAVING, message=message, ensure=ensure)
    if pod is not None and pod.exit_code is not None:
        trouble = _dead(pod, outcome.last_cause(seen))
    else:
        trouble = (pod.trouble if pod is not None else None) or seen.waiting
    if trouble is None and seen.obstacle is not None:
        trouble = Trouble(seen.obstacle.reason, seen.obstacle.message)
    if trouble is not None:
        until = f"; the job fails if this lasts until its deadline ({job.deadline_seconds} s)"
        return Step(
            phase=Phase.PENDING,
            reason=trouble.reason,
            message=trouble.message + (until if job.deadline_seconds else ""),
            ensure=ensure,
            trouble=True,
            again_after=PENDING_RECHECK_SECONDS,
        )
    last = outcome.last_cause(seen)
    message = "the trainer's pod has not started yet"
    return Step(
        phase=Phase.PENDING,
        reason=Reason.WAITING_FOR_TRAINER if last is None else last.reason,
        message=message if last is None else f"{last.message}; the next attempt follows",
        ensure=ensure,
        trouble=last is not None,
        again_after=PENDING_RECHECK_SECONDS,
    )


def _running(pod: PodSeen, seen: Observed, now: datetime, text: str = "the trainer is running") -> Step:
    """Follow the report of a running pod; requeue if none comes, less often the longer the silence."""
    report, silence = seen.report, seen.silence(pod, now)
    step = Step(phase=Phase.SEARCHING, reason=Reason.SEARCHING, message=text)
    if report is not None and report.pod_uid == pod.uid and report.stage in _SAVING:
        text = "the model is found; artifacts are being saved"
        step = Step(phase=Phase.SAVING, reason=Reason.SAVING, message=text)
    if silence < SILENCE_SECONDS:
        return replace(step, again_after=SILENCE_SECONDS - silence)
    step = replace(step, again_after=min(silence, MAX_SILENCE_RECHECK_SECONDS))
    if not seen.access_problem:
        return step
    return replace(step, reason=Reason.FORBIDDEN, message=seen.access_problem, trouble=True)


def _dead(pod: PodSeen, cause: Trouble | None) -> Trouble | None:
    """Name the containers that keep the next attempt waiting."""
    if cause is None or not pod.beside:
        return cause
    return Trouble(
        cause.reason,
        f"{cause.message}; the next attempt waits for container {', '.join(pod.beside)} of pod {pod.name}, "
        f"which still runs; the pod is deleted {LEFTOVER_SECONDS:.0f} s after the trainer's end",
    )
