"""The state machine as a table: what is seen, and the step that follows."""

import inspect
from dataclasses import replace
from datetime import timedelta

import pytest

from support.decisions import (
    BEGUN,
    BROKEN,
    COMPLETE,
    COMPLETING,
    CONFLICT,
    DEAD_POD,
    DELETED,
    DONE_POD,
    FINAL,
    INVALID,
    LAST_WORD,
    LASTS,
    LATCHED,
    MADE,
    MAKING,
    NOTHING,
    NOW,
    OOM_POD,
    OPEN,
    PENDING_POD,
    REPORT,
    RESUMING,
    RUNNING_POD,
    SAVING,
    SEARCHING,
    SETTLED,
    STARTED,
    STOPPING,
    SUBJECT,
    SUCCESS,
    SUSPENDED,
    WAITING,
    WRONG,
    decided,
    ended_subject,
    failed,
    failure,
    made,
    trouble,
)
from trainingjob_api import Attempt, Condition, Phase, Stage, TrainingJobStatus
from trainingjob_api.reasons import Cause
from trainingjob_operator.children import Child
from trainingjob_operator.decision import Suspension
from trainingjob_operator.policies import POLICIES, course, decide, end

UNREPORTED = replace(COMPLETE, ended=NOW - timedelta(seconds=30))
ONCE_MORE = decided(
    phase=Phase.SAVING,
    reason="Saving",
    message="The trainer has ended but its last report is lost; its Job runs once more to report again",
    delete=(Child.JOB,),
    requeue_after=2.0,
)


def tried(*outcomes):
    attempts = tuple(
        Attempt(number=number, pod_uid=f"p{number}", start_time=BEGUN, outcome=one)
        for number, one in enumerate(outcomes, 1)
    )
    return replace(SUBJECT, status=TrainingJobStatus(attempt_history=attempts))


