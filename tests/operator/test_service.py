"""The whole operator, with Kopf's watches, against an API server on a port."""

import asyncio
import json
from dataclasses import replace

import aiohttp
import pytest
import yaml
from kubernetes.aio.client import ApiClient, Configuration

from support.fake_kubernetes import Cluster, Store
from support.fake_kubernetes.cluster import NAMESPACE
from support.fake_kubernetes.operation import SETTINGS
from support.fake_kubernetes.server import Server
from trainingjob_operator.__main__ import Operator
from trainingjob_operator.children import Child

PATIENCE = 30.0
FAST = replace(SETTINGS, namespaces=(NAMESPACE,), port=0, resync_seconds=3600.0, watch_timeout_seconds=60.0)


async def until(condition, what):
    """Wait until *condition* holds."""
    end = asyncio.get_running_loop().time() + PATIENCE
    while not condition():
        assert asyncio.get_running_loop().time() < end, f"never: {what}"
        await asyncio.sleep(0.02)


class Running:
    """An operator that watches."""

    def __init__(self, server, settings):
        client = ApiClient(Configuration(host=server.address))
        self.server, self.client = server, client
        self.service = Operator(settings, client)
        self.stop = asyncio.Event()

    async def __aenter__(self):
        before = self.server.watches
        self.task = asyncio.create_task(self.service.run(lambda: self.service.watch(self.stop)))
        await until(lambda: self.task.done() or self.server.watches >= before + 4, "four watches")
        return self.service

    async def __aexit__(self, *_):
        self.stop.set()
        await self.task
        await self.client.close()


@pytest.fixture
def kubeconfig(tmp_path, monkeypatch):
    def write(address):
        path = tmp_path / "kubeconfig"
        path.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "c",
                    "clusters": [{"name": "c", "cluster": {"server": address}}],
                    "users": [{"name": "u", "user": {"token": "t"}}],
                    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
                }
            )
        )
        monkeypatch.setenv("KUBECONFIG", str(path))

    return write


def on_a_server(kubeconfig, scenario, settings=FAST, prepare=None):
    """Run *scenario* with a store, a cluster and an operator that watches it."""

    async def run():
        store = Store()
        with Server(store) as server:
            kubeconfig(server.address)
            if prepare is not None:
                prepare(server, store)
            async with Running(server, settings) as service:
                await scenario(server, store, Cluster(store), service)

    asyncio.run(run())


async def live(cluster):
    """Take a job to its end, waiting for the operator at each turn."""
    cluster.submit()
    await until(lambda: cluster.child(Child.JOB), "the Job")
    await until(lambda: cluster.status.get("phase") == "Pending", "Pending")
    cluster.run_pod()
    await until(lambda: cluster.status["phase"] == "Searching", "Searching")
    cluster.report_progress(2)
    await until(lambda: cluster.status.get("progress", {}).get("generation") == 2, "progress")
    cluster.report_success()
    cluster.end_pod(0)
    cluster.end_job("Complete")
    await until(lambda: cluster.status["phase"] == "Succeeded", "Succeeded")
    cluster.change(ttlSecondsAfterFinished=0)
    await until(lambda: cluster.child(Child.JOB) is None, "the Job's end")


def test_a_job_runs_to_its_end_with_watches_only(kubeconfig):
    async def scenario(server, store, cluster, service):
        await live(cluster)
        assert not cluster.job["metadata"].get("finalizers")
        assert not cluster.job["metadata"].get("annotations")
        assert service.health.ready

    on_a_server(kubeconfig, scenario)


@pytest.mark.parametrize(
    "lost",
    [
        ("trainingjobs", "ADDED"),
        ("trainingjobs", "MODIFIED"),
        ("jobs", "ADDED"),
        ("jobs", "MODIFIED"),
        ("pods", "ADDED"),
        ("pods", "MODIFIED"),
        ("configmaps", "ADDED"),
        ("configmaps", "MODIFIED"),
    ],
    ids="-".join,
)
def test_a_list_replaces_a_lost_event(kubeconfig, lost):
    async def scenario(server, store, cluster, service):
        server.drop.add(lost)
        await live(cluster)
        assert lost in server.dropped

    on_a_server(kubeconfig, scenario, replace(FAST, resync_seconds=1))


