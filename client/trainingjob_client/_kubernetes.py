"""TrainingJobs in a cluster, through the official client of Kubernetes."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from trainingjob_api import GROUP, PLURAL, VERSION, Reason
from trainingjob_api.text import shorten
from trainingjob_client._client import ClientError, InvalidRequest, JobLog, ServiceUnavailable

_TIMEOUT_SECONDS = 30
_LOG_TIMEOUT_SECONDS = 3600
_MAX_MESSAGE = 300


class KubernetesBackend:
    """The jobs of one namespace of a cluster.

    Parameters
    ----------
    context
        Context of the kubeconfig; None for the current context.
    namespace
        Namespace; None for the context's.
    api_client
        A ``kubernetes.client.ApiClient`` in place of the kubeconfig's, such as a service account's.

    Raises
    ------
    InvalidRequest
        If the kubeconfig names no cluster.
    ServiceUnavailable
        If the package ``kubernetes`` is not installed.
    """

    def __init__(
        self, *, context: str | None = None, namespace: str | None = None, api_client: Any = None
    ) -> None:
        try:
            from kubernetes import client, config  # noqa: PLC0415 - local runs do not need it
            from urllib3.exceptions import HTTPError  # noqa: PLC0415 - comes with it
        except ImportError as error:
            raise ServiceUnavailable(
                Reason.CLIENT_MISSING,
                "the Kubernetes client is not installed; pip install 'trainingjob[cluster]'",
            ) from error
        own = None
        if api_client is None:
            file = os.environ.get("KUBECONFIG") or None  # as it is now, not when the package was imported
            try:
                api_client = config.new_client_from_config(config_file=file, context=context)
                contexts, active = config.list_kube_config_contexts(config_file=file)
            except config.ConfigException as error:
                raise InvalidRequest(
                    Reason.KUBECONFIG_INVALID,
                    f"no cluster: {error}; set KUBECONFIG or name a context with --context",
                ) from error
            chosen = next((each for each in contexts if each["name"] == context), active)
            own = chosen.get("context", {}).get("namespace")
        self.namespace: str = namespace or own or "default"
        self._answered: type[Exception] = client.ApiException
        self._unanswered: tuple[type[Exception], ...] = (OSError, HTTPError)
        self._objects = client.CustomObjectsApi(api_client)
        self._core = client.CoreV1Api(api_client)
        self._jobs = {"group": GROUP, "version": VERSION, "namespace": self.namespace, "plural": PLURAL}

    def create(self, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
        """Create a job and return it."""
        made: Mapping[str, Any] = self._call(
            f"create {manifest['metadata']['name']!r}",
            self._objects.create_namespaced_custom_object,
            **self._jobs,
            body=manifest,
        )
        return made

    def get(self, name: str) -> Mapping[str, Any]:
        """Return a job."""
        found: Mapping[str, Any] = self._call(
            f"read {name!r}", self._objects.get_namespaced_custom_object, **self._jobs, name=name
        )
        return found

    def list(self) -> list[Mapping[str, Any]]:
        """Return all jobs of the namespace."""
        found = self._call("list jobs", self._objects.list_namespaced_custom_object, **self._jobs)
        return [*found["items"]]

    def delete(self, name: str) -> None:
        """Delete a job; the garbage collector removes what the operator made for it."""
        self._call(f"delete {name!r}", self._objects.delete_namespaced_custom_object, **self._jobs, name=name)

    def logs(self, name: str, *, follow: bool) -> JobLog:
        """Return the log of a job's newest trainer pod.

        Raises
        ------
        ServiceUnavailable
            With reason ``NoPod`` if the job has no pod.
        """
        uid = self.get(name)["metadata"]["uid"]
        pods = self._call(
            "list the job's pods",
            self._core.list_namespaced_pod,
            namespace=self.namespace,
            label_selector=f"{GROUP}/job-uid={uid},app.kubernetes.io/component=trainer",
        ).items
        if not pods:
            raise ServiceUnavailable(
                Reason.NO_POD, f"{name!r} has no pod: it has not started, or its TTL has expired"
            )
        newest = max(pods, key=lambda pod: pod.metadata.creation_timestamp).metadata.name
        what = f"read the log of {newest!r}"
        stream = self._call(
            what,
            self._core.read_namespaced_pod_log,
            name=newest,
            namespace=self.namespace,
            follow=follow,
            _preload_content=False,
            _request_timeout=(_TIMEOUT_SECONDS, _LOG_TIMEOUT_SECONDS),
        )
        return JobLog(newest, self._lines(what, stream))

    def _lines(self, what: str, stream: Iterator[bytes]) -> Iterator[str]:
        try:
            for line in stream:
                yield line.decode(errors="replace").rstrip("\n")
        except self._unanswered as error:
            raise _unreachable(what, error) from error

    def _call(self, what: str, function: Callable[..., Any], **arguments: Any) -> Any:
        try:
            return function(**{"_request_timeout": _TIMEOUT_SECONDS, **arguments})
        except self._answered as error:
            raise _translated(error, what, self.namespace) from error
        except self._unanswered as error:
            raise _unreachable(what, error) from error


def _unreachable(what: str, error: Exception) -> ServiceUnavailable:
    return ServiceUnavailable(
        Reason.CLUSTER_UNREACHABLE, f"cannot {what}: the API server does not answer ({type(error).__name__})"
    )


def _translated(error: Any, what: str, namespace: str) -> ClientError:
    """Return the client's error for an error response of the API server."""
    said = _message(error.body)
    match error.status:
        case 404 if "could not find the requested resource" in said or "page not found" in said:
            text = "the cluster does not know TrainingJobs; install the CRD chart"
            return InvalidRequest(Reason.NOT_INSTALLED, f"cannot {what}: {text}")
        case 404:
            return InvalidRequest(Reason.NOT_FOUND, f"cannot {what} in namespace {namespace!r}: {said}")
        case 409:
            text = "it exists already; delete it or choose another name"
            return InvalidRequest(Reason.ALREADY_EXISTS, f"cannot {what}: {text}")
        case 400 | 422:
            return InvalidRequest(Reason.REFUSED, f"cannot {what}: {said}")
        case 401 | 403:
            return InvalidRequest(Reason.FORBIDDEN, f"cannot {what}: {said}")
        case 0:
            text = shorten(" ".join(str(error.reason).split()), _MAX_MESSAGE)
            return ServiceUnavailable(Reason.CLUSTER_UNREACHABLE, f"cannot {what}: {text}")
        case status:
            return ServiceUnavailable(
                Reason.CLUSTER_FAULT, f"cannot {what}: the API server answered {status} {said}"
            )


def _message(body: Any) -> str:
    try:
        return str(json.loads(body)["message"])
    except (TypeError, ValueError, KeyError, RecursionError):
        return str(body or "")[:_MAX_MESSAGE]
