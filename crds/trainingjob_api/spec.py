"""The spec of a TrainingJob: what a user may ask for.

Optional fields are ``None`` where unset; their defaults live in :mod:`trainingjob_api.resolved` alone,
since the environment stands between the spec and a default.
"""

from typing import Annotated

from pydantic import ConfigDict, Field, StrictFloat, StrictInt, StringConstraints

from trainingjob_api.acceptance import Acceptance
from trainingjob_api.pods import Dask, ObjectRef, SecretRef, Trainer
from trainingjob_api.types import (
    Bool,
    ColumnName,
    CommonName,
    Digest,
    ObjectName,
    SpecModel,
    UriOrigin,
    Use,
    optional,
    rules,
)
from trainingjob_api.uris import DatasetUri, OutputUri, uri_rules
from trainingjob_api.vocabulary import (
    DatasetFormat,
    DecimalMark,
    Encoding,
    Ensemble,
    FeatureType,
    ParallelMode,
    Preset,
    Task,
    ThousandsMark,
    ValidationStrategy,
)

__all__ = [
    "MUTABLE_FIELDS",
    "Automl",
    "Budget",
    "ConfigMapRef",
    "Csv",
    "Dataset",
    "Output",
    "SearchSpace",
    "TrainingJobSpec",
    "Validation",
]

MUTABLE_FIELDS = frozenset({"suspend", "ttlSecondsAfterFinished", "acceptance"})
"""Fields of the spec that may change after creation."""

MAX_INLINE_CHARACTERS = 65_536
_SEARCH = Use(digest=True, listed=True)
_SEARCH_ONLY = Use(digest=True, listed=False)


class Csv(SpecModel):
    """How values are written as text; unset fields are detected in the file and reported.

    Separator and encoding apply to CSV files; all other fields also apply to text columns in Parquet.
    """

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!has(self.decimal) || !has(self.thousands) || self.decimal != self.thousands",
                "decimal and thousands must differ",
            )
        )
    )

    separator: (
        Annotated[str, StringConstraints(min_length=1, max_length=1, pattern=r"^[^\"\r\n]$")] | None
    ) = optional("Character between the fields of a CSV file, such as ';' or a tab.")
    encoding: Encoding | None = optional(
        "Encoding of a CSV file; default utf-8, with or without a byte order mark."
    )
    decimal: DecimalMark | None = optional("Decimal mark of numbers: '.' or ','.")
    thousands: ThousandsMark | None = optional(
        "Thousands separator: '.', ',', an apostrophe, space (any kind), or none, which never "
        "reads 1.234 or 1,234 as a thousand."
    )
    missing_values: (
        Annotated[list[Annotated[str, StringConstraints(max_length=64)]], Field(max_length=32)] | None
    ) = optional(
        "Texts that count as missing in every column, in addition to empty cells; [] for none. "
        "Default: NA, NaN, null, None, N/A and similar, and in numeric columns also placeholders such as "
        "'?' and '-'."
    )
    day_first: Bool | None = optional(
        "Whether the day comes before the month in ambiguous dates such as 03/04/2025."
    )
    time_zone: (
        Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_+/-]+$")] | None
    ) = optional(
        "Time zone in which hours and weekdays of timestamps with an offset are read, such as "
        "Europe/Berlin; default: the zone of the Parquet column, else UTC."
    )


