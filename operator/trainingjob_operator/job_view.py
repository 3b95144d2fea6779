"""A TrainingJob as the operator reads it, parsed once, and its plan: what runs, with which image.

The plan is made once for each uid of a resource. The operator records the plan's digest in the status before
it creates anything. Others may write ConfigMaps: a plan that is read there counts only if it has that digest.
A run that has begun keeps its plan or ends.
"""

import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from pydantic import ValidationError, create_model

from trainingjob_api import (
    CLUSTER_SCHEMES,
    Acceptance,
    Condition,
    ConditionType,
    Output,
    ParallelMode,
    Phase,
    PlanRecord,
    ResolvedRun,
    SecretRef,
    SpecError,
    TrainingJob,
    TrainingJobSpec,
    TrainingJobStatus,
    parse_job,
    plan_digest,
    resolve,
    storage_of,
)
from trainingjob_api.load import ObjectMeta
from trainingjob_api.reasons import Cause, Reason
from trainingjob_api.spec import MUTABLE_FIELDS
from trainingjob_api.types import SpecModel
from trainingjob_operator.children import (
    PLAN_ANNOTATION,
    USER_LABEL,
    Child,
    Owner,
    name_of,
    trainer_container,
)
from trainingjob_operator.settings import Settings

RUN_KEY = "run.json"
IMAGE_KEY = "image"
FINAL_REASONS = frozenset({Reason.SPEC_INVALID, Reason.NOT_ALLOWED, Reason.PLAN_LOST})
"""Why a job has no plan and never will: it fails. Without one of these it waits."""
_BUCKETS = 10_000

ParsedSpec: TypeAlias = tuple[TrainingJob | None, str | None]
"""The job or ``None``, and why it cannot be read."""


_CHANGEABLE: dict[str, Any] = {
    name: (info.annotation, info)
    for name, info in TrainingJobSpec.model_fields.items()
    if info.alias in MUTABLE_FIELDS
}
_Changeable = create_model("_Changeable", __base__=SpecModel, **_CHANGEABLE)
_UNCHANGED: Any = _Changeable()


@dataclass(frozen=True, slots=True)
class SpecSource:
    """An object of the API server; two are equal if they have the same version of the same job's spec."""

    uid: str
    generation: int
    raw: dict[str, Any] = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobView:
    """The job that a decision is about."""

    owner: Owner
    generation: int = 1
    resource_version: str = ""
    """A status is written only if this is still the object's version."""
    deleting: bool = False
    suspend: bool = False
    acceptance: Acceptance | None = None
    ttl_seconds: int = _UNCHANGED.ttl_seconds_after_finished
    job: TrainingJob | None = None
    """``None`` if it has ended, or if its spec cannot be read: then *problem* says why."""
    problem: str | None = None
    status: TrainingJobStatus = field(default_factory=TrainingJobStatus)
    raw_status: dict[str, Any] = field(default_factory=dict)
    """The same as the API server has it."""

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
    """Return the view of *raw*, an object of the API server; of an ended job only the mutable fields.

    A caller that reads a job repeatedly caches the results of *parse*.
    """
    meta = raw["metadata"]
    raw_status = raw.get("status") or {}
    status = _status(raw_status)
    job, problem = None, None
    if status.phase is not None and status.phase.terminal:
        changeable = _changeable(raw.get("spec") or {})
    else:
        job, problem = parse(SpecSource(meta["uid"], meta.get("generation", 1), raw))
        changeable = job.spec if job is not None else _UNCHANGED
    if job is not None:
        # Labels change without a new generation.
        current = ObjectMeta.model_validate(meta, by_alias=True, by_name=False)
        job = job.model_copy(update={"metadata": current})
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


def _changeable(spec: dict[str, Any]) -> Any:
    """Return the fields of a spec that may change after creation; their defaults if one is invalid."""
    found = {name: value for name, value in spec.items() if name in MUTABLE_FIELDS}
    with suppress(ValidationError):
        return _Changeable.model_validate(found, by_alias=True, by_name=False)
    return _UNCHANGED


def condition_of(status: TrainingJobStatus, kind: ConditionType) -> Condition | None:
    """Return a condition, ``None`` if the status does not have it."""
    return next((condition for condition in status.conditions or () if condition.type is kind), None)


def read_time(text: str | None) -> datetime | None:
    """Return a timestamp of the API server, ``None`` if it is unset or malformed."""
    with suppress(ValueError):
        return datetime.fromisoformat(text or "")
    return None