def test_the_operator_needs_no_user_name(kubeconfig, monkeypatch):
    """A container's numeric user is in no passwd file, and nothing sets USER."""

    def nobody():
        raise KeyError("getpwuid(): uid not found: 65532")

    monkeypatch.setattr("getpass.getuser", nobody)

    async def scenario(server, store, cluster, service):
        await live(cluster)

    on_a_server(kubeconfig, scenario)


def test_a_deleted_job_is_forgotten(kubeconfig):
    async def scenario(server, store, cluster, service):
        cluster.submit()
        await until(lambda: cluster.status.get("phase") == "Pending", "Pending")
        assert service.metrics.registry.get_sample_value("trainingjobs", {"phase": "Pending"}) == 1
        cluster.remove()
        value = service.metrics.registry.get_sample_value
        await until(lambda: value("trainingjobs", {"phase": "Pending"}) == 0, "forgotten")

    on_a_server(kubeconfig, scenario)


def test_a_job_runs_to_its_end_in_a_cluster_wide_watch(kubeconfig):
    async def scenario(server, store, cluster, service):
        await live(cluster)

    on_a_server(kubeconfig, scenario, replace(FAST, namespaces=()))


def test_jobs_progress_by_lists_while_a_watch_is_dead(kubeconfig):
    async def scenario(server, store, cluster, service):
        server.deaf = True
        await live(cluster)

    on_a_server(kubeconfig, scenario, replace(FAST, resync_seconds=1.0))


def test_expired_watches_are_reopened(kubeconfig):
    async def scenario(server, store, cluster, service):
        await live(cluster)
        assert server.expire == 0

    def prepare(server, store):
        server.expire = 4

    on_a_server(kubeconfig, scenario, prepare=prepare)


def test_existing_jobs_are_handled_after_a_start(kubeconfig):
    async def scenario(server, store, cluster, service):
        await until(lambda: cluster.status.get("phase") == "Suspended", "Suspended")
        assert cluster.events("Suspended")

    def prepare(server, store):
        Cluster(store).submit(suspend=True)

    on_a_server(kubeconfig, scenario, prepare=prepare)


def test_metrics_and_health_are_on_one_port(kubeconfig, unused_port):
    async def scenario(server, store, cluster, service):
        cluster.submit()
        await until(lambda: cluster.status.get("phase") == "Pending", "Pending")
        async with aiohttp.ClientSession() as session:
            texts = {}
            for path in ("healthz", "readyz", "metrics"):
                async with session.get(f"http://127.0.0.1:{unused_port}/{path}") as answer:
                    texts[path] = answer.status, await answer.text()
        assert texts["healthz"] == (200, "ok")
        assert texts["readyz"][0] == 200
        assert 'trainingjobs{phase="Pending"} 1.0' in texts["metrics"][1]
        assert "trainingjob_reconcile_seconds_count" in texts["metrics"][1]

    on_a_server(kubeconfig, scenario, replace(FAST, port=unused_port))


@pytest.fixture
def unused_port():
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def test_many_jobs_each_get_their_condition(kubeconfig):
    names = [f"job-{number}" for number in range(50)]

    async def scenario(server, store, cluster, service):
        for name in names:
            Cluster(store, name).submit(suspend=True)
        phases = lambda: [(Cluster(store, name).status).get("phase") for name in names]  # noqa: E731
        await until(lambda: set(phases()) == {"Suspended"}, "all suspended")

    on_a_server(kubeconfig, scenario)


def test_an_answer_that_is_not_an_object_is_a_fault(kubeconfig):
    from trainingjob_operator.api import Api
    from trainingjob_operator.transport import ApiFault

    async def run():
        async def page(_):
            return aiohttp.web.Response(text="<html>a proxy's page</html>")

        app = aiohttp.web.Application()
        app.router.add_route("*", "/{path:.*}", page)
        runner = aiohttp.web.AppRunner(app)
        await runner.setup()
        site = aiohttp.web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        address = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
        async with ApiClient(Configuration(host=address)) as client:
            with pytest.raises(ApiFault, match="proxy"):
                await Api(client, timeout_seconds=5).read_job("a", "b")
        await runner.cleanup()
        async with ApiClient(Configuration(host=address)) as client:
            with pytest.raises(ApiFault, match="no answer"):
                await Api(client, timeout_seconds=5).read_job("a", "b")

    asyncio.run(run())


def test_a_token_is_never_in_an_object_that_is_written(kubeconfig):
    async def scenario(server, store, cluster, service):
        await live(cluster)
        assert '"t"' not in json.dumps(list(store.objects.values()))

    on_a_server(kubeconfig, scenario)
