"""Pods that no Job deletes: orphans, and pods in which a sidecar continues."""

import pytest

from support.fake_kubernetes.client import Fault
from support.fake_kubernetes.cluster import NAMESPACE, container
from trainingjob_operator.children import Child

MESH = {"name": "mesh", "state": {"running": {}}}


@pytest.fixture
def running(cluster, operation):
    """A job whose trainer is running."""
    cluster.submit(ttlSecondsAfterFinished=100)
    operation.settle()
    cluster.run_pod()
    cluster.report_progress(2)
    operation.settle()
    return cluster


@pytest.fixture
def orphaned(running, operation):
    """The same after its Job was deleted with --cascade=orphan."""
    running.orphan_pods()
    operation.settle()
    return running


def ready_message(cluster):
    return cluster.condition("Ready")["message"]


def end_trainer(cluster, code, beside=MESH):
    """End the trainer's container while the pod continues."""
    state = {"exitCode": code, "finishedAt": cluster.store.stamp()}
    cluster.pod_status(phase="Running", containerStatuses=[beside, container(terminated=state)])


def test_no_second_batch_job_is_created_while_an_orphan_runs(orphaned, operation):
    assert orphaned.child(Child.JOB) is None
    assert orphaned.status["phase"] == "Searching"
    assert "churn-trainer-1" in ready_message(orphaned)
    orphaned.report_progress(3)
    operation.settle()
    assert orphaned.status["progress"]["generation"] == 3


def test_missing_children_of_an_orphan_are_recreated(orphaned, operation):
    orphaned.store.delete("roles", NAMESPACE, "churn-trainer")
    operation.settle()
    assert orphaned.child(Child.ROLE)
    assert orphaned.child(Child.JOB) is None


def test_the_model_of_an_orphan_counts_and_the_time_to_live_deletes_its_pod(orphaned, operation):
    orphaned.report_success()
    orphaned.end_pod(0)
    operation.settle()
    assert orphaned.status["phase"] == "Succeeded"
    assert orphaned.child(Child.JOB) is None
    assert orphaned.pods(), "its log is there until then"
    orphaned.later(101)
    operation.settle()
    assert orphaned.pods() == []


def test_an_orphan_that_runs_on_after_its_last_report_is_deleted(orphaned, operation):
    orphaned.report_success()
    operation.settle()
    assert orphaned.status["phase"] == "Succeeded"
    operation.settle()
    assert orphaned.pods() == []


def test_the_next_attempt_follows_when_an_orphan_has_failed(orphaned, operation):
    orphaned.end_pod(1)
    operation.settle()
    assert orphaned.child(Child.JOB)
    assert orphaned.status["attemptHistory"][0]["outcome"] == "Failed"


def test_an_orphan_that_never_started_is_deleted_before_the_next_batch_job(cluster, operation):
    cluster.submit()
    operation.settle()
    cluster.make_pod(phase="Pending")
    cluster.orphan_pods()
    pod = cluster.pods()[0]["metadata"]
    pod["finalizers"] = ["test/held"]
    operation.settle()
    assert pod["deletionTimestamp"]
    assert cluster.child(Child.JOB) is None
    assert cluster.ready == ("Unknown", "WaitingForPredecessor")
    assert pod["name"] in ready_message(cluster)
    cluster.store.release("pods", NAMESPACE, pod["name"], "test/held")
    operation.settle()
    assert cluster.child(Child.JOB)


def test_the_orphan_is_deleted_if_two_trainers_run(orphaned, operation):
    orphaned.end_pod(1)
    operation.settle()
    orphaned.run_pod()
    orphaned.pod_status(1, phase="Running", containerStatuses=[container(running={})])
    operation.settle()
    assert [pod["metadata"]["name"] for pod in orphaned.pods()] == ["churn-trainer-2"]


def test_a_suspension_deletes_an_orphan(orphaned, operation):
    orphaned.change(suspend=True)
    operation.settle()
    assert orphaned.pods() == []
    assert orphaned.condition("Suspended")["status"] == "True"


def test_a_deadline_ends_an_orphan(orphaned, operation):
    orphaned.later(100_000)
    operation.settle()
    operation.settle()
    assert orphaned.condition("Failed")["reason"] == "DeadlineExceeded"
    assert orphaned.pods() == []


def test_a_deleted_job_takes_its_orphan_along(orphaned, operation):
    orphaned.remove()
    operation.settle()
    assert orphaned.pods() == []


def test_the_orphan_of_an_earlier_job_of_the_name_is_deleted(orphaned, operation):
    orphaned.remove()
    orphaned.submit()
    operation.settle()
    assert orphaned.pods() == []
    assert orphaned.child(Child.JOB)


def test_a_pod_with_a_batch_job_is_not_deleted_by_the_operator(running, operation):
    running.store.objects["pods", NAMESPACE, "churn-trainer-1"]["metadata"]["labels"][
        "automl.trainingjob.dev/job-uid"
    ] = "another"
    operation.settle()
    assert len(running.pods()) == 1


def test_an_operator_that_may_not_delete_pods_continues(orphaned, operation):
    operation.client.faults = [Fault(403, "DELETE", "pods", times=100)]
    orphaned.change(suspend=True)
    operation.settle()
    assert orphaned.status["phase"] == "Suspended"


def test_a_model_ends_the_job_whatever_runs_beside_the_trainer(running, operation):
    running.report_success()
    end_trainer(running, 0)
    due = operation.settle()
    assert running.status["phase"] == "Succeeded"
    assert running.status["attemptHistory"][-1]["outcome"] == "Succeeded"
    assert running.child(Child.JOB), "the other container may end by itself"
    running.later(due)
    operation.settle()
    assert running.child(Child.JOB) is None
    assert running.pods() == []


def test_a_sidecar_that_ends_soon_is_not_deleted(running, operation):
    running.report_success()
    end_trainer(running, 0)
    due = operation.settle()
    running.end_pod(0)
    running.end_job("Complete")
    running.later(due)
    operation.settle()
    assert running.child(Child.JOB)
    assert running.pods()


def test_a_sidecar_without_a_report_is_not_a_success(running, operation):
    end_trainer(running, 0)
    operation.settle()
    assert running.status["phase"] == "Saving"


def test_the_trainer_is_found_behind_other_containers(running, operation):
    end_trainer(running, 1, beside={"name": "a-mesh", "state": {"terminated": {"exitCode": 0}}})
    operation.settle()
    assert running.status["attemptHistory"][-1]["exitCode"] == 1


@pytest.mark.parametrize("code", [1, 2, 143], ids=["failed", "invalid", "stopped"])
def test_a_trainer_that_has_failed_beside_a_sidecar_is_retried(running, operation, code):
    end_trainer(running, code)
    due = operation.settle()
    if code != 2:
        assert running.status["phase"] == "Pending"
        assert "container mesh of pod churn-trainer-1" in ready_message(running)
    assert len(running.pods()) == 1
    while due is not None and running.pods():
        running.later(due)
        due = operation.settle()
    assert running.pods() == [], "the Job makes the next pod"
    assert running.child(Child.JOB)
