"""From a job and the operator's settings to its plan: what runs, with which image.

The plan is made once for each uid of a resource and kept in the immutable ConfigMap ``<job>-<uid hash>-run``.
"""

import dataclasses
import hashlib
from dataclasses import dataclass
from urllib.parse import urlsplit

from trainingjob_api import (
    ConfigMapRef,
    Output,
    ParallelMode,
    Reason,
    ResolvedRun,
    SecretRef,
    SpecError,
    TrainingJob,
    plan_digest,
    resolve,
)
from trainingjob_api.resolved import DEFAULT_CONFIG_MAP_KEY
from trainingjob_operator.errors import Refused
from trainingjob_operator.names import CLASS_LABEL, USER_LABEL
from trainingjob_operator.settings import STABLE, Settings

__all__ = [
    "Plan",
    "check_places",
    "in_rollout",
    "minds",
    "plan",
    "space_reference",
    "wants_cluster",
]

_BUCKETS = 10_000
_SCHEMES = "s3:// or pvc://"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is in force for a job.

    Parameters
    ----------
    run, image
        What runs.
    report_key
        Public half of the key that reports are signed with, once there is one.
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
        """What this plan is known by."""
        return plan_digest(self.text, self.image)


def minds(settings: Settings, labels: dict[str, str]) -> bool:
    """Return whether this operator's class minds a job with *labels*."""
    return (labels.get(CLASS_LABEL) or STABLE) == settings.operator_class


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
    space = job.spec.search_space
    reference: ConfigMapRef | None = space.config_map_ref if space is not None else None
    return None if reference is None else (reference.name, reference.key or DEFAULT_CONFIG_MAP_KEY)


def plan(job: TrainingJob, settings: Settings, space_text: str | None = None) -> Plan:
    """Return the plan of *job*.

    Parameters
    ----------
    job
        The job, as the API server has it.
    settings
        The operator's settings: the image, defaults, the rollout share, what is allowed.
    space_text
        Content of the key that ``searchSpace.configMapRef`` names; ``None`` where it does not exist.

    Raises
    ------
    Refused
        If the job is wrong or not allowed here, or the ConfigMap does not exist (yet).
    """
    reference = space_reference(job)
    if reference is not None and space_text is None:
        name, key = reference
        raise Refused(
            Reason.CONFIG_MAP_NOT_FOUND,
            f"spec.searchSpace.configMapRef: there is no ConfigMap {name} with a key {key}; create it",
            final=False,
        )
    meta = job.metadata
    rollout = in_rollout(settings.rollout_percent, meta.namespace or "", meta.name, meta.labels)
    spec = job.spec.model_copy(update={"output": _output(job.spec.output or Output(), settings)})
    try:
        run = resolve(
            job.model_copy(update={"spec": spec}),
            settings.defaults,
            rollout=rollout,
            search_space_text=space_text,
        )
    except SpecError as error:
        raise Refused(Reason.SPEC_INVALID, str(error)) from error
    check_places(run, settings)
    return Plan(run=run, image=settings.trainer_image)


def wants_cluster(plan: Plan) -> bool:
    """Return whether a job searches on a Dask cluster; the baseline alone needs none."""
    return plan.run.parallel_mode is ParallelMode.DISTRIBUTED and plan.run.automl_enabled


def _output(output: Output, settings: Settings) -> Output:
    """Put the operator's default output in place where the job names none."""
    if output.uri is not None:
        return output
    if settings.output_uri is None:
        raise Refused(
            Reason.SPEC_INVALID,
            f"spec.output.uri: is not set and this installation has no default; name one with {_SCHEMES}",
        )
    secret = SecretRef(name=settings.output_secret) if settings.output_secret else None
    return output.model_copy(
        update={
            "uri": settings.output_uri,
            "endpoint": output.endpoint or settings.output_endpoint,
            "credentials_secret_ref": output.credentials_secret_ref or secret,
        }
    )


def check_places(run: ResolvedRun, settings: Settings) -> None:
    """Check that a run reads and writes only where this operator's settings allow it.

    Raises
    ------
    Refused
        If it does not.
    """
    for field, uri in (("spec.dataset.uri", run.dataset.uri), ("spec.output.uri", run.output.uri)):
        if uri.startswith("file://"):
            raise Refused(
                Reason.SPEC_INVALID,
                f"{field}: file:// is for local runs (trainingjob run) only; use {_SCHEMES}",
            )
    if run.dataset.uri.startswith("https://") and not settings.allow_https:
        raise Refused(
            Reason.NOT_ALLOWED,
            "spec.dataset.uri: https:// datasets are not allowed here; copy the table to s3:// or pvc://",
        )
    places = [("spec.dataset.endpoint", run.dataset.endpoint), ("spec.output.endpoint", run.output.endpoint)]
    if run.dataset.uri.startswith("https://"):
        places.append(("spec.dataset.uri", run.dataset.uri))
    for field, address in places:
        host = urlsplit(address).hostname if address else None
        if host and settings.allowed_endpoints and host not in settings.allowed_endpoints:
            raise Refused(
                Reason.NOT_ALLOWED,
                f"{field}: {host} is not on this operator's list of allowed endpoints; use one of "
                f"{', '.join(settings.allowed_endpoints)}",
            )
