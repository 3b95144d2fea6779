"""Dask clusters that do not start: the causes, and the effect on the job."""

import json

import pytest

from support.dask_jobs import fell_back, said, writes
from support.fake_kubernetes import Cluster, DaskOperator, Fault, Operation
from support.fake_kubernetes.cluster import NAMESPACE
from support.fake_kubernetes.operation import SETTINGS
from trainingjob_operator.children import DASK_CHILDREN, Child


def test_without_the_kind_the_job_runs_and_names_the_reason(store, cluster, dask):
    store.unknown.add("daskclusters")
    operation = Operation(store)
    cluster.submit(parallelMode="distributed")
    operation.settle()
    cluster.run_pod()
    operation.settle()
    assert cluster.status["phase"] == "Searching"
    assert said(cluster) == ("False", "DaskUnavailable")
    assert "install the Dask operator" in cluster.condition("DaskReady")["message"]
    assert dask.parts() == []
    cluster.report(daskReady=False, fallbacks=[fell_back(store)])
    operation.settle()
    # The trainer knows that it found nothing, the operator why.
    assert said(cluster) == ("False", "DaskUnavailable")
    assert cluster.condition("Degraded")["reason"] == "SchedulerUnavailable"
    cluster.report_success(daskReady=False, fallbacks=[fell_back(store)])
    cluster.end_pod(0)
    cluster.end_job("Complete")
    operation.settle()
    assert (cluster.status["phase"], *cluster.ready) == ("Succeeded", "True", "Succeeded")
    assert len(cluster.events("DaskUnavailable")) == 1


def test_a_local_job_makes_no_request_about_dask(store, cluster):
    others = [child for child in DASK_CHILDREN if child is not Child.DASK_CERTIFICATES]
    operation = Operation(store, *(Fault(403, plural=child.plural, times=99) for child in others))
    operation.run_to_success(cluster)
    assert cluster.status["phase"] == "Succeeded"
    asked = {path.split("/")[-1] for _, path in operation.client.requests}
    assert not asked & {"daskclusters", "networkpolicies", "deployments"}


@pytest.mark.parametrize("part", DASK_CHILDREN, ids=lambda part: part.kind)
@pytest.mark.parametrize(
    "refusal",
    [
        (403, "is forbidden: User cannot create resource", "Forbidden"),
        (403, "is forbidden: exceeded quota: small", "QuotaExceeded"),
        (422, "is invalid: spec", "Forbidden"),
        (400, 'admission webhook "policy" denied the request: no', "Forbidden"),
        (500, 'Internal error occurred: failed calling webhook "policy"', "Forbidden"),
    ],
)
def test_a_refused_part_is_a_condition_and_the_job_runs(store, cluster, dask, part, refusal):
    status, message, reason = refusal
    operation = Operation(store)
    cluster.submit(parallelMode="distributed")
    operation.look()  # records the plan
    fault = Fault(status, method="POST", plural=part.plural, times=3, message=f"the thing {message}")
    operation.client.faults.append(fault)
    operation.look()
    assert cluster.child(Child.JOB)
    assert said(cluster) == ("False", reason)
    assert message.split(":")[0] in cluster.condition("DaskReady")["message"]
    cluster.run_pod()
    for _ in range(5):
        operation.look()
    assert operation.faults_met == []
    # Once it is allowed, it is made.
    assert len(dask.parts()) == 3
    assert said(cluster) == ("Unknown", "WaitingForDask")


def test_forbidden_reads_of_dask_are_named_and_the_run_is_local(store, cluster, dask):
    operation = Operation(
        store, Fault(403, method="GET", plural="daskclusters", times=99, message="no right")
    )
    cluster.submit(parallelMode="distributed")
    operation.settle()
    assert said(cluster) == ("False", "Forbidden")
    assert "no right" in cluster.condition("DaskReady")["message"]
    assert cluster.child(Child.JOB)
    assert dask.parts() == []


def test_deployments_that_may_not_be_read_give_no_cause(store, cluster, dask):
    operation = Operation(store, Fault(403, method="GET", plural="deployments", times=99))
    cluster.submit(parallelMode="distributed")
    operation.settle()
    dask.notice()
    cluster.later(60)
    operation.settle()
    assert said(cluster) == ("Unknown", "WaitingForDask")


