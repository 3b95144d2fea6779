"""A throw-away cluster, whose context has to be on the allow-list."""

import fnmatch
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kubernetes import client, config

from trainingjob_api import GROUP, PLURAL, VERSION

__all__ = ["ALLOWED", "Cluster", "ContextError", "context_in_use"]

ALLOWED = "kind-*,rc"
"""Names of contexts of throw-away clusters, unless E2E_ALLOWED_CONTEXTS names others."""

RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


class ContextError(Exception):
    """The kubeconfig does not name a cluster that these tests may use."""


def context_in_use(environment: Mapping[str, str]) -> tuple[str, str]:
    """Return path of the kubeconfig and name of its context.

    Raises
    ------
    ContextError
        If there is none, or it is not on the allow-list.
    """
    path = environment.get("KUBECONFIG", "")
    if not path or not Path(path).is_file():
        raise ContextError("KUBECONFIG names no file: set it to the kubeconfig of a throw-away cluster")
    try:
        contexts, active = config.list_kube_config_contexts(path)
    except config.ConfigException as error:
        raise ContextError(f"{path}: {error}") from error
    names = [context["name"] for context in contexts]
    name = environment.get("E2E_CONTEXT") or active["name"]
    if name not in names:
        raise ContextError(f"{path} has no context {name}, only {', '.join(names)}")
    allowed = environment.get("E2E_ALLOWED_CONTEXTS") or ALLOWED
    patterns = [pattern.strip() for pattern in allowed.split(",") if pattern.strip()]
    if not any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns):
        raise ContextError(
            f"the context {name} is not one of {', '.join(patterns)}: these tests install, delete and kill; "
            "name it in E2E_ALLOWED_CONTEXTS if that cluster is there to be broken"
        )
    return path, name


