"""The operator as its charts install it."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import helm_python
from e2e.kit.cluster import Cluster
from e2e.kit.jobs import merged
from e2e.kit.waiting import eventually
from kubernetes import client

from trainingjob_api import GROUP, PLURAL

__all__ = ["Installation"]

HELM = Path(__file__).parents[2] / "helm"
CRDS = "trainingjob-crds"
OPERATOR = "trainingjob-operator"
DEFINITION = f"{PLURAL}.{GROUP}"
READY_SECONDS = 180
TEST_SECONDS = 300
MAX_RESTARTS = 2
SELECTOR = f"app.kubernetes.io/instance={OPERATOR}"


class Installation:
    """Definition and operator in a cluster.

    Parameters
    ----------
    cluster
        The cluster.
    namespace
        Where the operator runs.
    watched
        The namespace whose jobs it handles.
    environment
        ``E2E_OPERATOR_IMAGE``, ``E2E_TRAINER_IMAGE`` and ``E2E_PULL_POLICY``.
    change
        Values of this installation alone.
    """

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        watched: list[str],
        environment: Mapping[str, str],
        **change: Any,
    ) -> None:
        self._cluster = cluster
        self.namespace = namespace
        policy = environment.get("E2E_PULL_POLICY") or "IfNotPresent"
        operator = environment.get("E2E_OPERATOR_IMAGE") or "localhost/trainingjob-operator:dev"
        trainer = environment.get("E2E_TRAINER_IMAGE") or "localhost/trainingjob-trainer:dev"
        self.values: dict[str, Any] = {
            "image": _image(operator, policy),
            "trainer": {"image": _image(trainer, policy), "defaultWorkers": 1},
            "namespaces": watched,
            "resyncSeconds": 60,
        } | change
        self._finished = 0.0

    @contextmanager
    def _helm(self) -> Iterator[helm_python.Config]:
        with helm_python.Config(
            kubeconfig_path=self._cluster.kubeconfig,
            kube_context=self._cluster.context,
            namespace=self.namespace,
        ) as made:
            yield made

    def install(self, *, definition: bool = True) -> None:
        """Install both charts, or the operator's alone, and wait until it is ready."""
        if definition:
            self._adopt_definition()
        with self._helm() as helm:
            if definition:
                helm.install(str(HELM / CRDS), CRDS, {}, namespace=self.namespace)
                eventually(self._established, f"{DEFINITION} is not established", 60)
            helm.install(str(HELM / OPERATOR), OPERATOR, self.values, namespace=self.namespace)
        self.wait_ready()

    def upgrade(self, change: dict[str, Any]) -> None:
        """Change values without waiting, since the new pod may not start."""
        self._remember()
        with self._helm() as helm:
            helm.upgrade(
                str(HELM / OPERATOR), OPERATOR, merged(self.values, change), namespace=self.namespace
            )

    def roll_back(self, revision: int | None = None) -> None:
        """Roll back to a revision, by default the last, and wait until the operator is ready."""
        self._remember()
        with self._helm() as helm:
            helm.rollback(OPERATOR, version=revision)
        self.settled()

    def settled(self) -> None:
        """Wait until the operator of the last upgrade is ready."""
        eventually(self._rolled_out, self._why_not, READY_SECONDS)

    def crashes(self) -> None:
        """Wait until the operator has crashed and crashed again after a restart."""
        eventually(
            lambda: not self._answers() and any(map(_restarts, self._staying())),
            lambda: f"it does not crash: {[pod['status'] for pod in self.pods()]}",
            READY_SECONDS,
        )

    def test(self) -> None:
        """Run ``helm test``; raise the message of Helm if it fails."""
        with self._helm() as helm:
            # Its pod, and with it its log, is gone as soon as it has succeeded.
            helm.test(OPERATOR, timeout=TEST_SECONDS)

    def uninstall(self) -> None:
        """Uninstall the operator; the definition stays, since others may hold objects of it."""
        with self._helm() as helm:
            for name in (OPERATOR, CRDS):
                helm.uninstall(name, ignore_not_found=True)

    def pods(self) -> list[dict[str, Any]]:
        """Return the operator's pods."""
        found = self._cluster.core.list_namespaced_pod(self.namespace, label_selector=SELECTOR)
        return self._cluster.plain(found)["items"]

    def wait_ready(self) -> None:
        """Wait until the operator says that it is ready."""
        eventually(self._ready, self._why_not, READY_SECONDS)

    def kill(self) -> None:
        """Kill the operator's pod, as a node that dies does."""
        for pod in self.pods():
            self._cluster.core.delete_namespaced_pod(
                pod["metadata"]["name"], self.namespace, grace_period_seconds=0
            )

    @contextmanager
    def down(self) -> Iterator[None]:
        """Run a block without an operator, and wait afterwards until it is back."""
        self._scale(0)
        eventually(lambda: not self.pods(), "the operator does not go", 60)
        try:
            yield
        finally:
            self._scale(1)
            self.wait_ready()

    def metrics(self) -> str:
        """Return the answer of the operator at a path of its port."""
        [pod] = self._staying()
        return str(
            self._cluster.core.connect_get_namespaced_pod_proxy_with_path(
                f"{pod['metadata']['name']}:8080", self.namespace, "metrics"
            )
        )

    def finished(self) -> float:
        """Return how many jobs have ended under this release, over all its pods."""
        return self._finished + self._counted()

    def _remember(self) -> None:
        # Counters end with their pod. A pod that does not answer has seen no job end.
        if self._answers():
            self._finished += self._counted()

    def _counted(self) -> float:
        found = re.findall(r"^training_jobs_finished_total\{.*\} ([\d.]+)$", self.metrics(), re.MULTILINE)
        return sum(map(float, found))

    def _rolled_out(self) -> bool:
        """Return whether ``kubectl rollout status`` would end."""
        found = self._cluster.apps.read_namespaced_deployment(OPERATOR, self.namespace)
        status = found.status
        return bool(
            (status.observed_generation or 0) >= found.metadata.generation
            and (status.updated_replicas, status.replicas, status.available_replicas) == (1, 1, 1)
        )

    def _scale(self, replicas: int) -> None:
        self._cluster.apps.patch_namespaced_deployment_scale(
            OPERATOR, self.namespace, {"spec": {"replicas": replicas}}
        )

    def _ready(self) -> bool:
        assert max((_restarts(pod) for pod in self._staying()), default=0) <= MAX_RESTARTS, self._why_not()
        return self._answers()

    def _answers(self) -> bool:
        conditions = [
            condition for pod in self._staying() for condition in pod["status"].get("conditions", [])
        ]
        return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)

    def _staying(self) -> list[dict[str, Any]]:
        return [pod for pod in self.pods() if not pod["metadata"].get("deletionTimestamp")]

    def _why_not(self) -> str:
        logs = [self._cluster.log(self.namespace, pod["metadata"]["name"]) for pod in self.pods()]
        return "the operator is not ready: " + "\n".join([*(str(p["status"]) for p in self.pods()), *logs])

    def _established(self) -> bool:
        found = self._cluster.plain(self._cluster.extensions.read_custom_resource_definition(DEFINITION))
        conditions = found.get("status", {}).get("conditions", [])
        return any(
            condition["type"] == "Established" and condition["status"] == "True" for condition in conditions
        )

    def _adopt_definition(self) -> None:
        """Let Helm take over the definition of an earlier release; delete one applied by hand."""
        owner = {"meta.helm.sh/release-name": CRDS, "meta.helm.sh/release-namespace": self.namespace}
        extensions = self._cluster.extensions
        try:
            found = extensions.read_custom_resource_definition(DEFINITION)
            if (found.metadata.labels or {}).get("app.kubernetes.io/managed-by") == "Helm":
                extensions.patch_custom_resource_definition(DEFINITION, {"metadata": {"annotations": owner}})
            else:
                # Helm applies on the server and takes no field from another manager.
                extensions.delete_custom_resource_definition(DEFINITION)
                eventually(lambda: not self._defined(), f"{DEFINITION} stays", 60)
        except client.ApiException as error:
            if error.status != 404:
                raise

    def _defined(self) -> bool:
        found = self._cluster.extensions.list_custom_resource_definition().items
        return any(definition.metadata.name == DEFINITION for definition in found)


def _restarts(pod: dict[str, Any]) -> int:
    return sum(container["restartCount"] for container in pod["status"].get("containerStatuses", []))


def _image(name: str, policy: str) -> dict[str, str]:
    repository, _, tag = name.rpartition(":")
    return {"repository": repository, "tag": tag, "pullPolicy": policy}
