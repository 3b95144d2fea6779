"""The state machine as a table: what is seen, and the step that follows."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from trainingjob_api import Artifact, Condition, Failure, Phase, Report, Stage, TrainingJobStatus, parse_job
from trainingjob_operator.decide import decide
from trainingjob_operator.names import Child, Owner
from trainingjob_operator.observe import JobOutcome, Observed, Obstacle, PodSeen, Refusal, TrainerJob, Trouble
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

NOTHING = Observed(plan=PLAN)
OPEN = TrainerJob(deadline_seconds=1000, started=BEGUN)
MADE = Observed(plan=PLAN, begun=BEGUN, missing=(), job=OPEN)
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


def ended_subject(phase=Phase.SUCCEEDED, ago=10, **fields):
    kind = "Complete" if phase is Phase.SUCCEEDED else "Failed"
    condition = Condition(type=kind, status="True", last_transition_time=NOW, reason="Why", message="said")
    status = TrainingJobStatus(
        phase=phase, conditions=(condition,), completion_time=NOW - timedelta(seconds=ago)
    )
    return replace(SUBJECT, status=status, **fields)


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
SEARCHING = Step(phase=Phase.SEARCHING, reason="Searching", message="the trainer is at work")
SAVING = Step(phase=Phase.SAVING, reason="Saving", message="the model is found; artifacts are being saved")
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

COURSE = [
    pytest.param(SUBJECT, NOTHING, MAKING, id="new"),
    pytest.param(
        SUBJECT,
        replace(NOTHING, begun=BEGUN, missing=(Child.REPORT, Child.JOB)),
        replace(MAKING, ensure=(Child.REPORT, Child.JOB)),
        id="half-made",
    ),
    pytest.param(SUBJECT, MADE, WAITING, id="made"),
    pytest.param(SUBJECT, made(pods=(PENDING_POD,)), WAITING, id="pod-pending"),
    pytest.param(SUBJECT, made(pods=(RUNNING_POD,)), SEARCHING, id="running"),
    pytest.param(SUBJECT, made(pods=(RUNNING_POD,), report=REPORT), SEARCHING, id="reporting"),
    pytest.param(
        SUBJECT,
        made(pods=(RUNNING_POD,), report=REPORT.model_copy(update={"stage": Stage.UPLOADING})),
        SAVING,
        id="uploading",
    ),
    pytest.param(
        SUBJECT,
        made(pods=(replace(RUNNING_POD, uid="p2"),), report=FINAL),
        SEARCHING,
        id="report-of-another-pod",
    ),
    pytest.param(
        SUBJECT,
        made(pods=(RUNNING_POD,), missing=(Child.ROLE,)),
        replace(SEARCHING, ensure=(Child.ROLE,)),
        id="role-removed-by-hand",
    ),
    pytest.param(SUBJECT, made(pods=(DONE_POD,), report=FINAL), COMPLETING, id="pod-done"),
    pytest.param(
        SUBJECT,
        made(pods=(replace(DONE_POD, finished=False),), report=FINAL),
        COMPLETING,
        id="container-done",
    ),
    pytest.param(SUBJECT, made(job=COMPLETE, report=FINAL), SUCCESS, id="complete"),
    pytest.param(SUBJECT, made(job=COMPLETE), LAST_WORD, id="complete-unreported"),
    pytest.param(
        SUBJECT, replace(NOTHING, report=FINAL), replace(SUCCESS, ended=NOW), id="job-gone-model-there"
    ),
    pytest.param(
        SUBJECT,
        made(job=replace(OPEN, failing=True)),
        Step(phase=Phase.PENDING, reason="Failing", write=False, again_after=10.0),
        id="failing",
    ),
    pytest.param(DELETED, NOTHING, Step(phase=Phase.PENDING, reason="Deleting", write=False), id="deleted"),
    pytest.param(
        replace(DELETED, status=TrainingJobStatus(phase=Phase.SEARCHING)),
        made(pods=(RUNNING_POD,)),
        Step(phase=Phase.SEARCHING, reason="Deleting", write=False),
        id="deleted-running",
    ),
]

TROUBLES = [
    pytest.param(
        SUBJECT,
        made(pods=(replace(PENDING_POD, trouble=Trouble("ImageUnavailable", "no image")),)),
        trouble("ImageUnavailable", "no image" + LASTS),
        id="image",
    ),
    pytest.param(
        SUBJECT,
        made(waiting=Trouble("QuotaExceeded", "quota")),
        trouble("QuotaExceeded", "quota" + LASTS),
        id="quota",
    ),
    pytest.param(
        SUBJECT,
        made(pods=(OOM_POD,)),
        trouble("OutOfMemory", "more memory; the next attempt follows"),
        id="between-attempts",
    ),
    pytest.param(
        SUBJECT, made(pods=(DEAD_POD, replace(RUNNING_POD, uid="p2"))), SEARCHING, id="next-attempt"
    ),
    pytest.param(
        SUBJECT,
        replace(NOTHING, obstacle=CONFLICT),
        replace(trouble("NameConflict", "taken"), again_after=15.0),
        id="name-conflict",
    ),
    pytest.param(
        SUBJECT,
        replace(NOTHING, obstacle=Obstacle("WaitingForPredecessor", "going")),
        Step(phase=Phase.PENDING, reason="WaitingForPredecessor", message="going", again_after=15.0),
        id="predecessor",
    ),
    pytest.param(
        SUBJECT, made(pods=(RUNNING_POD,), obstacle=CONFLICT), SEARCHING, id="conflict-stops-no-run"
    ),
]

FAILURES = [
    pytest.param(
        SUBJECT,
        replace(NOTHING, plan=None, obstacle=INVALID),
        failure("SpecInvalid", INVALID.message, NOW),
        id="invalid",
    ),
    pytest.param(
        SUSPENDED,
        replace(NOTHING, plan=None, obstacle=INVALID),
        failure("SpecInvalid", INVALID.message, NOW),
        id="invalid-suspended",
    ),
    pytest.param(
        SUBJECT,
        made(job=failed("PodFailurePolicy"), pods=(DEAD_POD,), report=WRONG),
        failure("TargetColumnMissing", "no y"),
        id="exit-2",
    ),
    pytest.param(
        SUBJECT,
        made(job=failed("PodFailurePolicy", outcome_message="exit code 2")),
        failure("SpecInvalid", "exit code 2"),
        id="exit-2-unreported",
    ),
    pytest.param(
        SUBJECT,
        replace(NOTHING, report=WRONG),
        failure("TargetColumnMissing", "no y", NOW),
        id="exit-2-job-gone",
    ),
    pytest.param(
        SUBJECT,
        made(job=failed("BackoffLimitExceeded", pods_counted=3), pods=(DEAD_POD,), report=BROKEN),
        failure(
            "BackoffLimitExceeded",
            "the trainer failed more often than backoffLimit allows (3 attempts); the last time: "
            "UploadFailed: storage",
        ),
        id="backoff",
    ),
    pytest.param(
        SUBJECT,
        made(job=failed("BackoffLimitExceeded"), pods=(replace(OOM_POD, uid="p2"),), report=BROKEN),
        failure(
            "BackoffLimitExceeded",
            "the trainer failed more often than backoffLimit allows (1 attempts); the last time: "
            "OutOfMemory: more memory",
        ),
        id="backoff-unreported",
    ),
    pytest.param(
        SUBJECT,
        made(job=failed("DeadlineExceeded")),
        failure("DeadlineExceeded", "activeDeadlineSeconds (1000 s) have passed"),
        id="deadline",
    ),
    pytest.param(
        SUBJECT, made(job=failed("DeadlineExceeded"), report=FINAL), SUCCESS, id="deadline-after-the-model"
    ),
    pytest.param(
        STARTED,
        replace(NOTHING, obstacle=CONFLICT),
        failure(
            "DeadlineExceeded",
            "activeDeadlineSeconds (1000 s) have passed; the last thing seen: NameConflict: taken",
            NOW,
        ),
        id="deadline-without-a-job",
    ),
    pytest.param(replace(STARTED, suspend=True), NOTHING, SETTLED, id="no-deadline-while-suspended"),
    pytest.param(
        SUBJECT,
        made(
            job=replace(COMPLETE, ended=NOW - timedelta(seconds=30)),
            report_refused=Refusal("OtherJob", "of another job"),
        ),
        failure(
            "TrainerCrashed",
            "the trainer ended without a final report that can be believed (of another job); "
            "create the job anew",
            NOW - timedelta(seconds=30),
        ),
        id="complete-never-reported",
    ),
]

SUSPENSIONS = [
    pytest.param(SUSPENDED, NOTHING, SETTLED, id="from-the-first"),
    pytest.param(
        SUSPENDED,
        made(pods=(RUNNING_POD,)),
        replace(STOPPING, suspension=Suspension(suspend=True, deadline_seconds=700)),
        id="running",
    ),
    pytest.param(
        SUSPENDED,
        made(job=replace(OPEN, started=None)),
        replace(STOPPING, suspension=Suspension(suspend=True, deadline_seconds=1000)),
        id="not-started",
    ),
    pytest.param(
        SUSPENDED,
        made(job=replace(OPEN, started=NOW - timedelta(days=1))),
        replace(STOPPING, suspension=Suspension(suspend=True, deadline_seconds=1)),
        id="deadline-is-never-zero",
    ),
    pytest.param(
        SUSPENDED, made(job=replace(OPEN, suspended=True), pods=(RUNNING_POD,)), STOPPING, id="stopping"
    ),
    pytest.param(SUSPENDED, made(job=replace(OPEN, suspended=True)), SETTLED, id="stopped"),
    pytest.param(SUBJECT, made(job=replace(OPEN, suspended=True)), RESUMING, id="resume"),
    pytest.param(SUSPENDED, made(job=COMPLETE, report=FINAL), SUCCESS, id="too-late"),
]

AFTERWARDS = [
    pytest.param(
        ended_subject(), made(job=COMPLETE, report=FINAL), replace(LATCHED, again_after=90.0), id="kept"
    ),
    pytest.param(
        ended_subject(ago=100),
        made(job=COMPLETE),
        replace(LATCHED, remove=(Child.JOB,)),
        id="ttl-of-the-plan",
    ),
    pytest.param(
        ended_subject(ttl_seconds=5),
        made(job=COMPLETE),
        replace(LATCHED, remove=(Child.JOB,)),
        id="ttl-changed",
    ),
    pytest.param(ended_subject(ago=9999), replace(NOTHING, begun=BEGUN), LATCHED, id="removed-for-ever"),
    pytest.param(
        ended_subject(Phase.FAILED),
        made(pods=(RUNNING_POD,)),
        Step(phase=Phase.FAILED, reason="Why", message="said", remove=(Child.JOB,)),
        id="nothing-runs-after-the-end",
    ),
    pytest.param(
        ended_subject(suspend=True),
        made(job=COMPLETE),
        replace(LATCHED, again_after=90.0),
        id="suspend-is-late",
    ),
    pytest.param(
        ended_subject(Phase.FAILED),
        made(job=COMPLETE, report=FINAL),
        Step(phase=Phase.FAILED, reason="Why", message="said", again_after=90.0),
        id="failed-stays-failed",
    ),
]


@pytest.mark.parametrize(
    ("subject", "seen", "step"), [*COURSE, *TROUBLES, *FAILURES, *SUSPENSIONS, *AFTERWARDS]
)
def test_step(subject, seen, step):
    assert decide(subject, seen, NOW) == step
    assert decide(subject, seen, NOW) == step


def test_the_cause_of_a_deadline_is_remembered_from_the_status():
    ready = Condition(
        type="Ready",
        status="False",
        last_transition_time=NOW,
        reason="ImageUnavailable",
        message="no image" + LASTS,
    )
    subject = replace(SUBJECT, status=TrainingJobStatus(phase=Phase.PENDING, conditions=(ready,)))
    step = decide(subject, made(job=failed("DeadlineExceeded")), NOW)
    assert step.message.endswith("the last thing seen: ImageUnavailable: no image")
