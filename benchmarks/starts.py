"""What is common to the benchmarks of a start: from a request to a trainer's first evaluation."""

import contextlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from kubernetes import client

from kit import Cluster, eventually, spread

# isort: split
# By the path that `kit` has set.
from e2e.kit.bucket import Bucket, open_bucket
from e2e.kit.installation import Installation
from e2e.kit.jobs import QUICK, merged

from trainingjob_api import API_VERSION, KIND

__all__ = [
    "IMAGE",
    "Start",
    "first_evaluation",
    "place",
    "pod_spec",
    "pods_of",
    "spec_in",
    "take_turns",
    "tell_starts",
    "without",
]

PATIENCE_SECONDS = 240
IMAGE = os.environ.get("E2E_TRAINER_IMAGE") or "localhost/trainingjob-trainer:dev"
SPEC_FILE = "/etc/job/job.yaml"


@dataclass(frozen=True, slots=True)
class Start:
    """Seconds from the request until the trainer's first word, and until its first evaluation."""

    word: float
    evaluation: float


def take_turns(sides: dict[str, Callable[[int], Start]], runs: int) -> dict[str, list[Start]]:
    """Measure each side so many times, and once before that does not count; who begins changes."""
    found: dict[str, list[Start]] = {name: [] for name in sides}
    names = list(sides)
    for number in range(runs + 1):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            start = sides[name](number)
            if number:
                found[name].append(start)
    return found


def tell_starts(found: dict[str, list[Start]]) -> None:
    """Print how long each side took."""
    for name, starts in found.items():
        print(f"{name}, until the trainer's first word: {spread([start.word for start in starts], 's', 2)}")
        print(f"{name}, until the first evaluation: {spread([start.evaluation for start in starts], 's', 2)}")


@contextlib.contextmanager
def spec_in(cluster: Cluster, namespace: str, name: str, **change: Any) -> Iterator[None]:
    """Run a block while a ConfigMap holds a TrainingJob whose output is a folder of the pod."""
    spec = merged(QUICK | {"parallelMode": "local", "output": {"uri": "file:///tmp/out"}}, change)
    manifest = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": spec}
    cluster.core.create_namespaced_config_map(
        namespace, {"metadata": {"name": name}, "data": {"job.yaml": json.dumps(manifest)}}
    )
    try:
        yield
    finally:
        cluster.core.delete_namespaced_config_map(name, namespace)


def pods_of(cluster: Cluster, namespace: str, selector: str) -> list[dict[str, Any]]:
    """Return the pods that a selector finds."""
    listing = cluster.core.list_namespaced_pod(namespace, label_selector=selector)
    found: list[dict[str, Any]] = cluster.plain(listing)["items"]
    return found


def without(cluster: Cluster, namespace: str, number: int, **change: Any) -> Start:
    """Measure a bare Job."""
    name = f"bare-{number}"
    pods = partial(pods_of, cluster, namespace, f"job-name={name}")
    with spec_in(cluster, namespace, name, **change):
        begin = time.time()
        cluster.batch.create_namespaced_job(namespace, bare_job(name))
        try:
            return first_evaluation(cluster, namespace, begin, pods)
        finally:
            cluster.batch.delete_namespaced_job(name, namespace, propagation_policy="Background")
            eventually(lambda: not pods(), f"the pod of {name} does not go", PATIENCE_SECONDS)


def bare_job(name: str) -> dict[str, Any]:
    """Return a Job with the image, resources and security of an operator's, and nothing else of it."""
    return {"metadata": {"name": name}, "spec": {"backoffLimit": 0, "template": {"spec": pod_spec(name)}}}


def pod_spec(name: str) -> dict[str, Any]:
    """Return a pod that runs the spec of a ConfigMap."""
    container = {
        "name": "trainer",
        "image": IMAGE,
        "imagePullPolicy": os.environ.get("E2E_PULL_POLICY") or "IfNotPresent",
        "command": ["trainingjob", "run", SPEC_FILE, "--log-format", "json", "--work-dir", "/tmp/work"],  # noqa: S108
        "resources": {
            "requests": {"cpu": "100m", "memory": "1280Mi"},
            "limits": {"cpu": "2", "memory": "2560Mi"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [
            {"name": "spec", "mountPath": "/etc/job", "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  # a volume of the pod's own
        ],
    }
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [{"name": "spec", "configMap": {"name": name}}, {"name": "tmp", "emptyDir": {}}],
    }


def first_evaluation(
    cluster: Cluster,
    namespace: str,
    begin: float,
    pods: Callable[[], list[dict[str, Any]]],
    backend: str = "local",
) -> Start:
    """Wait until the log of the one pod tells of an evaluation, and hold where it was made."""

    def look() -> Start | None:
        found = pods()
        if not found:
            return None
        assert found[0]["status"].get("phase") != "Failed", found[0]["status"]
        entries = list(log_entries(cluster, namespace, found[0]["metadata"]["name"]))
        where = ""
        for entry in entries:
            where = entry.get("backend", where)
            if entry["event"] == "progress" and entry["evaluated"] > 0:
                assert where == backend, f"it was evaluated on {where}"
                return Start(seconds(entries[0]) - begin, seconds(entry) - begin)
        return None

    found = eventually(look, "no pipeline has been evaluated", PATIENCE_SECONDS)
    assert found is not None
    return found


def log_entries(cluster: Cluster, namespace: str, pod: str) -> Iterator[dict[str, Any]]:
    """Yield the JSON lines of a pod's log."""
    try:
        text = cluster.core.read_namespaced_pod_log(pod, namespace)
    except client.ApiException:
        # Its container is not there yet.
        return
    for line in text.splitlines():
        with contextlib.suppress(ValueError):
            yield json.loads(line)


def seconds(entry: dict[str, Any]) -> float:
    """Return when a log entry was written, in seconds since 1970."""
    return datetime.fromisoformat(entry["time"]).timestamp()


@contextlib.contextmanager
def place(cluster: Cluster) -> Iterator[tuple[str, Bucket]]:
    """Yield a namespace that an operator minds, and a bucket that it knows."""
    environment = dict(os.environ)
    namespace = cluster.make_namespace(f"bench-{os.urandom(3).hex()}")
    system = cluster.make_namespace(f"{namespace}-system")
    made = Installation(cluster, system, [namespace], environment)
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            open_bucket(cluster, Path(folder), environment) as bucket,
        ):
            bucket.share(cluster, namespace)
            made.install()
            yield namespace, bucket
    finally:
        made.uninstall()
        for name in (namespace, system):
            cluster.delete_namespace(name)
