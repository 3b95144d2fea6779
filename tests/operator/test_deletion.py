"""Deletion of jobs and children, and names that another object has."""

import pytest

from support.fake_kubernetes.cluster import NAMESPACE
from trainingjob_operator.children import TRAINER_CHILDREN, Child


@pytest.mark.parametrize("phase", ["submitted", "made", "running", "suspended", "ended"])
def test_a_deletion_removes_all_children(cluster, operation, phase):
    cluster.submit(suspend=phase == "suspended")
    if phase != "submitted":
        operation.settle()
    if phase in {"running", "ended"}:
        cluster.run_pod()
        operation.settle()
    if phase == "ended":
        cluster.report_success()
        cluster.end_job("Complete")
        operation.settle()
    cluster.remove()
    operation.settle()
    assert {plural for plural, *_ in cluster.store.objects} <= {"events"}


def test_a_job_that_is_being_deleted_gets_no_children(cluster, operation):
    cluster.submit()
    cluster.job["metadata"]["deletionTimestamp"] = cluster.store.stamp()
    operation.settle()
    assert not any(cluster.child(child) for child in TRAINER_CHILDREN)


def test_children_of_an_earlier_job_are_waited_for(cluster, operation):
    cluster.submit()
    operation.settle()
    old = cluster.child(Child.ROLE)
    cluster.remove()
    cluster.submit()
    cluster.store.objects["roles", NAMESPACE, "churn-trainer"] = old
    assert operation.settle() is not None
    assert cluster.ready == ("Unknown", "WaitingForPredecessor")
    cluster.store.delete("roles", NAMESPACE, "churn-trainer")
    operation.settle()
    assert cluster.child(Child.JOB)


def test_an_object_of_another_owner_is_never_changed(cluster, operation):
    cluster.submit()
    name = cluster.name_of(Child.REPORT)
    cluster._make("configmaps", {"metadata": {"name": name}, "data": {"mine": "1"}})
    operation.settle()
    assert cluster.ready == ("False", "NameConflict")
    assert cluster.child(Child.JOB) is None
    assert cluster.child(Child.REPORT)["data"] == {"mine": "1"}


def test_a_deleted_batch_job_is_recreated_unless_it_has_finished(cluster, operation):
    cluster.submit()
    operation.settle()
    cluster.store.delete("jobs", NAMESPACE, "churn-trainer")
    operation.settle()
    assert cluster.child(Child.JOB)
    cluster.run_pod()
    cluster.report_success()
    cluster.store.delete("jobs", NAMESPACE, "churn-trainer")
    operation.settle()
    assert cluster.child(Child.JOB) is None
    assert cluster.status["phase"] == "Succeeded"


def test_a_deleted_role_is_recreated(cluster, operation):
    cluster.submit()
    operation.settle()
    cluster.run_pod()
    cluster.store.delete("roles", NAMESPACE, "churn-trainer")
    operation.settle()
    assert cluster.child(Child.ROLE)
