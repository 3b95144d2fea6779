"""How a job ends: from the Job's outcome and the trainer's last word to a terminal step."""

from datetime import datetime, timedelta

from trainingjob_api import (
    EXIT_INVALID,
    AttemptOutcome,
    ConditionType,
    Phase,
    Reason,
    Report,
    TrainingJobStatus,
)
from trainingjob_operator.names import Child
from trainingjob_operator.observe import JobOutcome, Observed, PodSeen, TrainerJob, Trouble
from trainingjob_operator.step import Step
from trainingjob_operator.subject import Subject

__all__ = ["ending", "last_cause", "latched"]

REPORT_GRACE_SECONDS = 20.0
"""A read may be older than the Job's end: the last report is waited for this long."""
REPORT_RECHECK_SECONDS = 2.0
MAX_RUNS = 2
"""How often a trainer may end well without a report."""
_DONE = frozenset({AttemptOutcome.SUCCEEDED, AttemptOutcome.REMOVED})
"""A pod of a complete Job that went unseen ended well, too."""
_ORDINARY = frozenset(
    {
        Reason.PENDING,
        Reason.CREATING_RESOURCES,
        Reason.WAITING_FOR_TRAINER,
        Reason.SEARCHING,
        Reason.SAVING,
        Reason.RESUMED,
        Reason.SUSPENDED,
    }
)


def ending(subject: Subject, seen: Observed, now: datetime) -> Step | None:
    """Return the terminal step, or the wait for the last report; ``None`` while the job goes on."""
    match seen.job:
        case TrainerJob(outcome=JobOutcome.COMPLETE) as job:
            return _complete(job, subject, seen, now)
        case TrainerJob(outcome=JobOutcome.FAILED) as job:
            return _job_failed(job, subject, seen, now)
        case TrainerJob():
            return _before_its_job(seen, now) or _out_of_storage(seen, now)
        case None:
            return _without_job(subject, seen, now)


def last_cause(seen: Observed) -> Trouble | None:
    """Return what the last pod that did not end well died of: its own words if it had any."""
    report = seen.report
    if report is not None and report.failure is not None:
        pod = next((one for one in seen.pods if one.uid == report.pod_uid), None)
        if pod is not None and pod.exit_code is not None and pod.trouble is not None:
            return _of_memory(pod) or Trouble(report.failure.reason, report.failure.message)
    return seen.last_trouble


def latched(status: TrainingJobStatus) -> tuple[str, str]:
    """Return reason and message with which a job has ended."""
    kind = ConditionType.COMPLETE if status.phase is Phase.SUCCEEDED else ConditionType.FAILED
    for condition in status.conditions or ():
        if condition.type is kind:
            return condition.reason, condition.message
    return (Reason.SUCCEEDED, "") if status.phase is Phase.SUCCEEDED else (Reason.TRAINER_CRASHED, "")


def _complete(job: TrainerJob, subject: Subject, seen: Observed, now: datetime) -> Step:
    """Believe a Job that is complete only with a final report: its artifacts are verified.

    Where the report is gone the Job runs once more: a trainer that finds its model published reports it.
    """
    report = seen.report
    if _succeeded(report):
        return _success(report, job.ended or now)
    late = job.ended is None or now >= job.ended + timedelta(seconds=REPORT_GRACE_SECONDS)
    closed = {
        attempt.pod_uid: attempt.outcome
        for attempt in subject.status.attempt_history or ()
        if attempt.outcome
    }
    # What became of the pods is remembered before they go with their Job.
    if not late or not closed.keys() >= {pod.uid for pod in seen.pods}:
        return Step(
            phase=Phase.SAVING,
            reason=Reason.SAVING,
            message="the trainer has ended; its last report is being read",
            again_after=REPORT_RECHECK_SECONDS,
        )
    if sum(outcome in _DONE for outcome in closed.values()) < MAX_RUNS and seen.plan is not None:
        return Step(
            phase=Phase.SAVING,
            reason=Reason.SAVING,
            message="the trainer has ended and its last report is lost; its Job runs once more for it",
            ensure=tuple(child for child in seen.missing if child is not Child.JOB),
            remove=(Child.JOB,),
            again_after=REPORT_RECHECK_SECONDS,
        )
    detail = f" ({seen.report_refused.message})" if seen.report_refused else ""
    message = f"the trainer ended without a final report that was accepted{detail}; {_place(subject, seen)}"
    return _failure(Reason.TRAINER_CRASHED, message, job.ended or now)


def _place(subject: Subject, seen: Observed) -> str:
    """Say where the model is, if there is one."""
    uri = seen.plan.run.output.uri.rstrip("/") if seen.plan is not None else "spec.output.uri"
    owner = subject.owner
    return (
        f"a model that was published is in {uri}/{owner.name}-{owner.uid[:8]}/, its digests in manifest.json "
        "there; recreate the job to train another one"
    )


def _before_its_job(seen: Observed, now: datetime) -> Step | None:
    """End a job whose trainer has finished while its Job is open: beside a sidecar, or as an orphan."""
    report = seen.report
    pod = next((each for each in seen.pods if report is not None and each.uid == report.pod_uid), None)
    if pod is None or pod.exit_code != 0 or not _succeeded(report):
        return None
    return _success(report, pod.ended or now) if pod.beside or pod.orphan else None


