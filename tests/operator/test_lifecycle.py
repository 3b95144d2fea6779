"""A job from its first pass to its model, against an API server in memory."""

from itertools import pairwise

import pytest

from support.fake_kubernetes import Cluster, Operation
from support.fake_kubernetes.cluster import NAMESPACE
from support.fake_kubernetes.operation import SETTINGS
from trainingjob_operator.children import TRAINER_CHILDREN, Child

MOST_WRITES = 32
"""API writes in a job's life, progress aside."""
PROGRESS = {"progress", "best", "leaderboard", "paretoFront", "lastReport"}


def test_the_first_pass_creates_every_child_and_posts_an_event(cluster, operation):
    cluster.submit()
    operation.settle()
    assert all(cluster.child(child) for child in TRAINER_CHILDREN)
    assert cluster.status["phase"] == "Pending"
    assert cluster.ready == ("Unknown", "WaitingForTrainer")
    assert cluster.condition("Reconciling")["status"] == "True"
    assert cluster.status["observedGeneration"] == 1
    assert cluster.status["resolved"]["sources"]["budget.timeLeftSeconds"] == "spec"
    assert cluster.status["resolved"]["image"] == SETTINGS.trainer_image


def test_a_run_ends_in_a_model(cluster, operation):
    cluster.submit()
    operation.settle()
    cluster.run_pod()
    operation.settle()
    assert (cluster.status["phase"], *cluster.ready) == ("Searching", "False", "Searching")
    cluster.report_progress(3)
    operation.settle()
    assert cluster.status["progress"]["generation"] == 3
    assert cluster.status["backend"] == "local"
    cluster.report(stage="Uploading")
    operation.settle()
    assert cluster.status["phase"] == "Saving"
    assert cluster.condition("ArtifactsUploaded")["reason"] == "Uploading"
    cluster.report_success()
    cluster.end_pod(0)
    operation.settle()
    assert cluster.status["phase"] == "Saving"
    cluster.end_job("Complete")
    operation.settle()
    assert (cluster.status["phase"], *cluster.ready) == ("Succeeded", "True", "Succeeded")
    assert cluster.condition("ArtifactsUploaded")["status"] == "True"
    assert cluster.condition("AcceptanceMet")["reason"] == "AcceptanceNotAsked"
    assert cluster.status["progress"]["generation"] == 3
    assert cluster.status["modelSource"] == "tpot"
    assert cluster.status["artifacts"][0]["name"] == "model.joblib"
    assert cluster.status["completionTime"]


def writes_aside_from_progress(cluster, operation):
    """Count the operator's API writes, without those of a status in which only progress is new."""
    own = [request for request in operation.client.requests if request[0] != "GET"]
    versions = [raw for _, plural, _, raw in cluster.store.history if plural == "trainingjobs"]
    progress = 0
    for old, new in pairwise(raw.get("status") or {} for raw in versions):
        changed = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
        progress += bool(changed) and changed <= {
            "progress",
            "best",
            "leaderboard",
            "paretoFront",
            "lastReport",
        }
    return len(own) - progress, progress


def test_a_plain_job_needs_few_writes(cluster, operation):
    operation.run_to_success(cluster)
    cluster.later(86_400)
    operation.settle()
    assert writes_aside_from_progress(cluster, operation)[0] <= 18


def test_an_interrupted_job_needs_few_writes(cluster, operation):
    cluster.submit(backoffLimit=3, ttlSecondsAfterFinished=60)
    operation.settle()
    cluster.run_pod()
    for generation in range(1, 41):
        cluster.report_progress(generation)
        operation.settle()
    cluster.report(raw="nonsense")
    operation.settle()
    cluster.end_pod(137, reason="OOMKilled")
    operation.settle()
    cluster.run_pod()
    operation.settle()
    cluster.change(suspend=True)
    operation.settle()
    cluster.stop_pods()
    operation.settle()
    cluster.change(suspend=False)
    operation.settle()
    cluster.run_pod()
    for generation in range(41, 61):
        cluster.report_progress(generation)
        operation.settle()
    cluster.report_success()
    cluster.end_pod(0)
    operation.settle()
    cluster.end_job("Complete")
    operation.settle()
    cluster.later(61)
    operation.settle()
    assert cluster.status["phase"] == "Succeeded"
    assert cluster.child(Child.JOB) is None
    writes, progress = writes_aside_from_progress(cluster, operation)
    assert progress >= 50
    assert writes <= MOST_WRITES


def test_a_pass_with_changes_is_followed_by_another_at_once(cluster, operation):
    cluster.submit()
    operation.look()  # records the plan
    assert operation.look() == 0.0
    assert cluster.ready == ("Unknown", "CreatingResources"), "the next pass says what has come of it"
    assert operation.look() > 0
    assert cluster.ready == ("Unknown", "WaitingForTrainer")
    cluster.run_pod()
    operation.settle()
    cluster.lose(Child.ROLE)
    assert operation.look() == 0.0
    assert cluster.child(Child.ROLE)
    assert operation.look() > 0


