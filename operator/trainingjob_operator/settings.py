"""The operator's settings, read from its environment once at start-up."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Annotated, Self

from pydantic import Field
from pydantic.dataclasses import dataclass

from trainingjob_api import (
    CONFIG_DICT,
    DASK_SCHEDULER_FILE,
    TABLE,
    Variable,
    Words,
    read_settings,
    read_variable,
)
from trainingjob_operator.children import CLASS_LABEL

STABLE = "stable"
"""The operator class that also handles unlabelled jobs."""

_TABLE_VARIABLES = (*(row.variable for row in TABLE), CONFIG_DICT, DASK_SCHEDULER_FILE)
_TRAINER_VARIABLES = (
    "AWS_ENDPOINT_URL",
    "AWS_REGION",
    "AZURE_STORAGE_ACCOUNT_NAME",
    "TRAININGJOB_ALLOWED_ENDPOINTS",
    "TRAININGJOB_ALLOW_GOOGLE_METADATA",
    "TRAININGJOB_ALLOW_HTTPS",
    "TRAININGJOB_ALLOW_PRIVATE_ENDPOINTS",
    "TRAININGJOB_ALLOW_PRIVATE_HTTPS",
    "TRAININGJOB_HTTPS_TIMEOUT_SECONDS",
    "TRAININGJOB_MAX_BYTES",
    "TRAININGJOB_MAX_COLUMNS",
    "TRAININGJOB_MAX_DECOMPRESSED_BYTES",
    "TRAININGJOB_MAX_ROWS",
    "TRAININGJOB_S3_TIMEOUT_SECONDS",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of one operator process; the design note 0004 describes their variables."""

    trainer_image: str
    image_pull_policy: str | None = None
    namespaces: Words = ()
    """Empty means all of them."""
    operator_class: str = STABLE
    rollout_percent: Annotated[float, Field(ge=0, le=100)] | None = None
    defaults: Annotated[Mapping[str, str], Variable(())] = Field(default_factory=dict)
    """Variables of :data:`trainingjob_api.TABLE`, unparsed."""
    trainer_environment: Annotated[Mapping[str, str], Variable(())] = Field(default_factory=dict)
    """Variables that are passed to the trainer's pods unchanged."""
    output_uri: str | None = None
    output_endpoint: str | None = None
    output_secret: str | None = None
    """A Secret of the job's own namespace."""
    allowed_endpoints: Words = ()
    """Host names that S3 endpoints, ``https://`` datasets, and Google's and Azure's storage may have; empty
    means any."""
    allow_https: bool = False
    ca_config_map: str | None = None
    """A ConfigMap of the job's own namespace: ``ca.crt`` replaces the public authorities."""
    default_workers: Annotated[int, Field(ge=1, le=256)] = 2
    """Workers that a pod is sized for when ``nJobs`` is unset."""
    run_as_user: Annotated[int, Field(ge=0, le=2**31 - 1)] = 65532
    """Of the trainer's pods; 0 leaves it to the image (and the platform)."""
    resync_seconds: Annotated[float, Field(ge=1, le=86_400)] = 300.0
    """Between two lists of all jobs, which make up for lost events."""
    request_timeout_seconds: Annotated[float, Field(ge=0.1, le=300)] = 15.0
    workers: Annotated[int, Field(ge=1, le=64)] = 8
    """Jobs that are reconciled at the same time."""
    watch_timeout_seconds: Annotated[float, Field(ge=1, le=3_600)] = 240.0
    """After which a watch is reopened."""
    port: Annotated[int, Field(ge=0, le=65_535)] = 8080
    job_label: Annotated[bool, Variable(("TRAININGJOB_METRICS_JOB_LABEL",))] = False

    def handles(self, labels: Mapping[str, str]) -> bool:
        """Return whether this operator handles a job with *labels*."""
        return (labels.get(CLASS_LABEL) or STABLE) == self.operator_class

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read the settings; a :class:`SpecError` names every variable that cannot be read."""
        return read_settings(
            cls,
            environment,
            defaults=_subset(environment, _TABLE_VARIABLES),
            trainer_environment=_subset(environment, _TRAINER_VARIABLES),
        )


def _subset(environment: Mapping[str, str], names: Iterable[str]) -> Mapping[str, str]:
    found = {name: value for name in names if (value := read_variable(environment, name)) is not None}
    return MappingProxyType(found)
