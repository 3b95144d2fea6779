"""A TrainingJob as a backend returned it, and its log."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from trainingjob_api import ConditionStatus, ConditionType, Phase, Reason, TrainingJobStatus
from trainingjob_client._errors import JobFailed

__all__ = ["Job", "JobLog"]


@dataclass(frozen=True, slots=True)
class Job:
    """A TrainingJob at one moment.

    Parameters
    ----------
    manifest
        The whole resource, also fields that this version of the contract does not know.
    """

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
        """The status; empty as long as no operator has seen the job."""
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
    """The log of a job's newest attempt, to be read once.

    Parameters
    ----------
    source
        Name of the pod, or the log file's path.
    lines
        The lines, without line breaks.
    """

    source: str
    lines: Iterator[str]

    def __iter__(self) -> Iterator[str]:
        """Return the lines."""
        return self.lines
