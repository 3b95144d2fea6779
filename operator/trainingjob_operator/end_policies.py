"""Policies for a job that ends or has ended, from the Job's outcome and the trainer's last report."""

from dataclasses import replace
from datetime import datetime, timedelta

from trainingjob_api import EXIT_INVALID, AttemptOutcome, ConditionType, Phase, Report
from trainingjob_api.reasons import Cause, Reason
from trainingjob_operator.children import Child
from trainingjob_operator.decision import LEFTOVER_SECONDS, Decision, Input, end_of_life
from trainingjob_operator.facts import JobOutcome, Observed, PodSeen
from trainingjob_operator.job_view import FINAL_REASONS, condition_of

RECHECK_SECONDS = 10.0
"""A Job that creates no pod says so only in events, which are not watched."""
REPORT_GRACE_SECONDS = 20.0
"""How long the last report may come late: a read may be older than the Job's end."""
REPORT_RECHECK_SECONDS = 2.0
MAX_RUNS = 2
"""Times that a trainer may end with status 0 and without a report."""
LASTS_UNTIL = "; the job fails if this lasts until its deadline"
_DONE = frozenset({AttemptOutcome.SUCCEEDED, AttemptOutcome.REMOVED})
"""A pod of a complete Job that was never seen ended well, too."""
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


def leave_deleted_resource(given: Input) -> Decision | None:
    """Do nothing for a resource that is being deleted: the garbage collector removes its children."""
    if not given.view.deleting:
        return None
    phase = given.view.status.phase or Phase.PENDING
    return Decision(phase, Cause(Reason.PENDING, "The resource is being deleted"), write=False)


def ended_already(given: Input) -> Decision | None:
    """Keep a terminal phase; delete the pods when their time has come, and at once what should not run."""
    view, job = given.view, given.seen.job
    if not view.ended:
        return None
    phase = view.status.phase or Phase.FAILED
    succeeded = phase is Phase.SUCCEEDED
    found = condition_of(view.status, ConditionType.COMPLETE if succeeded else ConditionType.FAILED)
    cause = Cause(Reason.SUCCEEDED if succeeded else Reason.TRAINER_CRASHED)
    if found is not None:
        cause = Cause(found.reason, found.message)
    decision = Decision(phase, cause)
    if job is None:
        return decision
    due = end_of_life(view)
    if job.outcome is JobOutcome.OPEN:
        due = view.status.completion_time or given.now
        if succeeded and all(pod.exit_code is not None for pod in given.seen.pods):
            # A container beside the trainer may still end by itself: then pod and log stay for their time.
            due += timedelta(seconds=LEFTOVER_SECONDS)
    if due is None:
        return decision
    left = (due - given.now).total_seconds()
    return replace(decision, requeue_after=left) if left > 0 else replace(decision, delete=(Child.JOB,))


def job_completed(given: Input) -> Decision | None:
    """Accept a Job's completion only with a final report, whose artifacts are verified.

    Where the report is gone the Job runs once more: a trainer that finds its model published reports it.
    """
    view, seen, job = given.view, given.seen, given.seen.job
    if job is None or job.outcome is not JobOutcome.COMPLETE:
        return None
    if seen.success is not None:
        return _success(seen.success, job.ended or given.now)
    late = job.ended is None or given.now >= job.ended + timedelta(seconds=REPORT_GRACE_SECONDS)
    history = view.status.attempt_history or ()
    closed = {attempt.pod_uid: attempt.outcome for attempt in history if attempt.outcome}
    # The outcome of each pod is recorded before the pods are deleted with their Job.
    if not late or not closed.keys() >= {pod.uid for pod in seen.pods}:
        cause = Cause(Reason.SAVING, "The trainer has ended; waiting for its last report")
        return Decision(Phase.SAVING, cause, requeue_after=REPORT_RECHECK_SECONDS)
    if sum(outcome in _DONE for outcome in closed.values()) < MAX_RUNS and seen.plan is not None:
        text = "The trainer has ended but its last report is lost; its Job runs once more to report again"
        return Decision(
            Phase.SAVING,
            Cause(Reason.SAVING, text),
            create=tuple(child for child in seen.missing if child is not Child.JOB),
            delete=(Child.JOB,),
            requeue_after=REPORT_RECHECK_SECONDS,
        )
    detail = f" ({seen.rejected.message})" if seen.rejected else ""
    uri = seen.plan.run.output.uri.rstrip("/") if seen.plan is not None else "spec.output.uri"
    text = (
        f"The trainer ended without a final report that was accepted{detail}; a published model is in "
        f"{uri}/{view.owner.name}-{view.owner.uid[:8]}/ with its digests in manifest.json; recreate the job "
        "to train another one"
    )
    return _failure(Cause(Reason.TRAINER_CRASHED, text), job.ended or given.now)


def job_failed(given: Input) -> Decision | None:
    """End a job whose Job has failed, with the trainer's own words if it had any."""
    seen, job = given.seen, given.seen.job
    if job is None or job.outcome is not JobOutcome.FAILED:
        return None
    ended = job.ended or given.now
    if seen.success is not None:
        # The deadline passed between the last upload and the end of the pod: the model is there, verified.
        return _success(seen.success, ended)
    report, pod = seen.report, seen.pods[-1] if seen.pods else None
    if report is not None and report.failure is not None and (pod is None or report.pod_uid == pod.uid):
        cause: Cause | None = _out_of_memory(pod) or Cause(report.failure.reason, report.failure.message)
    else:
        cause = seen.last_trouble or seen.waiting
    match job.outcome_reason:
        case "PodFailurePolicy":
            return _failure(cause or Cause(Reason.SPEC_INVALID, job.outcome_message), ended)
        case "DeadlineExceeded":
            return _failure(_deadline(given, cause), ended)
        case _:
            pods = max(job.pods_counted, len(seen.pods))
            last = f"; last: {cause.reason}: {cause.message}" if cause else f": {job.outcome_message}"
            return _failure(Cause(Reason.BACKOFF_LIMIT_EXCEEDED, _too_often(pods) + last), ended)


