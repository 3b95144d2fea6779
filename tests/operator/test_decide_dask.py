"""The Dask cluster's part of the state machine as a table: what is seen, and the step that follows."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from trainingjob_api import Fallback, Phase, Report, Stage, TrainingJobStatus, parse_job
from trainingjob_operator.decide import decide
from trainingjob_operator.names import Child, Owner
from trainingjob_operator.observe import (
    DaskSeen,
    JobOutcome,
    Observed,
    Obstacle,
    PodSeen,
    TrainerJob,
    Trouble,
)
from trainingjob_operator.resolution import plan
from trainingjob_operator.settings import Settings
from trainingjob_operator.step import ClusterStep, DaskChange
from trainingjob_operator.subject import Subject

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
BEGUN = NOW - timedelta(seconds=30)
NOTHING = ClusterStep()
BEGIN = ClusterStep(DaskChange.MAKE, again_after=2.0)
MAKE = ClusterStep(DaskChange.MAKE, again_after=5.0)
REMOVE = ClusterStep(DaskChange.REMOVE)
CLEAR = ClusterStep(DaskChange.CLEAR)
WAIT = ClusterStep(again_after=5.0)


def job_of(**spec):
    return parse_job(
        {
            "apiVersion": "automl.trainingjob.dev/v1alpha1",
            "kind": "TrainingJob",
            "metadata": {"name": "churn", "namespace": "team", "uid": "u"},
            "spec": {
                "dataset": {"uri": "s3://data/x.csv"},
                "targetColumn": "y",
                "output": {"uri": "s3://models"},
                "parallelMode": "distributed",
                "dask": {"readyTimeoutSeconds": 120},
            }
            | spec,
        }
    )


PLAN = plan(job_of(), Settings(trainer_image="trainer:1"))
LOCAL = plan(job_of(parallelMode="local"), Settings(trainer_image="trainer:1"))
BASELINE = plan(job_of(automl={"enabled": False}), Settings(trainer_image="trainer:1"))
SUBJECT = Subject(owner=Owner("churn", "team", "u"), created=BEGUN, job=job_of())
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
YOUNG = DaskSeen(present=True, touched=NOW - timedelta(seconds=3))
UP = replace(YOUNG, touched=BEGUN, noticed=True, scheduler=True, workers=True)
GOING = replace(UP, going=True)
SILENT = replace(YOUNG, touched=NOW - timedelta(seconds=31))
LOST_BY_OPERATOR = replace(SILENT, noticed=True)
NO_WORKERS = replace(LOST_BY_OPERATOR, scheduler=True)
NO_IMAGE = replace(UP, trouble=Trouble("ImageUnavailable", "no such image"))
NO_KIND = DaskSeen(impossible=Trouble("DaskUnavailable", "not installed"))


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


def why(reason, message, after=5.0, change=None):
    return ClusterStep(change, reason, message, after)


TABLE = [
    ("at the start, with the Job", SUBJECT, replace(seen(NONE, job=None), missing=tuple(Child)), BEGIN),
    ("the Job has no pod yet", SUBJECT, seen(NONE), MAKE),
    ("the pod has not started", SUBJECT, seen(NONE, PENDING), MAKE),
    ("the pod looks for it", SUBJECT, seen(NONE, POD), MAKE),
    ("nobody has looked for it: made all the same", SUBJECT, seen(None, POD), MAKE),
    ("a local job", SUBJECT, seen(NONE, POD, in_force=LOCAL), NOTHING),
    ("the baseline alone", SUBJECT, seen(NONE, POD, in_force=BASELINE), NOTHING),
    ("no plan", SUBJECT, seen(NONE, job=None, in_force=None), NOTHING),
    (
        "something is in the job's way",
        SUBJECT,
        seen(NONE, job=None, obstacle=Obstacle("NameConflict", "taken")),
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
        why("WaitingForDask", "the Dask cluster before is still going away; a new one follows", 2.0),
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
            "the Dask operator has made no scheduler within 30 s; "
            "does it run, and does it watch this namespace?",
        ),
    ),
    (
        "the Dask operator has lost it",
        SUBJECT,
        seen(LOST_BY_OPERATOR, POD),
        why(
            "DaskUnavailable",
            "the Dask operator has made no scheduler within 30 s; the cluster is made anew",
            2.0,
            DaskChange.REMOVE,
        ),
    ),
    (
        "the Dask operator has lost it before there is a pod",
        SUBJECT,
        seen(NO_WORKERS, PENDING),
        why(
            "DaskUnavailable",
            "the Dask operator has made no workers within 30 s; the cluster is made anew",
            2.0,
            DaskChange.REMOVE,
        ),
    ),
    (
        "too late for another one",
        SUBJECT,
        seen(
            replace(NO_WORKERS, touched=NOW - timedelta(seconds=60)),
            replace(POD, started=NOW - timedelta(seconds=91)),
        ),
        why(
            "DaskUnavailable",
            "the Dask operator has made no workers within 30 s; its log may say why",
        ),
    ),
    (
        "the second one has more time",
        SUBJECT,
        seen(
            replace(NO_WORKERS, touched=NOW - timedelta(seconds=34)),
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
    ("a local job with a cluster, whoever made it", ENDED, seen(UP, in_force=LOCAL, job=None), CLEAR),
]


@pytest.mark.parametrize(
    ("subject", "observed", "step"), [pytest.param(*case[1:], id=case[0]) for case in TABLE]
)
def test_the_step_for_the_cluster(subject, observed, step):
    assert decide(subject, observed, NOW).cluster == step


def test_a_job_that_is_being_deleted_is_left_to_its_owner_references():
    assert decide(replace(SUBJECT, deleting=True), seen(UP, POD), NOW).cluster == NOTHING


@pytest.mark.parametrize("dask", [NO_KIND, NO_IMAGE, SILENT, GOING, NONE, None])
def test_the_cluster_never_holds_the_job_up(dask):
    without = decide(SUBJECT, seen(None, PENDING, in_force=LOCAL), NOW)
    assert replace(decide(SUBJECT, seen(dask, PENDING), NOW), cluster=NOTHING) == without