def test_a_silent_dask_operator_is_named(begun, operation, dask, store):
    begun.later(31)
    operation.settle()
    assert said(begun) == ("False", "DaskUnavailable")
    assert "check that it runs" in begun.condition("DaskReady")["message"]
    assert [kind for kind, _ in writes(store, "daskclusters")] == ["POST"]
    dask.come_up()
    begun.report(daskReady=True)
    operation.settle()
    assert said(begun) == ("True", "DaskReady")


@pytest.mark.parametrize("roles", [(), ("scheduler",)], ids=["nothing", "no workers"])
def test_a_cluster_that_the_dask_operator_has_lost_is_recreated(begun, operation, dask, store, roles):
    dask.notice()
    dask.make(*roles)
    begun.later(31)
    operation.settle()
    [event] = begun.events("DaskUnavailable")
    assert "recreating the cluster" in event["message"]
    assert dask.parts(Child.DASK_CLUSTER) == []
    dask.let_go()
    operation.settle()
    assert dask.parts(Child.DASK_CLUSTER)
    dask.come_up()
    begun.report(daskReady=True)
    operation.settle()
    assert said(begun) == ("True", "DaskReady")


def test_a_slow_dask_operator_is_given_more_time(begun, operation, dask):
    begun.later(40)
    operation.settle()
    assert said(begun) == ("False", "DaskUnavailable")
    # It was down, comes back, and has made the scheduler a moment ago.
    dask.notice()
    stamp = {"manager": "kopf", "operation": "Update", "time": begun.store.stamp()}
    dask.cluster["metadata"]["managedFields"] = [stamp]
    operation.settle()
    assert said(begun) == ("Unknown", "WaitingForDask")
    begun.later(10)
    dask.make("scheduler")
    begun.later(25)
    operation.settle()
    assert dask.parts(Child.DASK_CLUSTER)
    # Nor is it taken away from one that would have no time left for another.
    begun.later(25)
    operation.settle()
    assert dask.parts(Child.DASK_CLUSTER)


def test_no_cluster_is_created_that_the_trainer_would_not_wait_for(begun, operation, dask, store):
    dask.notice()
    begun.later(110)
    operation.settle()
    assert said(begun) == ("False", "DaskUnavailable")
    assert [kind for kind, _ in writes(store, "daskclusters")] == ["POST"]


PULL = {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}
LOOP = {
    "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
    "lastState": {"terminated": {"exitCode": 1, "reason": "Error", "message": "no scheduler to work for"}},
}
LINES = "error: connection lost\n" + json.dumps(
    {"level": "error", "event": "the Dask worker failed", "message": "no scheduler", "reason": "X"}
)
SAID = LOOP | {"lastState": {"terminated": {"exitCode": 1, "reason": "Error", "message": LINES}}}
AGAIN = LOOP | {"state": {"running": {}}, "started": False}
OOM = {
    "state": {"waiting": {"reason": "CrashLoopBackOff"}},
    "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
}
KILLED = OOM | {"lastState": {"terminated": {"exitCode": 137, "reason": "Error"}}}
BARE = {"state": {"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "x" not found'}}}
FULL = {
    "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}
    ]
}


@pytest.mark.parametrize(
    "case",
    [
        ("scheduler", PULL, "ImageUnavailable", "The image of the Dask scheduler"),
        ("worker", PULL, "ImageUnavailable", "The image of a Dask worker"),
        ("worker", FULL, "Unschedulable", "No node can run the pod of a Dask worker: 0/1 nodes"),
        ("worker", LOOP, "DaskCrashed", "no scheduler to work for"),
        ("worker", AGAIN, "DaskCrashed", "no scheduler to work for"),
        ("worker", SAID, "DaskCrashed", "restarted: the Dask worker failed: no scheduler"),
        ("worker", OOM, "OutOfMemory", "raise memoryLimitMb"),
        ("scheduler", OOM, "OutOfMemory", "dask.schedulerResources"),
        ("worker", KILLED, "DaskCrashed", "137 (killed, most often for exceeding its memory limit)"),
        ("scheduler", BARE, "SecretNotFound", "Secret x does not exist"),
    ],
)
def test_the_cause_of_pods_that_do_not_start_is_named(begun, operation, dask, case):
    role, pod, reason, words = case
    dask.notice()
    dask.make("scheduler", "worker")
    dask.make_pod(role, **pod)
    operation.settle()
    assert said(begun) == ("False", reason)
    assert words in begun.condition("DaskReady")["message"]
    assert begun.status["phase"] == "Searching"
    assert len(begun.events(reason)) == 1
    begun.report(daskReady=False, fallbacks=[fell_back(begun.store)])
    operation.settle()
    assert said(begun) == ("False", reason)
    assert dask.parts(Child.DASK_CLUSTER) == []


def test_a_restarted_worker_is_not_a_problem(begun, operation, dask):
    dask.notice()
    dask.make("scheduler", "worker")
    dask.make_pod("worker", **AGAIN | {"started": True})
    operation.settle()
    assert said(begun) == ("Unknown", "WaitingForDask")


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ('pods "x" is forbidden: exceeded quota: small', "QuotaExceeded"),
        ('pods "x" is forbidden: violates PodSecurity "restricted:latest"', "Forbidden"),
    ],
)
def test_the_cause_of_rejected_pods_is_named(begun, operation, dask, message, reason):
    dask.notice()
    dask.make("scheduler", "worker")
    dask.fail_replicas(message)
    operation.settle()
    assert said(begun) == ("False", reason)
    assert message in begun.condition("DaskReady")["message"]


