"""Distributed jobs without trouble: each has its own cluster, uses it, guards it and deletes it."""

import json

from e2e.kit.dask import DaskSide, distributed
from e2e.kit.jobs import START_SECONDS, STOP_SECONDS

LONG = {"timeLeftSeconds": 45}


def succeeded_on_dask(run, attempts=1):
    """Wait for a model that was found without a fallback."""
    status = run.reach("Succeeded")
    assert status["backend"] == "dask"
    assert "fallbacks" not in status
    assert status["attempts"] == attempts
    said = run.conditions()
    assert said["Degraded"] == ("False", "AsRequested")
    assert said["Ready"] == ("True", "Succeeded")
    return status


def test_a_distributed_job_searches_on_its_own_cluster_and_deletes_it(start, dask, namespace):
    run = start("distributed", **distributed(), budget=LONG)
    side = DaskSide(run)
    side.ready()
    [cluster] = side.clusters
    assert len(side.pods("scheduler")) == 1
    assert len(side.pods("worker")) == 2
    for pod in (*side.pods("scheduler"), *side.pods("worker")):
        assert pod.spec.automount_service_account_token is False
        assert not any(volume.projected for volume in pod.spec.volumes)
    secret = run.cluster.core.read_namespaced_secret(side.name, namespace)
    assert "ca.key" not in secret.data
    policy = run.cluster.networking.read_namespaced_network_policy(side.name, namespace)
    assert policy.spec.policy_types == ["Ingress", "Egress"]
    assert cluster["spec"]["worker"]["replicas"] == 2

    status = succeeded_on_dask(run)

    assert status["progress"]["elapsedSeconds"] <= LONG["timeLeftSeconds"] * 1.05 + 5
    side.gone()
    # The trainer's pod and the plan stay.
    assert run.job is not None


def test_workers_that_join_late_are_used(start, dask, cluster):
    [node] = cluster.core.list_node().items[:1]
    label = {"e2e-late": None}
    cluster.core.patch_node(node.metadata.name, {"metadata": {"labels": label}})
    run = start("late", **distributed(nodeSelector={"e2e-late": "true"}), budget=LONG)
    try:
        run.reach("Searching", START_SECONDS)
        run.eventually(
            lambda: run.conditions().get("DaskReady") == ("False", "Unschedulable"),
            "no condition says why",
            60,
        )
        assert "the Dask scheduler" in run.condition("DaskReady")["message"]
        cluster.core.patch_node(node.metadata.name, {"metadata": {"labels": {"e2e-late": "true"}}})
        DaskSide(run).ready()
        succeeded_on_dask(run)
    finally:
        cluster.core.patch_node(node.metadata.name, {"metadata": {"labels": label}})


def test_a_killed_operator_creates_no_second_cluster(start, dask, operator):
    run = start("killed-distributed", **distributed(), budget=LONG)
    side = DaskSide(run)
    side.ready()
    [before] = side.clusters
    operator.kill()
    operator.wait_ready()
    [after] = side.clusters
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    succeeded_on_dask(run)
    side.gone()


def test_a_suspension_deletes_the_cluster_and_a_resume_creates_another(start, dask, namespace):
    run = start("paused-distributed", **distributed(), budget={"timeLeftSeconds": 60})
    side = DaskSide(run)
    side.ready()
    [first] = side.clusters
    name = side.name
    certificate = run.cluster.core.read_namespaced_secret(name, namespace).data["ca.crt"]
    run.suspend()
    run.eventually(lambda: run.conditions()["Suspended"][0] == "True", "it does not stop", STOP_SECONDS)
    assert run.conditions()["DaskReady"] == ("False", "Suspended")
    side.gone()

    run.resume()
    run.eventually(lambda: side.clusters, "there is no other cluster", 60)
    side.ready()
    [second] = side.clusters
    assert second["metadata"]["uid"] != first["metadata"]["uid"]
    assert run.cluster.core.read_namespaced_secret(name, namespace).data["ca.crt"] != certificate
    succeeded_on_dask(run, attempts=2)
    assert run.outcomes == ["Suspended", "Succeeded"]
    side.gone()


PROBE = """
import asyncio, json, socket, ssl
from distributed import Client, Security

host, said = "{host}", {{}}
def tried(name, call):
    try:
        said[name] = call()
    except BaseException as error:
        said[name] = type(error).__name__ + ": " + str(error)

def plain():
    with socket.create_connection((host, 8786), 5) as wire:
        wire.settimeout(5)
        wire.sendall(b"\\0" * 64)
        return "answer" if wire.recv(1) else "closed"

def tls(*pair):
    context = ssl.create_default_context(cafile="/tls/ca.crt")
    context.check_hostname = False
    if pair:
        context.load_cert_chain(*pair)
    with socket.create_connection((host, 8786), 5) as wire, context.wrap_socket(wire) as secured:
        secured.settimeout(5)
        return "answer" if secured.recv(1) else "closed"

def dask(address, security):
    with Client(address, security=security, timeout=5) as client:
        return len(client.scheduler_info(n_workers=-1)["workers"])

own = dict(tls_ca_file="/tls/ca.crt", tls_client_cert="/tls/client.crt", tls_client_key="/tls/client.key")
tried("plain", plain)
tried("dask without certificates", lambda: dask("tcp://" + host + ":8786", None))
tried("tls without a certificate", tls)
tried("the job's own", lambda: dask("tls://" + host + ":8786", Security(require_encryption=True, **own)))
print("SAID" + json.dumps(said))
"""


def test_the_scheduler_rejects_clients_without_a_certificate(start, dask, cluster, namespace, operator):
    run = start("guarded", **distributed(), budget={"timeLeftSeconds": 90})
    side = DaskSide(run)
    side.ready()
    [scheduler] = side.pods("scheduler")
    container = {
        "name": "probe",
        "image": scheduler.spec.containers[0].image,
        "command": ["python", "-c", PROBE.format(host=f"{side.name}-scheduler")],
        "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "50m"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "tls", "mountPath": "/tls"}],
    }
    spec = {
        "restartPolicy": "Never",
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        # The control: with the client's certificate the same pod is let in.
        "volumes": [{"name": "tls", "secret": {"secretName": side.name, "defaultMode": 0o440}}],
    }
    cluster.core.create_namespaced_pod(namespace, {"metadata": {"name": "probe"}, "spec": spec})
    try:
        run.eventually(
            lambda: cluster.core.read_namespaced_pod("probe", namespace).status.phase == "Succeeded",
            "the probe does not end",
            120,
        )
        [line] = [text for text in cluster.log(namespace, "probe").splitlines() if text.startswith("SAID")]
    finally:
        cluster.core.delete_namespaced_pod("probe", namespace, grace_period_seconds=0)
    said = json.loads(line.removeprefix("SAID"))
    assert said["the job's own"] == 2, said
    assert "answer" not in {said["plain"], said["tls without a certificate"]}, said
    assert "CERTIFICATE_REQUIRED" in said["tls without a certificate"].upper() or (
        said["tls without a certificate"] == "closed"
    ), said
    assert not isinstance(said["dask without certificates"], int), said
    # The search went on all the while.
    assert not run.status.get("fallbacks")


def test_ten_jobs_in_a_row_leave_nothing_behind(start, dask):
    backends, sides = [], []
    for number in range(10):
        run = start(f"one-of-ten-{number}", **distributed(), budget={"timeLeftSeconds": 12})
        status = run.reach("Succeeded")
        backends.append(status["backend"])
        sides.append(DaskSide(run))
    for side in sides:
        side.gone()
    assert backends == ["dask"] * 10