class Cluster:
    """Calls to the API server, objects as plain data.

    Parameters
    ----------
    kubeconfig, context
        Which cluster.
    """

    def __init__(self, kubeconfig: str, context: str) -> None:
        self.kubeconfig = kubeconfig
        self.context = context
        self._client = config.new_client_from_config(kubeconfig, context=context)
        self.core = client.CoreV1Api(self._client)
        self.batch = client.BatchV1Api(self._client)
        self.apps = client.AppsV1Api(self._client)
        self.policy = client.PolicyV1Api(self._client)
        self.networking = client.NetworkingV1Api(self._client)
        self.rbac = client.RbacAuthorizationV1Api(self._client)
        self.custom = client.CustomObjectsApi(self._client)
        self.scheduling = client.SchedulingV1Api(self._client)
        self.extensions = client.ApiextensionsV1Api(self._client)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def answers(self) -> bool:
        """Return whether the API server answers."""
        try:
            self.core.list_node(_request_timeout=5)
        except Exception:  # noqa: BLE001  # refused, reset, not ready: each in a way of its own
            return False
        return True

    def knows(self, api_version: str, plural: str) -> bool:
        """Return whether the API server serves a kind."""
        try:
            answer = self.custom.get_api_resources(*api_version.split("/"))
        except client.ApiException:
            return False
        return any(resource.name == plural for resource in answer.resources)

    def plain(self, found: Any) -> Any:
        """Return an object of the library as the API server wrote it."""
        return self._client.sanitize_for_serialization(found)

    def make_namespace(self, name: str) -> str:
        """Make a namespace that admits restricted pods only."""
        self.core.create_namespace({"metadata": {"name": name, "labels": RESTRICTED}})
        return name

    def delete_namespace(self, name: str) -> None:
        """Delete a namespace without waiting for its end."""
        _unless_gone(self.core.delete_namespace, name)

    # TrainingJobs

    def apply(self, namespace: str, manifest: dict[str, Any]) -> dict[str, Any]:
        """Create a TrainingJob."""
        return self.custom.create_namespaced_custom_object(
            GROUP, VERSION, namespace, PLURAL, manifest, field_validation="Strict"
        )

    def patch(self, namespace: str, name: str, spec: dict[str, Any]) -> None:
        """Merge *spec* into a TrainingJob's."""
        self.custom.patch_namespaced_custom_object(GROUP, VERSION, namespace, PLURAL, name, {"spec": spec})

    def label(self, namespace: str, name: str, labels: dict[str, str | None]) -> None:
        """Merge *labels* into a TrainingJob's; ``None`` removes a label."""
        body = {"metadata": {"labels": labels}}
        self.custom.patch_namespaced_custom_object(GROUP, VERSION, namespace, PLURAL, name, body)

    def read(self, namespace: str, name: str) -> dict[str, Any] | None:
        """Return a TrainingJob."""
        return _unless_gone(self.custom.get_namespaced_custom_object, GROUP, VERSION, namespace, PLURAL, name)

    def trainingjobs(self, namespace: str) -> list[dict[str, Any]]:
        """Return the TrainingJobs of a namespace."""
        return self.custom.list_namespaced_custom_object(GROUP, VERSION, namespace, PLURAL)["items"]

    def delete(self, namespace: str, name: str) -> None:
        """Delete a TrainingJob; what it owns follows."""
        _unless_gone(self.custom.delete_namespaced_custom_object, GROUP, VERSION, namespace, PLURAL, name)

    def row(self, namespace: str, name: str) -> dict[str, Any]:
        """Return what ``kubectl get`` shows of a TrainingJob, by column."""
        path = f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{PLURAL}/{name}"
        headers = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
        answer = self._client.call_api(
            *self._client.param_serialize("GET", path, header_params=headers, auth_settings=["BearerToken"])[
                :3
            ]
        )
        table = json.loads(answer.read())
        columns = [column["name"] for column in table["columnDefinitions"]]
        return dict(zip(columns, table["rows"][0]["cells"], strict=True))

    # What a job consists of

    def pods(self, namespace: str, uid: str) -> list[dict[str, Any]]:
        """Return the pods of the job with *uid*, the oldest first."""
        found = self.plain(self.core.list_namespaced_pod(namespace, label_selector=of_job(uid)))
        return sorted(found["items"], key=lambda item: item["metadata"]["creationTimestamp"])

    def job(self, namespace: str, uid: str) -> dict[str, Any] | None:
        """Return the batch Job of the job with *uid*."""
        found = self.plain(self.batch.list_namespaced_job(namespace, label_selector=of_job(uid)))["items"]
        return found[0] if found else None

    def children(self, namespace: str, uid: str) -> list[str]:
        """Return kind and name of everything that carries the job's uid."""
        selector = of_job(uid)
        core, batch = self.core, self.batch
        found = {
            "ConfigMap": core.list_namespaced_config_map,
            "ServiceAccount": core.list_namespaced_service_account,
            "Pod": core.list_namespaced_pod,
            "Job": batch.list_namespaced_job,
        }
        return sorted(
            f"{kind}/{item.metadata.name}"
            for kind, listing in found.items()
            for item in listing(namespace, label_selector=selector).items
        )

    def belongings(self, namespace: str) -> list[str]:
        """Return kind and name of all objects that a release in *namespace* has created, in any namespace."""
        chart = "app.kubernetes.io/part-of=trainingjob"
        listings = {
            "Role": self.rbac.list_role_for_all_namespaces,
            "RoleBinding": self.rbac.list_role_binding_for_all_namespaces,
            "ClusterRole": self.rbac.list_cluster_role,
            "ClusterRoleBinding": self.rbac.list_cluster_role_binding,
            "ServiceAccount": self.core.list_service_account_for_all_namespaces,
            "Service": self.core.list_service_for_all_namespaces,
            "Deployment": self.apps.list_deployment_for_all_namespaces,
            "NetworkPolicy": self.networking.list_network_policy_for_all_namespaces,
        }
        return sorted(
            f"{kind}/{item.metadata.name}"
            for kind, listing in listings.items()
            for item in listing(label_selector=chart).items
            if item.metadata.namespace == namespace or item.metadata.name.startswith(f"{namespace}:")
        )

    def events(self, namespace: str, uid: str) -> list[dict[str, Any]]:
        """Return the events about an object."""
        found = self.plain(
            self.core.list_namespaced_event(namespace, field_selector=f"involvedObject.uid={uid}")
        )
        return found["items"]

    def log(self, namespace: str, pod: str, *, previous: bool = False) -> str:
        """Return a pod's log, or why there is none."""
        try:
            return self.core.read_namespaced_pod_log(pod, namespace, previous=previous)
        except client.ApiException as error:
            return f"({error.status} {error.reason})"

    def evict(self, namespace: str, pod: str) -> None:
        """Evict a pod as a drained node does."""
        body = {"metadata": {"name": pod, "namespace": namespace}}
        self.core.create_namespaced_pod_eviction(pod, namespace, body)


def of_job(uid: str) -> str:
    """Return the label selector of a job's children."""
    return f"{GROUP}/job-uid={uid}"


def _unless_gone(call: Any, *arguments: Any) -> Any:
    """Return what *call* returns, ``None`` if there is no such object."""
    try:
        return call(*arguments)
    except client.ApiException as error:
        if error.status != 404:
            raise
        return None
