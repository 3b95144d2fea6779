"""A TrainingJob as the operator reads it: parsed once, at the edge, whatever state it is in."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from trainingjob_api import Acceptance, Phase, SpecError, TrainingJob, TrainingJobStatus, parse_job
from trainingjob_operator.names import Owner

__all__ = ["Subject", "read_subject", "read_time"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The job that a decision is about.

    Parameters
    ----------
    owner
        Name, namespace and uid.
    generation
        Version of the spec.
    resource_version
        Version of the object; a status is written only if it is still the same.
    created
        When the resource was created.
    deleting
        Whether its deletion was asked for.
    labels
        Its labels.
    suspend, acceptance, ttl_seconds
        The fields of the spec that may change after creation.
    job
        The job; ``None`` if its spec cannot be read, then *problem* says why.
    status
        What the status says; empty for a new job.
    raw_status
        The same as the API server has it.
    """

    owner: Owner
    generation: int = 1
    resource_version: str = ""
    created: datetime
    deleting: bool = False
    labels: dict[str, str] = field(default_factory=dict)
    suspend: bool = False
    acceptance: Acceptance | None = None
    ttl_seconds: int | None = None
    job: TrainingJob | None = None
    problem: str | None = None
    status: TrainingJobStatus = field(default_factory=TrainingJobStatus)
    raw_status: dict[str, Any] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """Whether the status says that the job has ended; it never changes again."""
        return self.status.phase is not None and self.status.phase.terminal


def read_subject(raw: dict[str, Any]) -> Subject:
    """Return the subject that *raw*, an object of the API server, is."""
    meta = raw["metadata"]
    raw_status = raw.get("status") or {}
    job, problem = None, None
    try:
        # The status is read apart: one that is damaged must not hide the spec.
        job = parse_job({key: value for key, value in raw.items() if key != "status"})
    except SpecError as error:
        problem = str(error)
    spec = job.spec if job is not None else None
    return Subject(
        owner=Owner(meta["name"], meta["namespace"], meta["uid"]),
        generation=meta.get("generation", 1),
        resource_version=meta.get("resourceVersion", ""),
        created=read_time(meta.get("creationTimestamp")) or datetime.now(UTC),
        deleting=meta.get("deletionTimestamp") is not None,
        labels=meta.get("labels") or {},
        suspend=bool(spec and spec.suspend),
        acceptance=spec.acceptance if spec is not None else None,
        ttl_seconds=spec.ttl_seconds_after_finished if spec is not None else None,
        job=job,
        problem=problem,
        status=_status(raw_status),
        raw_status=raw_status,
    )


def read_time(text: str | None) -> datetime | None:
    """Return a time of the API server, ``None`` if it is unset or no time."""
    if not text:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _status(raw: dict[str, Any]) -> TrainingJobStatus:
    try:
        return TrainingJobStatus.model_validate(raw)
    except ValidationError:
        # What must survive is that a job has ended.
        phase = next((one for one in Phase if one == raw.get("phase")), None)
        return TrainingJobStatus(phase=phase)
