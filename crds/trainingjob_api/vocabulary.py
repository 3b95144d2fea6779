"""Shared by both planes, without pydantic: names, enumerations, bounded texts and the log format.

Values of the spec are lower case, as in the environment; phases and condition types are PascalCase, as in
Kubernetes. A log has one JSON object per line with ``time`` (RFC 3339, UTC, milliseconds), ``level`` and
``event``, for lines about a job ``job`` (``namespace/name``), ``uid`` and ``attempt``, and further keys.
"""

import difflib
import json
import logging
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

GROUP = "automl.trainingjob.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "TrainingJob"
PLURAL = "trainingjobs"
EXIT_INVALID: Final = 2
"""Exit status of a trainer whose spec or data is wrong: a retry is useless."""
CONFIG_DICT = "TPOT__CONFIG_DICT"
DASK_SCHEDULER_FILE = "TPOT__DASK_SCHEDULER_FILE"
DEFAULT_SCHEDULER_FILE = "/var/run/tpot/scheduler.json"
CUT = "…"
"""End of every text that was cut."""
MAX_LOG_TEXT = 8000
_RECORD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "fields"}

TPOT_GROUPS = (
    "selectors",
    "selectors_classification",
    "selectors_regression",
    "classifiers",
    "regressors",
    "transformers",
    "scalers",
    "all_transformers",
    "arithmatic",
    "imputers",
    "genetic_encoders",
)
"""Names of TPOT's groups of estimators (``arithmatic`` is TPOT's own spelling)."""


class Task(StrEnum):
    """The kind of learning task."""

    AUTO = "auto"
    CLASSIFICATION = "classification"
    REGRESSION = "regression"


class FeatureType(StrEnum):
    """How a column is read and encoded."""

    NUMERIC = "numeric"
    CATEGORICAL = "categorical"
    TEXT = "text"
    DATETIME = "datetime"
    IGNORE = "ignore"


class ParallelMode(StrEnum):
    """Where pipelines are evaluated; ``none`` means one local worker."""

    LOCAL = "local"
    DISTRIBUTED = "distributed"
    NONE = "none"


class Ensemble(StrEnum):
    """Whether an ensemble of the best pipelines may be the model."""

    AUTO = "auto"
    OFF = "off"


class DatasetFormat(StrEnum):
    """Format of the table; ``auto`` looks at the name and the first bytes."""

    AUTO = "auto"
    CSV = "csv"
    PARQUET = "parquet"


class Encoding(StrEnum):
    """Encoding of a CSV file."""

    UTF_8 = "utf-8"
    UTF_16 = "utf-16"
    UTF_32 = "utf-32"
    WINDOWS_1252 = "windows-1252"
    ISO_8859_1 = "iso-8859-1"
    ISO_8859_15 = "iso-8859-15"
    WINDOWS_1250 = "windows-1250"
    WINDOWS_1251 = "windows-1251"
    SHIFT_JIS = "shift_jis"
    GB18030 = "gb18030"
    BIG5 = "big5"
    EUC_KR = "euc-kr"


class DecimalMark(StrEnum):
    """Decimal mark of numbers."""

    POINT = "."
    COMMA = ","


class ThousandsMark(StrEnum):
    """Thousands separator of numbers; ``space`` is any kind of space."""

    POINT = "."
    COMMA = ","
    APOSTROPHE = "'"
    SPACE = "space"
    NONE = "none"


class ValidationStrategy(StrEnum):
    """How the rows are split into hold-out set and folds."""

    AUTO = "auto"
    KFOLD = "kfold"
    GROUP = "group"
    TIME = "time"


class Preset(StrEnum):
    """TPOT's ready-made search spaces."""

    LINEAR = "linear"
    LINEAR_LIGHT = "linear-light"
    GRAPH = "graph"
    GRAPH_LIGHT = "graph-light"


class Phase(StrEnum):
    """Phase of a job; the terminal ones (Succeeded, Failed) are final."""

    PENDING = "Pending"
    SEARCHING = "Searching"
    SAVING = "Saving"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    SUSPENDED = "Suspended"

    @property
    def terminal(self) -> bool:
        """Whether the phase is final."""
        return self in {Phase.SUCCEEDED, Phase.FAILED}


class AttemptOutcome(StrEnum):
    """How an attempt, that is one pod of the trainer, ended."""

    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    OOM_KILLED = "OOMKilled"
    EVICTED = "Evicted"
    SUSPENDED = "Suspended"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    REMOVED = "Removed"


class ConditionType(StrEnum):
    """Types of the conditions in the status."""

    READY = "Ready"
    COMPLETE = "Complete"
    FAILED = "Failed"
    SUSPENDED = "Suspended"
    DASK_READY = "DaskReady"
    DEGRADED = "Degraded"
    ACCEPTANCE_MET = "AcceptanceMet"
    ARTIFACTS_UPLOADED = "ArtifactsUploaded"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"


