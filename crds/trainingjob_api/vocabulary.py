"""Group, kind and enumerations of the contract.

Values of the spec are lower case, as in the environment; phases and condition types are PascalCase, as in
Kubernetes.
"""

from enum import StrEnum
from typing import Final

__all__ = [
    "API_VERSION",
    "EXIT_INVALID",
    "GROUP",
    "KIND",
    "PLURAL",
    "TPOT_GROUPS",
    "VERSION",
    "AttemptOutcome",
    "Backend",
    "ConditionStatus",
    "ConditionType",
    "DatasetFormat",
    "DecimalMark",
    "Encoding",
    "Ensemble",
    "FeatureType",
    "ModelSource",
    "ParallelMode",
    "Phase",
    "Preset",
    "Severity",
    "Stage",
    "TaintEffect",
    "Task",
    "ThousandsMark",
    "TolerationOperator",
    "ValidationStrategy",
]

GROUP = "automl.trainingjob.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "TrainingJob"
PLURAL = "trainingjobs"
EXIT_INVALID: Final = 2
"""Exit status of a trainer whose spec or data is wrong: a retry is useless."""

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
