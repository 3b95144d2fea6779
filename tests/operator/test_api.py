"""Calls to the API server: pages, preconditions, missing objects."""

import asyncio
import copy
import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from support.fake_kubernetes import Cluster, DirectClient, Fault, Operation
from support.fake_kubernetes.cluster import NAMESPACE
from trainingjob_operator import api, transport
from trainingjob_operator.api import Api
from trainingjob_operator.children import Child, Owner
from trainingjob_operator.decision import Suspension
from trainingjob_operator.transport import ApiFault

OWNER = Owner("churn", NAMESPACE, "uid-0001")


def gate(store, *faults):
    return Api(DirectClient(store, *faults), timeout_seconds=5)


def listed_raw(server):
    async def all_of_them():
        return [raw async for raw in server.list_jobs(None)]

    return asyncio.run(all_of_them())


def listed(server):
    return [raw["metadata"]["name"] for raw in listed_raw(server)]


@pytest.fixture
def jobs(store, monkeypatch):
    monkeypatch.setattr(api, "PAGE_SIZE", 3)
    names = [f"job-{number}" for number in range(8)]
    for name in names:
        Cluster(store, name).submit()
    return names


def test_a_long_list_is_read_in_pages(store, jobs):
    assert listed(gate(store)) == jobs


def test_an_expired_list_starts_again(store, jobs):
    found = listed(gate(store, Fault(410, method="GET", plural="trainingjobs", at=2)))
    assert set(found) == set(jobs)


def test_a_large_page_is_read_again_in_smaller_pages(store, jobs, monkeypatch):
    server = gate(store)
    page = server.call
    sizes = []

    async def measured(method, path, **options):
        sizes.append(int(options["query"]["limit"]))
        return await page(method, path, **options)

    server.call = measured
    largest = max(len(json.dumps(raw)) for raw in listed_raw(server))
    monkeypatch.setattr(transport, "MAX_ANSWER_BYTES", largest + 500)
    sizes.clear()
    assert listed(server) == jobs
    assert sizes[0] > 1
    assert set(sizes[1:]) == {1}


def test_an_object_that_is_too_large_is_a_fault(store, jobs, monkeypatch):
    monkeypatch.setattr(transport, "MAX_ANSWER_BYTES", 100)
    with pytest.raises(ApiFault, match="more than 100"):
        listed(gate(store))
    with pytest.raises(ApiFault, match="more than 100"):
        asyncio.run(gate(store).read_job(NAMESPACE, jobs[0]))


@pytest.mark.parametrize("status", [410, 403])
def test_a_list_that_is_rejected_is_a_fault(store, jobs, status):
    with pytest.raises(ApiFault):
        listed(gate(store, Fault(status, method="GET", plural="trainingjobs", times=9)))


def test_deleting_a_missing_object_succeeds(store):
    server = gate(store)
    asyncio.run(server.delete(Child.JOB, OWNER))
    asyncio.run(server.suspend(OWNER, Suspension(suspend=True)))
    assert asyncio.run(server.write_status(OWNER, {"phase": "Failed"}, "1")) is None


def test_another_owners_job_is_not_deleted(store, cluster, operation):
    cluster.submit()
    operation.settle()
    asyncio.run(gate(store).delete(Child.JOB, Owner("churn", NAMESPACE, "somebody-else")))
    assert cluster.child(Child.JOB)


def test_a_status_is_not_written_to_a_namesake(store, cluster):
    cluster.submit()
    with pytest.raises(ApiFault) as caught:
        asyncio.run(gate(store).write_status(Owner("churn", NAMESPACE, "old"), {"phase": "Failed"}, ""))
    assert caught.value.conflict
    assert cluster.status == {}


@pytest.mark.parametrize(("ahead", "counted"), [(600, 600), (-600, -600), (2, 0)])
def test_the_clock_of_the_api_server_decides(store, caplog, ahead, counted):
    client = DirectClient(store)
    server = Api(client, timeout_seconds=5)
    for _ in range(3):
        client.headers["Date"] = format_datetime(datetime.now(UTC) + timedelta(seconds=ahead), usegmt=True)
        asyncio.run(server.read_job("a", "b"))
    assert (server.now() - datetime.now(UTC)).total_seconds() == pytest.approx(counted, abs=2)
    assert len(caplog.records) == bool(counted), "said once"
    for seconds in (ahead + 2, ahead - 2, ahead):
        client.headers["Date"] = format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)
        asyncio.run(server.read_job("a", "b"))
    assert len(caplog.records) == bool(counted), "nor again for what a slow answer differs"
    client.headers["Date"] = "yesterday"
    asyncio.run(server.read_job("a", "b"))
    assert (server.now() - datetime.now(UTC)).total_seconds() == pytest.approx(counted, abs=2)


