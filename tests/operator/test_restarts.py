"""Restarts at any write, a failing API server and two operators lead to the same result."""

import copy

import pytest

from support.fake_kubernetes import Cluster, DaskOperator, Fault, Operation, Stopped, Store
from support.fake_kubernetes.cluster import NAMESPACE
from trainingjob_operator.children import DASK_CHILDREN, TRAINER_CHILDREN, Child

TIMES = ("lastTransitionTime", "firstTimestamp", "lastTimestamp", "creationTimestamp")


def live(operation, cluster):
    """Take a job through eviction, suspension, a fallback and success, to the end of its pods."""
    cluster.submit(acceptance={"mustBeatBaseline": True}, ttlSecondsAfterFinished=60)
    operation.settle()
    cluster.run_pod()
    operation.settle()
    cluster.report_progress(1)
    operation.settle()
    cluster.end_pod(143)
    operation.settle()
    cluster.change(suspend=True)
    operation.settle()
    cluster.stop_pods()
    operation.settle()
    cluster.later(100)
    cluster.change(suspend=False)
    operation.settle()
    cluster.run_pod()
    step = {"from": "tpot", "to": "baseline", "reason": "SearchFailed", "time": "2026-11-01T12:00:10Z"}
    cluster.report_progress(2, fallbacks=[step])
    operation.settle()
    cluster.report_success()
    cluster.end_pod(0)
    cluster.end_job("Complete")
    operation.settle()
    cluster.later(61)
    operation.settle()


def live_distributed(operation, cluster):
    """Take a distributed job through a step down, an eviction, suspension and success on a cluster."""
    dask = DaskOperator(cluster.store)
    cluster.submit(parallelMode="distributed", ttlSecondsAfterFinished=60)
    operation.settle()
    cluster.run_pod()
    dask.come_up()
    cluster.report(daskReady=True, backend="dask")
    operation.settle()
    step = {"from": "dask", "to": "local", "reason": "SchedulerLost", "time": cluster.store.stamp()}
    cluster.report_progress(1, daskReady=False, fallbacks=[step])
    operation.settle()
    assert dask.parts(Child.DASK_CLUSTER) == []
    dask.let_go()
    cluster.end_pod(143)
    operation.settle()
    cluster.later(10)
    cluster.run_pod()
    operation.settle()
    dask.come_up()
    cluster.report(daskReady=True, backend="dask", fallbacks=[step])
    operation.settle()
    cluster.change(suspend=True)
    operation.settle()
    assert dask.parts() == []
    dask.let_go()
    cluster.stop_pods()
    operation.settle()
    cluster.later(100)
    cluster.change(suspend=False)
    operation.settle()
    cluster.run_pod()
    operation.settle()
    assert len(dask.parts()) == len(DASK_CHILDREN)
    dask.come_up()
    cluster.report(daskReady=True, backend="dask", fallbacks=[step])
    operation.settle()
    cluster.report_success(daskReady=True, fallbacks=[step])
    cluster.end_pod(0)
    cluster.end_job("Complete")
    operation.settle()
    dask.let_go()
    cluster.later(61)
    operation.settle()


LIVES = {"local": live, "distributed": live_distributed}


def picture(store):
    """Return what a user sees at the end, without uids, versions and times."""
    found = {}
    for key, raw in store.objects.items():
        if key[0] == "secrets" and key[2].endswith("-key"):
            # A key that was made before a restart goes with the job; its name is its own.
            continue
        plain = copy.deepcopy(raw)
        plain["metadata"] = {name: plain["metadata"].get(name) for name in ("name", "labels", "generation")}
        found[key if key[0] != "events" else (*key[:2], plain["reason"], plain["message"])] = scrub(plain)
    return found


def scrub(value):
    if isinstance(value, dict):
        skip = (
            *TIMES,
            "uid",
            "podUid",
            "reportKey",
            "secretName",
            "automl.trainingjob.dev/job-uid",
            "name" if "involvedObject" in value else "",
        )
        return {name: scrub(part) for name, part in value.items() if name not in skip and name != "data"}
    return [scrub(part) for part in value] if isinstance(value, list) else value