class ConditionStatus(StrEnum):
    """Status of a condition, as in metav1."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class ModelSource(StrEnum):
    """Origin of the final model."""

    TPOT = "tpot"
    BASELINE = "baseline"


class Backend(StrEnum):
    """Backend that evaluates pipelines now; may differ from the requested one."""

    DASK = "dask"
    LOCAL = "local"
    NONE = "none"


class Severity(StrEnum):
    """Severity of a finding: ``info`` reports a decision, ``warning`` asks the user to check."""

    INFO = "info"
    WARNING = "warning"


class Stage(StrEnum):
    """Stage of a run, reported by the trainer."""

    STARTING = "Starting"
    LOADING = "Loading"
    PREPARING = "Preparing"
    BASELINE = "Baseline"
    SEARCHING = "Searching"
    FITTING = "Fitting"
    SCORING = "Scoring"
    SAVING = "Saving"
    UPLOADING = "Uploading"
    FINISHED = "Finished"


class TolerationOperator(StrEnum):
    """Operator of a toleration, as in Kubernetes."""

    EXISTS = "Exists"
    EQUAL = "Equal"


class TaintEffect(StrEnum):
    """Effect of a taint, as in Kubernetes."""

    NO_SCHEDULE = "NoSchedule"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    NO_EXECUTE = "NoExecute"


def read_variable(environment: Mapping[str, str], name: str) -> str | None:
    """Return the variable without surrounding space, ``None`` if it is unset or empty."""
    return environment.get(name, "").strip() or None


def shorten(text: str, limit: int) -> str:
    """Return *text* in at most *limit* characters, ending in ``…`` if it was cut."""
    return text if len(text) <= limit else text[: limit - len(CUT)].rstrip() + CUT


def nearest_names(word: str, names: Iterable[str], *, most: int = 3, cutoff: float = 0.6) -> list[str]:
    """Return the *names* most similar to *word*, best first, whatever their case and punctuation."""

    def plain(text: str) -> str:
        return re.sub(r"[\W_]", "", text.casefold()) or text

    by_plain: dict[str, str] = {}
    for name in names:
        by_plain.setdefault(plain(name), name)
    found = difflib.get_close_matches(plain(word[:100]), by_plain, n=most, cutoff=cutoff)
    return [by_plain[each] for each in found]


def did_you_mean(word: str, names: Iterable[str], otherwise: str | None = None) -> str | None:
    """Return the hint that names what *word* was probably meant to be, else *otherwise*."""
    found = nearest_names(word, names, most=1)
    return f"did you mean {found[0]}?" if found else otherwise


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON.

    ``extra`` adds keys to a line; its ``fields``, a mapping, may use names of attributes of a record, such
    as ``message``. *about* returns the job's keys for a record, *clean* a function that removes secrets from
    texts; attributes in *hidden* are not logged.
    """

    def __init__(
        self,
        about: Callable[[logging.LogRecord], Mapping[str, Any]],
        *,
        clean: Callable[[], Callable[[str], str]] = lambda: str,
        hidden: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__()
        self._about = about
        self._clean = clean
        self._hidden = _RECORD | hidden

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        head = {
            "time": time.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "event": shorten(record.getMessage(), MAX_LOG_TEXT),
            **self._about(record),
        }
        extra = {name: value for name, value in vars(record).items() if name not in self._hidden}
        line = {**head, **extra, **getattr(record, "fields", {}), "logger": record.name, **head}
        if record.exc_info:
            # The end of a traceback names the error.
            line["traceback"] = self.formatException(record.exc_info)[-MAX_LOG_TEXT:]
        return json.dumps(_cleaned(line, self._clean()), default=str, ensure_ascii=False)


def install_log(handler: logging.Handler, level: int = logging.INFO) -> None:
    """Send all logs of this process, including those of libraries imported so far, to *handler*."""
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.captureWarnings(capture=True)
    # When it is imported, Dask gives some loggers, tornado's among them, handlers that write plain lines.
    loggers = [logger for logger in root.manager.loggerDict.values() if isinstance(logger, logging.Logger)]
    for logger in loggers:
        for own in logger.handlers[:]:
            if isinstance(own, logging.StreamHandler):
                logger.removeHandler(own)
                logger.propagate = True


def _cleaned(value: Any, clean: Callable[[str], str]) -> Any:
    match value:
        case str():
            return clean(value)
        case dict():
            return {key: _cleaned(item, clean) for key, item in value.items()}
        case list() | tuple():
            return [_cleaned(item, clean) for item in value]
        case _:
            return value
