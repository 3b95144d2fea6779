"""The Dask operator as its own chart installs it, and the clusters that it creates."""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import files
from pathlib import Path
from typing import Any

import helm_python
import yaml
from e2e.kit.cluster import Cluster, of_job
from e2e.kit.jobs import Run
from e2e.kit.waiting import eventually
from kubernetes import client, config
from kubernetes.stream import stream

__all__ = ["DISTRIBUTED", "GROUP", "VERSION", "DaskOperator", "DaskSide", "distributed", "run_in"]

GROUP, VERSION = "kubernetes.dask.org", "v1"
DEFINITIONS = ("daskclusters", "daskworkergroups", "daskjobs", "daskautoscalers")
READY_SECONDS = 120
EXEC_SECONDS = 60
SCRATCH = "/scratch"

_SMALL = {"requests": {"cpu": "50m", "memory": "300Mi"}, "limits": {"cpu": "2", "memory": "2Gi"}}
DISTRIBUTED: dict[str, Any] = {
    "parallelMode": "distributed",
    "nJobs": None,
    "dask": {
        "workers": 2,
        "readyTimeoutSeconds": 180,
        "workerResources": _SMALL,
        "schedulerResources": _SMALL,
    },
}


def distributed(**change: Any) -> dict[str, Any]:
    """Return what makes a job distributed; *change* is of ``spec.dask``."""
    spec = copy.deepcopy(DISTRIBUTED)
    spec["dask"] |= change
    return spec


