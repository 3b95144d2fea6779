"""Decisions about the end of a job, and afterwards, as a table."""

from dataclasses import replace
from datetime import timedelta

import pytest

from support.decisions import (
    BEGUN,
    BROKEN,
    COMPLETE,
    CONFLICT,
    DEAD_POD,
    DONE_POD,
    FINAL,
    INVALID,
    LAST_WORD,
    LASTS,
    LATCHED,
    MAKING,
    NOTHING,
    NOW,
    OOM_POD,
    RUNNING_POD,
    SETTLED,
    STARTED,
    SUBJECT,
    SUCCESS,
    SUSPENDED,
    WRONG,
    decided,
    ended_subject,
    failed,
    failure,
    made,
)
from trainingjob_api import Attempt, Condition, Phase, TrainingJobStatus
from trainingjob_api.reasons import Cause
from trainingjob_operator.children import Child
from trainingjob_operator.policies import decide

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
        Attempt(number=number, pod_uid=f"p{number}", start_time=BEGUN, outcome=outcome)
        for number, outcome in enumerate(outcomes, 1)
    )
    return replace(SUBJECT, status=TrainingJobStatus(attempt_history=attempts))


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


@pytest.mark.parametrize(("subject", "seen", "step"), [*FAILURES, *AFTERWARDS])
def test_step(subject, seen, step):
    assert decide(subject, seen, NOW) == step
    assert decide(subject, seen, NOW) == step


def test_the_cause_of_a_deadline_is_read_from_the_status():
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
