"""The client itself: what both backends have in common."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from trainingjob_api import TrainingJob
from trainingjob_client._job import Job, JobLog

__all__ = ["Backend", "TrainingJobClient"]


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
        Wait and tell the time; tests replace them.
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
        manifest = job.model_dump(
            mode="json", by_alias=True, exclude_none=True, include={"api_version", "kind", "spec"}
        )
        metadata = job.metadata.model_dump(
            mode="json", by_alias=True, exclude_defaults=True, include={"name", "labels", "annotations"}
        )
        return Job(self._backend.create({**manifest, "metadata": metadata}))

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