def test_a_cluster_of_another_owner_is_not_changed(store, cluster, operation, dask):
    cluster.submit(parallelMode="distributed")
    operation.settle()
    dask.cluster["metadata"]["ownerReferences"][0]["uid"] = "another"
    cluster.run_pod()
    operation.settle()
    assert said(cluster) == ("False", "NameConflict")
    cluster.report(daskReady=False, fallbacks=[fell_back(store)])
    operation.settle()
    assert dask.parts(Child.DASK_CLUSTER)


def test_a_cluster_that_is_deleted_by_hand_in_mid_search_is_not_replaced(begun, operation, dask, store):
    dask.come_up()
    begun.report(daskReady=True)
    operation.settle()
    store.delete("daskclusters", NAMESPACE, dask.cluster["metadata"]["name"])
    dask.let_go()
    operation.settle()
    assert dask.cluster is None


def test_pods_of_the_cluster_do_not_count_as_attempts(begun, operation, dask):
    dask.come_up()
    operation.settle()
    assert begun.status["attempts"] == 1
    assert len(begun.status["attemptHistory"]) == 1


def test_the_environment_decides_the_parallel_mode(store, cluster, dask):
    settings = SETTINGS.__class__(trainer_image="x", defaults={"TPOT_PARALLEL_MODE": "Distributed"})
    operation = Operation(store, settings=settings)
    cluster.submit()
    operation.settle()
    assert dask.parts(Child.DASK_CLUSTER)


def test_many_jobs_in_a_row_leave_nothing_behind(store):
    for number in range(10):
        cluster, operation, dask = (
            Cluster(store, f"job-{number}"),
            Operation(store, name=f"job-{number}"),
            DaskOperator(store),
        )
        cluster.submit(parallelMode="distributed")
        operation.settle()
        cluster.run_pod()
        dask.come_up()
        cluster.report(daskReady=True)
        operation.settle()
        cluster.report_success(daskReady=True)
        cluster.end_pod(0)
        cluster.end_job("Complete")
        operation.settle()
        dask.let_go()
        cluster.remove()
    assert {plural for plural, *_ in store.objects} == {"events"}


@pytest.mark.parametrize("part", DASK_CHILDREN, ids=lambda part: part.kind)
@pytest.mark.parametrize("status", [403, 404])
def test_a_part_that_cannot_be_deleted_does_not_delay_the_end(store, cluster, dask, part, status):
    operation = Operation(store, Fault(status, method="DELETE", plural=part.plural, times=99))
    cluster.submit(parallelMode="distributed")
    operation.settle()
    cluster.run_pod()
    cluster.report_success()
    cluster.end_pod(0)
    cluster.end_job("Complete")
    operation.look()
    assert operation.faults_met == []
    assert cluster.status["phase"] == "Succeeded"
    assert {part["kind"] for part in dask.parts()} == {part.kind}


def test_a_part_is_deleted_before_the_end_is_reported_despite_faults(store, cluster, dask):
    operation = Operation(store, *(Fault(503, method="DELETE", plural=part.plural) for part in DASK_CHILDREN))
    cluster.submit(parallelMode="distributed")
    operation.settle()
    cluster.run_pod()
    cluster.report_success()
    cluster.end_pod(0)
    cluster.end_job("Complete")
    while dask.parts():
        assert cluster.status["phase"] != "Succeeded"
        operation.look()
    assert len(operation.faults_met) == 3
    operation.settle()
    assert cluster.status["phase"] == "Succeeded"
