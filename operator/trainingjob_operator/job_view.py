"""A TrainingJob as the operator reads it, parsed once."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

from pydantic import ConfigDict, ValidationError, create_model

from trainingjob_api import (
    Acceptance,
    Condition,
    ConditionType,
    Phase,
    PlanRecord,
    SpecError,
    TrainingJob,
    TrainingJobSpec,
    TrainingJobStatus,
    parse_job,
)
from trainingjob_api.load import ObjectMeta
from trainingjob_api.spec import MUTABLE_FIELDS
from trainingjob_api.types import SpecModel
from trainingjob_operator.children import Owner

ParsedSpec: TypeAlias = tuple[TrainingJob | None, str | None]
"""The job or ``None``, and why it cannot be read."""


class _AnySpec(SpecModel):
    model_config = ConfigDict(extra="ignore")


_CHANGEABLE: dict[str, Any] = {
    name: (info.annotation, info)
    for name, info in TrainingJobSpec.model_fields.items()
    if info.alias in MUTABLE_FIELDS
}
_Changeable = create_model("_Changeable", __base__=_AnySpec, **_CHANGEABLE)
_UNCHANGED: Any = _Changeable()


@dataclass(frozen=True, slots=True)
class SpecSource:
    """An object of the API server; two are equal if they have the same version of the same job's spec."""

    uid: str
    generation: int
    raw: dict[str, Any] = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobView:
    """The job that a decision is about.

    Parameters
    ----------
    owner
        Name, namespace and uid.
    generation
        Version of the spec.
    resource_version
        Version of the object; a status is written only if it is still the same.
    deleting
        Whether the resource is being deleted.
    suspend, acceptance, ttl_seconds
        The fields of the spec that may change after creation.
    job, problem
        The job; ``None`` if it has ended, or if its spec cannot be read: then *problem* says why.
    status, raw_status
        The status, and the same as the API server has it; empty for a new job.
    """

    owner: Owner
    generation: int = 1
    resource_version: str = ""
    deleting: bool = False
    suspend: bool = False
    acceptance: Acceptance | None = None
    ttl_seconds: int = _UNCHANGED.ttl_seconds_after_finished
    job: TrainingJob | None = None
    problem: str | None = None
    status: TrainingJobStatus = field(default_factory=TrainingJobStatus)
    raw_status: dict[str, Any] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """Whether the job has ended, according to its status; it never begins again."""
        return self.status.phase is not None and self.status.phase.terminal


def parse_spec(source: SpecSource) -> ParsedSpec:
    """Return the job, or why its spec cannot be read."""
    try:
        # The status is read separately: a damaged one must not hide the spec.
        return parse_job({key: value for key, value in source.raw.items() if key != "status"}), None
    except SpecError as error:
        return None, str(error)


def read_job_view(raw: dict[str, Any], parse: Callable[[SpecSource], ParsedSpec] = parse_spec) -> JobView:
    """Return what *raw*, an object of the API server, says.

    Parameters
    ----------
    raw
        The object. Of a job that has ended only the fields that may still change are read.
    parse
        Parses a spec; a caller that reads a job repeatedly caches the results.
    """
    meta = raw["metadata"]
    raw_status = raw.get("status") or {}
    status = _status(raw_status)
    job, problem = None, None
    if status.phase is not None and status.phase.terminal:
        changeable = _changeable(raw.get("spec"))
    else:
        job, problem = parse(SpecSource(meta["uid"], meta.get("generation", 1), raw))
        changeable = job.spec if job is not None else _UNCHANGED
    if job is not None:
        # Labels change without a new generation.
        meta_now = ObjectMeta.model_validate(meta, by_alias=True, by_name=False)
        job = job.model_copy(update={"metadata": meta_now})
    return JobView(
        owner=Owner(meta["name"], meta["namespace"], meta["uid"]),
        generation=meta.get("generation", 1),
        resource_version=meta.get("resourceVersion", ""),
        deleting=meta.get("deletionTimestamp") is not None,
        suspend=changeable.suspend,
        acceptance=changeable.acceptance,
        ttl_seconds=changeable.ttl_seconds_after_finished,
        job=job,
        problem=problem,
        status=status,
        raw_status=raw_status,
    )


def _changeable(spec: Any) -> Any:
    """Return the fields of a spec that may change after creation; their defaults if one is invalid."""
    try:
        return _Changeable.model_validate(spec, by_alias=True, by_name=False)
    except ValidationError:
        return _UNCHANGED


def condition_of(status: TrainingJobStatus, kind: ConditionType) -> Condition | None:
    """Return a condition, ``None`` if the status does not have it."""
    return next((condition for condition in status.conditions or () if condition.type is kind), None)


def read_time(text: str | None) -> datetime | None:
    """Return a timestamp of the API server, ``None`` if it is unset or malformed."""
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
        # Two facts must survive: that a job has ended, and what its objects are checked against.
        phase = next((phase for phase in Phase if phase == raw.get("phase")), None)
        return TrainingJobStatus(phase=phase, plan=_plan(raw.get("plan")))


def _plan(raw: object) -> PlanRecord | None:
    try:
        return PlanRecord.model_validate(raw)
    except ValidationError:
        return None
