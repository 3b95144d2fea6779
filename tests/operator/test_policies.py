"""Decisions about a running job as a table of observations and steps."""

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
    LAST_WORD,
    LASTS,
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
    STOPPING,
    SUBJECT,
    SUCCESS,
    SUSPENDED,
    WAITING,
    decided,
    made,
    trouble,
)
from trainingjob_api import Phase, Stage, TrainingJobStatus
from trainingjob_api.reasons import Cause
from trainingjob_operator import end_policies, policies
from trainingjob_operator.children import Child
from trainingjob_operator.decision import Suspension
from trainingjob_operator.policies import POLICIES, decide

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


@pytest.mark.parametrize(("subject", "seen", "step"), [*COURSE, *TROUBLES, *SUSPENSIONS])
def test_step(subject, seen, step):
    assert decide(subject, seen, NOW) == step
    assert decide(subject, seen, NOW) == step


def test_every_policy_is_in_the_list_once():
    found = [
        function
        for module in (policies, end_policies)
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__
        and not name.startswith("_")
        and list(inspect.signature(function).parameters) == ["given"]
    ]
    assert sorted(policy.__name__ for policy in found) == sorted(policy.__name__ for policy in POLICIES)
