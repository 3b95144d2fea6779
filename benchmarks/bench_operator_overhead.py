"""What a TrainingJob costs in time before its first evaluation, beside a bare Job of the same image.

Both run the same local spec with the same resources. The bare Job is what somebody would write who has no
operator: `trainingjob run` on a spec from a ConfigMap, the output a folder of the pod. A TrainingJob has to
be noticed, resolved and given its children first, and its trainer reads and writes the report and asks the
bucket whether it may write there. The figure is what the operator asks of a user's patience.

Both sides are measured by the same two clocks: from just before the request that creates them (here) to the
trainer's own log entry that the first pipeline has been evaluated (microseconds, the node's). Where these
clocks differ, they differ for both. The sides take turns, and who begins alternates.

At the end one TrainingJob runs to its end, and what was written for it is counted.

KUBECONFIG names a cluster that has both images; the variables are those of the end-to-end tests.
"""

import contextlib
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

from kubernetes import client

from kit import (
    Cluster,
    definition,
    describe,
    eventually,
    options,
    spread,
    throw_away_cluster,
    verdict,
    writes,
)

# isort: split
# By the path that `kit` has set.
from e2e.kit.bucket import Bucket, open_bucket
from e2e.kit.installation import Installation
from e2e.kit.jobs import QUICK, Run

from trainingjob_api import API_VERSION, KIND

MOST_SECONDS = 3.0
MOST_WRITES = 30
PATIENCE_SECONDS = 180
LIFE_SECONDS = 300
IMAGE = os.environ.get("E2E_TRAINER_IMAGE") or "localhost/trainingjob-trainer:dev"
SPEC_FILE = "/etc/job/job.yaml"


@dataclass(frozen=True, slots=True)
class Start:
    """Seconds from the request until the trainer's first word, and until its first evaluation."""

    word: float
    evaluation: float


def main() -> None:
    """Measure, print, clean up."""
    asked = options(__doc__, runs=7)
    runs = 2 if asked.quick else asked.runs
    with throw_away_cluster() as cluster, definition(cluster), place(cluster) as (namespace, bucket):
        print(f"seed: 0 (spec.randomState); {runs} runs a side and one before them that does not count")
        describe(cluster, "kopf", "tpot", "distributed", "scikit-learn")
        print(f"trainer's image: {IMAGE}")
        found: dict[str, list[Start]] = {"TrainingJob": [], "bare Job": []}
        for number in range(runs + 1):
            sides = [("TrainingJob", with_operator), ("bare Job", without)]
            for name, side in sides if number % 2 else reversed(sides):
                start = side(cluster, namespace, bucket, number)
                if number:
                    found[name].append(start)
        life = a_life(cluster, namespace, bucket)
    tell(found, life)


def tell(found: dict[str, list[Start]], life: Counter[str]) -> None:
    """Print the figures."""
    for name, starts in found.items():
        print(f"{name}, until the trainer's first word: {spread([each.word for each in starts], 's', 2)}")
        print(f"{name}, until the first evaluation: {spread([each.evaluation for each in starts], 's', 2)}")
    more = median(each.evaluation for each in found["TrainingJob"]) - median(
        each.evaluation for each in found["bare Job"]
    )
    for name, count in sorted(life.items()):
        print(f"API writes in a life of {QUICK['budget']['timeLeftSeconds']} s, {name}: {count}")
    met = [
        verdict("overhead", more, MOST_SECONDS, "s"),
        verdict("API writes in a life", life.total(), MOST_WRITES, ""),
    ]
    sys.exit(0 if all(met) else 1)


def with_operator(cluster: Cluster, namespace: str, bucket: Bucket, number: int) -> Start:
    """Measure a TrainingJob."""
    begin = time.time()
    run = Run(cluster, namespace, bucket, f"measured-{number}", {"parallelMode": "local"})
    try:
        return first_evaluation(cluster, namespace, begin, lambda: run.pods)
    finally:
        run.delete()
        run.gone()


def without(cluster: Cluster, namespace: str, _bucket: Bucket, number: int) -> Start:
    """Measure a bare Job."""
    name = f"bare-{number}"
    spec = QUICK | {"parallelMode": "local", "output": {"uri": "file:///tmp/out"}}
    manifest = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": spec}
    cluster.core.create_namespaced_config_map(
        namespace, {"metadata": {"name": name}, "data": {"job.yaml": json.dumps(manifest)}}
    )
    begin = time.time()
    cluster.batch.create_namespaced_job(namespace, bare_job(name))

    def pods() -> list[dict[str, Any]]:
        listing = cluster.core.list_namespaced_pod(namespace, label_selector=f"job-name={name}")
        found: list[dict[str, Any]] = cluster.plain(listing)["items"]
        return found

    try:
        return first_evaluation(cluster, namespace, begin, pods)
    finally:
        cluster.batch.delete_namespaced_job(name, namespace, propagation_policy="Background")
        cluster.core.delete_namespaced_config_map(name, namespace)
        eventually(lambda: not pods(), f"the pod of {name} does not go", PATIENCE_SECONDS)


def bare_job(name: str) -> dict[str, Any]:
    """Return a Job with the image, resources and security of an operator's, and nothing else of it."""
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
    pod = {
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
    return {"metadata": {"name": name}, "spec": {"backoffLimit": 0, "template": {"spec": pod}}}


def first_evaluation(
    cluster: Cluster, namespace: str, begin: float, pods: Callable[[], list[dict[str, Any]]]
) -> Start:
    """Wait until the log of the one pod tells of an evaluation."""

    def look() -> Start | None:
        found = pods()
        if not found:
            return None
        assert found[0]["status"].get("phase") != "Failed", found[0]["status"]
        entries = list(log_entries(cluster, namespace, found[0]["metadata"]["name"]))
        for entry in entries:
            if entry["event"] == "progress" and entry["evaluated"] > 0:
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


def a_life(cluster: Cluster, namespace: str, bucket: Bucket) -> Counter[str]:
    """Run a TrainingJob to its end and count what the operator has written for it."""
    before = writes(cluster)
    run = Run(cluster, namespace, bucket, "life", {"parallelMode": "local"})
    status = run.reach("Succeeded", LIFE_SECONDS)
    assert status["progress"]["evaluated"] > 1, status
    since = writes(cluster) - before
    found = Counter({"children": 6, "events": len(cluster.events(namespace, run.uid))})
    # Of these the operator is the only one who writes.
    assert since["roles", "POST"] == since["rolebindings", "POST"] == 1, since
    found["status"] = since["trainingjobs/status", "PATCH"]
    run.delete()
    run.gone()
    return found


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
        for each in (namespace, system):
            cluster.delete_namespace(each)


if __name__ == "__main__":
    main()
