"""Rendering of the charts, offline, and the values that they are rendered with."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

helm = pytest.importorskip("helm_python", reason="helm-python-sdk carries Helm")

ROOT = Path(__file__).parents[2]
OPERATOR = ROOT / "helm/trainingjob-operator"
CRDS = ROOT / "helm/trainingjob-crds"
OVERLAYS = sorted((ROOT / "helm/environments").glob("*.yaml"))

FULL: dict[str, Any] = {
    "image": {"repository": "registry.example/operator", "digest": f"sha256:{'0' * 64}"},
    "trainer": {"image": {"repository": "registry.example/trainer", "tag": "1.2.3"}, "maxRows": 12_000_000},
    "imagePullSecrets": [{"name": "pull"}],
    "namespaces": ["team-b", "team-a"],
    "operatorClass": "canary",
    "automl": {"enabled": True, "fallback": False, "rolloutPercent": 0},
    "defaults": {
        "parallelMode": "none",
        "generations": 20,
        "populationSize": 32,
        "timeLeftSeconds": 900,
        "perRunLimitSeconds": 30,
        "metric": "f1",
        "cvFolds": 3,
        "searchSpace": '{"type": "choice"}',
        "nJobs": 2,
        "memoryLimitMb": 2048,
        "daskSchedulerFile": "/run/scheduler.json",
    },
    "output": {"uri": "s3://models", "endpoint": "https://minio.example", "credentialsSecret": "minio"},
    "cloud": {"googleMetadata": True, "azureAccount": "models"},
    "s3": {
        "endpoint": "https://minio.example",
        "allowedEndpoints": ["minio.example", "S3.example"],
        "caConfigMap": "company-ca",
        "region": "eu-west-1",
        "allowHttps": True,
        "allowPrivateEndpoints": False,
        "allowPrivateHttps": True,
    },
    "metrics": {
        "jobLabel": True,
        "service": {"port": 9090, "annotations": {"note": "on"}},
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
    },
    "daskOperator": {"enabled": True},
    "networkPolicy": {
        "from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
    },
    "admission": {
        "enabled": True,
        "namespaceSelector": {"matchLabels": {"team": "ml"}},
        "limits": {
            "timeLeftSeconds": 3600,
            "perRunLimitSeconds": 300,
            "generations": 100,
            "populationSize": 200,
            "cvFolds": 10,
            "nJobs": 8,
            "memoryLimitMb": 8192,
            "workers": 16,
            "activeDeadlineSeconds": 7200,
            "backoffLimit": 3,
        },
        "datasets": ["s3://datasets", "s3://shared/tables/", "sample://"],
        "outputs": ["s3://models"],
        "priorityClasses": ["low", "batch"],
    },
    "test": {"spec": {"budget": {"generations": 2}, "output": {"leaderboardTopK": 3}}},
    "resyncSeconds": 12.5,
    "priorityClassName": "high",
    "nodeSelector": {"kubernetes.io/arch": "amd64"},
    "tolerations": [{"key": "infra", "operator": "Exists"}],
    "podAnnotations": {"note": "on"},
    "podLabels": {"team": "ml"},
    "extraEnv": [{"name": "TZ", "value": "UTC"}],
}
"""Everything that is off by default, turned on."""

CASES: dict[str, dict[str, Any]] = {
    "default": {},
    "full": FULL,
    "cluster-wide": {"clusterWide": True, "daskOperator": {"enabled": True}},
    **{path.stem: yaml.safe_load(path.read_text()) for path in OVERLAYS},
}


def rendered(
    chart: Path,
    values: dict[str, Any] | None = None,
    *,
    name: str = "trainingjob-operator",
    namespace: str = "trainingjob-system",
) -> dict[str, str]:
    """Return template path and text of each file that is rendered to something."""
    with helm.Chart.load(str(chart)) as loaded:
        files = loaded.render(values or {}, name=name, namespace=namespace)
    return {path: text for path, text in sorted(files.items()) if text.strip()}


def manifests(chart: Path, values: dict[str, Any] | None = None, **release: str) -> list[dict[str, Any]]:
    """Return each object that is rendered, tests included, as Kubernetes would read it."""
    return [
        document
        for path, text in rendered(chart, values, **release).items()
        if path.endswith(".yaml")
        for document in yaml.safe_load_all(text)
        if document
    ]


def named(kind: str, name: str, documents: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the one object of that kind and name."""
    (found,) = [
        manifest for manifest in documents if (manifest["kind"], manifest["metadata"]["name"]) == (kind, name)
    ]
    return found


def operator_pod(documents: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the spec of the operator's pod."""
    (found,) = [
        manifest["spec"]["template"]
        for manifest in documents
        if manifest["kind"] == "Deployment"
        and manifest["spec"]["template"]["metadata"]["labels"].get("app.kubernetes.io/component")
        == "operator"
    ]
    return found["spec"]


def environment(documents: list[dict[str, Any]]) -> dict[str, str]:
    """Return the environment of the operator's container."""
    (container,) = operator_pod(documents)["containers"]
    return {variable["name"]: variable["value"] for variable in container["env"]}


def rights(rules: list[dict[str, Any]]) -> set[tuple[str, str, str]]:
    """Return what *rules* allow as (API group, resource, verb)."""
    return {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def pods(documents: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """Return name and spec of each pod, whatever makes it."""
    found = []
    for manifest in documents:
        if manifest["kind"] == "Pod":
            found.append((manifest["metadata"]["name"], manifest["spec"]))
        elif manifest["kind"] == "Deployment":
            found.append((manifest["metadata"]["name"], manifest["spec"]["template"]["spec"]))
    return found


def job_of_the_test(documents: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the TrainingJob that ``helm test`` makes."""
    (found,) = [
        manifest
        for manifest in documents
        if manifest["kind"] == "ConfigMap" and "job.json" in manifest["data"]
    ]
    return json.loads(found["data"]["job.json"])


def documented(mark: str) -> set[tuple[str, str, str]]:
    """Return the rights in the table of docs/security.md that stands below the comment with *mark*."""
    text = (ROOT / "docs/security.md").read_text()
    table = text.partition(f"<!-- rights: {mark} -->\n")[2].partition("\n\n")[0]
    found = set()
    for line in table.splitlines()[2:]:
        group, resources, verbs = (cell.strip() for cell in line.strip("|").split("|")[:3])
        for resource in re.findall(r"`([a-z/]+)`", resources):
            found |= {(group.strip("`"), resource, verb) for verb in verbs.split(", ")}
    assert found, f"docs/security.md has no table of rights marked {mark!r}"
    return found
