"""Objects of other owners are not adopted, changed or deleted."""

import asyncio
import copy

import pytest

from support.dask_jobs import fell_back, said
from support.decisions import decided
from support.fake_kubernetes import DirectClient
from support.fake_kubernetes.cluster import NAMESPACE
from support.fake_kubernetes.operation import SETTINGS
from trainingjob_api import Phase, Reason
from trainingjob_operator.api import Api
from trainingjob_operator.children import DASK_CHILDREN, TRAINER_CHILDREN, Child, Owner, metadata
from trainingjob_operator.decision import Suspension
from trainingjob_operator.job_view import make_plan, read_job_view
from trainingjob_operator.manifests import build
from trainingjob_operator.reconciler import apply
from trainingjob_operator.transport import ApiFault

OTHER = Owner("churn", NAMESPACE, "another-uid")
each_child = pytest.mark.parametrize("child", list(TRAINER_CHILDREN), ids=lambda child: child.name.lower())
each_part = pytest.mark.parametrize("part", DASK_CHILDREN, ids=lambda part: part.name.lower())


def planned(cluster, **changed):
    return make_plan(read_job_view(cluster.job).job, SETTINGS.__class__(trainer_image="trainer:2", **changed))


def owner_of(cluster):
    return read_job_view(cluster.job).owner


def put(store, manifest, child, owners=None):
    """Put *manifest* into the store as another client would; return the stored object."""
    if owners is not None:
        manifest["metadata"]["ownerReferences"] = owners
    root = ("/api/" if "/" not in child.api_version else "/apis/") + child.api_version
    name = manifest["metadata"]["name"]
    status, _ = store.handle("POST", f"{root}/namespaces/{NAMESPACE}/{child.plural}", body=manifest)
    assert status == 201
    return store.get(child.plural, NAMESPACE, name)


def reference(uid, *, kind="Deployment", name="other", controller=True):
    return {"apiVersion": "v1", "kind": kind, "name": name, "uid": uid, "controller": controller}


# Each is nearly ours: without an owner, of a Deployment, owned by our job but controlled by another.
STRANGERS = {
    "nobody": lambda _uid: [],
    "somebody": lambda _uid: [reference("another-uid")],
    "shared": lambda uid: [reference(uid, controller=False), reference("another-uid")],
}


@each_child
@pytest.mark.parametrize("owners", STRANGERS.values(), ids=list(STRANGERS))
def test_a_child_with_another_owner_is_not_adopted(store, cluster, operation, child, owners):
    cluster.submit()
    manifest = build(child, owner_of(cluster), planned(cluster), SETTINGS)
    before = copy.deepcopy(put(store, manifest, child, owners(owner_of(cluster).uid)))
    operation.settle()
    assert cluster.ready == ("False", "NameConflict")
    assert f"{child.kind} {before['metadata']['name']}" in cluster.condition("Ready")["message"]
    assert cluster.child(child) == before
    assert [other for other in TRAINER_CHILDREN if cluster.child(other)] == [child], (
        "nothing is made beside it"
    )


@each_child
def test_the_operator_waits_for_children_of_an_earlier_job_of_the_name(store, cluster, operation, child):
    cluster.submit()
    earlier = metadata(OTHER, child)["ownerReferences"]
    put(store, build(child, owner_of(cluster), planned(cluster), SETTINGS), child, earlier)
    operation.settle()
    assert cluster.ready == ("Unknown", "WaitingForPredecessor")
    assert child is Child.JOB or cluster.child(Child.JOB) is None


@each_child
@pytest.mark.parametrize("owners", STRANGERS.values(), ids=list(STRANGERS))
def test_a_child_that_appears_after_the_read_is_not_adopted(store, cluster, child, owners):
    # The decision saw nothing under the name: only the 409 of the creation shows the other object.
    cluster.submit()
    owner, ours = owner_of(cluster), planned(cluster)
    manifest = build(child, owner, planned(cluster, default_workers=7), SETTINGS)
    before = copy.deepcopy(put(store, manifest, child, owners(owner.uid)))
    _, gate = gateway(store)
    step = decided(phase=Phase.PENDING, reason=Reason.CREATING_RESOURCES, create=TRAINER_CHILDREN)
    applied = asyncio.run(apply(gate, SETTINGS, owner, ours, step))
    assert applied.refused.reason == Reason.NAME_CONFLICT
    assert cluster.child(child) == before
    later = list(TRAINER_CHILDREN)[list(TRAINER_CHILDREN).index(child) + 1 :]
    assert [child for child in later if cluster.child(child)] == [], (
        "nothing is built beside what is another's"
    )