COURSE = [
    pytest.param(SUBJECT, NOTHING, MAKING, id="new"),
    pytest.param(
        SUBJECT,
        replace(NOTHING, begun=BEGUN, missing=(Child.REPORT, Child.JOB)),
        replace(MAKING, create=(Child.REPORT, Child.JOB)),
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
        replace(SEARCHING, create=(Child.ROLE,)),
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
    pytest.param(SUBJECT, made(job=COMPLETE, report=REPORT), LAST_WORD, id="complete-without-a-last-word"),
    pytest.param(SUBJECT, made(job=COMPLETE, report=BROKEN), LAST_WORD, id="complete-and-told-of-a-failure"),
    pytest.param(SUBJECT, replace(NOTHING, report=REPORT), MAKING, id="job-gone-in-mid-run"),
    pytest.param(SUBJECT, replace(NOTHING, report=BROKEN), MAKING, id="job-gone-between-attempts"),
    pytest.param(
        SUBJECT, replace(NOTHING, report=FINAL), replace(SUCCESS, ended=NOW), id="job-gone-model-there"
    ),
    pytest.param(
        SUBJECT,
        made(job=replace(OPEN, failing=True)),
        decided(
            phase=Phase.PENDING,
            reason="Pending",
            message="The Job is failing",
            write=False,
            requeue_after=10.0,
        ),
        id="failing",
    ),
    pytest.param(
        DELETED,
        NOTHING,
        decided(phase=Phase.PENDING, reason="Pending", message="The resource is being deleted", write=False),
        id="deleted",
    ),
    pytest.param(
        replace(DELETED, status=TrainingJobStatus(phase=Phase.SEARCHING)),
        made(pods=(RUNNING_POD,)),
        decided(
            phase=Phase.SEARCHING, reason="Pending", message="The resource is being deleted", write=False
        ),
        id="deleted-running",
    ),
]

TROUBLES = [
    pytest.param(
        SUBJECT,
        made(pods=(replace(PENDING_POD, trouble=Cause("ImageUnavailable", "no image")),)),
        trouble("ImageUnavailable", "no image" + LASTS),
        id="image",
    ),
    pytest.param(
        SUBJECT,
        made(waiting=Cause("QuotaExceeded", "quota")),
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
        replace(trouble("NameConflict", "taken"), requeue_after=15.0),
        id="name-conflict",
    ),
    pytest.param(
        SUBJECT,
        replace(NOTHING, obstacle=Cause("WaitingForPredecessor", "going")),
        decided(phase=Phase.PENDING, reason="WaitingForPredecessor", message="going", requeue_after=15.0),
        id="predecessor",
    ),
    pytest.param(
        SUBJECT, made(pods=(RUNNING_POD,), obstacle=CONFLICT), SEARCHING, id="conflict-stops-no-run"
    ),
    pytest.param(
        SUBJECT,
        made(pods=(RUNNING_POD,), obstacle=CONFLICT, missing=(Child.ROLE,)),
        SEARCHING,
        id="nothing-is-made-beside-a-conflict",
    ),
    pytest.param(
        SUBJECT,
        made(pods=(RUNNING_POD,), plan=None, committed=False, missing=(Child.RUN,)),
        SEARCHING,
        id="nothing-is-made-without-a-plan",
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
            "The trainer failed more often than backoffLimit allows (3 attempts); last: "
            "UploadFailed: storage",
        ),
        id="backoff",
    ),
    pytest.param(
        SUBJECT,
        made(job=failed("BackoffLimitExceeded"), pods=(replace(OOM_POD, uid="p2"),), report=BROKEN),
        failure(
            "BackoffLimitExceeded",
            "The trainer failed more often than backoffLimit allows (1 attempts); last: "
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
        SUBJECT,
        made(job=failed("DeadlineExceeded"), report=FINAL.model_copy(update={"final": False})),
        failure("DeadlineExceeded", "activeDeadlineSeconds (1000 s) have passed"),
        id="deadline-before-the-last-word",
    ),
    pytest.param(
        STARTED,
        replace(NOTHING, obstacle=CONFLICT),
        failure(
            "DeadlineExceeded",
            "activeDeadlineSeconds (1000 s) have passed; last seen: NameConflict: taken",
            NOW,
        ),
        id="deadline-without-a-job",
    ),
    pytest.param(replace(STARTED, suspend=True), NOTHING, SETTLED, id="no-deadline-while-suspended"),
    pytest.param(
        tried("Succeeded", "Removed"),
        made(job=UNREPORTED, rejected=Cause("OtherJob", "of another job")),
        failure(
            "TrainerCrashed",
            "The trainer ended without a final report that was accepted (of another job); a published model "
            "is in s3://models/churn-u/ with its digests in manifest.json; recreate the job to train another "
            "one",
            UNREPORTED.ended,
        ),
        id="complete-never-reported",
    ),
    pytest.param(
        tried("Failed", "Succeeded"), made(job=UNREPORTED), ONCE_MORE, id="complete-and-report-lost"
    ),
    pytest.param(
        tried("Removed"),
        made(job=UNREPORTED, missing=(Child.REPORT,)),
        replace(ONCE_MORE, create=(Child.REPORT,)),
        id="complete-report-and-pod-gone",
    ),
    pytest.param(
        SUBJECT, made(job=UNREPORTED, pods=(DONE_POD,)), LAST_WORD, id="complete-and-pod-not-remembered"
    ),
    pytest.param(
        tried("Succeeded"), made(job=COMPLETE, report=FINAL), SUCCESS, id="complete-and-reported-again"
    ),
    pytest.param(
        replace(
            STARTED,
            status=STARTED.status.model_copy(
                update={"attempt_history": tried("Succeeded").status.attempt_history}
            ),
        ),
        NOTHING,
        MAKING,
        id="no-deadline-between-the-two-runs",
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
        ended_subject(), made(job=COMPLETE, report=FINAL), replace(LATCHED, requeue_after=90.0), id="kept"
    ),
    pytest.param(
        ended_subject(ago=100),
        made(job=COMPLETE),
        replace(LATCHED, delete=(Child.JOB,)),
        id="ttl",
    ),
    pytest.param(
        ended_subject(ttl_seconds=5),
        made(job=COMPLETE),
        replace(LATCHED, delete=(Child.JOB,)),
        id="ttl-changed",
    ),
    pytest.param(ended_subject(ago=9999), replace(NOTHING, begun=BEGUN), LATCHED, id="removed-for-ever"),
    pytest.param(
        ended_subject(Phase.FAILED),
        made(pods=(RUNNING_POD,)),
        decided(phase=Phase.FAILED, reason="Why", message="said", delete=(Child.JOB,)),
        id="nothing-runs-after-the-end",
    ),
    pytest.param(
        ended_subject(suspend=True),
        made(job=COMPLETE),
        replace(LATCHED, requeue_after=90.0),
        id="suspend-is-late",
    ),
    pytest.param(
        ended_subject(Phase.FAILED),
        made(job=COMPLETE, report=FINAL),
        decided(phase=Phase.FAILED, reason="Why", message="said", requeue_after=90.0),
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
    assert step.cause.message.endswith("last seen: ImageUnavailable: no image")


def test_every_policy_is_in_the_list_once():
    public = [getattr(module, name) for module in (course, end) for name in module.__all__]
    found = [
        one
        for one in public
        if inspect.isfunction(one) and list(inspect.signature(one).parameters) == ["given"]
    ]
    assert sorted(one.__name__ for one in found) == sorted(one.__name__ for one in POLICIES)
