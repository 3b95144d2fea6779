"""Keeps resources, events and logs of a failed test below e2e/.out."""

import re
import shutil
from pathlib import Path
from typing import Any

import yaml
from e2e.kit.cluster import Cluster

__all__ = ["OUT", "collect"]

OUT = Path(__file__).parents[1] / ".out"


def collect(cluster: Cluster, namespaces: list[str], test: str) -> Path:
    """Write what the namespaces hold into a folder of the test's own and return it."""
    folder = OUT / re.sub(r"[^\w.-]+", "_", test)
    shutil.rmtree(folder, ignore_errors=True)
    for namespace in namespaces:
        place = folder / namespace
        place.mkdir(parents=True)
        for kind, items in _resources(cluster, namespace).items():
            text = yaml.safe_dump_all(items, sort_keys=False, allow_unicode=True)
            (place / f"{kind}.yaml").write_text(text)
        for pod in cluster.core.list_namespaced_pod(namespace).items:
            name = pod.metadata.name
            (place / f"{name}.log").write_text(cluster.log(namespace, name))
            if any(container.restart_count for container in pod.status.container_statuses or ()):
                (place / f"{name}.previous.log").write_text(cluster.log(namespace, name, previous=True))
    return folder


def _resources(cluster: Cluster, namespace: str) -> dict[str, list[Any]]:
    lists = {
        "pods": cluster.core.list_namespaced_pod,
        "configmaps": cluster.core.list_namespaced_config_map,
        "events": cluster.core.list_namespaced_event,
        "jobs": cluster.batch.list_namespaced_job,
    }
    found = {kind: cluster.plain(listing(namespace))["items"] for kind, listing in lists.items()}
    return found | {"trainingjobs": cluster.trainingjobs(namespace)}