@pytest.mark.parametrize("error", [OSError("no route"), TimeoutError()], ids=repr)
def test_a_missing_answer_is_a_fault_with_its_kind(store, error):
    with pytest.raises(ApiFault, match=type(error).__name__) as caught:
        asyncio.run(gate(store, Fault(error)).read_job("a", "b"))
    assert caught.value.status == 0


def test_a_status_is_not_written_over_a_version_that_was_not_seen(store, cluster):
    cluster.submit()
    owner, seen = Owner("churn", NAMESPACE, cluster.job["metadata"]["uid"]), cluster.job["metadata"]
    version = seen["resourceVersion"]
    new = asyncio.run(gate(store).write_status(owner, {"phase": "Searching"}, version))
    assert new == cluster.job["metadata"]["resourceVersion"] != version
    with pytest.raises(ApiFault) as caught:
        asyncio.run(gate(store).write_status(owner, {"phase": "Failed"}, version))
    assert caught.value.conflict
    assert cluster.status["phase"] == "Searching"


def test_only_the_jobs_own_pods_and_events_are_read(store):
    ours, theirs = Cluster(store, "churn"), Cluster(store, "other")
    for job in (ours, theirs):
        job.submit()
        Operation(store, name=job.name).settle()
    theirs.run_pod()
    for job, message in ((ours, "no room for ours"), (theirs, "no room for theirs")):
        involved = {"uid": job.child(Child.JOB)["metadata"]["uid"]}
        event = {"metadata": {"name": message.replace(" ", "-")}, "involvedObject": involved}
        job._make("events", event | {"reason": "FailedCreate", "message": message})
    owner = Owner("churn", NAMESPACE, ours.job["metadata"]["uid"])
    found = asyncio.run(gate(store).snapshot(owner, children=[Child.JOB], now=store.now))
    assert found.pods == ()
    assert found.failed_creates == ("no room for ours",)


def test_messages_of_the_api_server_are_bounded(store):
    with pytest.raises(ApiFault) as caught:
        asyncio.run(gate(store, Fault(422, message="x" * 100_000)).read_job("a", "b"))
    assert len(caught.value.message) <= 500


def test_a_stale_look_writes_no_status(store, cluster):
    cluster.submit()
    operation = Operation(store)
    before = copy.deepcopy(cluster.job)
    operation.settle()
    cluster.run_pod()
    operation.settle()
    path = f"/apis/automl.trainingjob.dev/v1alpha1/namespaces/{NAMESPACE}/trainingjobs/churn"
    operation.client.stale[path] = before
    operation.look()
    assert [fault.conflict for fault in operation.faults_met] == [True]
    assert cluster.status["phase"] == "Searching"


def test_changes_of_a_deleted_job_are_not_counted(store, cluster):
    cluster.submit()
    operation = Operation(store)
    operation.settle()
    cluster.run_pod()
    operation.settle()
    cluster.report_success()
    cluster.end_pod(0)
    cluster.end_job("Complete")
    operation.client.faults.append(Fault(404, method="PATCH", plural="trainingjobs/status"))
    operation.look()
    assert operation.value("training_jobs_finished_total", phase="Succeeded") == 0
    operation.settle()
    assert operation.value("training_jobs_finished_total", phase="Succeeded") == 1
    operation.start()
    operation.settle()
    assert operation.value("training_jobs_finished_total", phase="Succeeded") == 0, "nor after a restart"


def test_the_event_of_an_own_write_starts_no_pass(store, cluster):
    cluster.submit()
    operation = Operation(store)
    operation.settle()
    version = cluster.job["metadata"]["resourceVersion"]
    assert operation.reconciler.is_echo(operation.key, version)
    cluster.change(suspend=True)
    assert not operation.reconciler.is_echo(operation.key, cluster.job["metadata"]["resourceVersion"])
    assert not operation.reconciler.is_echo(operation.key, None)


def test_the_retry_delay_is_read_from_body_and_header(store):
    with pytest.raises(ApiFault) as caught:
        asyncio.run(gate(store, Fault(429, retry_after=7.0)).read_job("a", "b"))
    assert caught.value.retry_after == 7.0
    with pytest.raises(ApiFault) as caught:
        transport._checked(("GET", "/"), 503, b"{}", "5")
    assert caught.value.retry_after == 5.0