class Dataset(SpecModel):
    """The table to learn from."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!self.uri.startsWith('file://')",
                "file:// is for local runs (trainingjob run) only; use s3://, pvc://, https:// or sample://",
            ),
            *uri_rules("self.uri"),
        )
    )

    uri: Annotated[DatasetUri, _SEARCH] = Field(
        description="Address of the table: s3://bucket/key, pvc://claim/path, https://host/path (where "
        "the operator allows it), sample://name (breast_cancer, iris, wine, digits, diabetes,"
        " messy_churn, messy_prices), or file://path (local runs only)."
    )
    endpoint: Annotated[UriOrigin | None, _SEARCH_ONLY] = optional(
        "S3 endpoint of the dataset, such as https://minio.example; unset uses the default one."
    )
    format: Annotated[DatasetFormat | None, _SEARCH] = optional(
        "Format of the table; default auto, which looks at its name and first bytes."
    )
    csv: Annotated[Csv | None, _SEARCH_ONLY] = optional(
        "How the file writes its values, where automatic detection is wrong."
    )
    credentials_secret_ref: Annotated[SecretRef | None, Use(digest=False, listed=False)] = optional(
        "Secret with the S3 credentials for reading the dataset."
    )
    sha256: Annotated[Digest | None, _SEARCH] = optional(
        "Expected SHA-256 digest of the file (64 hex digits); a different file fails the job."
    )


class Validation(SpecModel):
    """How the rows are split into hold-out set and folds."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!(has(self.groupColumn) && has(self.timeColumn))",
                "groupColumn and timeColumn are mutually exclusive",
            ),
            (
                "!(has(self.strategy) && self.strategy == 'group') || has(self.groupColumn)",
                "strategy group needs groupColumn",
            ),
            (
                "!(has(self.strategy) && self.strategy == 'time') || has(self.timeColumn)",
                "strategy time needs timeColumn",
            ),
            (
                "!has(self.groupColumn) || !has(self.strategy) || self.strategy in ['auto', 'group']",
                "groupColumn needs strategy group or auto",
            ),
            (
                "!has(self.timeColumn) || !has(self.strategy) || self.strategy in ['auto', 'time']",
                "timeColumn needs strategy time or auto",
            ),
            (
                # An API server rounds a bound down to compare it with a number written as 0.
                "!has(self.holdoutFraction) || self.holdoutFraction >= 0.05",
                "holdoutFraction must be at least 0.05",
            ),
        )
    )

    holdout_fraction: Annotated[StrictFloat, Field(ge=0.05, le=0.5)] | None = optional(
        "Fraction of the rows kept out of the search for the hold-out score; default 0.2."
    )
    strategy: ValidationStrategy | None = optional(
        "kfold (shuffled, stratified for classification), group (a group is never on both "
        "sides of a split), time (later rows are the test set) or auto (group or time if their column is "
        "set, else kfold); default auto."
    )
    group_column: ColumnName | None = optional(
        "Column of group labels; rows with equal labels stay on one side of every split."
    )
    time_column: ColumnName | None = optional("Column that orders the rows in time.")


class Automl(SpecModel):
    """Whether to search, and whether to fall back when the search fails."""

    enabled: Bool | None = optional(
        "false trains the baseline alone, in seconds; default ENABLE_AUTOML, else true. "
        "ENABLE_AUTOML=false in the operator's environment wins over this field."
    )
    fallback: Bool | None = optional(
        "Whether a failure falls back (from dask to local to baseline) instead of failing the "
        "job; default ENABLE_AUTOML_FALLBACK, else true."
    )


class Budget(SpecModel):
    """Limits of the search."""

    time_left_seconds: Annotated[StrictInt, Field(ge=1, le=604_800)] | None = optional(
        "Total seconds for baseline, search, final fit and hold-out scoring; default "
        "TPOT__TIME_LEFT, else 600."
    )
    per_run_limit_seconds: Annotated[StrictInt, Field(ge=1, le=86_400)] | None = optional(
        "Seconds after which the evaluation of one pipeline is stopped, at most "
        "timeLeftSeconds; default TPOT__PER_RUN_LIMIT, else 60."
    )
    generations: Annotated[StrictInt, Field(ge=1, le=10_000)] | None = optional(
        "Maximum generations of the evolution; default TPOT__GENERATIONS, else 40."
    )
    population_size: Annotated[StrictInt, Field(ge=1, le=10_000)] | None = optional(
        "Pipelines per generation; default TPOT__POPULATION_SIZE, else 64."
    )
    cv_folds: Annotated[StrictInt, Field(ge=2, le=20)] | None = optional(
        "Cross-validation folds; default TPOT__CV_FOLDS, else 5."
    )


class ConfigMapRef(ObjectRef):
    """A reference to a key of a ConfigMap in the job's own namespace."""

    name: ObjectName = Field(description="Name of the ConfigMap, in the namespace of the job.")
    key: (
        Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")] | None
    ) = optional("Key that holds the search space; default search-space.yaml.")


class SearchSpace(SpecModel):
    """Which pipelines are searched: a preset or a declarative tree."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "[has(self.preset), has(self.inline), has(self.configMapRef)].filter(x, x).size() <= 1",
                "preset, inline and configMapRef are mutually exclusive",
            ),
        )
    )

    preset: Preset | None = optional("One of TPOT's presets; default linear.")
    inline: Annotated[str, StringConstraints(min_length=2, max_length=MAX_INLINE_CHARACTERS)] | None = (
        optional("A declarative tree as one YAML or JSON string of at most 64 KiB (docs/tpot.md).")
    )
    config_map_ref: ConfigMapRef | None = optional(
        "ConfigMap that holds the declarative tree; read once, when the job starts."
    )


class Output(SpecModel):
    """Where the model and its reports are stored."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!has(self.uri) || !self.uri.startsWith('file://')",
                "file:// is for local runs (trainingjob run) only; use s3:// or pvc://",
            ),
            *((f"!has(self.uri) || {rule}", message) for rule, message in uri_rules("self.uri")),
        )
    )

    uri: OutputUri | None = optional(
        "Folder for all runs: s3://bucket/prefix, pvc://claim/path, or file://path (local runs only)."
    )
    endpoint: UriOrigin | None = optional("S3 endpoint of the output; unset uses the default one.")
    credentials_secret_ref: SecretRef | None = optional(
        "Secret with the S3 credentials for writing the output."
    )
    leaderboard_top_k: Annotated[StrictInt, Field(ge=1, le=100)] | None = optional(
        "Rows in the leaderboard (at most 10 in the status); default 10."
    )


