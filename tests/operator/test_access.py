"""The trainer's access to its report is lost in mid-run, without an event for the operator."""

from datetime import datetime

import pytest

from support.fake_kubernetes.cluster import NAMESPACE
from trainingjob_operator.children import Child

ACCESS = [Child.SERVICE_ACCOUNT, Child.ROLE, Child.ROLE_BINDING]


@pytest.fixture
def due(cluster, operation):
    """When a job whose trainer has reported is looked at again."""
    cluster.submit()
    operation.settle()
    cluster.run_pod()
    operation.settle()
    cluster.report_progress(1)
    return operation.settle()


def wait(cluster, operation, due):
    cluster.later(due)
    return operation.settle()


@pytest.mark.parametrize("child", [*ACCESS, Child.REPORT])
def test_missing_access_is_recreated_when_reports_stop(cluster, operation, due, child):
    assert due == 45
    cluster.store.delete(child.plural, NAMESPACE, cluster.name_of(child))
    wait(cluster, operation, due)
    assert cluster.child(child)


def test_a_trainer_that_reports_causes_no_additional_pass(cluster, operation, due):
    for generation in range(2, 8):
        cluster.report_progress(generation)
        assert operation.settle() == 45


def test_a_longer_silence_makes_checks_less_frequent(cluster, operation, due):
    dues = []
    for _ in range(6):
        due = wait(cluster, operation, due)
        dues.append(due)
    assert dues == [45, 90, 180, 300, 300, 300]


def test_a_new_pod_has_time_for_its_first_report(cluster, operation, due):
    cluster.later(1000)
    cluster.end_pod(143)
    operation.settle()
    cluster.run_pod()
    assert operation.settle() == 45


def test_a_pod_with_a_deleted_account_is_replaced(cluster, operation, due):
    [pod] = cluster.pods()
    cluster.store.delete("serviceaccounts", NAMESPACE, cluster.name_of(Child.SERVICE_ACCOUNT))
    due = wait(cluster, operation, due)
    made = cluster.child(Child.SERVICE_ACCOUNT)["metadata"]["creationTimestamp"]
    assert datetime.fromisoformat(made) > datetime.fromisoformat(pod["metadata"]["creationTimestamp"])
    wait(cluster, operation, due)
    assert cluster.pods() == []
    assert cluster.child(Child.JOB), "which makes the next pod"


def test_a_pod_that_still_reports_is_kept(cluster, operation, due):
    cluster.store.delete("serviceaccounts", NAMESPACE, cluster.name_of(Child.SERVICE_ACCOUNT))
    for generation in range(2, 8):
        cluster.report_progress(generation)
        operation.settle()
    assert len(cluster.pods()) == 1


RULE = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "patch"]}


@pytest.mark.parametrize(
    ("child", "change", "said"),
    [
        pytest.param(Child.ROLE, {"rules": []}, True, id="emptied"),
        pytest.param(Child.ROLE, {"rules": None}, True, id="no rules"),
        pytest.param(Child.ROLE, {"rules": [RULE | {"verbs": ["get"]}]}, True, id="verb"),
        pytest.param(Child.ROLE, {"rules": [RULE | {"resourceNames": ["x"]}]}, True, id="name"),
        pytest.param(Child.ROLE, {"rules": [RULE]}, False, id="wider"),
        pytest.param(
            Child.ROLE,
            {"rules": [RULE | {"verbs": ["get"]}, RULE | {"verbs": ["*"], "resources": ["*"]}]},
            False,
            id="in two rules",
        ),
        pytest.param(Child.ROLE_BINDING, {"subjects": None}, True, id="no subject"),
        pytest.param(
            Child.ROLE_BINDING,
            {"subjects": [{"kind": "ServiceAccount", "name": "x", "namespace": NAMESPACE}]},
            True,
            id="another subject",
        ),
    ],
)
def test_changed_access_is_named_when_reports_stop(cluster, operation, due, *, child, change, said):
    cluster.store.patch(child.plural, NAMESPACE, cluster.name_of(child), change)
    operation.settle()
    assert cluster.ready == ("False", "Searching"), "reports may come by other means"
    due = wait(cluster, operation, due)
    ready = cluster.condition("Ready")
    assert ready["reason"] == ("Forbidden" if said else "Searching")
    assert cluster.status["phase"] == "Searching"
    if said:
        assert f"{child.kind} {cluster.name_of(child)} was changed" in ready["message"]
        assert len(cluster.events("Forbidden")) == 1
        cluster.store.delete(child.plural, NAMESPACE, cluster.name_of(child))
        wait(cluster, operation, due)
        assert cluster.ready == ("False", "Searching")