@pytest.mark.parametrize("faster", ["another operator", "this one"])
def test_the_plan_of_the_faster_operator_is_in_force(store, cluster, faster):
    cluster.submit()
    owner, theirs = owner_of(cluster), planned(cluster)
    put(store, build(Child.RUN, owner, theirs, SETTINGS), Child.RUN)
    _, gate = gateway(store)
    step = decided(phase=Phase.PENDING, reason=Reason.CREATING_RESOURCES, create=TRAINER_CHILDREN)
    ours = make_plan(read_job_view(cluster.job).job, SETTINGS) if faster == "another operator" else theirs
    applied = asyncio.run(apply(gate, SETTINGS, owner, ours, step))
    if faster == "another operator":
        # Both have read the same digest: what has another one is no operator's.
        assert applied.refused.reason == Reason.PLAN_CHANGED
        assert cluster.child(Child.JOB) is None
        return
    assert applied.refused is None
    [container] = cluster.child(Child.JOB)["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "trainer:2"


def gateway(store):
    client = DirectClient(store)
    return client, Api(client, timeout_seconds=5)


@each_child
def test_only_children_of_the_job_are_deleted(store, cluster, operation, child):
    cluster.submit()
    operation.settle()
    _, gate = gateway(store)
    asyncio.run(gate.delete(child, OTHER))
    assert cluster.child(child)
    asyncio.run(gate.delete(child, owner_of(cluster)))
    assert cluster.child(child) is None


def replace_behind(client, store, path, raw, answer):
    """Have *path* answered from the past, and another object of the name in place of *raw*."""
    client.stale[path] = answer
    plural = path.split("/")[-2] if path.endswith(raw["metadata"]["name"]) else path.split("/")[-1]
    new = store.get(plural, NAMESPACE, raw["metadata"]["name"])
    new["metadata"] |= {"uid": "a-new-uid", "ownerReferences": [reference("another-uid")]}
    return new


@each_child
def test_a_child_that_was_replaced_after_the_read_is_not_deleted(store, cluster, operation, child):
    cluster.submit()
    operation.settle()
    raw = copy.deepcopy(cluster.child(child))
    client, gate = gateway(store)
    root = ("/api/" if "/" not in child.api_version else "/apis/") + child.api_version
    path = f"{root}/namespaces/{NAMESPACE}/{child.plural}/{raw['metadata']['name']}"
    new = replace_behind(client, store, path, raw, raw)
    asyncio.run(gate.delete(child, owner_of(cluster)))
    assert ("DELETE", path) in client.requests, "the operator deletes it by its uid"
    assert cluster.child(child) == new


@pytest.mark.parametrize("change", [Suspension(suspend=True, deadline_seconds=7), Suspension(suspend=False)])
def test_only_the_batch_job_of_the_job_is_suspended(store, cluster, operation, change):
    cluster.submit()
    operation.settle()
    before = copy.deepcopy(cluster.child(Child.JOB)["spec"])
    _, gate = gateway(store)
    asyncio.run(gate.suspend(OTHER, change))
    assert cluster.child(Child.JOB)["spec"] == before
    asyncio.run(gate.suspend(owner_of(cluster), change))
    assert cluster.child(Child.JOB)["spec"]["suspend"] is change.suspend


def test_a_batch_job_that_was_replaced_after_the_read_is_not_suspended(store, cluster, operation):
    cluster.submit()
    operation.settle()
    raw = copy.deepcopy(cluster.child(Child.JOB))
    client, gate = gateway(store)
    path = f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs/churn-trainer"
    new = copy.deepcopy(replace_behind(client, store, path, raw, raw))
    with pytest.raises(ApiFault) as caught:
        asyncio.run(gate.suspend(owner_of(cluster), Suspension(suspend=True)))
    assert caught.value.conflict, "the next look tells what has the name now"
    assert cluster.child(Child.JOB) == new


@each_part
def test_jobs_of_the_same_name_have_different_dask_names(cluster, part):
    cluster.submit(parallelMode="distributed")
    found = planned(cluster)
    names = {
        build(part, Owner("churn", NAMESPACE, uid), found, SETTINGS)["metadata"]["name"]
        for uid in ("uid-1", "uid-2", "UID-1")
    }
    assert len(names) == 3


def take_over(cluster, dask):
    """Give the DaskCluster to another owner, one that exists: what has none is garbage."""
    other = cluster._make("configmaps", {"metadata": {"name": "other"}})
    dask.cluster["metadata"]["ownerReferences"] = [reference(other["metadata"]["uid"])]


def suspend(cluster, _store):
    cluster.change(suspend=True)


def succeed(cluster, _store):
    cluster.report_success()
    cluster.end_pod(0)
    cluster.end_job("Complete")


def step_down(cluster, store):
    cluster.report_progress(1, daskReady=False, fallbacks=[fell_back(store)])


@pytest.mark.parametrize("happening", [suspend, succeed, step_down], ids=lambda happening: happening.__name__)
def test_a_dask_cluster_with_another_owner_is_neither_adopted_nor_deleted(
    store, begun, operation, dask, happening
):
    dask.come_up()
    take_over(begun, dask)
    operation.settle()
    assert said(begun) == ("False", "NameConflict")
    happening(begun, store)
    operation.settle()
    assert dask.cluster is not None
    assert "deletionTimestamp" not in dask.cluster["metadata"]


def test_a_dask_cluster_that_appears_after_the_read_is_not_adopted(store, cluster, operation, dask):
    cluster.submit(parallelMode="distributed")
    owner, ours = owner_of(cluster), planned(cluster)
    put(
        store,
        build(Child.DASK_CLUSTER, owner, ours, SETTINGS),
        Child.DASK_CLUSTER,
        [reference("another-uid")],
    )
    before = copy.deepcopy(dask.cluster)
    _, gate = gateway(store)
    there = asyncio.run(gate.create(Child.DASK_CLUSTER, build(Child.DASK_CLUSTER, owner, ours, SETTINGS)))
    assert there == before
    step = decided(phase=Phase.PENDING, reason=Reason.CREATING_RESOURCES, create=(Child.DASK_CLUSTER,))
    applied = asyncio.run(apply(gate, SETTINGS, owner, ours, step))
    assert applied.dask_refused.reason == Reason.NAME_CONFLICT
    assert applied.refused is None
    operation.settle()
    assert said(cluster) == ("False", "NameConflict")
    assert dask.cluster == before
    assert cluster.child(Child.JOB), "the job runs without"


def test_a_dask_cluster_of_another_owner_is_found_by_its_name(store, begun, operation, dask):
    dask.come_up()
    take_over(begun, dask)
    dask.cluster["metadata"]["labels"] = {}
    operation.settle()
    assert said(begun) == ("False", "NameConflict")


def test_a_dask_cluster_that_was_replaced_after_the_read_is_not_deleted(store, begun, dask):
    dask.come_up()
    raw = copy.deepcopy(dask.cluster)
    client, gate = gateway(store)
    path = f"/apis/kubernetes.dask.org/v1/namespaces/{NAMESPACE}/daskclusters"
    replace_behind(client, store, path, raw, {"items": [raw]})
    with pytest.raises(ApiFault) as caught:
        asyncio.run(gate.delete(Child.DASK_CLUSTER, owner_of(begun)))
    assert caught.value.conflict
    assert ("DELETE", f"{path}/{raw['metadata']['name']}") in client.requests
    assert "deletionTimestamp" not in dask.cluster["metadata"]


def test_each_deletion_of_a_readable_object_names_the_uid(store, begun, operation, dask):
    """Secret and policy may not be read; their name has the job's uid in it, which no other job ever has."""
    dask.come_up()
    told = []
    call = operation.client.call_api

    async def record(method, url, **kwargs):
        if method == "DELETE":
            told.append((url.split("/")[-2], kwargs["body"]))
        return await call(method, url, **kwargs)

    operation.client.call_api = record
    uids = {
        "jobs": begun.child(Child.JOB)["metadata"]["uid"],
        "daskclusters": dask.cluster["metadata"]["uid"],
    }
    begun.report(daskReady=True)
    succeed(begun, store)
    operation.settle()
    begun.change(ttlSecondsAfterFinished=1)
    begun.later(10)
    operation.settle()
    wanted = {"jobs": "Background", "daskclusters": "Foreground"}
    for plural, uid in uids.items():
        assert (plural, {"propagationPolicy": wanted[plural], "preconditions": {"uid": uid}}) in told
    foreground = {"propagationPolicy": "Foreground"}
    assert [deletion for deletion in told if deletion[0] not in uids] == [
        ("networkpolicies", foreground),
        ("secrets", foreground),
    ]