def to_its_end(life):
    """Return how an undisturbed life ends, and how many writes it takes."""
    store = Store()
    operation = Operation(store)
    life(operation, Cluster(store))
    writes = sum(1 for method, _ in operation.client.requests if method != "GET")
    return picture(store), writes


@pytest.fixture(scope="module")
def undisturbed():
    return to_its_end(live)


@pytest.fixture(scope="module", params=LIVES)
def any_life(request):
    life = LIVES[request.param]
    return (life, *to_its_end(life))


def test_a_distributed_job_leaves_nothing_of_its_clusters():
    end, writes = to_its_end(live_distributed)
    assert end["trainingjobs", NAMESPACE, "churn"]["status"]["phase"] == "Succeeded"
    assert not {plural for plural, *_ in end} & {"secrets", "networkpolicies", "daskclusters", "deployments"}
    assert writes <= 60


def test_the_played_job_covers_every_stage(undisturbed):
    end, writes = undisturbed
    job = end["trainingjobs", NAMESPACE, "churn"]
    assert job["status"]["phase"] == "Succeeded"
    assert [attempt["outcome"] for attempt in job["status"]["attemptHistory"]] == ["Evicted", "Succeeded"]
    assert ("jobs", NAMESPACE, "churn-trainer") not in end
    assert writes <= 30


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("start", range(4))
def test_a_restart_at_any_write_gives_the_same_result(any_life, start, after):
    life, end, writes = any_life
    for number in range(start, writes, 4):
        store = Store()
        operation = Operation(store, Fault(Stopped(), at=number, after=after, writes_only=True))
        life(operation, Cluster(store))
        assert operation.restarts == 1
        assert picture(store) == end, number


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("start", range(3))
@pytest.mark.parametrize("status", [429, 500, 503, ConnectionResetError(), TimeoutError()], ids=repr)
def test_requests_to_a_failing_api_server_are_retried(undisturbed, status, start, after):
    failing_writes(live, undisturbed, status, start=start, after=after)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("start", range(3))
def test_requests_for_a_cluster_to_a_failing_api_server_are_retried(start, after):
    failing_writes(live_distributed, to_its_end(live_distributed), 503, start=start, after=after)


def failing_writes(life, undisturbed, status, *, start, after):
    end, writes = undisturbed
    for number in range(start, writes, 6):
        store = Store()
        fault = Fault(status, at=number, times=1 + start, after=after, writes_only=True)
        operation = Operation(store, fault)
        life(operation, Cluster(store))
        assert operation.faults_met
        assert picture(store) == end, number


@pytest.mark.parametrize("plural", ["trainingjobs/status", "jobs"])
def test_the_operator_reads_again_after_a_conflict(undisturbed, plural):
    end, _ = undisturbed
    for number in range(8):
        store = Store()
        operation = Operation(store, Fault(409, method="PATCH", plural=plural, at=number))
        live(operation, Cluster(store))
        assert picture(store) == end, number


@pytest.mark.parametrize("status", [429, 500, 503, TimeoutError()], ids=repr)
@pytest.mark.parametrize("plural", ["trainingjobs", "configmaps", "jobs", "pods"])
def test_a_failed_read_leads_to_no_decision(undisturbed, status, plural):
    failing_reads(live, undisturbed[0], status, plural)


@pytest.mark.parametrize("plural", ["daskclusters", "deployments", "pods"])
def test_a_failed_read_leads_to_no_decision_about_a_cluster(plural):
    failing_reads(live_distributed, to_its_end(live_distributed)[0], 503, plural)


def failing_reads(life, end, status, plural):
    for number in range(0, 40, 9):
        store = Store()
        operation = Operation(store, Fault(status, method="GET", plural=plural, at=number, times=2))
        life(operation, Cluster(store))
        assert picture(store) == end, number