def succeeded_before_its_job(given: Input) -> Decision | None:
    """End a job whose trainer has succeeded while its Job is open: beside a sidecar, or as an orphan."""
    seen, pod = given.seen, given.seen.reporting_pod
    if seen.job is None or pod is None or pod.exit_code != 0 or seen.success is None:
        return None
    return _success(seen.success, pod.ended or given.now) if pod.other_containers or pod.orphan else None


def storage_exceeded(given: Input) -> Decision | None:
    """End a job whose pods exceed their own storage: a Job never counts such evictions as failures."""
    seen = given.seen
    evicted = [pod.trouble for pod in seen.pods if pod.finished and pod.trouble is not None]
    full = [trouble for trouble in evicted if trouble.reason == Reason.OUT_OF_STORAGE]
    if seen.job is None or seen.plan is None or len(full) <= seen.plan.run.backoff_limit:
        return None
    text = f"{_too_often(len(full))}; last: {full[-1].message}"
    return _failure(Cause(Reason.OUT_OF_STORAGE, text), given.now)


def reported_without_job(given: Input) -> Decision | None:
    """End a job whose Job is gone, if its final report has a model or a failure that is never retried."""
    report = given.seen.report
    if given.seen.job is not None or report is None or not report.final:
        return None
    # The node's clock may be ahead.
    ended = min(report.written_at or given.now, given.now)
    if report.failure is None:
        return _success(report, ended)
    if report.failure.exit_code == EXIT_INVALID:
        return _failure(Cause(report.failure.reason, report.failure.message), ended)
    return None


def never_to_begin(given: Input) -> Decision | None:
    """End a job that has no Job if its obstacle is permanent."""
    obstacle = given.seen.obstacle
    if given.seen.job is not None or obstacle is None or obstacle.reason not in FINAL_REASONS:
        return None
    return _failure(obstacle, given.now)


def deadline_without_job(given: Input) -> Decision | None:
    """End a job that has had no Job until its deadline."""
    view, seen = given.view, given.seen
    start, history = view.status.start_time, view.status.attempt_history
    if seen.job is not None or view.suspend or start is None or seen.plan is None:
        return None
    if history and history[-1].outcome is AttemptOutcome.SUCCEEDED:
        # It runs once more for its report, with a deadline of its own.
        return None
    if given.now < start + timedelta(seconds=seen.plan.run.active_deadline_seconds):
        return None
    return _failure(_deadline(given, seen.obstacle), given.now)


def wait_for_pod_failure(given: Input) -> Decision | None:
    """Keep the status while a Job fails: what it says of the pods will explain the failure.

    The Job has failed or will: exit code 2 is never retried.
    """
    seen = given.seen
    if seen.job is None or not (seen.job.failing or any(pod.exit_code == EXIT_INVALID for pod in seen.pods)):
        return None
    phase = given.view.status.phase or Phase.PENDING
    cause = Cause(Reason.PENDING, "The Job is failing")
    return Decision(phase, cause, write=False, requeue_after=RECHECK_SECONDS)


def last_cause(seen: Observed) -> Cause | None:
    """Return why the last failed pod ended: by its report if it has a failure, else by its status."""
    failure, pod = seen.report.failure if seen.report is not None else None, seen.reporting_pod
    if failure is not None and pod is not None and pod.exit_code is not None and pod.trouble is not None:
        return _out_of_memory(pod) or Cause(failure.reason, failure.message)
    return seen.last_trouble


def _success(report: Report, ended: datetime) -> Decision:
    where = next((artifact.uri for artifact in report.artifacts if artifact.name == "model.joblib"), None)
    cause = Cause(Reason.SUCCEEDED, f"The model is {where}" if where else "The model is saved")
    return Decision(Phase.SUCCEEDED, cause, ended=ended)


def _failure(cause: Cause, ended: datetime) -> Decision:
    return Decision(Phase.FAILED, cause, trouble=True, ended=ended)


def _out_of_memory(pod: PodSeen | None) -> Cause | None:
    """Return a pod's out-of-memory kill, if any; a failure that the trainer reports only follows from it."""
    trouble = pod.trouble if pod is not None else None
    return trouble if trouble is not None and trouble.reason == Reason.OUT_OF_MEMORY else None


def _too_often(attempts: int) -> str:
    return f"The trainer failed more often than backoffLimit allows ({attempts} attempts)"


def _deadline(given: Input, cause: Cause | None) -> Cause:
    plan = given.seen.plan
    limit = f" ({plan.run.active_deadline_seconds} s)" if plan is not None else ""
    if cause is None:
        # The Job deletes its pods at the deadline; the status still knows what held them up.
        ready = condition_of(given.view.status, ConditionType.READY)
        if ready is not None and ready.reason not in _ORDINARY:
            cause = Cause(ready.reason, ready.message.split(LASTS_UNTIL)[0])
    text = f"activeDeadlineSeconds{limit} have passed"
    if cause is not None:
        text += f"; last seen: {cause.reason}: {cause.message}"
    return Cause(Reason.DEADLINE_EXCEEDED, text)
