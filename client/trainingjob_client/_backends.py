"""The backends of the client: jobs of a cluster, and jobs that run on this machine."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from trainingjob_api import (
    GROUP,
    PLURAL,
    VERSION,
    ConditionStatus,
    ConditionType,
    Phase,
    Progress,
    Reason,
    Stage,
    shorten,
)
from trainingjob_client._client import ClientError, InvalidRequest, JobLog, ServiceUnavailable

_TIMEOUT_SECONDS = 30
_LOG_TIMEOUT_SECONDS = 3600
_MAX_MESSAGE = 300
_COMMAND = (sys.executable, "-P", "-c", "from trainingjob_trainer.cli import main; main()")
_SAVING = frozenset({Stage.SAVING, Stage.UPLOADING, Stage.FINISHED})
_STATUS_FIELDS = ("modelSource", "best", "paretoFront", "artifacts", "fallbacks", "progress", "resolved")
_POLL_SECONDS = 0.5


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

    def create(self, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
        """Create a job and return it."""
        create = self._objects.create_namespaced_custom_object
        return self._job(f"create {manifest['metadata']['name']!r}", create, body=manifest)

    def get(self, name: str) -> Mapping[str, Any]:
        """Return a job."""
        return self._job(f"read {name!r}", self._objects.get_namespaced_custom_object, name=name)

    def list(self) -> list[Mapping[str, Any]]:
        """Return all jobs of the namespace."""
        return [*self._job("list jobs", self._objects.list_namespaced_custom_object)["items"]]

    def delete(self, name: str) -> None:
        """Delete a job; the garbage collector removes what the operator made for it."""
        self._job(f"delete {name!r}", self._objects.delete_namespaced_custom_object, name=name)

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

    def _job(self, what: str, function: Callable[..., Any], **arguments: Any) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = self._call(
            what, function, group=GROUP, version=VERSION, namespace=self.namespace, plural=PLURAL, **arguments
        )
        return answer

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


class LocalBackend:
    """Runs each job in a process of its own; the jobs are known to this object only.

    A run continues when the program ends that started it. Its model, report and journal are in its output.

    Parameters
    ----------
    output
        Folder or URI in place of ``spec.output.uri``; None for that of the spec.
    environment
        Environment of the runs; None for that of this process.
    command
        Program that takes the arguments of ``trainingjob``; None for the installed trainer.
    grace_seconds
        Time that a deleted run has to end before it is killed.

    Raises
    ------
    ServiceUnavailable
        If the trainer is not installed.
    """

    namespace = "local"

    def __init__(
        self,
        *,
        output: Path | str | None = None,
        environment: Mapping[str, str] | None = None,
        command: Sequence[str] | None = None,
        grace_seconds: float = 30.0,
    ) -> None:
        if command is None and find_spec("trainingjob_trainer") is None:
            raise ServiceUnavailable(
                Reason.CLIENT_MISSING, "the trainer is not installed; pip install 'trainingjob[trainer]'"
            )
        self._command = tuple(command or _COMMAND)
        self._options = () if output is None else ("--output", str(output))
        self._environment = environment
        self._grace_seconds = grace_seconds
        self._folder = Path(tempfile.mkdtemp(prefix="trainingjob-client-"))
        self._runs: dict[str, _Run] = {}

    def create(self, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
        """Start a run and return its job."""
        name = manifest["metadata"]["name"]
        if name in self._runs:
            raise InvalidRequest(
                Reason.ALREADY_EXISTS, f"job {name!r} exists already; delete it or choose another name"
            )
        uid = str(uuid.uuid4())
        folder = self._folder / uid
        folder.mkdir()
        (folder / "job.json").write_text(json.dumps(manifest), encoding="utf-8")
        arguments = ("run", str(folder / "job.json"), "--json", "--log-format", "json", *self._options)
        with (folder / "result.json").open("wb") as result, (folder / "log.jsonl").open("wb") as log:
            process = subprocess.Popen(
                [*self._command, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=result,
                stderr=log,
                env=None if self._environment is None else dict(self._environment),
                start_new_session=True,
            )
        metadata = {
            **manifest["metadata"],
            "namespace": self.namespace,
            "uid": uid,
            "creationTimestamp": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        self._runs[name] = _Run({**manifest, "metadata": metadata}, folder, process)
        return self.get(name)

    def get(self, name: str) -> Mapping[str, Any]:
        """Return a job, its status read from the log and the result of its run."""
        run = self._run(name)
        return {**run.manifest, "status": run.status()}

    def list(self) -> list[Mapping[str, Any]]:
        """Return the jobs that this object has started."""
        return [self.get(name) for name in self._runs]

    def delete(self, name: str) -> None:
        """Stop a run and forget its job; what the run has written to its output stays."""
        run = self._run(name)
        end = time.monotonic() + self._grace_seconds
        while run.process.poll() is None and time.monotonic() < end:
            run.process.terminate()  # the first signal saves the best model so far, the second ends the run
            with suppress(subprocess.TimeoutExpired):
                run.process.wait(timeout=_POLL_SECONDS)
        if run.process.poll() is None:
            os.killpg(run.process.pid, signal.SIGKILL)
            run.process.wait()
        del self._runs[name]
        shutil.rmtree(run.folder)

    def logs(self, name: str, *, follow: bool) -> JobLog:
        """Return the log of a run; with `follow` it continues until the run has ended."""
        run = self._run(name)
        return JobLog(str(run.log_file), run.lines(follow=follow))

    def _run(self, name: str) -> "_Run":
        try:
            return self._runs[name]
        except KeyError:
            raise InvalidRequest(Reason.NOT_FOUND, f"no job {name!r} was created by this client") from None


@dataclass(frozen=True, slots=True)
class _Run:
    """A process, and the files that its output goes to."""

    manifest: Mapping[str, Any]
    folder: Path
    process: "subprocess.Popen[bytes]"

    @property
    def log_file(self) -> Path:
        return self.folder / "log.jsonl"

    def status(self) -> dict[str, Any]:
        """Return the status as an operator would write it."""
        if self.process.poll() is None:
            return self._progress()
        try:
            result = json.loads((self.folder / "result.json").read_bytes())
        except ValueError:
            last = next(reversed(list(self.lines(follow=False))), "")
            message = f"the run ended with status {self.process.returncode} and no result: {last}"
            return _failed(Reason.UNEXPECTED_ERROR, message)
        if not result["ok"]:
            return _failed(result["error"]["reason"], result["error"]["message"])
        fields = {name: result[name] for name in _STATUS_FIELDS if result.get(name)}
        return {"phase": Phase.SUCCEEDED.value, **fields, "leaderboard": result["leaderboard"][:10]}

    def _progress(self) -> dict[str, Any]:
        status: dict[str, Any] = {"phase": Phase.PENDING.value}
        for line in self.lines(follow=False):
            with suppress(ValueError, KeyError):  # a line that is not whole yet, or a library's
                entry = json.loads(line)
                match entry["event"]:
                    case "stage_changed":
                        phase = Phase.SAVING if entry["stage"] in _SAVING else Phase.SEARCHING
                        status["phase"] = phase.value
                    case "progress":
                        progress = Progress.model_validate(entry)
                        status["progress"] = progress.model_dump(
                            mode="json", by_alias=True, exclude_none=True
                        )
        return status

    def lines(self, *, follow: bool) -> Iterator[str]:
        rest = ""
        with self.log_file.open(encoding="utf-8", errors="replace") as file:
            while True:
                ended = self.process.poll() is not None
                while line := file.readline():
                    rest += line
                    if rest.endswith("\n"):
                        yield rest.rstrip("\n")
                        rest = ""
                if ended or not follow:
                    break
                time.sleep(_POLL_SECONDS)
        if rest:
            yield rest


def _failed(reason: str, message: str) -> dict[str, Any]:
    condition = {
        "type": ConditionType.FAILED.value,
        "status": ConditionStatus.TRUE.value,
        "reason": reason,
        "message": message[:1000],
        "lastTransitionTime": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return {"phase": Phase.FAILED.value, "conditions": [condition]}
