"""The spec of a TrainingJob: what a user may ask for.

Each field has its default here, and its mark says what it is used for; a resolved run has the same fields.
"""

from typing import Annotated

from pydantic import Field, StrictFloat, StrictInt, StringConstraints

from trainingjob_api.pods import Dask, ObjectRef, SecretRef, Trainer
from trainingjob_api.rules import Rule, at_most_one, compare, has, is_one_of, lacks_key, unset
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
)
from trainingjob_api.uris import CLUSTER_SCHEMES, DatasetUri, OutputUri, uri_rules
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
    "Acceptance",
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
_COLUMN_STRATEGIES = (("groupColumn", "group"), ("timeColumn", "time"))
_SEARCH = Use(digest=True, listed=True)
_SEARCH_ONLY = Use(digest=True, listed=False)
_SHOWN = Use(digest=False, listed=True)
_PLAIN = Use(digest=False, listed=False)


class Csv(SpecModel):
    """How values are written as text; unset fields are detected in the file and reported.

    Separator and encoding apply to CSV files; all other fields also apply to text columns in Parquet.
    """

    rules = (
        Rule(
            check=unset("decimal") | unset("thousands") | compare("decimal", "!=", "thousands"),
            message="decimal and thousands must differ",
            hint="change or remove one of them",
        ),
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

    rules = uri_rules(local_instead=f"{CLUSTER_SCHEMES}, https:// or sample://")

    uri: Annotated[DatasetUri, _SEARCH] = Field(
        description="Address of the table: s3://bucket/key, gs://bucket/key, az://container/key, "
        "pvc://claim/path, https://host/path (where the operator allows it), sample://name (breast_cancer, "
        "iris, wine, digits, diabetes, messy_churn, messy_prices), or file://path (local runs only)."
    )
    endpoint: Annotated[UriOrigin | None, _SEARCH_ONLY] = optional(
        "S3 endpoint of an s3:// dataset, such as https://minio.example; unset uses the default endpoint."
    )
    format: Annotated[DatasetFormat | None, _SEARCH] = optional(
        "Format of the table; default auto, which looks at its name and first bytes."
    )
    csv: Annotated[Csv | None, _SEARCH_ONLY] = optional(
        "How the file writes its values, where automatic detection is wrong."
    )
    credentials_secret_ref: Annotated[SecretRef | None, _PLAIN] = optional(
        "Secret with the credentials for reading the dataset."
    )
    sha256: Annotated[Digest | None, _SEARCH] = optional(
        "Expected SHA-256 digest of the file (64 hex digits); a different file fails the job."
    )


class Validation(SpecModel):
    """How the rows are split into hold-out set and folds."""

    rules = (
        Rule(
            check=~has("groupColumn", "timeColumn"),
            message="groupColumn and timeColumn are mutually exclusive",
            hint="keep one of them",
        ),
        *(
            Rule(
                check=~(has("strategy") & is_one_of("strategy", strategy)) | has(column),
                message=f"strategy {strategy} needs {column}",
                hint="name the column or change the strategy",
            )
            for column, strategy in _COLUMN_STRATEGIES
        ),
        *(
            Rule(
                check=unset(column) | unset("strategy") | is_one_of("strategy", "auto", strategy),
                message=f"{column} needs strategy {strategy} or auto",
                hint="remove one of them",
            )
            for column, strategy in _COLUMN_STRATEGIES
        ),
    )

    holdout_fraction: Annotated[StrictFloat, Field(ge=0.05, le=0.5), _SEARCH] = Field(
        default=0.2,
        description="Fraction of the rows kept out of the search for the hold-out score; default 0.2.",
    )
    strategy: Annotated[ValidationStrategy, _SEARCH] = Field(
        default=ValidationStrategy.AUTO,
        description="kfold (shuffled, stratified for classification), group (a group is never on both "
        "sides of a split), time (later rows are the test set) or auto (group or time if their column is "
        "set, else kfold); default auto.",
    )
    group_column: Annotated[ColumnName | None, _SEARCH] = optional(
        "Column of group labels; rows with equal labels stay on one side of every split."
    )
    time_column: Annotated[ColumnName | None, _SEARCH] = optional("Column that orders the rows in time.")


class Automl(SpecModel):
    """Whether to search, and whether to fall back when the search fails."""

    enabled: Annotated[Bool, _SHOWN.by("ENABLE_AUTOML")] = Field(
        default=True,
        description="false trains the baseline alone, in seconds; default ENABLE_AUTOML, else true. "
        "ENABLE_AUTOML=false in the operator's environment wins over this field.",
    )
    fallback: Annotated[Bool, _SHOWN.by("ENABLE_AUTOML_FALLBACK")] = Field(
        default=True,
        description="Whether a failure falls back (from dask to local to baseline) instead of failing the "
        "job; default ENABLE_AUTOML_FALLBACK, else true.",
    )


class Budget(SpecModel):
    """Limits of the search."""

    time_left_seconds: Annotated[StrictInt, Field(ge=1, le=604_800), _SHOWN.by("TPOT__TIME_LEFT")] = Field(
        default=600,
        description="Total seconds for baseline, search, final fit and hold-out scoring; default "
        "TPOT__TIME_LEFT, else 600.",
    )
    per_run_limit_seconds: Annotated[StrictInt, Field(ge=1, le=86_400), _SEARCH.by("TPOT__PER_RUN_LIMIT")] = (
        Field(
            default=60,
            description="Seconds after which the evaluation of one pipeline is stopped, at most "
            "timeLeftSeconds; default TPOT__PER_RUN_LIMIT, else 60.",
        )
    )
    generations: Annotated[StrictInt, Field(ge=1, le=10_000), _SHOWN.by("TPOT__GENERATIONS")] = Field(
        default=40, description="Maximum generations of the evolution; default TPOT__GENERATIONS, else 40."
    )
    population_size: Annotated[StrictInt, Field(ge=1, le=10_000), _SEARCH.by("TPOT__POPULATION_SIZE")] = (
        Field(default=64, description="Pipelines per generation; default TPOT__POPULATION_SIZE, else 64.")
    )
    cv_folds: Annotated[StrictInt, Field(ge=2, le=20), _SEARCH.by("TPOT__CV_FOLDS")] = Field(
        default=5, description="Cross-validation folds; default TPOT__CV_FOLDS, else 5."
    )


class ConfigMapRef(ObjectRef):
    """A reference to a key of a ConfigMap in the job's own namespace."""

    name: ObjectName = Field(description="Name of the ConfigMap, in the namespace of the job.")
    key: Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")] = (
        Field(
            default="search-space.yaml",
            description="Key that holds the search space; default search-space.yaml.",
        )
    )


