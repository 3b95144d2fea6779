"""Decisions about the Dask cluster as a table of observations and steps."""

from dataclasses import replace
from datetime import timedelta
from typing import NamedTuple

import pytest

from support.decisions import NOW, RAW
from trainingjob_api import Fallback, ParallelMode, Phase, Report, Stage, TrainingJobStatus, parse_job
from trainingjob_api.reasons import Cause
from trainingjob_operator.children import DASK_CHILDREN, TRAINER_CHILDREN, Child, Owner, in_order
from trainingjob_operator.decision import earliest
from trainingjob_operator.facts import DaskSeen, JobOutcome, Observed, PodSeen, TrainerJob
from trainingjob_operator.job_view import JobView, make_plan
from trainingjob_operator.policies import decide
from trainingjob_operator.settings import Settings

BEGUN = NOW - timedelta(seconds=30)


class Added(NamedTuple):
    """What is added to the decision for the job itself."""

    create: tuple = ()
    delete: tuple = ()
    dask: Cause | None = None
    requeue_after: float | None = None


NOTHING = Added()
BEGIN = Added(DASK_CHILDREN, requeue_after=2.0)
MAKE = Added(DASK_CHILDREN, requeue_after=5.0)
REMOVE = Added(delete=(Child.DASK_CLUSTER,))
CLEAR = Added(delete=(Child.DASK_CLUSTER, Child.DASK_POLICY, Child.DASK_CERTIFICATES))
WAIT = Added(requeue_after=5.0)


def job_of(**spec):
    distributed = {"parallelMode": "distributed", "dask": {"readyTimeoutSeconds": 120}}
    return parse_job(RAW | {"spec": RAW["spec"] | distributed | spec})


PLAN = make_plan(job_of(), Settings(trainer_image="trainer:1"))
LOCAL = make_plan(job_of(parallelMode="local"), Settings(trainer_image="trainer:1"))
BASELINE = make_plan(job_of(automl={"enabled": False}), Settings(trainer_image="trainer:1"))
SUBJECT = JobView(owner=Owner("churn", "team", "u"), job=job_of())
SUSPENDED = replace(SUBJECT, suspend=True)
NOTED = replace(SUSPENDED, status=TrainingJobStatus(phase=Phase.SUSPENDED))
ENDED = replace(SUBJECT, status=TrainingJobStatus(phase=Phase.SUCCEEDED))

JOB = TrainerJob(deadline_seconds=1000, started=BEGUN)
POD = PodSeen(uid="p2", created=BEGUN, started=BEGUN, running=True)
PENDING = replace(POD, running=False, started=None)
DEAD = PodSeen(uid="p1", created=BEGUN - timedelta(seconds=60), finished=True, exit_code=1)
REPORT = Report(job_uid="u", pod_uid="p2", attempt=2, stage=Stage.SEARCHING, written_at=NOW)
READY = REPORT.model_copy(update={"dask_ready": True})
OF_THE_DEAD = READY.model_copy(update={"pod_uid": "p1", "attempt": 1})
# The clock of the trainer's node is behind.
LOST = Fallback(
    **{"from": "dask"}, to="local", reason="SchedulerLost", time=NOW - timedelta(minutes=10), attempt=2
)
LEFT = READY.model_copy(update={"dask_ready": False, "fallbacks": (LOST,)})
BEFORE = LOST.model_copy(update={"time": NOW + timedelta(minutes=10), "attempt": 1})
LEFT_BEFORE = REPORT.model_copy(update={"fallbacks": (BEFORE,)})
UPLOADING = LEFT_BEFORE.model_copy(update={"stage": Stage.UPLOADING})
BY_THE_DEAD = LEFT.model_copy(update={"pod_uid": "p1", "attempt": 1, "fallbacks": (BEFORE,)})
FINAL = READY.model_copy(update={"final": True, "stage": Stage.FINISHED})

NONE = DaskSeen()
YOUNG = DaskSeen(present=True, changed_at=NOW - timedelta(seconds=3))
UP = replace(YOUNG, changed_at=BEGUN, has_finalizer=True, scheduler=True, workers=True)
GOING = replace(UP, deleting=True)
SILENT = replace(YOUNG, changed_at=NOW - timedelta(seconds=31))
LOST_BY_OPERATOR = replace(SILENT, has_finalizer=True)
NO_WORKERS = replace(LOST_BY_OPERATOR, scheduler=True)
NO_IMAGE = replace(UP, trouble=Cause("ImageUnavailable", "no such image"))
NO_KIND = DaskSeen(impossible=Cause("DaskUnavailable", "not installed"))


