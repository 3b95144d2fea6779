"""What the operator's surroundings decide: its environment, read once at start-up."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Self, TypeVar

from trainingjob_api.environment import CONFIG_DICT, DASK_SCHEDULER_FILE, TABLE
from trainingjob_api.text import shorten
from trainingjob_operator.errors import SettingsError

__all__ = ["STABLE", "Settings"]

STABLE = "stable"
"""The operator class that minds unlabelled jobs, too."""

_TABLE_VARIABLES = (*(row.variable for row in TABLE), CONFIG_DICT, DASK_SCHEDULER_FILE)
_TRAINER_VARIABLES = (
    "AWS_ENDPOINT_URL",
    "AWS_REGION",
    "TRAININGJOB_ALLOWED_ENDPOINTS",
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
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})
_Value = TypeVar("_Value")


def _no_variables() -> Mapping[str, str]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of one operator process.

    Parameters
    ----------
    trainer_image
        Image of the trainer's pods.
    image_pull_policy
        Pull policy of that image; unset leaves it to Kubernetes.
    namespaces
        Namespaces that are watched; empty means all of them.
    operator_class
        Jobs labelled with this class are minded; ``stable`` minds unlabelled ones, too.
    rollout_percent
        Share of the jobs without ``automl.enabled`` that get AutoML, 0 to 100; unset means no share.
    defaults
        Variables of the table of :mod:`trainingjob_api.environment`, as they are.
    trainer_environment
        Variables that are handed to the trainer's pods as they are.
    output_uri, output_endpoint, output_secret
        Where models go when a job does not say; the Secret is one of the job's own namespace.
    allowed_endpoints
        Host names that S3 endpoints and ``https://`` datasets may have; empty means any.
    allow_https
        Whether ``https://`` datasets are read at all.
    ca_config_map
        ConfigMap of the job's own namespace whose key ``ca.crt`` holds the authorities that a trainer
        trusts instead of the public ones.
    default_workers
        Workers that a pod is sized for when ``nJobs`` is unset.
    run_as_user
        Numeric user of the trainer's pods; 0 leaves it to the image (and the platform).
    resync_seconds
        Between two lists of all jobs, the safety net below the watches.
    request_timeout_seconds
        Time-out of each call to the API server.
    workers
        Jobs that are reconciled at the same time.
    watch_timeout_seconds
        After which a watch is opened anew.
    port
        Port of metrics and health.
    job_label
        Whether metrics carry the job's name and namespace as labels.
    """

    trainer_image: str
    image_pull_policy: str | None = None
    namespaces: tuple[str, ...] = ()
    operator_class: str = STABLE
    rollout_percent: float | None = None
    defaults: Mapping[str, str] = field(default_factory=_no_variables)
    trainer_environment: Mapping[str, str] = field(default_factory=_no_variables)
    output_uri: str | None = None
    output_endpoint: str | None = None
    output_secret: str | None = None
    allowed_endpoints: tuple[str, ...] = ()
    allow_https: bool = False
    ca_config_map: str | None = None
    default_workers: int = 2
    run_as_user: int = 65532
    resync_seconds: float = 300.0
    request_timeout_seconds: float = 15.0
    workers: int = 8
    watch_timeout_seconds: float = 240.0
    port: int = 8080
    job_label: bool = False

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read the settings from environment variables.

        Parameters
        ----------
        environment
            ``TRAININGJOB_TRAINER_IMAGE`` (required) and those that the design note 0004 lists.

        Raises
        ------
        SettingsError
            Naming the first variable that cannot be read.
        """
        read = _Reader(environment)
        return cls(
            trainer_image=read.required("TRAININGJOB_TRAINER_IMAGE"),
            image_pull_policy=read.text("TRAININGJOB_IMAGE_PULL_POLICY"),
            namespaces=read.words("TRAININGJOB_NAMESPACES"),
            operator_class=read.text("TRAININGJOB_OPERATOR_CLASS") or STABLE,
            rollout_percent=read.number("TRAININGJOB_ROLLOUT_PERCENT", None, low=0.0, high=100.0),
            defaults=read.subset(_TABLE_VARIABLES),
            trainer_environment=read.subset(_TRAINER_VARIABLES),
            output_uri=read.text("TRAININGJOB_OUTPUT_URI"),
            output_endpoint=read.text("TRAININGJOB_OUTPUT_ENDPOINT"),
            output_secret=read.text("TRAININGJOB_OUTPUT_SECRET"),
            allowed_endpoints=read.words("TRAININGJOB_ALLOWED_ENDPOINTS"),
            allow_https=read.flag("TRAININGJOB_ALLOW_HTTPS", default=False),
            ca_config_map=read.text("TRAININGJOB_CA_CONFIG_MAP"),
            default_workers=read.whole("TRAININGJOB_DEFAULT_WORKERS", 2, low=1, high=256),
            run_as_user=read.whole("TRAININGJOB_RUN_AS_USER", 65532, low=0, high=2**31 - 1),
            resync_seconds=read.number("TRAININGJOB_RESYNC_SECONDS", 300.0, low=1.0, high=86_400.0),
            request_timeout_seconds=read.number(
                "TRAININGJOB_REQUEST_TIMEOUT_SECONDS", 15.0, low=0.1, high=300.0
            ),
            workers=read.whole("TRAININGJOB_WORKERS", 8, low=1, high=64),
            watch_timeout_seconds=read.number(
                "TRAININGJOB_WATCH_TIMEOUT_SECONDS", 240.0, low=1.0, high=3_600.0
            ),
            port=read.whole("TRAININGJOB_PORT", 8080, low=0, high=65_535),
            job_label=read.flag("TRAININGJOB_METRICS_JOB_LABEL", default=False),
        )


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads one variable at a time; an empty one counts as unset, since charts write empty ones."""

    environment: Mapping[str, str]

    def text(self, name: str) -> str | None:
        return self.environment.get(name, "").strip() or None

    def required(self, name: str) -> str:
        value = self.text(name)
        if value is None:
            raise SettingsError(f"{name} is not set; the chart sets it to the trainer's image")
        return value

    def words(self, name: str) -> tuple[str, ...]:
        return tuple(word.strip() for word in self.environment.get(name, "").split(",") if word.strip())

    def subset(self, names: tuple[str, ...]) -> Mapping[str, str]:
        found = {name: value for name in names if (value := self.text(name)) is not None}
        return MappingProxyType(found)

    def flag(self, name: str, *, default: bool) -> bool:
        text = self.text(name)
        if text is None:
            return default
        if text.lower() not in _TRUE | _FALSE:
            raise SettingsError(f"{name}={shorten(text, 60)!r} must be true or false")
        return text.lower() in _TRUE

    def whole(self, name: str, default: int, *, low: int, high: int) -> int:
        return self._bounded(name, default, int, low, high)

    def number(self, name: str, default: _Value, *, low: float, high: float) -> float | _Value:
        return self._bounded(name, default, float, low, high)

    def _bounded(
        self, name: str, default: _Value, kind: Callable[[str], _Value | float], low: float, high: float
    ) -> _Value:
        text = self.text(name)
        if text is None:
            return default
        try:
            value = kind(text)
        except ValueError:
            value = None
        if not isinstance(value, int | float) or not low <= value <= high:
            raise SettingsError(f"{name}={shorten(text, 60)!r} must be a number from {low:g} to {high:g}")
        return value  # type: ignore[return-value]  # of the type that *kind* makes