def test_a_job_that_is_suspended_again_each_time_is_not_resumed_without_a_pause(cluster, operation):
    cluster.submit()
    operation.settle()
    waits = []
    for _ in range(4):
        # As a queueing system or a webhook does.
        cluster.child(Child.JOB)["spec"]["suspend"] = True
        waits.append(operation.look())
        assert cluster.child(Child.JOB)["spec"]["suspend"] is False
    assert waits == [0.0, 10.0, 10.0, 10.0]
    assert cluster.ready == ("Unknown", "Resumed"), "the status says what the operator does"


@pytest.mark.parametrize("runs", [False, True], ids=["pending", "searching"])
def test_a_child_that_is_deleted_again_each_time_is_not_created_without_a_pause(cluster, operation, runs):
    cluster.submit()
    operation.settle()
    if runs:
        cluster.run_pod()
        operation.settle()
    waits = []
    for _ in range(4):
        cluster.lose(Child.ROLE)
        waits.append(operation.look())
        assert cluster.child(Child.ROLE)
    assert waits[0] == 0.0
    assert min(waits[1:]) >= 10.0


def test_an_unchanged_status_is_not_written(cluster, operation):
    operation.run_to_success(cluster)
    before = len(cluster.store.writes)
    operation.start()
    operation.settle()
    assert len(cluster.store.writes) == before


def test_a_report_written_while_the_operator_was_down_is_read(cluster, operation):
    cluster.submit()
    operation.settle()
    cluster.run_pod()
    cluster.report_progress()
    cluster.report_success()
    cluster.end_pod(0)
    cluster.end_job("Complete")
    cluster.store.delete("pods", NAMESPACE, "churn-trainer-1")
    operation.start()
    operation.settle()
    assert cluster.status["phase"] == "Succeeded"
    assert cluster.status["best"]["holdoutScore"] == "0.91"


def test_the_search_space_of_a_config_map_is_read_once(cluster, operation):
    cluster.submit(searchSpace={"configMapRef": {"name": "space", "key": "tree"}})
    assert operation.settle() is not None
    assert cluster.ready == ("False", "ConfigMapNotFound")
    tree = "{type: estimator, name: LogisticRegression}"
    cluster._make("configmaps", {"metadata": {"name": "space"}, "data": {"tree": tree}})
    operation.settle()
    assert "LogisticRegression" in cluster.child(Child.RUN)["data"]["run.json"]
    cluster.store.delete("configmaps", NAMESPACE, "space")
    operation.settle()
    assert cluster.status["phase"] == "Pending"


def test_a_plan_outlives_the_settings_it_was_made_with(store, cluster):
    cluster.submit()
    Operation(store).settle()
    other = Operation(
        store, settings=SETTINGS.__class__(trainer_image="other:2", defaults={"TPOT__GENERATIONS": "3"})
    )
    other.settle()
    assert cluster.child(Child.JOB)["spec"]["template"]["spec"]["containers"][0]["image"] != "other:2"
    assert cluster.status["resolved"]["generations"] == 40


def test_each_operator_class_handles_its_own_jobs(store):
    stable, canary = (
        Operation(store),
        Operation(store, settings=SETTINGS.__class__(trainer_image="canary:1", operator_class="canary")),
    )
    cluster = Cluster(store)
    cluster.submit()
    canary.settle()
    assert cluster.status == {}
    cluster.job["metadata"]["labels"] = {"automl.trainingjob.dev/operator-class": "canary"}
    stable.settle()
    assert cluster.status == {}
    canary.settle()
    assert cluster.status["phase"] == "Pending"


def test_a_fallback_is_reported_and_counted_once(cluster, operation):
    cluster.submit()
    operation.settle()
    cluster.run_pod()
    step = {"from": "dask", "to": "local", "reason": "SchedulerLost", "time": "2026-11-01T12:00:10Z"}
    for _ in range(2):
        cluster.report_progress(1, fallbacks=[step])
        operation.settle()
    assert operation.value("tpot_parallel_fallbacks_total", reason="SchedulerLost") == 1
    assert cluster.condition("Degraded")["reason"] == "SchedulerLost"
    operation.start()
    cluster.report_progress(2, fallbacks=[step])
    operation.settle()
    assert operation.value("tpot_parallel_fallbacks_total", reason="SchedulerLost") == 0
    assert len(cluster.events("SchedulerLost")) == 1


def test_frequent_progress_is_written_rarely(cluster, operation):
    cluster.submit()
    operation.settle()
    cluster.run_pod()
    cluster.report_progress(1)
    operation.settle()
    before = len([write for write in cluster.store.writes if write[1] == "trainingjobs/status"])
    for number in range(20):
        progress = {"generation": 2 + number, "updatedAt": cluster.store.stamp()}
        cluster.report(progress=progress, backend="local")
        due = operation.look()
        behind = cluster.status["progress"]["generation"] != progress["generation"]
        assert due <= 10 or not behind
        cluster.later(1)
    writes = [write for write in cluster.store.writes if write[1] == "trainingjobs/status"]
    assert len(writes) - before <= 2
    cluster.later(10)
    operation.settle()
    assert cluster.status["progress"]["generation"] == 21