def _status(raw: dict[str, Any]) -> TrainingJobStatus:
    try:
        return TrainingJobStatus.model_validate(raw)
    except ValidationError:
        # Two facts must survive: that a job has ended, and what its objects are checked against.
        phase = next((phase for phase in Phase if phase == raw.get("phase")), None)
        with suppress(ValidationError):
            return TrainingJobStatus(phase=phase, plan=PlanRecord.model_validate(raw.get("plan")))
        return TrainingJobStatus(phase=phase)


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of a job: the resolved run and the image of its trainer."""

    run: ResolvedRun
    image: str
    report_key: str | None = field(default=None, compare=False)
    """Public half of the key that reports are signed with, once it exists."""
    written: str | None = field(default=None, compare=False)
    """The text that *run* was read from, if it was: another release may write it differently."""

    @property
    def text(self) -> str:
        """The run as its ConfigMap holds it."""
        return self.written or self.run.model_dump_json(by_alias=True)

    @property
    def digest(self) -> str:
        """The digest that identifies this plan."""
        return plan_digest(self.text, self.image)

    @property
    def record(self) -> PlanRecord | None:
        """The record of the plan in the status; ``None`` until there is a key for the reports."""
        return None if self.report_key is None else PlanRecord(digest=self.digest, report_key=self.report_key)

    @property
    def distributed(self) -> bool:
        """Whether the search runs on a Dask cluster; the baseline alone needs none."""
        return self.run.parallel_mode is ParallelMode.DISTRIBUTED and self.run.automl_enabled


def in_rollout(percent: float | None, namespace: str, name: str, labels: dict[str, str]) -> bool | None:
    """Return whether a job is in the share that gets AutoML; ``None`` where there is no share.

    The label ``automl.trainingjob.dev/user`` keeps all jobs of one user on one side; without it each
    job is hashed by namespace and name. A greater share always includes a smaller one.
    """
    if percent is None:
        return None
    key = labels.get(USER_LABEL) or f"{namespace}/{name}"
    bucket = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) % _BUCKETS
    return bucket < percent * _BUCKETS / 100


def space_reference(job: TrainingJob) -> tuple[str, str] | None:
    """Return name and key of the ConfigMap with the search space, if the job names one."""
    reference = job.spec.search_space.config_map_ref
    return None if reference is None else (reference.name, reference.key)


def make_plan(job: TrainingJob, settings: Settings, space_text: str | None = None) -> Plan | Cause:
    """Return the plan of *job* with the operator's current settings, or why there is none.

    *space_text* is what ``searchSpace.configMapRef`` refers to, ``None`` where that does not exist (yet).
    """
    reference = space_reference(job)
    if reference is not None and space_text is None:
        name, key = reference
        text = f"spec.searchSpace.configMapRef: ConfigMap {name} with key {key} does not exist; create it"
        return Cause(Reason.CONFIG_MAP_NOT_FOUND, text)
    if "uri" not in job.spec.output.model_fields_set and settings.output_uri is None:
        text = f"spec.output.uri: is not set and this operator has no default; set it to {CLUSTER_SCHEMES}"
        return Cause(Reason.SPEC_INVALID, text)
    meta = job.metadata
    rollout = in_rollout(settings.rollout_percent, meta.namespace or "", meta.name, meta.labels)
    spec = job.spec.model_copy(update={"output": _output(job.spec.output, settings)})
    try:
        run = resolve(
            job.model_copy(update={"spec": spec}),
            settings.defaults,
            rollout=rollout,
            search_space_text=space_text,
        )
    except SpecError as error:
        return Cause(Reason.SPEC_INVALID, str(error))
    return _not_allowed(run, settings) or Plan(run=run, image=settings.trainer_image)


def _output(output: Output, settings: Settings) -> Output:
    """Return *output*, with the operator's default where it names no address."""
    if "uri" in output.model_fields_set:
        return output
    secret = SecretRef(name=settings.output_secret) if settings.output_secret else None
    return output.model_copy(
        update={
            "uri": settings.output_uri,
            "endpoint": output.endpoint or settings.output_endpoint,
            "credentials_secret_ref": output.credentials_secret_ref or secret,
        }
    )