class SearchSpace(SpecModel):
    """Which pipelines are searched: a preset or a declarative tree."""

    rules = (
        Rule(
            check=at_most_one("preset", "inline", "configMapRef"),
            message="preset, inline and configMapRef are mutually exclusive",
            hint="keep one of them",
        ),
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

    rules = uri_rules(local_instead=CLUSTER_SCHEMES)

    uri: Annotated[OutputUri, _SHOWN] = Field(
        default="file://./runs",
        description="Folder for all runs: s3://bucket/prefix, gs://bucket/prefix, az://container/prefix, "
        "pvc://claim/path, or file://path (local runs only).",
    )
    endpoint: Annotated[UriOrigin | None, _PLAIN] = optional(
        "S3 endpoint of an s3:// output; unset uses the default endpoint."
    )
    credentials_secret_ref: Annotated[SecretRef | None, _PLAIN] = optional(
        "Secret with the credentials for writing the output."
    )
    leaderboard_top_k: Annotated[StrictInt, Field(ge=1, le=100), _SHOWN] = Field(
        default=10, description="Rows in the leaderboard (at most 10 in the status); default 10."
    )


class Acceptance(SpecModel):
    """When a model is accepted, by its hold-out score."""

    min_score: Annotated[StrictFloat, Field(ge=-1e18, le=1e18)] | None = optional(
        "Minimum hold-out score, in units of the metric."
    )
    must_beat_baseline: Bool = Field(
        default=False,
        description="Whether the hold-out score must exceed that of the baseline; default false.",
    )


class TrainingJobSpec(SpecModel):
    """The desired training: table, target, budget and output."""

    rules = (
        Rule(
            check=unset("featureTypes") | lacks_key("featureTypes", "targetColumn"),
            message="featureTypes must not name the target column",
            hint="remove it; set task to change how it is read",
        ),
        *(
            Rule(
                check=unset("validation") | unset(column) | compare(column, "!=", "targetColumn"),
                message=f"{column} must not be the target column",
                hint="name another column",
            )
            for column in ("validation.groupColumn", "validation.timeColumn")
        ),
        Rule(
            check=unset("positiveLabel") | unset("task") | ~is_one_of("task", "regression"),
            message="positiveLabel cannot be used with task regression",
            hint="remove it or change the task",
        ),
        Rule(
            check=unset("activeDeadlineSeconds")
            | unset("budget")
            | unset("budget.timeLeftSeconds")
            | compare("activeDeadlineSeconds", ">=", "budget.timeLeftSeconds"),
            message="activeDeadlineSeconds must not be less than budget.timeLeftSeconds",
            hint="raise the deadline ({model.active_deadline_seconds} s), lower the budget "
            "({model.budget.time_left_seconds} s) or omit the deadline",
            field="activeDeadlineSeconds",
        ),
    )

    dataset: Dataset = Field(description="The table to learn from.")
    target_column: Annotated[ColumnName, _SEARCH] = Field(description="Column to predict.")
    positive_label: Annotated[Annotated[str, StringConstraints(max_length=256)] | None, _SEARCH] = optional(
        "Label that binary metrics count as positive, as text; default 1 for labels 0 and 1, "
        "True for False and True, else the rarer label."
    )
    task: Annotated[Task, _SEARCH] = Field(
        default=Task.AUTO,
        description="classification, regression or auto; default auto, which looks at the target.",
    )
    feature_types: Annotated[dict[ColumnName, FeatureType], Field(max_length=1_000), _SEARCH] = Field(
        default_factory=dict,
        description="Types by column: numeric, categorical, text, datetime or ignore; others are inferred.",
    )
    metric: Annotated[CommonName | None, _SEARCH.by("TPOT__METRIC")] = optional(
        "A scikit-learn scorer that fits the task, such as f1, roc_auc, neg_log_loss; "
        "default TPOT__METRIC, else accuracy or r2."
    )
    validation: Validation = Field(
        default_factory=Validation, description="How rows are split into hold-out set and folds."
    )
    automl: Automl = Field(
        default_factory=Automl, description="Whether to search, and whether to fall back on failure."
    )
    ensemble: Annotated[Ensemble, _SHOWN] = Field(
        default=Ensemble.AUTO,
        description="auto builds an ensemble of the best pipelines, which is the model if it scores better "
        'than each of them; "off" (in quotes: a bare off is a boolean in YAML) never does; default auto.',
    )
    budget: Budget = Field(default_factory=Budget, description="Limits of the search.")
    search_space: Annotated[SearchSpace, _SHOWN] = Field(
        default_factory=SearchSpace,
        description="Which pipelines are searched: preset, inline or configMapRef; default "
        "TPOT__CONFIG_DICT, else the preset linear.",
    )
    parallel_mode: Annotated[ParallelMode, _SHOWN.by("TPOT_PARALLEL_MODE")] = Field(
        default=ParallelMode.LOCAL,
        description="local (worker processes in the trainer), distributed (a Dask cluster) or none (one "
        "local worker); default TPOT_PARALLEL_MODE, else local.",
    )
    n_jobs: Annotated[Annotated[StrictInt, Field(ge=1, le=256)] | None, _SHOWN.by("TPOT__N_JOBS")] = optional(
        "Workers of a local run; default TPOT__N_JOBS, else the trainer's cores minus one (2 of two cores), "
        "at most 8."
    )
    memory_limit_mb: Annotated[StrictInt, Field(ge=256, le=1_048_576), _SHOWN.by("TPOT__MEMORY_LIMIT_MB")] = (
        Field(
            default=3_072,
            description="Memory of each worker in MiB; default TPOT__MEMORY_LIMIT_MB, else 3072.",
        )
    )
    dask: Annotated[Dask, _PLAIN] = Field(
        default_factory=Dask, description="The Dask cluster of a distributed run."
    )
    output: Output = Field(default_factory=Output, description="Where the model and its reports are stored.")
    acceptance: Annotated[Acceptance | None, _SHOWN] = optional(
        "When the model is accepted. May change after creation."
    )
    random_state: Annotated[StrictInt, Field(ge=0, le=4_294_967_295), _SEARCH] = Field(
        default=0, description="Random seed; default 0."
    )
    suspend: Annotated[Bool, _PLAIN] = Field(
        default=False,
        description="true stops the run and keeps its results so far; false resumes it. May change after "
        "creation.",
    )
    active_deadline_seconds: Annotated[Annotated[StrictInt, Field(ge=1, le=2_592_000)] | None, _SHOWN] = (
        optional(
            "Seconds after which the job fails, waiting time included; at least the budget; default: "
            "the budget plus a margin."
        )
    )
    backoff_limit: Annotated[StrictInt, Field(ge=0, le=20), _PLAIN] = Field(
        default=2, description="Retries after the first attempt; evictions do not count; default 2."
    )
    ttl_seconds_after_finished: Annotated[StrictInt, Field(ge=0, le=31_536_000), _PLAIN] = Field(
        default=86_400,
        description="Seconds after which the pods of a finished job are deleted (never the TrainingJob); "
        "default 86400. May change after creation.",
    )
    trainer: Annotated[Trainer, _PLAIN] = Field(default_factory=Trainer, description="The trainer's pod.")
