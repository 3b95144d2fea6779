"""The operator as its charts install it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import helm_python
from e2e.kit.cluster import Cluster
from e2e.kit.waiting import eventually
from kubernetes import client

from trainingjob_api import GROUP, PLURAL

__all__ = ["Installation"]

HELM = Path(__file__).parents[2] / "helm"
CRDS = "trainingjob-crds"
OPERATOR = "trainingjob-operator"
DEFINITION = f"{PLURAL}.{GROUP}"
READY_SECONDS = 180
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
        Whose jobs it minds.
    environment
        ``E2E_OPERATOR_IMAGE``, ``E2E_TRAINER_IMAGE`` and ``E2E_PULL_POLICY``.
    """

    def __init__(
        self, cluster: Cluster, namespace: str, watched: list[str], environment: Mapping[str, str]
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
        }

    @contextmanager
    def _helm(self) -> Iterator[helm_python.Config]:
        with helm_python.Config(
            kubeconfig_path=self._cluster.kubeconfig,
            kube_context=self._cluster.context,
            namespace=self.namespace,
        ) as made:
            yield made

    def install(self) -> None:
        """Install both charts and wait until the operator is ready."""
        self._adopt_definition()
        with self._helm() as helm:
            helm.install(str(HELM / CRDS), CRDS, {}, namespace=self.namespace)
            eventually(self._established, f"{DEFINITION} is not established", 60)
            helm.install(str(HELM / OPERATOR), OPERATOR, self.values, namespace=self.namespace)
        self.wait_ready()

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
        """Run a block while there is no operator, and wait afterwards until it is back."""
        self._scale(0)
        eventually(lambda: not self.pods(), "the operator does not go", 60)
        try:
            yield
        finally:
            self._scale(1)
            self.wait_ready()

    def _scale(self, replicas: int) -> None:
        self._cluster.apps.patch_namespaced_deployment_scale(
            OPERATOR, self.namespace, {"spec": {"replicas": replicas}}
        )

    def _ready(self) -> bool:
        for pod in self.pods():
            restarts = sum(each["restartCount"] for each in pod["status"].get("containerStatuses", []))
            assert restarts <= MAX_RESTARTS, self._why_not()
        conditions = [
            each
            for pod in self.pods()
            if not pod["metadata"].get("deletionTimestamp")
            for each in pod["status"].get("conditions", [])
        ]
        return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)

    def _why_not(self) -> str:
        logs = [self._cluster.log(self.namespace, pod["metadata"]["name"]) for pod in self.pods()]
        return "the operator is not ready: " + "\n".join([*(str(p["status"]) for p in self.pods()), *logs])

    def _established(self) -> bool:
        found = self._cluster.plain(self._cluster.extensions.read_custom_resource_definition(DEFINITION))
        conditions = found.get("status", {}).get("conditions", [])
        return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)

    def _adopt_definition(self) -> None:
        """Let Helm take over a definition that an earlier release has left, or that was applied by hand."""
        owner = {"meta.helm.sh/release-name": CRDS, "meta.helm.sh/release-namespace": self.namespace}
        labels = {"app.kubernetes.io/managed-by": "Helm"}
        try:
            self._cluster.extensions.patch_custom_resource_definition(
                DEFINITION, {"metadata": {"annotations": owner, "labels": labels}}
            )
        except client.ApiException as error:
            if error.status != 404:
                raise


def _image(name: str, policy: str) -> dict[str, str]:
    repository, _, tag = name.rpartition(":")
    return {"repository": repository, "tag": tag, "pullPolicy": policy}
