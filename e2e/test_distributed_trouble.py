"""Trouble with the Dask cluster: the job still has a model within its budget, and names the reason."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from e2e.kit.dask import DaskSide, distributed, run_in
from e2e.kit.jobs import START_SECONDS
from e2e.kit.waiting import eventually
from kubernetes.client import ApiException, CustomObjectsApi

LONG = {"timeLeftSeconds": 60}
GREEDY = """
import os, time

# The kernel takes the processes of the worker first, its parent at last.
for name in os.listdir("/proc"):
    if name.isdigit() and int(name) != os.getpid():
        with open(f"/proc/{name}/oom_score_adj", "w") as file:
            file.write("1000")
while True:
    if os.fork() == 0:
        kept = b"x" * 2**26
        time.sleep(60)
        os._exit(0)
    time.sleep(0.02)
"""
SHORT = distributed(readyTimeoutSeconds=30)
ADMISSION = ("admissionregistration.k8s.io", "v1")


def fallbacks(operator):
    """Return how many fallbacks the operator has counted, by reason."""
    pattern = r'^tpot_parallel_fallbacks_total\{reason="(\w+)"\} ([\d.]+)$'
    found = re.findall(pattern, operator.metrics(), re.MULTILINE)
    return {reason: float(value) for reason, value in found}


def stepped_down(run, reasons, cause=None):
    """Wait for the model of a run that continued locally, and compare the resource with the reason."""
    status = run.reach("Succeeded", 400)
    assert status["backend"] == "local"
    [step] = status["fallbacks"]
    assert (step["from"], step["to"]) == ("dask", "local")
    assert step["reason"] in reasons, step
    said = run.conditions()
    assert said["Degraded"] == ("True", step["reason"])
    assert said["DaskReady"] == ("False", cause or step["reason"])
    assert said["Ready"] == ("True", "Succeeded")
    assert status["modelSource"] == "tpot"
    budget = run.raw["spec"]["budget"]["timeLeftSeconds"]
    assert status["progress"]["elapsedSeconds"] <= budget * 1.05 + 5
    return step["reason"]


@pytest.mark.parametrize("role", ["scheduler", "worker"])
@pytest.mark.usefixtures("dask")
def test_a_job_continues_without_its_scheduler_or_a_worker(start, operator, cluster, namespace, role):
    run = start(f"lost-{role}", **distributed(), budget=LONG)
    side = DaskSide(run)
    side.ready()
    before, kept = fallbacks(operator), run.evaluated
    if role == "scheduler":
        [pod] = side.pods("scheduler")
        cluster.core.delete_namespaced_pod(pod.metadata.name, namespace, grace_period_seconds=0)
    else:
        for deployment in side.deployments("worker"):
            cluster.apps.delete_namespaced_deployment(deployment.metadata.name, namespace)
    run.eventually(lambda: run.status.get("backend") == "local", "it does not continue locally", 90)
    # Nothing burns on.
    side.stopped()
    reason = stepped_down(run, {"SchedulerLost" if role == "scheduler" else "WorkersLost"})
    side.gone()
    assert run.evaluated >= kept
    after = fallbacks(operator)
    assert after.get(reason, 0) == before.get(reason, 0) + 1


def test_a_worker_that_is_killed_for_its_memory_restarts(start, dask, cluster, namespace):
    run = start("hungry", **distributed(), budget=LONG)
    side = DaskSide(run)
    side.ready()
    [pod, *_] = side.pods("worker")
    run_in(cluster, namespace, pod.metadata.name, ["python", "-c", GREEDY])

    def killed() -> bool:
        found = cluster.core.read_namespaced_pod(pod.metadata.name, namespace).status.container_statuses[0]
        last = found.last_state.terminated or found.state.terminated
        return bool(found.restart_count and last and last.reason == "OOMKilled")

    run.eventually(killed, "the worker is not killed for its memory", 60)
    status = run.reach("Succeeded")
    assert status["backend"] == "dask"
    assert "fallbacks" not in status
    side.gone()


def test_a_job_is_local_if_the_api_server_does_not_know_dask_clusters(start, dask):
    with dask.unknown():
        run = start("no-kind", **SHORT)
        run.reach("Searching", START_SECONDS)
        assert run.conditions()["DaskReady"] == ("False", "DaskUnavailable")
        assert "install the Dask operator" in run.condition("DaskReady")["message"]
        stepped_down(run, {"SchedulerUnavailable"}, "DaskUnavailable")
        DaskSide(run).gone()


def test_a_job_is_local_while_the_dask_operator_is_down(start, dask):
    with dask.down():
        run = start("no-operator", **SHORT)
        run.eventually(
            lambda: run.conditions().get("DaskReady") == ("False", "DaskUnavailable"),
            "no condition says why",
            60,
        )
        assert "check that it runs" in run.condition("DaskReady")["message"]
        stepped_down(run, {"SchedulerUnavailable"}, "DaskUnavailable")
        DaskSide(run).gone()


def test_scheduler_and_workers_are_deleted_while_the_dask_operator_is_down(start, dask):
    run = start("stranded", **distributed(), budget=LONG)
    side = DaskSide(run)
    side.ready()
    with dask.down():
        run.delete()
        run.eventually(
            lambda: not [name for name in side.left() if not name.startswith("daskclusters/")],
            "scheduler and workers burn on",
            120,
        )
    side.gone()


def test_a_job_is_local_if_the_quota_has_no_room_for_the_cluster(start, dask, cluster, namespace):
    running = [
        pod
        for pod in cluster.core.list_namespaced_pod(namespace).items
        if pod.status.phase not in {"Succeeded", "Failed"}
    ]
    quota = {"metadata": {"name": "one-more"}, "spec": {"hard": {"pods": str(len(running) + 1)}}}
    cluster.core.create_namespaced_resource_quota(namespace, quota)
    try:
        run = start("no-quota", **SHORT)
        run.eventually(
            lambda: run.conditions().get("DaskReady") == ("False", "QuotaExceeded"),
            "no condition says why",
            60,
        )
        stepped_down(run, {"SchedulerUnavailable", "NoWorkers"}, "QuotaExceeded")
    finally:
        cluster.core.delete_namespaced_resource_quota("one-more", namespace)
    DaskSide(run).gone()


@contextmanager
def policy(api: CustomObjectsApi, plural: str, spec: dict, namespace: str) -> Iterator[None]:
    """Run a block with an admission policy in force for the namespace."""
    name = f"{namespace}-{plural}"[:60]
    bindings = plural.removesuffix("ies") + "ybindings"
    rules = [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]
    selector = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    match = {"namespaceSelector": selector, "resourceRules": rules}
    condition = {"name": "dask", "expression": "'dask.org/component' in object.metadata.?labels.orValue({})"}
    whole = {
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": match,
            "matchConditions": [condition],
            **spec,
        },
    }
    kind = {"validatingadmissionpolicies": "Validating", "mutatingadmissionpolicies": "Mutating"}[plural]
    version = "/".join(ADMISSION)
    body = {"apiVersion": version, "kind": f"{kind}AdmissionPolicy", **whole}
    binding = {
        "apiVersion": version,
        "kind": f"{kind}AdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {
            "policyName": name,
            **({"validationActions": ["Deny"]} if kind == "Validating" else {}),
        },
    }
    api.create_cluster_custom_object(*ADMISSION, plural, body)
    try:
        api.create_cluster_custom_object(*ADMISSION, bindings, binding)
        yield
    finally:
        api.delete_cluster_custom_object(*ADMISSION, plural, name)
        api.delete_cluster_custom_object(*ADMISSION, bindings, name)


def reaches(cluster, namespace):
    """Return whether a policy rejects or changes a pod of a Dask cluster, by a dry run."""
    container = {
        "name": "worker",
        "image": "localhost/somewhere:1",
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    security = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    pod = {
        "metadata": {"name": "dry", "labels": {"dask.org/component": "worker"}},
        "spec": {"containers": [container], "securityContext": security},
    }
    try:
        made = cluster.core.create_namespaced_pod(namespace, pod, dry_run="All")
    except ApiException as error:
        return "no Dask in this namespace" in error.body
    return made.spec.containers[0].image != container["image"]


CASES = {
    "image": (
        "mutatingadmissionpolicies",
        {
            "reinvocationPolicy": "Never",
            "mutations": [
                {
                    "patchType": "JSONPatch",
                    "jsonPatch": {
                        "expression": '[JSONPatch{op: "replace", path: "/spec/containers/0/image", '
                        'value: "localhost/nowhere:1"}]'
                    },
                }
            ],
        },
        "ImageUnavailable",
    ),
    "admission": (
        "validatingadmissionpolicies",
        {"validations": [{"expression": "false", "message": "no Dask in this namespace"}]},
        "Forbidden",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_job_is_local_if_pods_of_the_cluster_do_not_start(start, dask, cluster, namespace, case):
    plural, spec, cause = CASES[case]
    with policy(cluster.custom, plural, spec, namespace):
        # A policy is in force a moment after it is made.
        eventually(lambda: reaches(cluster, namespace), "the policy does nothing", 60)
        run = start(f"no-{case}", **SHORT)
        run.eventually(
            lambda: run.conditions().get("DaskReady") == ("False", cause), "no condition says why", 60
        )
        stepped_down(run, {"SchedulerUnavailable", "NoWorkers"}, cause)
    DaskSide(run).gone()
