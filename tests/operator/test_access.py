"""The trainer's access to its report, lost in mid-run, with no event that tells the operator."""

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
def test_what_is_missing_is_made_when_reports_fall_silent(cluster, operation, due, child):
    assert due == 45
    cluster.store.delete(child.plural, NAMESPACE, cluster.name_of(child))
    wait(cluster, operation, due)
    assert cluster.child(child)


def test_a_trainer_that_reports_costs_no_pass_of_its_own(cluster, operation, due):
    for generation in range(2, 8):
        cluster.report_progress(generation)
        assert operation.settle() == 45


def test_the_longer_the_silence_the_more_seldom_a_look(cluster, operation, due):
    dues = []
    for _ in range(6):
        due = wait(cluster, operation, due)
        dues.append(due)
    assert dues == [45, 90, 180, 300, 300, 300]


def test_a_pod_that_has_just_begun_is_given_its_time(cluster, operation, due):
    cluster.later(1000)
    cluster.end_pod(143)
    operation.settle()
    cluster.run_pod()
    assert operation.settle() == 45


def test_a_pod_whose_account_was_deleted_makes_way_for_one_with_a_valid_token(cluster, operation, due):
    [pod] = cluster.pods()
    cluster.store.delete("serviceaccounts", NAMESPACE, cluster.name_of(Child.SERVICE_ACCOUNT))
    due = wait(cluster, operation, due)
    made = cluster.child(Child.SERVICE_ACCOUNT)["metadata"]["creationTimestamp"]
    assert datetime.fromisoformat(made) > datetime.fromisoformat(pod["metadata"]["creationTimestamp"])
    wait(cluster, operation, due)
    assert cluster.pods() == []
    assert cluster.child(Child.JOB), "which makes the next pod"


def test_a_pod_that_reports_all_the_same_stays(cluster, operation, due):
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
def test_access_that_was_changed_is_named_when_reports_fall_silent(
    cluster, operation, due, *, child, change, said
):
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
