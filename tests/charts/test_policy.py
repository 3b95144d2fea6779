"""Security rules for all pods of charts and operator; each exception has its reason.

The rules are those of the restricted level and of the usual scanners, as far as they concern manifests.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from support.charts import CASES, OPERATOR, ROOT, manifests, pods

DASK = "trainingjob-operator-dask-operator"
TEST = "trainingjob-operator-test"

EXCEPTIONS = {
    ("trainingjob-operator", "token"): "it talks to the API server",
    (TEST, "token"): "it makes a TrainingJob",
    (TEST, "probes"): "a pod that runs once is watched by helm test",
    (
        DASK,
        "token",
    ): "it talks to the API server; its chart, not ours, leaves the mount to Kubernetes' default",
    (DASK, "probes"): "its chart has no readiness probe and no way to set one",
    ("trainer", "token"): "it patches the one ConfigMap that holds its report",
    (
        "trainer",
        "probes",
    ): "a Job's pod serves no requests; the operator reads its report, the trainer supervises itself",
}


def findings(pod: dict[str, Any]) -> Iterator[str]:
    """Yield the name of each rule that *pod* breaks."""
    security = pod.get("securityContext", {})
    if not security.get("runAsNonRoot") or security.get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield "pod security"
    if any(pod.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")):
        yield "host"
    if pod.get("automountServiceAccountToken") is not False:
        yield "token"
    for volume in pod.get("volumes", []):
        if "emptyDir" in volume and "sizeLimit" not in volume["emptyDir"]:
            yield "volume size"
        if not set(volume) - {"name"} <= {
            "emptyDir",
            "configMap",
            "secret",
            "projected",
            "persistentVolumeClaim",
        }:
            yield "volume kind"
    for container in (*pod["containers"], *pod.get("initContainers", [])):
        yield from _container(container)


def _container(container: dict[str, Any]) -> Iterator[str]:
    own = container.get("securityContext", {})
    if own.get("allowPrivilegeEscalation") is not False or own.get("capabilities") != {"drop": ["ALL"]}:
        yield "privileges"
    if not own.get("readOnlyRootFilesystem"):
        yield "read-only root"
    if own.get("privileged") or own.get("runAsUser") == 0:
        yield "root"
    resources = container.get("resources", {})
    if not {"cpu", "memory"} <= set(resources.get("requests", {})) or "memory" not in resources.get(
        "limits", {}
    ):
        yield "resources"
    name = container["image"].rpartition("/")[2]
    if "@sha256:" not in name and (":" not in name or name.endswith(":latest")):
        yield "image"
    if not {"livenessProbe", "readinessProbe"} <= set(container):
        yield "probes"
    for variable in container.get("env", []):
        word = variable["name"].upper()
        if "value" in variable and any(part in word for part in ("SECRET_ACCESS", "PASSWORD", "TOKEN")):
            yield "secret in the environment"
    for mount in container.get("volumeMounts", []):
        if mount["mountPath"].startswith(("/var/run/docker", "/proc", "/sys", "/etc/kubernetes")):
            yield "mount"


def subjects() -> list[Any]:
    found = [
        pytest.param(name, pod, id=f"{case}-{name}")
        for case in CASES
        for name, pod in pods(manifests(OPERATOR, CASES[case]))
    ]
    for golden in sorted((ROOT / "tests/operator/golden").glob("job-*.yaml")):
        job = yaml.safe_load(golden.read_text())
        found.append(pytest.param("trainer", job["spec"]["template"]["spec"], id=golden.stem))
    return found


@pytest.mark.parametrize(("name", "pod"), subjects())
def test_each_pod_follows_the_security_rules(name, pod):
    broken = sorted(rule for rule in set(findings(pod)) if (name, rule) not in EXCEPTIONS)
    assert not broken


def test_no_exception_is_idle():
    used = {(subject.values[0], rule) for subject in subjects() for rule in findings(subject.values[1])}
    assert set(EXCEPTIONS) == used & set(EXCEPTIONS)


@pytest.mark.parametrize("case", CASES)
def test_each_object_follows_the_security_rules(case):
    documents = manifests(OPERATOR, CASES[case])
    for manifest in documents:
        where = f"{manifest['kind']} {manifest['metadata']['name']}"
        assert manifest["kind"] not in {
            "Secret",
            "MutatingWebhookConfiguration",
            "ValidatingWebhookConfiguration",
        }, where
        if manifest["kind"] == "ClusterRoleBinding":
            assert manifest["roleRef"]["name"].startswith("trainingjob-system:"), where
        if manifest["kind"] == "Service":
            assert manifest["spec"].get("type", "ClusterIP") == "ClusterIP", where
        for rule in manifest.get("rules", []):
            assert not {"escalate", "bind", "impersonate", "*"} & set(rule["verbs"]), where
            assert not {"*", "pods/exec", "pods/attach", "nodes"} & set(rule["resources"]), where
    # The Dask operator's chart sets none, and Helm puts it where the release is.
    bare = [manifest for manifest in documents if "namespace" not in manifest["metadata"]]
    clustered = ("ClusterRole", "ClusterRoleBinding", "ValidatingAdmission")
    assert all(
        manifest["kind"].startswith(clustered) or "dask" in manifest["metadata"]["name"] for manifest in bare
    )


WORST = {
    "hostNetwork": True,
    "volumes": [{"name": "a", "emptyDir": {}}, {"name": "b", "hostPath": {"path": "/"}}],
    "containers": [
        {
            "name": "c",
            "image": "registry:5000/x",
            "securityContext": {"privileged": True},
            "env": [{"name": "DB_PASSWORD", "value": "x"}],
            "volumeMounts": [{"name": "b", "mountPath": "/proc/x"}],
        }
    ],
}


def test_every_rule_can_be_broken():
    assert set(findings(WORST)) == {
        "pod security",
        "host",
        "token",
        "volume size",
        "volume kind",
        "privileges",
        "read-only root",
        "root",
        "resources",
        "image",
        "probes",
        "secret in the environment",
        "mount",
    }