def _out_of_storage(seen: Observed, now: datetime) -> Step | None:
    """End a job whose pods exceed their own storage: the Job never counts such evictions as failures."""
    evicted = [pod.trouble for pod in seen.pods if pod.finished and pod.trouble is not None]
    full = [trouble for trouble in evicted if trouble.reason == Reason.OUT_OF_STORAGE]
    if seen.plan is None or len(full) <= seen.plan.run.backoff_limit:
        return None
    text = f"the trainer failed more often than backoffLimit allows ({len(full)} attempts); the last time: "
    return _failure(Reason.OUT_OF_STORAGE, text + full[-1].message, now)


def _job_failed(job: TrainerJob, subject: Subject, seen: Observed, now: datetime) -> Step:
    ended = job.ended or now
    if _succeeded(seen.report):
        # The deadline struck between the last upload and the end of the pod: the model is there, verified.
        return _success(seen.report, ended)
    cause = _cause(seen)
    match job.outcome_reason:
        case "PodFailurePolicy":
            found = cause or Trouble(Reason.SPEC_INVALID, job.outcome_message)
            return _failure(found.reason, found.message, ended)
        case "DeadlineExceeded":
            return _failure(Reason.DEADLINE_EXCEEDED, _deadline_text(subject, seen, cause), ended)
        case _:
            pods = max(job.pods_counted, len(seen.pods))
            text = f"the trainer failed more often than backoffLimit allows ({pods} attempts)"
            last = (
                f"; the last time: {cause.reason}: {cause.message}" if cause else f": {job.outcome_message}"
            )
            return _failure(Reason.BACKOFF_LIMIT_EXCEEDED, text + last, ended)


def _without_job(subject: Subject, seen: Observed, now: datetime) -> Step | None:
    """Decide from the last report alone, or from what keeps the job from beginning."""
    report = seen.report
    if report is not None and report.final:
        # The node's clock may be ahead.
        ended = min(report.written_at or now, now)
        if report.failure is None:
            return _success(report, ended)
        if report.failure.exit_code == EXIT_INVALID:
            return _failure(report.failure.reason, report.failure.message, ended)
    obstacle = seen.obstacle
    if obstacle is not None and obstacle.final:
        return _failure(obstacle.reason, obstacle.message, now)
    start, plan = subject.status.start_time, seen.plan
    history = subject.status.attempt_history
    if history and history[-1].outcome is AttemptOutcome.SUCCEEDED:
        # It runs once more for its report, with a deadline of its own.
        return None
    if subject.suspend or start is None or plan is None:
        return None
    if now < start + timedelta(seconds=plan.run.active_deadline_seconds):
        return None
    cause = Trouble(obstacle.reason, obstacle.message) if obstacle is not None else None
    return _failure(Reason.DEADLINE_EXCEEDED, _deadline_text(subject, seen, cause), now)


def _success(report: Report | None, ended: datetime) -> Step:
    where = next(
        (one.uri for one in (report.artifacts if report else ()) if one.name == "model.joblib"), None
    )
    message = f"the model is {where}" if where else "the model is saved"
    return Step(phase=Phase.SUCCEEDED, reason=Reason.SUCCEEDED, message=message, ended=ended)


def _failure(reason: str, message: str, ended: datetime) -> Step:
    return Step(phase=Phase.FAILED, reason=reason, message=message, trouble=True, ended=ended)


def _succeeded(report: Report | None) -> bool:
    return report is not None and report.final and report.failure is None


def _cause(seen: Observed) -> Trouble | None:
    """Return what the last pod died of: its own words if it had any, else what Kubernetes saw."""
    report, pod = seen.report, seen.pods[-1] if seen.pods else None
    if report is not None and report.failure is not None and (pod is None or report.pod_uid == pod.uid):
        return _of_memory(pod) or Trouble(report.failure.reason, report.failure.message)
    return seen.last_trouble or seen.waiting


def _of_memory(pod: PodSeen | None) -> Trouble | None:
    """Return the out-of-memory kill of a pod, if any; the trainer's own failure only follows from it."""
    trouble = pod.trouble if pod is not None else None
    return trouble if trouble is not None and trouble.reason == Reason.OUT_OF_MEMORY else None


def _deadline_text(subject: Subject, seen: Observed, cause: Trouble | None) -> str:
    plan = seen.plan
    limit = f" ({plan.run.active_deadline_seconds} s)" if plan is not None else ""
    text = f"activeDeadlineSeconds{limit} have passed"
    if cause is None:
        # The Job takes its pods away at the deadline; the status still knows what held them up.
        ready = next(
            (one for one in subject.status.conditions or () if one.type is ConditionType.READY), None
        )
        if ready is not None and ready.reason not in _ORDINARY:
            cause = Trouble(ready.reason, ready.message.split("; the job fails if")[0])
    return f"{text}; the last thing seen: {cause.reason}: {cause.message}" if cause else text
