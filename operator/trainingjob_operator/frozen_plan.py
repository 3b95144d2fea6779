"""A job's plan: what runs, with which image. It is made once for each uid of a resource.

The operator records the plan's digest in the status before it creates anything. Others may write ConfigMaps:
a plan that is read there counts only if it has that digest. A run that has begun keeps its plan or ends.
"""

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from trainingjob_api import (
    CLUSTER_SCHEMES,
    Output,
    ParallelMode,
    PlanRecord,
    ResolvedRun,
    SecretRef,
    SpecError,
    TrainingJob,
    plan_digest,
    resolve,
    storage_of,
)
from trainingjob_api.reasons import Cause, Reason
from trainingjob_operator.children import PLAN_ANNOTATION, USER_LABEL, Child, name_of, trainer_container
from trainingjob_operator.job_view import JobView
from trainingjob_operator.settings import Settings

RUN_KEY = "run.json"
IMAGE_KEY = "image"
FINAL_REASONS = frozenset({Reason.SPEC_INVALID, Reason.NOT_ALLOWED, Reason.PLAN_LOST})
"""Why a job has no plan and never will: it fails. Without one of these it waits."""
_BUCKETS = 10_000


@dataclass(frozen=True, slots=True)
class Plan:
    """What is in force for a job.

    Parameters
    ----------
    run, image
        What runs.
    report_key
        Public half of the key that reports are signed with, once it exists.
    written
        The text that *run* was read from, if it was: another release may write it differently.
    """

    run: ResolvedRun
    image: str
    report_key: str | None = dataclasses.field(default=None, compare=False)
    written: str | None = dataclasses.field(default=None, compare=False)

    @property
    def text(self) -> str:
        """The run as its ConfigMap holds it."""
        return self.written or self.run.model_dump_json(by_alias=True)

    @property
    def digest(self) -> str:
        """What identifies this plan."""
        return plan_digest(self.text, self.image)

    @property
    def distributed(self) -> bool:
        """Whether the search runs on a Dask cluster; the baseline alone needs none."""
        return self.run.parallel_mode is ParallelMode.DISTRIBUTED and self.run.automl_enabled


@dataclass(frozen=True, slots=True)
class FoundPlan:
    """What is known of a job's plan.

    Parameters
    ----------
    plan
        What is in force, or would be if the job began now; ``None`` if there is none.
    record
        What the status is to say of it; ``None`` until there is a key for its reports.
    obstacle
        Why it cannot be followed.
    """

    plan: Plan | None = None
    record: PlanRecord | None = None
    obstacle: Cause | None = None


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
    for field, uri in (("spec.dataset.uri", run.dataset.uri), ("spec.output.uri", run.output.uri)):
        kind = storage_of(uri)
        allowed = settings.allowed_endpoints
        if kind is not None and kind.host is not None and allowed and not any(map(kind.is_host, allowed)):
            text = f"{field}: this operator does not allow {kind.host}; use one of {', '.join(allowed)}"
            return Cause(Reason.NOT_ALLOWED, text)
        if uri.startswith("file://"):
            text = f"{field}: file:// is only for local runs (trainingjob run); use {CLUSTER_SCHEMES}"
            return Cause(Reason.SPEC_INVALID, text)
    remote = run.dataset.uri.startswith("https://")
    if remote and not settings.allow_https:
        text = "spec.dataset.uri: this operator does not allow https:// datasets; copy the table to "
        return Cause(Reason.NOT_ALLOWED, text + CLUSTER_SCHEMES)
    places = [("spec.dataset.endpoint", run.dataset.endpoint), ("spec.output.endpoint", run.output.endpoint)]
    if remote:
        places.append(("spec.dataset.uri", run.dataset.uri))
    for field, address in places:
        host = urlsplit(address).hostname if address else None
        if host and settings.allowed_endpoints and host not in settings.allowed_endpoints:
            text = f"{field}: this operator does not allow the endpoint {host}; use one of "
            return Cause(Reason.NOT_ALLOWED, text + ", ".join(settings.allowed_endpoints))
    return None


def find_plan(
    view: JobView, owned: Mapping[Child, dict[str, Any]], settings: Settings, space_text: str | None
) -> FoundPlan:
    """Return the plan in force, or why there is none.

    A job that has not begun is resolved with *settings* and *space_text*.
    """
    fence, job = owned.get(Child.RUN), owned.get(Child.JOB)
    record = view.status.plan
    kept = _recorded(read_run(fence), record) if fence is not None else None
    found = kept or (_recorded(read_copy(job), record) if job is not None else None)
    if fence is not None and kept is None:
        return FoundPlan(_with_key(found, record), record, changed_plan(name_of(view.owner, Child.RUN)))
    if found is None:
        new = _new_plan(view, settings, space_text, has_job=job is not None)
        if isinstance(new, Cause):
            return FoundPlan(None, record, new)
        found = new
        if record is not None:
            record = record.model_copy(update={"digest": found.digest})
    # Allow-lists may have become narrower since the job began.
    return FoundPlan(_with_key(found, record), record, _not_allowed(found.run, settings))


def changed_plan(name: str) -> Cause:
    """Return what it means that the ConfigMap *name* is not what the operator recorded."""
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
    try:
        run = ResolvedRun.model_validate_json(text) if text and image else None
    except ValidationError:
        return None
    return Plan(run=run, image=image, written=text) if run is not None and image else None


def _recorded(read: Plan | None, record: PlanRecord | None) -> Plan | None:
    """Return a plan that was read if it is the one that the status records."""
    return read if read is not None and record is not None and read.digest == record.digest else None


def _with_key(found: Plan | None, record: PlanRecord | None) -> Plan | None:
    return replace(found, report_key=record.report_key) if found is not None and record is not None else found


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
            Reason.PLAN_LOST, f"{lost}its plan cannot be made again ({found.message}); recreate the job"
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