class DaskOperator:
    """The Dask operator in a namespace of its own, which watches the namespace of the jobs only.

    Parameters
    ----------
    cluster
        The cluster.
    namespace
        Where it runs; also the name of its release.
    watched
        The namespace whose DaskClusters it handles.
    environment
        ``E2E_DASK_OPERATOR_IMAGE`` and ``E2E_PULL_POLICY``.
    """

    def __init__(
        self, cluster: Cluster, namespace: str, watched: str, environment: Mapping[str, str]
    ) -> None:
        self._cluster = cluster
        self.namespace = namespace
        image = environment.get("E2E_DASK_OPERATOR_IMAGE") or "localhost/dask-operator:dev"
        name, _, tag = image.rpartition(":")
        policy = environment.get("E2E_PULL_POLICY") or "IfNotPresent"
        self._values: dict[str, Any] = {
            "fullnameOverride": namespace,
            "image": {"name": name, "tag": tag, "pullPolicy": policy},
            "kopfArgs": [f"--namespace={watched}"],
            "podSecurityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
            "extraEnv": [{"name": "HOME", "value": SCRATCH}, {"name": "USER", "value": "dask"}],
            # Without a request it starves on a busy node, and its liveness probe kills it.
            "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
            "volumes": [{"name": "tmp", "emptyDir": {}}],
            "volumeMounts": [{"name": "tmp", "mountPath": SCRATCH}],
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
        """Install chart and definitions, and wait until it runs."""
        self._make_definitions()
        with self._helm() as helm:
            helm.install(str(chart()), self.namespace, self._values, namespace=self.namespace)
        self._wait()

    def uninstall(self) -> None:
        """Uninstall it; the definitions stay."""
        with self._helm() as helm:
            helm.uninstall(self.namespace, ignore_not_found=True)

    @contextmanager
    def down(self) -> Iterator[None]:
        """Run a block without it, and wait afterwards until it is back."""
        self._scale(0)
        eventually(lambda: not self.pods(), "the Dask operator does not go", 60)
        try:
            yield
        finally:
            self._scale(1)
            self._wait()

    @contextmanager
    def unknown(self) -> Iterator[None]:
        """Run a block in a cluster that does not know DaskClusters."""
        with self.down():
            for plural in DEFINITIONS:
                self._cluster.extensions.delete_custom_resource_definition(f"{plural}.{GROUP}")
            eventually(lambda: not self._known(), "the definitions do not go", 60)
            try:
                yield
            finally:
                self._make_definitions()

    def pods(self) -> list[Any]:
        """Return its pods."""
        return self._cluster.core.list_namespaced_pod(self.namespace).items

    def log(self) -> str:
        """Return its log."""
        return "\n".join(self._cluster.log(self.namespace, pod.metadata.name) for pod in self.pods())

    def _scale(self, replicas: int) -> None:
        self._cluster.apps.patch_namespaced_deployment_scale(
            self.namespace, self.namespace, {"spec": {"replicas": replicas}}
        )

    def _wait(self) -> None:
        # It has no readiness probe: that it watches is said in its log.
        def watches() -> bool:
            return "Starting the watch-stream for daskclusters" in self.log() or any(
                condition.type == "Ready" and condition.status == "True"
                for pod in self.pods()
                if not pod.metadata.deletion_timestamp
                for condition in pod.status.conditions or ()
            )

        eventually(watches, lambda: f"the Dask operator is not ready: {self.log()}", READY_SECONDS)

    def _known(self) -> list[str]:
        found = self._cluster.extensions.list_custom_resource_definition().items
        return [definition.metadata.name for definition in found if definition.spec.group == GROUP]

    def _make_definitions(self) -> None:
        for path in sorted((chart() / "crds").glob("*.yaml")):
            definition = yaml.safe_load(path.read_text())
            try:
                self._cluster.extensions.create_custom_resource_definition(definition)
            except client.ApiException as error:
                if error.status != 409:
                    raise

        def established() -> bool:
            found = self._cluster.extensions.list_custom_resource_definition().items
            mine = [definition for definition in found if definition.spec.group == GROUP]
            return len(mine) == len(DEFINITIONS) and all(
                any(
                    condition.type == "Established" and condition.status == "True"
                    for condition in definition.status.conditions or ()
                )
                for definition in mine
            )

        eventually(established, "the Dask definitions are not established", 60)


class DaskSide:
    """The objects of the Dask cluster of a run.

    Parameters
    ----------
    run
        The job.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._cluster, self._namespace = run.cluster, run.namespace

    @property
    def clusters(self) -> list[dict[str, Any]]:
        """Its DaskClusters; none if the kind is not known."""
        try:
            found = self._cluster.custom.list_namespaced_custom_object(
                GROUP, VERSION, self._namespace, "daskclusters", label_selector=of_job(self._run.uid)
            )
        except client.ApiException as error:
            if error.status != 404:
                raise
            return []
        return found["items"]

    @property
    def name(self) -> str:
        """Name of its DaskCluster, once it exists."""
        found = self._run.eventually(lambda: self.clusters, "there is no DaskCluster", 30)
        return found[0]["metadata"]["name"]

    def pods(self, role: str) -> list[Any]:
        """Return the pods of scheduler or workers."""
        selector = f"{of_job(self._run.uid)},dask.org/component={role}"
        return self._cluster.core.list_namespaced_pod(self._namespace, label_selector=selector).items

    def deployments(self, role: str) -> list[Any]:
        """Return the Deployments of scheduler or workers."""
        selector = f"{of_job(self._run.uid)},dask.org/component={role}"
        return self._cluster.apps.list_namespaced_deployment(self._namespace, label_selector=selector).items

    def left(self) -> list[str]:
        """Return kind and name of everything of Dask that carries the job's uid."""
        core, apps = self._cluster.core, self._cluster.apps
        listings = {
            "Secret": core.list_namespaced_secret,
            "Service": core.list_namespaced_service,
            "Deployment": apps.list_namespaced_deployment,
            "ReplicaSet": apps.list_namespaced_replica_set,
            "NetworkPolicy": self._cluster.networking.list_namespaced_network_policy,
        }
        selector = of_job(self._run.uid)
        found = [
            f"{kind}/{item.metadata.name}"
            for kind, listing in listings.items()
            for item in listing(self._namespace, label_selector=selector).items
            # The key of the run's reports stays as long as the job.
            if not (kind == "Secret" and item.metadata.name.endswith("-key"))
        ]
        found += [f"Pod/{pod.metadata.name}" for role in ("scheduler", "worker") for pod in self.pods(role)]
        for plural in ("daskclusters", "daskworkergroups"):
            try:
                page = self._cluster.custom.list_namespaced_custom_object(
                    GROUP, VERSION, self._namespace, plural, label_selector=selector
                )
            except client.ApiException as error:
                if error.status != 404:
                    raise
                continue
            found += [f"{plural}/{item['metadata']['name']}" for item in page["items"]]
        return sorted(found)

    def stopped(self, seconds: float = 90) -> None:
        """Wait until all its pods have ended; the objects that the next cluster needs may stay."""
        kept = ("Secret/", "NetworkPolicy/")
        eventually(
            lambda: all(name.startswith(kept) for name in self.left()),
            lambda: f"still there: {self.left()}",
            seconds,
        )

    def gone(self, seconds: float = 90) -> None:
        """Wait until nothing of it is left."""
        eventually(lambda: not self.left(), lambda: f"still there: {self.left()}", seconds)

    def ready(self, seconds: float = 240) -> None:
        """Wait until the trainer searches on it."""
        run = self._run

        def there() -> bool:
            assert run.phase not in {"Succeeded", "Failed"}, run.status
            assert not run.status.get("fallbacks"), run.status
            return run.conditions().get("DaskReady") == ("True", "DaskReady") and run.evaluated > 0

        run.eventually(there, "there is no search on the Dask cluster", seconds)


def run_in(cluster: Cluster, namespace: str, pod: str, command: list[str]) -> str:
    """Run a command in a pod and return its output."""
    # The stream changes the client it is given.
    api = config.new_client_from_config(cluster.kubeconfig, context=cluster.context)
    try:
        call = client.CoreV1Api(api).connect_get_namespaced_pod_exec
        said = stream(call, pod, namespace, command=command, stderr=True, stdout=True, _preload_content=False)
        try:
            said.run_forever(timeout=EXEC_SECONDS)
            assert not said.is_open(), f"{command[0]} in {pod} still runs after {EXEC_SECONDS} s"
            return str(said.read_all())
        finally:
            # Its own `close` leaves the socket open where the other side was killed.
            said.sock.shutdown()
    finally:
        api.close()


def chart() -> Path:
    """Return the Dask operator's own chart, as its package carries it."""
    found = [file for file in files("dask-kubernetes") or () if file.name == "Chart.yaml"]
    return Path(str(found[0].locate())).parent