def _not_target(name: str) -> tuple[str, str]:
    rule = f"!has(self.validation.{name}) || self.validation.{name} != self.targetColumn"
    return rule, f"{name} must not be the target column"


class TrainingJobSpec(SpecModel):
    """The desired training: table, target, budget and output."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!has(self.featureTypes) || !(self.targetColumn in self.featureTypes)",
                "featureTypes must not name the target column",
            ),
            *(
                (f"!has(self.validation) || {rule}", f"validation.{message}")
                for rule, message in map(_not_target, ("groupColumn", "timeColumn"))
            ),
            (
                "!has(self.positiveLabel) || !has(self.task) || self.task != 'regression'",
                "positiveLabel cannot be used with task regression",
            ),
            (
                (
                    "!has(self.activeDeadlineSeconds)"
                    " || !has(self.budget) || !has(self.budget.timeLeftSeconds)"
                    " || self.activeDeadlineSeconds >= self.budget.timeLeftSeconds"
                ),
                "activeDeadlineSeconds must not be less than budget.timeLeftSeconds",
            ),
        )
    )

    dataset: Dataset = Field(description="The table to learn from.")
    target_column: ColumnName = Field(description="Column to predict.")
    positive_label: Annotated[str, StringConstraints(max_length=256)] | None = optional(
        "Label that binary metrics count as positive, as text; default 1 for labels 0 and 1, "
        "True for False and True, else the rarer label."
    )
    task: Task | None = optional(
        "classification, regression or auto; default auto, which looks at the target."
    )
    feature_types: Annotated[dict[ColumnName, FeatureType], Field(max_length=1_000)] | None = optional(
        "Types by column: numeric, categorical, text, datetime or ignore; others are inferred."
    )
    metric: CommonName | None = optional(
        "A scikit-learn scorer that fits the task, such as f1, roc_auc, neg_log_loss; "
        "default TPOT__METRIC, else accuracy or r2."
    )
    validation: Validation | None = optional("How rows are split into hold-out set and folds.")
    automl: Automl | None = optional("Whether to search, and whether to fall back on failure.")
    ensemble: Ensemble | None = optional(
        "auto builds an ensemble of the best pipelines, which is the model if it scores better than each of "
        'them; "off" (in quotes: a bare off is a boolean in YAML) never does; default auto.'
    )
    budget: Budget | None = optional("Limits of the search.")
    search_space: SearchSpace | None = optional(
        "Which pipelines are searched: preset, inline or configMapRef; default "
        "TPOT__CONFIG_DICT, else the preset linear."
    )
    parallel_mode: ParallelMode | None = optional(
        "local (worker processes in the trainer), distributed (a Dask cluster) or none (one "
        "local worker); default TPOT_PARALLEL_MODE, else local."
    )
    n_jobs: Annotated[StrictInt, Field(ge=1, le=256)] | None = optional(
        "Workers of a local run; default TPOT__N_JOBS, else the trainer's cores minus one (2 of two cores), "
        "at most 8."
    )
    memory_limit_mb: Annotated[StrictInt, Field(ge=256, le=1_048_576)] | None = optional(
        "Memory of each worker in MiB; default TPOT__MEMORY_LIMIT_MB, else 3072."
    )
    dask: Dask | None = optional("The Dask cluster of a distributed run.")
    output: Output | None = optional("Where the model and its reports are stored.")
    acceptance: Acceptance | None = optional("When the model is accepted. May change after creation.")
    random_state: Annotated[StrictInt, Field(ge=0, le=4_294_967_295)] | None = optional(
        "Random seed; default 0."
    )
    suspend: Bool | None = optional(
        "true stops the run and keeps its results so far; false resumes it. May change after creation."
    )
    active_deadline_seconds: Annotated[StrictInt, Field(ge=1, le=2_592_000)] | None = optional(
        "Seconds after which the job fails, waiting time included; at least the budget; default: "
        "the budget plus a margin."
    )
    backoff_limit: Annotated[StrictInt, Field(ge=0, le=20)] | None = optional(
        "Retries after the first attempt; evictions do not count; default 2."
    )
    ttl_seconds_after_finished: Annotated[StrictInt, Field(ge=0, le=31_536_000)] | None = optional(
        "Seconds after which the pods of a finished job are deleted (never the TrainingJob); "
        "default 86400. May change after creation."
    )
    trainer: Trainer | None = optional("The trainer's pod.")