def seen(dask, *pods, job=JOB, report=None, in_force=PLAN, **fields):
    return Observed(
        plan=in_force,
        committed=True,
        begun=BEGUN,
        missing=(),
        job=job,
        pods=pods,
        report=report,
        dask=dask,
        **fields,
    )


def why(reason, message, after=5.0, delete=()):
    return Added((), delete, Cause(reason, message), after)


TABLE = [
    ("at the start, with the Job", SUBJECT, replace(seen(NONE, job=None), missing=TRAINER_CHILDREN), BEGIN),
    ("the Job has no pod yet", SUBJECT, seen(NONE), MAKE),
    ("the pod has not started", SUBJECT, seen(NONE, PENDING), MAKE),
    ("the pod looks for it", SUBJECT, seen(NONE, POD), MAKE),
    ("it was not looked for: created nevertheless", SUBJECT, seen(None, POD), MAKE),
    ("a local job", SUBJECT, seen(NONE, POD, in_force=LOCAL), NOTHING),
    ("the baseline alone", SUBJECT, seen(NONE, POD, in_force=BASELINE), NOTHING),
    ("no plan", SUBJECT, seen(NONE, job=None, in_force=None), NOTHING),
    (
        "something is in the job's way",
        SUBJECT,
        seen(NONE, job=None, obstacle=Cause("NameConflict", "taken")),
        NOTHING,
    ),
    (
        "the pod looks for as long as it does not say otherwise",
        SUBJECT,
        seen(NONE, replace(POD, started=NOW - timedelta(seconds=125))),
        MAKE,
    ),
    ("the pod has ended, and another one may follow", SUBJECT, seen(NONE, DEAD, report=BY_THE_DEAD), NOTHING),
    ("the next attempt gets a new one", SUBJECT, seen(NONE, DEAD, PENDING, report=BY_THE_DEAD), MAKE),
    ("also once it reports, its history included", SUBJECT, seen(NONE, DEAD, POD, report=LEFT_BEFORE), MAKE),
    ("only an upload is left", SUBJECT, seen(NONE, DEAD, POD, report=UPLOADING), NOTHING),
    ("it is searching: a cluster that was deleted is lost", SUBJECT, seen(NONE, POD, report=READY), NOTHING),
    ("the Job is failing", SUBJECT, seen(NONE, POD, job=replace(JOB, failing=True)), NOTHING),
    ("just made", SUBJECT, seen(YOUNG, POD), WAIT),
    ("starting", SUBJECT, seen(UP, POD), WAIT),
    ("in use", SUBJECT, seen(UP, POD, report=READY), NOTHING),
    ("the next attempt uses the one that is there", SUBJECT, seen(UP, DEAD, POD, report=OF_THE_DEAD), WAIT),
    ("trouble of the last attempt's is over", SUBJECT, seen(UP, DEAD, POD, report=LEFT_BEFORE), WAIT),
    ("left by the trainer", SUBJECT, seen(UP, POD, report=LEFT), REMOVE),
    ("left and gone", SUBJECT, seen(NONE, POD, report=LEFT), NOTHING),
    ("left and going", SUBJECT, seen(GOING, POD, report=LEFT), NOTHING),
    (
        "left, and the kind is gone, too",
        SUBJECT,
        seen(NO_KIND, POD, report=LEFT),
        NOTHING,
    ),
    (
        "the one before is going",
        SUBJECT,
        seen(GOING, POD),
        why("WaitingForDask", "The previous Dask cluster is still being deleted; a new one follows", 2.0),
    ),
    ("its image is missing", SUBJECT, seen(NO_IMAGE, POD), why("ImageUnavailable", "no such image")),
    ("trouble that the search does without", SUBJECT, seen(NO_IMAGE, POD, report=READY), NOTHING),
    ("the kind is not installed", SUBJECT, seen(NO_KIND, POD), why("DaskUnavailable", "not installed")),
    (
        "the Dask operator is silent",
        SUBJECT,
        seen(SILENT, POD),
        why(
            "DaskUnavailable",
            "The Dask operator has created no scheduler within 30 s; "
            "check that it runs and watches this namespace",
        ),
    ),
    (
        "the Dask operator has lost it",
        SUBJECT,
        seen(LOST_BY_OPERATOR, POD),
        why(
            "DaskUnavailable",
            "The Dask operator has created no scheduler within 30 s; recreating the cluster",
            2.0,
            (Child.DASK_CLUSTER,),
        ),
    ),
    (
        "the Dask operator has lost it before there is a pod",
        SUBJECT,
        seen(NO_WORKERS, PENDING),
        why(
            "DaskUnavailable",
            "The Dask operator has created no workers within 30 s; recreating the cluster",
            2.0,
            (Child.DASK_CLUSTER,),
        ),
    ),
    (
        "too late for another one",
        SUBJECT,
        seen(
            replace(NO_WORKERS, changed_at=NOW - timedelta(seconds=60)),
            replace(POD, started=NOW - timedelta(seconds=91)),
        ),
        why(
            "DaskUnavailable",
            "The Dask operator has created no workers within 30 s; see its log",
        ),
    ),
    (
        "the second one has more time",
        SUBJECT,
        seen(
            replace(NO_WORKERS, changed_at=NOW - timedelta(seconds=34)),
            replace(POD, started=NOW - timedelta(seconds=70)),
        ),
        WAIT,
    ),
    ("suspended", SUSPENDED, seen(UP, POD, report=READY), CLEAR),
    ("suspended from the first", SUSPENDED, seen(NONE, job=None), CLEAR),
    ("suspended, as the status says", NOTED, seen(NONE, job=replace(JOB, suspended=True)), NOTHING),
    ("suspended, and something is left", NOTED, seen(UP, job=replace(JOB, suspended=True)), CLEAR),
    ("suspended, and it is going", NOTED, seen(GOING, job=replace(JOB, suspended=True)), NOTHING),
    (
        "resumed",
        replace(NOTED, suspend=False),
        seen(NONE, job=replace(JOB, suspended=True), report=OF_THE_DEAD),
        BEGIN,
    ),
    (
        "resumed after a step down",
        replace(NOTED, suspend=False),
        seen(NONE, job=replace(JOB, suspended=True), report=BY_THE_DEAD),
        BEGIN,
    ),
    (
        "resumed while the one before still goes: the certificates are wanted",
        replace(NOTED, suspend=False),
        seen(GOING, job=replace(JOB, suspended=True), report=OF_THE_DEAD),
        BEGIN,
    ),
    (
        "resumed without the kind",
        replace(NOTED, suspend=False),
        seen(NO_KIND, job=replace(JOB, suspended=True)),
        why("DaskUnavailable", "not installed"),
    ),
    (
        "a model",
        SUBJECT,
        seen(UP, job=replace(JOB, outcome=JobOutcome.COMPLETE, ended=NOW), report=FINAL),
        CLEAR,
    ),
    (
        "a model, although nothing is seen",
        SUBJECT,
        seen(None, job=replace(JOB, outcome=JobOutcome.COMPLETE, ended=NOW), report=FINAL),
        CLEAR,
    ),
    (
        "failed",
        SUBJECT,
        seen(
            UP,
            job=replace(JOB, outcome=JobOutcome.FAILED, outcome_reason="DeadlineExceeded", ended=NOW),
            report=READY,
        ),
        CLEAR,
    ),
    ("long ended", ENDED, seen(NONE, job=None, report=FINAL), NOTHING),
    ("long ended, and something is left", ENDED, seen(UP, job=None, report=FINAL), CLEAR),
    ("a local job with a cluster of any origin", ENDED, seen(UP, in_force=LOCAL, job=None), CLEAR),
]