def _not_allowed(run: ResolvedRun, settings: Settings) -> Cause | None:
    """Return why the operator's settings do not let a run read or write where it wants to."""
    allowed = settings.allowed_endpoints
    for name, uri in (("spec.dataset.uri", run.dataset.uri), ("spec.output.uri", run.output.uri)):
        kind = storage_of(uri)
        if kind is not None and kind.host is not None and allowed and not any(map(kind.is_host, allowed)):
            text = f"{name}: this operator does not allow {kind.host}; use one of {', '.join(allowed)}"
            return Cause(Reason.NOT_ALLOWED, text)
        if uri.startswith("file://"):
            text = f"{name}: file:// is only for local runs (trainingjob run); use {CLUSTER_SCHEMES}"
            return Cause(Reason.SPEC_INVALID, text)
    remote = run.dataset.uri.startswith("https://")
    if remote and not settings.allow_https:
        text = "spec.dataset.uri: this operator does not allow https:// datasets; copy the table to "
        return Cause(Reason.NOT_ALLOWED, text + CLUSTER_SCHEMES)
    for name, address in (
        ("spec.dataset.endpoint", run.dataset.endpoint),
        ("spec.output.endpoint", run.output.endpoint),
        ("spec.dataset.uri", run.dataset.uri if remote else None),
    ):
        host = urlsplit(address).hostname if address else None
        if host and allowed and host not in allowed:
            text = (
                f"{name}: this operator does not allow the endpoint {host}; use one of {', '.join(allowed)}"
            )
            return Cause(Reason.NOT_ALLOWED, text)
    return None


def find_plan(
    view: JobView, owned: Mapping[Child, dict[str, Any]], settings: Settings, space_text: str | None
) -> tuple[Plan | None, Cause | None]:
    """Return the plan in force, if there is one, and why it cannot be followed.

    A job that has not begun is resolved with *settings* and *space_text*.
    """
    fence, job, record = owned.get(Child.RUN), owned.get(Child.JOB), view.status.plan
    kept = _recorded(read_run(fence), record) if fence is not None else None
    found = kept or (_recorded(read_copy(job), record) if job is not None else None)
    if fence is not None and kept is None:
        return found, changed_plan(name_of(view.owner, Child.RUN))
    if found is None:
        new = _new_plan(view, settings, space_text, has_job=job is not None)
        if isinstance(new, Cause):
            return None, new
        found = replace(new, report_key=record.report_key) if record is not None else new
    # Allow-lists may have become narrower since the job began.
    return found, _not_allowed(found.run, settings)


def changed_plan(name: str) -> Cause:
    """Return the cause for a ConfigMap *name* that differs from the recorded plan."""
    return Cause(
        Reason.PLAN_CHANGED,
        f"ConfigMap {name} does not hold the plan that status.plan.digest records, so something else "
        "wrote it and it is ignored; delete it, and the operator creates it again",
    )


def read_run(raw: Mapping[str, Any]) -> Plan | None:
    """Return the plan that its ConfigMap holds, ``None`` if it cannot be read."""
    data = raw.get("data") or {}
    return _parse(data.get(RUN_KEY), data.get(IMAGE_KEY))


def read_copy(raw: dict[str, Any]) -> Plan | None:
    """Return the plan that a Job was made from, ``None`` if it cannot be read from it."""
    template = (raw.get("spec") or {}).get("template") or {}
    annotations = raw["metadata"].get("annotations") or {}
    return _parse(annotations.get(PLAN_ANNOTATION), trainer_container(template).get("image"))


def _parse(text: str | None, image: str | None) -> Plan | None:
    with suppress(ValidationError):
        if text and image:
            return Plan(run=ResolvedRun.model_validate_json(text), image=image, written=text)
    return None


def _recorded(read: Plan | None, record: PlanRecord | None) -> Plan | None:
    """Return a plan that was read if it is the one that the status records."""
    if read is None or record is None or read.digest != record.digest:
        return None
    return replace(read, report_key=record.report_key)


def _new_plan(view: JobView, settings: Settings, space_text: str | None, *, has_job: bool) -> Plan | Cause:
    """Return the plan with the current settings, unless the job has begun with another one."""
    lost = f"ConfigMap {name_of(view.owner, Child.RUN)} was deleted while the job was running, and "
    if view.job is None:
        return Cause(Reason.SPEC_INVALID, view.problem or "The spec cannot be read")
    found = make_plan(view.job, settings, space_text)
    if isinstance(found, Cause):
        if not has_job:
            return found
        return Cause(
            Reason.PLAN_LOST, f"{lost}its plan cannot be recreated ({found.message}); recreate the job"
        )
    status = view.status
    same = status.plan is not None and status.plan.digest == found.digest
    if same or not (has_job or status.attempts):
        return found
    changed = status.resolved.changes(found.run.summary(image=found.image)) if status.resolved else ()
    text = (
        f"{lost}the operator's settings have changed since "
        f"({', '.join(changed or ('status.plan.digest',))}); recreate the job"
    )
    return Cause(Reason.PLAN_LOST, text)
