"""Fixtures that read the manifests of gitops/, and the fields that these may have."""

from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]

_SYNC = {
    "automated": {"prune": bool, "selfHeal": bool},
    "syncOptions": [str],
    "managedNamespaceMetadata": {"labels": dict},
    "retry": {"limit": int, "backoff": {"duration": str, "factor": int, "maxDuration": str}},
}
_APPLICATION = {
    "project": str,
    "source": {
        "repoURL": str,
        "targetRevision": str,
        "path": str,
        "helm": {"releaseName": str, "skipTests": bool, "valueFiles": [str], "valuesObject": dict},
    },
    "destination": {"server": str, "namespace": str},
    "syncPolicy": _SYNC,
}
_METADATA = {"name": str, "namespace": str, "labels": dict, "annotations": dict, "finalizers": [str]}
_KIND = {"group": str, "kind": str}
_GIT = {
    "git": {
        "repoURL": str,
        "revision": str,
        "pathParamPrefix": str,
        "files": [{"path": str}],
        "directories": [{"path": str}],
    }
}
_NAME = {"name": str}
_STRATEGY = {"name": str, "retryInterval": str}

# From the CRDs of Argo CD 3.6 and of Flux' controllers of mid-2026 (helm-controller 1.6): of each kind
# the fields that are used here.
SPECS = {
    "argoproj.io/v1alpha1 AppProject": {
        "description": str,
        "sourceRepos": [str],
        "destinations": [{"server": str, "namespace": str}],
        "clusterResourceWhitelist": [_KIND],
        "namespaceResourceWhitelist": [_KIND],
    },
    "argoproj.io/v1alpha1 ApplicationSet": {
        "goTemplate": bool,
        "goTemplateOptions": [str],
        "generators": [{**_GIT, "matrix": {"generators": [_GIT]}}],
        "syncPolicy": {"preserveResourcesOnDeletion": bool},
        "template": {"metadata": _METADATA, "spec": _APPLICATION},
    },
    "argoproj.io/v1alpha1 Application": _APPLICATION,
    "source.toolkit.fluxcd.io/v1 GitRepository": {
        "interval": str,
        "url": str,
        "ref": {"branch": str, "name": str},
        "ignore": str,
    },
    "kustomize.toolkit.fluxcd.io/v1 Kustomization": {
        "dependsOn": [_NAME],
        "interval": str,
        "retryInterval": str,
        "timeout": str,
        "path": str,
        "targetNamespace": str,
        "prune": bool,
        "force": bool,
        "wait": bool,
        "healthCheckExprs": [
            {"apiVersion": str, "kind": str, "failed": str, "current": str, "inProgress": str}
        ],
        "sourceRef": {"kind": str, "name": str},
        "postBuild": {"substitute": dict},
    },
    "helm.toolkit.fluxcd.io/v2 HelmRelease": {
        "interval": str,
        "timeout": str,
        "dependsOn": [_NAME],
        "releaseName": str,
        "targetNamespace": str,
        "storageNamespace": str,
        "maxHistory": int,
        "chart": {
            "spec": {
                "chart": str,
                "reconcileStrategy": str,
                "sourceRef": {"kind": str, "name": str},
                "valuesFiles": [str],
            }
        },
        "valuesFrom": [{"kind": str, "name": str}],
        "values": dict,
        "install": {"createNamespace": bool, "strategy": _STRATEGY, "remediation": {"retries": int}},
        "upgrade": {
            "cleanupOnFail": bool,
            "strategy": _STRATEGY,
            "remediation": {"retries": int, "strategy": str, "remediateLastFailure": bool},
        },
        "rollback": {"cleanupOnFail": bool},
        "driftDetection": {"mode": str},
    },
}


def unknown_fields(value, allowed, path=""):
    """Yield a message for each part of *value* that *allowed* does not have, or has of another type."""
    if isinstance(allowed, type):
        if not isinstance(value, allowed) or (allowed is int and isinstance(value, bool)):
            yield f"{path}: {value!r} is no {allowed.__name__}"
    elif isinstance(allowed, list) and isinstance(value, list):
        for number, item in enumerate(value):
            yield from unknown_fields(item, allowed[0], f"{path}[{number}]")
    elif isinstance(allowed, dict) and isinstance(value, dict):
        for key, part in value.items():
            if key in allowed:
                yield from unknown_fields(part, allowed[key], f"{path}.{key}")
            else:
                yield f"{path}.{key}: there is no such field"
    else:
        yield f"{path}: {value!r} is of another form"


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="session")
def read():
    """Return a function that gives the documents of a file below the repository's root."""

    def documents(path):
        return [
            document for document in yaml.safe_load_all((ROOT / path).read_text(encoding="utf-8")) if document
        ]

    return documents


@pytest.fixture(scope="session")
def problems():
    """Return a function that lists what is wrong with the fields of a manifest."""

    def found(manifest):
        kind = f"{manifest['apiVersion']} {manifest['kind']}"
        extra = set(manifest) - {"apiVersion", "kind", "metadata", "spec"}
        return [
            *sorted(extra),
            *unknown_fields(manifest["metadata"], _METADATA, "metadata"),
            *unknown_fields(manifest["spec"], SPECS[kind], "spec"),
        ]

    return found


@pytest.fixture(scope="session")
def rendered():
    """Return a function that renders a chart and gives its manifests."""
    helm = pytest.importorskip("helm_python", reason="helm-python-sdk carries Helm")

    def manifests(chart, values, *, name="trainingjob-operator", namespace):
        with helm.Chart.load(str(ROOT / chart)) as loaded:
            files = loaded.render(values, name=name, namespace=namespace)
        texts = [text for path, text in sorted(files.items()) if path.endswith(".yaml")]
        return [document for text in texts for document in yaml.safe_load_all(text) if document]

    return manifests


@pytest.fixture(scope="session")
def merged():
    """Return a function that lays mappings over each other as Helm does with values."""

    def over(*layers):
        result = {}
        for layer in layers:
            for key, value in layer.items():
                both = isinstance(value, dict) and isinstance(result.get(key), dict)
                result[key] = over(result[key], value) if both else value
        return result

    return over