def without_dask(subject, observed):
    """Return the decision for the same job if it were a local one, whatever there is of a cluster."""
    found = observed.plan
    if found is not None:
        run = found.run.model_copy(update={"parallel_mode": ParallelMode.LOCAL})
        found = replace(found, run=run)
    return decide(subject, replace(observed, dask=None, plan=found), NOW)


@pytest.mark.parametrize(
    ("subject", "observed", "added"), [pytest.param(*case[1:], id=case[0]) for case in TABLE]
)
def test_the_policy_decides_about_the_cluster(subject, observed, added):
    alone = without_dask(subject, observed)
    assert decide(subject, observed, NOW) == replace(
        alone,
        create=in_order((*alone.create, *added.create)),
        delete=(*alone.delete, *added.delete),
        dask=added.dask,
        requeue_after=earliest(alone.requeue_after, added.requeue_after),
    )


def test_a_deleted_job_is_left_to_its_owner_references():
    deleting, observed = replace(SUBJECT, deleting=True), seen(UP, POD)
    assert decide(deleting, observed, NOW) == without_dask(deleting, observed)


@pytest.mark.parametrize("dask", [NO_KIND, NO_IMAGE, SILENT, GOING, NONE, None])
def test_the_cluster_never_delays_the_job(dask):
    observed = seen(dask, PENDING)
    found, alone = decide(SUBJECT, observed, NOW), without_dask(SUBJECT, observed)
    assert [child for child in found.create if not child.dask] == list(alone.create)
    assert replace(found, create=alone.create, dask=None, requeue_after=alone.requeue_after) == alone
