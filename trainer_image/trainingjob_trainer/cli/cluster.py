"""TrainingJobs in a cluster, by the current kubeconfig."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from trainingjob_api import API_VERSION, GROUP, KIND, PLURAL, VERSION, Reason
from trainingjob_trainer.errors import RunFailed, SpecInvalid

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Cluster", "connect"]

_TIMEOUT_SECONDS = 30
_LOG_TIMEOUT_SECONDS = 3600
_UID_LABEL = f"{GROUP}/job-uid"


class Cluster(Protocol):
    """What the commands ask of a cluster."""

    namespace: str

    def create(self, name: str, spec: dict[str, Any]) -> dict[str, Any]:
        """Create a TrainingJob and return it."""

    def get(self, name: str) -> dict[str, Any]:
        """Return a TrainingJob."""

    def pods(self, uid: str) -> list[str]:
        """Return the names of a job's trainer pods, the oldest first."""

    def log(self, pod: str, *, follow: bool) -> Iterator[str]:
        """Return the lines of a pod's log."""


def connect(context: str | None, namespace: str | None) -> Cluster:
    """Return the cluster that a kubeconfig context names.

    Parameters
    ----------
    context
        Name of the context, or None for the current one.
    namespace
        Namespace, or None for the context's.

    Raises
    ------
    SpecInvalid
        With reason ``KubeconfigInvalid`` if there is none.
    RunFailed
        With reason ``ClientMissing`` if the Kubernetes client is not installed.
    """
    try:
        from kubernetes import client, config  # noqa: PLC0415 - a run on a laptop has no use for it
    except ImportError as error:
        raise RunFailed(
            Reason.CLIENT_MISSING,
            "the Kubernetes client is not installed; pip install 'trainingjob[cluster]'",
        ) from error
    try:
        api = config.new_client_from_config(context=context)
        _, active = config.list_kube_config_contexts()
    except config.ConfigException as error:
        raise SpecInvalid(
            Reason.KUBECONFIG_INVALID, f"no cluster: {error}; set KUBECONFIG or name a context with --context"
        ) from error
    own = "" if context else str(active.get("context", {}).get("namespace") or "")
    return _Kubernetes(client, api, namespace or own or "default")


class _Kubernetes:
    """A cluster through the official client."""

    def __init__(self, client: Any, api: Any, namespace: str) -> None:
        self.namespace = namespace
        self._client = client
        self._objects = client.CustomObjectsApi(api)
        self._core = client.CoreV1Api(api)
        self._where = {"group": GROUP, "version": VERSION, "namespace": namespace, "plural": PLURAL}

    def create(self, name: str, spec: dict[str, Any]) -> dict[str, Any]:
        body = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": spec}
        made: dict[str, Any] = self._call(
            self._objects.create_namespaced_custom_object, f"create {name!r}", **self._where, body=body
        )
        return made

    def get(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self._call(
            self._objects.get_namespaced_custom_object, f"read {name!r}", **self._where, name=name
        )
        return found

    def pods(self, uid: str) -> list[str]:
        found = self._call(
            self._core.list_namespaced_pod,
            "list the job's pods",
            namespace=self.namespace,
            label_selector=f"{_UID_LABEL}={uid}",
        ).items
        found.sort(key=lambda pod: pod.metadata.creation_timestamp)
        return [str(pod.metadata.name) for pod in found]

    def log(self, pod: str, *, follow: bool) -> Iterator[str]:
        stream = self._call(
            self._core.read_namespaced_pod_log,
            f"read the log of {pod!r}",
            name=pod,
            namespace=self.namespace,
            follow=follow,
            _preload_content=False,
            _request_timeout=(_TIMEOUT_SECONDS, _LOG_TIMEOUT_SECONDS),
        )
        for line in stream:
            yield line.decode(errors="replace").rstrip("\n")

    def _call(self, function: Any, what: str, **arguments: Any) -> Any:
        arguments.setdefault("_request_timeout", _TIMEOUT_SECONDS)
        try:
            return function(**arguments)
        except self._client.ApiException as error:
            _explain(error, what, self.namespace)
        except OSError as error:
            raise RunFailed(Reason.CLUSTER_UNREACHABLE, f"cannot {what}: {type(error).__name__}") from error


def _explain(error: Any, what: str, namespace: str) -> NoReturn:
    """Raise what an answer of the API server means for a user."""
    said = _message(error.body)
    match error.status:
        case 404 if "could not find the requested resource" in said or "page not found" in said:
            raise SpecInvalid(
                Reason.NOT_INSTALLED,
                f"cannot {what}: the cluster does not know TrainingJobs; install the CRD chart",
            ) from error
        case 404:
            raise SpecInvalid(
                Reason.NOT_FOUND, f"cannot {what} in namespace {namespace!r}: {said}"
            ) from error
        case 409:
            raise SpecInvalid(
                Reason.ALREADY_EXISTS, f"cannot {what}: it is there already; delete it or choose another name"
            ) from error
        case 400 | 422:
            raise SpecInvalid(Reason.REFUSED, f"cannot {what}: {said}") from error
        case 401 | 403:
            raise SpecInvalid(Reason.FORBIDDEN, f"cannot {what}: {said}") from error
        case status:
            raise RunFailed(
                Reason.CLUSTER_FAULT, f"cannot {what}: the API server answered {status} {said}"
            ) from error


def _message(body: Any) -> str:
    try:
        return str(json.loads(body)["message"])
    except (TypeError, ValueError, KeyError, RecursionError):
        return str(body or "")[:300]
