"""The words of the decision table: subjects, what is seen of them, and the steps that follow."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from trainingjob_api import (
    Artifact,
    Condition,
    Failure,
    Phase,
    PlanRecord,
    Report,
    Stage,
    TrainingJobStatus,
    parse_job,
)
from trainingjob_operator.names import Child, Owner
from trainingjob_operator.observe import JobOutcome, Observed, Obstacle, PodSeen, TrainerJob, Trouble
from trainingjob_operator.resolution import plan
from trainingjob_operator.settings import Settings
from trainingjob_operator.step import Step, Suspension
from trainingjob_operator.subject import Subject

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
PLAN = plan(JOB, Settings(trainer_image="trainer:1"))
SUBJECT = Subject(owner=Owner("churn", "team", "u"), created=BEGUN, job=JOB)
SUSPENDED = replace(SUBJECT, suspend=True)
DELETED = replace(SUBJECT, deleting=True)

RECORD = PlanRecord(digest=PLAN.digest, report_key="A" * 44)
NOTHING = Observed(plan=PLAN, record=RECORD, committed=True)
OPEN = TrainerJob(deadline_seconds=1000, started=BEGUN)
MADE = Observed(plan=PLAN, record=RECORD, committed=True, begun=BEGUN, missing=(), job=OPEN)
PENDING_POD = PodSeen(uid="p1", created=BEGUN)
RUNNING_POD = PodSeen(uid="p1", created=BEGUN, running=True)
DEAD_POD = PodSeen(
    uid="p1", created=BEGUN, finished=True, exit_code=1, trouble=Trouble("TrainerCrashed", "it ended with 1")
)
OOM_POD = replace(DEAD_POD, exit_code=137, trouble=Trouble("OutOfMemory", "more memory"))
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


MAKING = Step(
    phase=Phase.PENDING,
    reason="CreatingResources",
    message="the trainer's resources are being made",
    ensure=tuple(Child),
    again_after=10.0,
)
WAITING = Step(
    phase=Phase.PENDING,
    reason="WaitingForTrainer",
    message="the trainer's pod has not started yet",
    again_after=10.0,
)
QUIET = 300.0
"""Nothing has been heard since the pod began."""
SEARCHING = Step(
    phase=Phase.SEARCHING, reason="Searching", message="the trainer is running", again_after=QUIET
)
SAVING = Step(
    phase=Phase.SAVING,
    reason="Saving",
    message="the model is found; artifacts are being saved",
    again_after=QUIET,
)
COMPLETING = Step(
    phase=Phase.SAVING, reason="Saving", message="the trainer has ended; its Job is being completed"
)
LAST_WORD = Step(
    phase=Phase.SAVING,
    reason="Saving",
    message="the trainer has ended; its last report is being read",
    again_after=2.0,
)
RESUMING = Step(
    phase=Phase.PENDING,
    reason="Resumed",
    message="the job goes on with what is left of its budget and deadline",
    suspension=Suspension(suspend=False),
    again_after=10.0,
)
SUCCESS = Step(phase=Phase.SUCCEEDED, reason="Succeeded", message="the model is s3://models/m", ended=ENDED)
SETTLED = Step(
    phase=Phase.SUSPENDED, reason="Suspended", message="spec.suspend is true; set it to false to go on"
)
STOPPING = Step(
    phase=Phase.SUSPENDED,
    reason="Suspended",
    message="the trainer saves its work and stops",
    settled=False,
)
LATCHED = Step(phase=Phase.SUCCEEDED, reason="Why", message="said")


def failure(reason, message, ended=ENDED):
    return Step(phase=Phase.FAILED, reason=reason, message=message, trouble=True, ended=ended)


def trouble(reason, message, **fields):
    return Step(phase=Phase.PENDING, reason=reason, message=message, trouble=True, again_after=10.0, **fields)


LASTS = "; the job fails if this lasts until its deadline (1000 s)"
CONFLICT = Obstacle("NameConflict", "taken")
INVALID = Obstacle("SpecInvalid", "spec.output.uri: no", final=True)
STARTED = replace(
    SUBJECT, status=TrainingJobStatus(phase=Phase.PENDING, start_time=NOW - timedelta(seconds=1000))
)