@pytest.mark.parametrize("child", list(TRAINER_CHILDREN), ids=lambda child: child.name)
def test_a_rejected_child_is_a_condition_and_is_created_later(store, cluster, child):
    message = f"{child.plural} is forbidden: User cannot create resource"
    operation = Operation(store, Fault(403, method="POST", plural=child.plural, times=4, message=message))
    cluster.submit()
    operation.look()  # records the plan
    assert operation.look() is not None
    ready = cluster.condition("Ready")
    assert (ready["status"], ready["reason"]) == ("False", "Forbidden")
    assert message in ready["message"]
    for _ in range(5):
        operation.look()
    assert cluster.child(Child.JOB)
    assert cluster.condition("Ready")["reason"] == "WaitingForTrainer"


def test_a_quota_on_objects_fails_the_job_at_the_deadline(store, cluster):
    message = 'jobs.batch "churn-trainer" is forbidden: exceeded quota: small'
    operation = Operation(store, Fault(403, method="POST", plural="jobs", times=99, message=message))
    cluster.submit(activeDeadlineSeconds=100)
    operation.settle()
    assert cluster.condition("Ready")["reason"] == "QuotaExceeded"
    cluster.later(101)
    operation.settle()
    assert cluster.condition("Failed")["reason"] == "DeadlineExceeded"
    assert "QuotaExceeded" in cluster.condition("Failed")["message"]


def test_events_that_are_rejected_stop_nothing(store, cluster):
    operation = Operation(store, Fault(403, method="POST", plural="events", times=99))
    cluster.submit()
    operation.settle()
    assert cluster.status["phase"] == "Pending"


def test_the_retry_delay_of_the_server_is_respected(store, cluster):
    operation = Operation(store, Fault(429, retry_after=7.0))
    cluster.submit()
    fault = operation.look()
    assert (fault.status, fault.retry_after) == (429, 7.0)


def test_two_operators_on_one_job_make_everything_once(undisturbed):
    end, _ = undisturbed
    store = Store()
    pair = [Operation(store), Operation(store)]

    class Both:
        def settle(self):
            for _ in range(6):
                for operation in pair:
                    operation.look()

    live(Both(), Cluster(store))
    assert picture(store) == end
    created = [(plural, name) for kind, plural, name in store.writes if kind == "POST"]
    assert len(created) == len(set(created))
    keys = {name for plural, _, name in store.objects if plural == "secrets" and name.endswith("-key")}
    assert len(keys) == 1


def test_a_stale_read_never_reverts_the_end(store, cluster, operation):
    cluster.submit()
    operation.settle()
    cluster.run_pod()
    operation.settle()
    path = f"/apis/automl.trainingjob.dev/v1alpha1/namespaces/{NAMESPACE}/trainingjobs/churn"
    past = copy.deepcopy(cluster.job)
    trainer = copy.deepcopy(cluster.child(Child.JOB))
    cluster.report_success()
    cluster.end_job("Complete")
    operation.settle()
    assert cluster.status["phase"] == "Succeeded"
    late = Operation(store)
    late.client.stale = {
        path: past,
        f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs/churn-trainer": trainer,
    }
    assert late.look().conflict
    assert cluster.status["phase"] == "Succeeded"


def test_after_a_stale_read_of_the_fence_no_other_plan_is_run(store, cluster, operation):
    cluster.submit()
    operation.settle()
    other = Operation(store, settings=operation.settings.__class__(trainer_image="other:2"))
    real = other.client.call_api

    async def nothing_there(method, url, **kwargs):
        if (
            method == "GET"
            and f"configmaps/{cluster.name_of(Child.RUN)}" in url
            and "POST" not in dict(other.client.requests)
        ):
            other.client.requests.append(("GET", url))
            from support.fake_kubernetes.client import answer

            return answer(404, {"message": "not there yet"})
        return await real(method, url, **kwargs)

    other.client.call_api = nothing_there
    cluster.store.delete("jobs", NAMESPACE, "churn-trainer")
    other.settle()
    assert cluster.child(Child.JOB) is None
    assert cluster.ready == ("False", "PlanChanged")
    cluster.lose(Child.RUN)
    other.settle()
    image = cluster.child(Child.JOB)["spec"]["template"]["spec"]["containers"][0]["image"]
    assert image == cluster.status["resolved"]["image"] == "other:2"
