"""The client, its errors, and the seam between both and a backend."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from trainingjob_api import ConditionStatus, ConditionType, Phase, Reason, TrainingJob, TrainingJobStatus


class ClientError(Exception):
    """Base of all errors of the client: a reason that programs can compare, and a message for people."""

    exit_code: ClassVar[int] = 1

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class InvalidRequest(ClientError):  # noqa: N818 - reads like HTTP's 4xx
    """The request cannot succeed as it is; no retry helps."""

    exit_code = 2


class ServiceUnavailable(ClientError):  # noqa: N818 - reads like HTTP's 503
    """The backend cannot answer now."""


class JobFailed(ClientError):  # noqa: N818 - the name of the condition
    """The job has ended without a model; `reason` and `message` are those of its Failed condition."""


@dataclass(frozen=True, slots=True)
class Job:
    """A TrainingJob at one moment; the manifest also has fields that this version of the contract lacks."""

    manifest: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Name of the job."""
        return str(self.manifest["metadata"]["name"])

    @property
    def namespace(self) -> str | None:
        """Namespace of the job."""
        namespace = self.manifest["metadata"].get("namespace")
        return None if namespace is None else str(namespace)

    @property
    def uid(self) -> str:
        """Uid that the backend gave."""
        return str(self.manifest["metadata"]["uid"])

    @property
    def status(self) -> TrainingJobStatus:
        """The status; empty until the operator has seen the job."""
        return TrainingJobStatus.model_validate(self.manifest.get("status") or {})

    @property
    def is_finished(self) -> bool:
        """Whether the phase is final."""
        phase = self.status.phase
        return phase is not None and phase.terminal

    def raise_for_status(self) -> None:
        """Raise why the job failed, if it did.

        Raises
        ------
        JobFailed
            With reason and message of the Failed condition.
        """
        if self.status.phase is not Phase.FAILED:
            return
        for condition in self.status.conditions or ():
            if condition.type is ConditionType.FAILED and condition.status is ConditionStatus.TRUE:
                try:
                    reason = Reason(condition.reason)
                except ValueError:  # a newer operator
                    raise JobFailed(Reason.FAILED, f"{condition.reason}: {condition.message}") from None
                raise JobFailed(reason, condition.message)
        raise JobFailed(Reason.FAILED, "the job failed and its status has no reason")


@dataclass(frozen=True, slots=True)
class JobLog:
    """The log of a job's newest attempt, to be read once: lines without breaks, of a pod or a file."""

    source: str
    lines: Iterator[str]

    def __iter__(self) -> Iterator[str]:
        """Return the lines."""
        return self.lines


class Backend(Protocol):
    """Where jobs are kept and run. Manifests are plain JSON values, as the API server has them."""

    @property
    def namespace(self) -> str:
        """Namespace of the jobs."""

    def create(self, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
        """Create a job and return it."""

    def get(self, name: str) -> Mapping[str, Any]:
        """Return a job."""

    def list(self) -> list[Mapping[str, Any]]:
        """Return all jobs of the namespace."""

    def delete(self, name: str) -> None:
        """Delete a job and stop its run."""

    def logs(self, name: str, *, follow: bool) -> JobLog:
        """Return the log of a job's newest attempt."""


class TrainingJobClient:
    """Creates, reads, follows and deletes TrainingJobs.

    Every method raises a `ClientError` if the backend refuses or does not answer.

    Parameters
    ----------
    backend
        `KubernetesBackend`, `LocalBackend` or a test's own.
    poll_seconds
        Between two looks at a job that is watched.
    sleep, clock
        Wait and return the time; tests replace them.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        poll_seconds: float = 2.0,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._backend = backend
        self._poll_seconds = poll_seconds
        self._sleep = sleep
        self._clock = clock

    @property
    def namespace(self) -> str:
        """Namespace of the jobs."""
        return self._backend.namespace

    def create(self, job: TrainingJob) -> Job:
        """Create a job and return it."""
        metadata = job.metadata.model_dump(
            mode="json", by_alias=True, exclude_defaults=True, include={"name", "labels", "annotations"}
        )
        spec = job.spec.model_dump(mode="json", by_alias=True, exclude_unset=True)
        manifest = {"apiVersion": job.api_version, "kind": job.kind, "metadata": metadata, "spec": spec}
        return Job(self._backend.create(manifest))

    def get(self, name: str) -> Job:
        """Return a job as it is now."""
        return Job(self._backend.get(name))

    def list(self) -> list[Job]:
        """Return all jobs of the namespace, by name."""
        return sorted((Job(manifest) for manifest in self._backend.list()), key=lambda job: job.name)

    def watch(self, name: str, *, timeout_seconds: float | None = None) -> Iterator[Job]:
        """Yield a job now and after each change, until it has ended.

        Raises
        ------
        TimeoutError
            If it has not ended after `timeout_seconds`.
        """
        end = None if timeout_seconds is None else self._clock() + timeout_seconds
        last: Job | None = None
        while last is None or not last.is_finished:
            if last is not None:
                if end is not None and self._clock() >= end:
                    raise TimeoutError(f"{name!r} has not ended within {timeout_seconds:g} s")
                self._sleep(self._poll_seconds)
            job = self.get(name)
            if job != last:
                yield job
            last = job

    def wait(self, name: str, *, timeout_seconds: float | None = None) -> Job:
        """Wait until a job has ended; return it if it succeeded.

        Raises
        ------
        JobFailed
            If it failed.
        TimeoutError
            If it has not ended after `timeout_seconds`.
        """
        *_, job = self.watch(name, timeout_seconds=timeout_seconds)
        job.raise_for_status()
        return job

    def logs(self, name: str, *, follow: bool = False) -> JobLog:
        """Return the log of a job's newest attempt; with `follow` it continues until that has ended."""
        return self._backend.logs(name, follow=follow)

    def delete(self, name: str) -> None:
        """Delete a job and stop its run; what it has published stays."""
        self._backend.delete(name)
