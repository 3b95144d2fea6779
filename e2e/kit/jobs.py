"""TrainingJobs of the tests: small enough for a laptop's cluster."""

import copy
from collections.abc import Callable
from typing import Any

from e2e.kit.bucket import BUCKET, SECRET, Bucket
from e2e.kit.cluster import Cluster
from e2e.kit.waiting import eventually

from trainingjob_api import API_VERSION, KIND

__all__ = ["Run", "merged", "models_of", "output_of"]

START_SECONDS = 150
"""From creation to the first evaluation: scheduling, imports, the baseline."""
STOP_SECONDS = 120

QUICK: dict[str, Any] = {
    "dataset": {"uri": "sample://breast_cancer"},
    "targetColumn": "target",
    "budget": {
        "timeLeftSeconds": 20,
        "perRunLimitSeconds": 10,
        "generations": 100,
        "populationSize": 8,
        "cvFolds": 3,
    },
    "nJobs": 1,
    "memoryLimitMb": 1024,
    "trainer": {"resources": {"requests": {"cpu": "100m"}, "limits": {"cpu": "2"}}},
}


def merged(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """Return *base* with *change* merged into it; ``None`` removes."""
    result = copy.deepcopy(base)
    for key, value in change.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merged(result[key], value)
        else:
            result[key] = value
    return result


def models_of(namespace: str) -> str:
    """Return where in the bucket a namespace's models are."""
    return f"{namespace}/models"


def output_of(bucket: Bucket, namespace: str) -> dict[str, Any]:
    """Return ``spec.output`` of a namespace's jobs."""
    return {
        "uri": f"s3://{BUCKET}/{models_of(namespace)}",
        "endpoint": bucket.endpoint,
        "credentialsSecretRef": {"name": SECRET},
    }


class Run:
    """A TrainingJob in the cluster, its pods and its results.

    Parameters
    ----------
    cluster, namespace, bucket
        Where.
    name
        Its name.
    change
        Merged into the quick spec.
    labels
        Of the resource.
    """

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        bucket: Bucket,
        name: str,
        change: dict[str, Any],
        *,
        labels: dict[str, str] | None = None,
    ) -> None:
        self.cluster, self.namespace, self.bucket, self.name = cluster, namespace, bucket, name
        prefix = models_of(namespace)
        output = output_of(bucket, namespace)
        made = cluster.apply(
            namespace,
            {
                "apiVersion": API_VERSION,
                "kind": KIND,
                "metadata": {"name": name, "labels": labels or {}},
                "spec": merged(QUICK | {"output": output}, change),
            },
        )
        self.uid: str = made["metadata"]["uid"]
        self.folder = f"{prefix}/{name}-{self.uid[:8]}/"
        self.latest = f"{prefix}/{name}/latest.json"

    @property
    def raw(self) -> dict[str, Any]:
        """The resource; empty if it is gone."""
        return self.cluster.read(self.namespace, self.name) or {}

    @property
    def status(self) -> dict[str, Any]:
        """Its status."""
        return self.raw.get("status") or {}

    @property
    def phase(self) -> str:
        """Its phase."""
        return self.status.get("phase", "")

    @property
    def job(self) -> dict[str, Any] | None:
        """Its batch Job."""
        return self.cluster.job(self.namespace, self.uid)

    @property
    def pods(self) -> list[dict[str, Any]]:
        """Its pods, the oldest first."""
        return self.cluster.pods(self.namespace, self.uid)

    @property
    def evaluated(self) -> int:
        """Number of evaluations in the status."""
        return (self.status.get("progress") or {}).get("evaluated", 0)

    @property
    def outcomes(self) -> list[str]:
        """Outcomes of its attempts, in their order."""
        return [attempt.get("outcome", "") for attempt in self.status.get("attemptHistory") or ()]

    def condition(self, kind: str) -> dict[str, Any]:
        """Return a condition of the status."""
        found = self.status.get("conditions") or []
        return next((condition for condition in found if condition["type"] == kind), {})

    def conditions(self) -> dict[str, tuple[str, str]]:
        """Return status and reason of every condition."""
        found = self.status.get("conditions") or []
        return {condition["type"]: (condition["status"], condition["reason"]) for condition in found}

    def eventually(self, look: Callable[[], Any], what: str, seconds: float) -> Any:
        """Wait for *look*; a failure shows the status."""
        return eventually(look, lambda: f"{what}; the status is {self.status}", seconds)

    def reach(self, phase: str, seconds: float = 300) -> dict[str, Any]:
        """Wait for a phase and return the status; a job that ends otherwise fails at once."""

        def there() -> dict[str, Any]:
            status = self.status
            now = status.get("phase")
            assert now == phase or now not in {"Succeeded", "Failed"}, f"{now} instead of {phase}: {status}"
            return status if now == phase else {}

        return self.eventually(there, f"{self.name} is not {phase}", seconds)

    def reach_search(self) -> None:
        """Wait until evaluations are in the journal in the bucket."""
        self.reach("Searching", START_SECONDS)
        # Its first line is the header.
        self.eventually(lambda: len(self.journal()) > 2, "no evaluations in the bucket", START_SECONDS)

    def journal(self) -> list[str]:
        """Return the lines of the journal in the bucket."""
        content = self.bucket.get(f"{self.folder}.state/journal.jsonl") or b""
        return content.decode().splitlines()

    def suspend(self) -> None:
        """Set ``spec.suspend``."""
        self.cluster.patch(self.namespace, self.name, {"suspend": True})

    def resume(self) -> None:
        """Unset ``spec.suspend``."""
        self.cluster.patch(self.namespace, self.name, {"suspend": False})

    def delete(self) -> None:
        """Delete the resource."""
        self.cluster.delete(self.namespace, self.name)

    def gone(self, seconds: float = STOP_SECONDS) -> None:
        """Wait until nothing of it is left."""

        def nothing_left() -> bool:
            return not self.raw and not self.cluster.children(self.namespace, self.uid)

        def what_is_left() -> str:
            return f"still there: {self.cluster.children(self.namespace, self.uid)}"

        eventually(nothing_left, what_is_left, seconds)
