"""Builders for tests of decisions: jobs, observations and the expected steps."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from trainingjob_api import (
    Artifact,
    Condition,
    Failure,
    Phase,
    Report,
    Stage,
    TrainingJobStatus,
    parse_job,
)
from trainingjob_api.reasons import Cause
from trainingjob_operator.children import TRAINER_CHILDREN, Owner
from trainingjob_operator.decision import Decision, Suspension
from trainingjob_operator.facts import JobOutcome, Observed, PodSeen, TrainerJob
from trainingjob_operator.job_view import JobView, make_plan
from trainingjob_operator.settings import Settings


def decided(phase, reason, message="", **fields):
    """Return a decision."""
    return Decision(phase=phase, cause=Cause(reason, message), **fields)


NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
BEGUN = NOW - timedelta(seconds=300)
RAW = {
    "apiVersion": "automl.trainingjob.dev/v1alpha1",
    "kind": "TrainingJob",
    "metadata": {"name": "churn", "namespace": "team", "uid": "u"},
    "spec": {
        "dataset": {"uri": "s3://data/x.csv"},
        "targetColumn": "y",
        "output": {"uri": "s3://models"},
        "activeDeadlineSeconds": 1000,
        "ttlSecondsAfterFinished": 100,
    },
}
JOB = parse_job(RAW)
PLAN = replace(make_plan(JOB, Settings(trainer_image="trainer:1")), report_key="A" * 44)
SUBJECT = JobView(owner=Owner("churn", "team", "u"), job=JOB)
SUSPENDED = replace(SUBJECT, suspend=True)
DELETED = replace(SUBJECT, deleting=True)

NOTHING = Observed(plan=PLAN, committed=True)
OPEN = TrainerJob(deadline_seconds=1000, started=BEGUN)
MADE = Observed(plan=PLAN, committed=True, begun=BEGUN, missing=(), job=OPEN)
PENDING_POD = PodSeen(uid="p1", created=BEGUN)
RUNNING_POD = PodSeen(uid="p1", created=BEGUN, running=True)
DEAD_POD = PodSeen(
    uid="p1", created=BEGUN, finished=True, exit_code=1, trouble=Cause("TrainerCrashed", "it ended with 1")
)
OOM_POD = replace(DEAD_POD, exit_code=137, trouble=Cause("OutOfMemory", "more memory"))
DONE_POD = PodSeen(uid="p1", created=BEGUN, finished=True, exit_code=0)
REPORT = Report(job_uid="u", pod_uid="p1", stage=Stage.SEARCHING, written_at=NOW)
MODEL = Artifact(name="model.joblib", uri="s3://models/m", sha256="a" * 64, size_bytes=1)
FINAL = REPORT.model_copy(update={"final": True, "stage": Stage.FINISHED, "artifacts": (MODEL,)})
WRONG = REPORT.model_copy(
    update={"final": True, "failure": Failure(reason="TargetColumnMissing", message="no y", exit_code=2)}
)
BROKEN = REPORT.model_copy(
    update={"final": True, "failure": Failure(reason="UploadFailed", message="storage", exit_code=1)}
)
ENDED = NOW - timedelta(seconds=5)
COMPLETE = replace(OPEN, outcome=JobOutcome.COMPLETE, ended=ENDED)


def failed(reason, **fields):
    return replace(OPEN, outcome=JobOutcome.FAILED, outcome_reason=reason, ended=ENDED, **fields)


def made(**fields):
    return replace(MADE, **fields)


def ended_subject(phase=Phase.SUCCEEDED, ago=10, ttl_seconds=100, **fields):
    kind = "Complete" if phase is Phase.SUCCEEDED else "Failed"
    condition = Condition(type=kind, status="True", last_transition_time=NOW, reason="Why", message="said")
    status = TrainingJobStatus(
        phase=phase, conditions=(condition,), completion_time=NOW - timedelta(seconds=ago)
    )
    return replace(SUBJECT, status=status, ttl_seconds=ttl_seconds, **fields)


MAKING = decided(
    phase=Phase.PENDING,
    reason="CreatingResources",
    message="Creating the trainer's resources",
    create=TRAINER_CHILDREN,
    requeue_after=10.0,
)
WAITING = decided(
    phase=Phase.PENDING,
    reason="WaitingForTrainer",
    message="The trainer's pod has not started yet",
    requeue_after=10.0,
)
QUIET = 300.0
"""Nothing has been heard since the pod began."""
SEARCHING = decided(
    phase=Phase.SEARCHING, reason="Searching", message="The trainer is running", requeue_after=QUIET
)
SAVING = decided(
    phase=Phase.SAVING,
    reason="Saving",
    message="The model is found; saving artifacts",
    requeue_after=QUIET,
)
COMPLETING = decided(
    phase=Phase.SAVING, reason="Saving", message="The trainer has ended; its Job is completing"
)
LAST_WORD = decided(
    phase=Phase.SAVING,
    reason="Saving",
    message="The trainer has ended; waiting for its last report",
    requeue_after=2.0,
)
RESUMING = decided(
    phase=Phase.PENDING,
    reason="Resumed",
    message="Resuming with the remaining budget and deadline",
    suspension=Suspension(suspend=False),
    requeue_after=10.0,
)
SUCCESS = decided(
    phase=Phase.SUCCEEDED, reason="Succeeded", message="The model is s3://models/m", ended=ENDED
)
SETTLED = decided(
    phase=Phase.SUSPENDED, reason="Suspended", message="spec.suspend is true; set it to false to resume"
)
STOPPING = decided(
    phase=Phase.SUSPENDED,
    reason="Suspended",
    message="The trainer saves its work and stops",
    settled=False,
)
LATCHED = decided(phase=Phase.SUCCEEDED, reason="Why", message="said")


def failure(reason, message, ended=ENDED):
    return decided(phase=Phase.FAILED, reason=reason, message=message, trouble=True, ended=ended)


def trouble(reason, message, **fields):
    return decided(
        phase=Phase.PENDING, reason=reason, message=message, trouble=True, requeue_after=10.0, **fields
    )


LASTS = "; the job fails if this lasts until its deadline (1000 s)"
CONFLICT = Cause("NameConflict", "taken")
INVALID = Cause(
    "SpecInvalid",
    "spec.output.uri: no",
)
STARTED = replace(
    SUBJECT, status=TrainingJobStatus(phase=Phase.PENDING, start_time=NOW - timedelta(seconds=1000))
)
