"""The spec of a TrainingJob: what a user may ask for.

Each field has its default here, and its mark says what it is used for; a resolved run has the same fields.
"""

from typing import Annotated

from pydantic import Field, StrictFloat, StrictInt

from trainingjob_api.storage import Dataset, ObjectRef, Output
from trainingjob_api.types import (
    PLAIN,
    SEARCH,
    SHOWN,
    Bool,
    ColumnName,
    CommonName,
    LabelKey,
    LabelValue,
    ObjectName,
    Quantity,
    Rule,
    SpecModel,
    at_most_one,
    characters,
    compare,
    has,
    is_one_of,
    lacks_key,
    optional,
    unset,
)
from trainingjob_api.vocabulary import (
    Ensemble,
    FeatureType,
    ParallelMode,
    Preset,
    TaintEffect,
    Task,
    TolerationOperator,
    ValidationStrategy,
)

MUTABLE_FIELDS = frozenset({"suspend", "ttlSecondsAfterFinished", "acceptance"})
"""Fields of the spec that may change after creation."""

MAX_INLINE_CHARACTERS = 65_536
_COLUMN_STRATEGIES = (("groupColumn", "group"), ("timeColumn", "time"))


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

    holdout_fraction: Annotated[StrictFloat, Field(ge=0.05, le=0.5), SEARCH] = Field(
        default=0.2,
        description="Fraction of the rows kept out of the search for the hold-out score; default 0.2.",
    )
    strategy: Annotated[ValidationStrategy, SEARCH] = Field(
        default=ValidationStrategy.AUTO,
        description="kfold (shuffled, stratified for classification), group (a group is never on both "
        "sides of a split), time (later rows are the test set) or auto (group or time if their column is "
        "set, else kfold); default auto.",
    )
    group_column: Annotated[ColumnName | None, SEARCH] = optional(
        "Column of group labels; rows with equal labels stay on one side of every split."
    )
    time_column: Annotated[ColumnName | None, SEARCH] = optional("Column that orders the rows in time.")


class Automl(SpecModel):
    """Whether to search, and whether to fall back when the search fails."""

    enabled: Annotated[Bool, SHOWN.by("ENABLE_AUTOML")] = Field(
        default=True,
        description="false trains the baseline alone, in seconds; default ENABLE_AUTOML, else true. "
        "ENABLE_AUTOML=false in the operator's environment wins over this field.",
    )
    fallback: Annotated[Bool, SHOWN.by("ENABLE_AUTOML_FALLBACK")] = Field(
        default=True,
        description="Whether a failure falls back (from dask to local to baseline) instead of failing the "
        "job; default ENABLE_AUTOML_FALLBACK, else true.",
    )


class Budget(SpecModel):
    """Limits of the search."""

    time_left_seconds: Annotated[StrictInt, Field(ge=1, le=604_800), SHOWN.by("TPOT__TIME_LEFT")] = Field(
        default=600,
        description="Total seconds for baseline, search, final fit and hold-out scoring; default "
        "TPOT__TIME_LEFT, else 600.",
    )
    per_run_limit_seconds: Annotated[StrictInt, Field(ge=1, le=86_400), SEARCH.by("TPOT__PER_RUN_LIMIT")] = (
        Field(
            default=60,
            description="Seconds after which the evaluation of one pipeline is stopped, at most "
            "timeLeftSeconds; default TPOT__PER_RUN_LIMIT, else 60.",
        )
    )
    generations: Annotated[StrictInt, Field(ge=1, le=10_000), SHOWN.by("TPOT__GENERATIONS")] = Field(
        default=40, description="Maximum generations of the evolution; default TPOT__GENERATIONS, else 40."
    )
    population_size: Annotated[StrictInt, Field(ge=1, le=10_000), SEARCH.by("TPOT__POPULATION_SIZE")] = Field(
        default=64, description="Pipelines per generation; default TPOT__POPULATION_SIZE, else 64."
    )
    cv_folds: Annotated[StrictInt, Field(ge=2, le=20), SEARCH.by("TPOT__CV_FOLDS")] = Field(
        default=5, description="Cross-validation folds; default TPOT__CV_FOLDS, else 5."
    )


class ConfigMapRef(ObjectRef):
    """A reference to a key of a ConfigMap in the job's own namespace."""

    name: ObjectName = Field(description="Name of the ConfigMap, in the namespace of the job.")
    key: Annotated[str, characters(253, least=1, pattern=r"^[-._a-zA-Z0-9]+$")] = Field(
        default="search-space.yaml",
        description="Key that holds the search space; default search-space.yaml.",
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
    inline: Annotated[str, characters(MAX_INLINE_CHARACTERS, least=2)] | None = optional(
        "A declarative tree as one YAML or JSON string of at most 64 KiB (docs/tpot.md)."
    )
    config_map_ref: ConfigMapRef | None = optional(
        "ConfigMap that holds the declarative tree; read once, when the job starts."
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


Quantities = Annotated[dict[LabelKey, Quantity], Field(max_length=8)]
NodeSelector = Annotated[dict[LabelKey, LabelValue], Field(max_length=16)]


class Resources(SpecModel):
    """Compute resources of a container, as in Kubernetes."""

    requests: Quantities | None = optional(
        "Resources reserved for the container, such as cpu: 500m, memory: 2Gi."
    )
    limits: Quantities | None = optional("Maximum resources of the container, such as cpu: 2, memory: 4Gi.")


class Toleration(SpecModel):
    """A toleration, as in Kubernetes."""

    rules = (
        Rule(
            check=~(has("operator") & is_one_of("operator", "Exists") & has("value")),
            message="a toleration with operator Exists has no value",
            hint="remove it or use Equal",
        ),
        Rule(
            check=has("key") | has("operator") & is_one_of("operator", "Exists"),
            message="a toleration without a key needs operator Exists",
        ),
    )

    key: LabelKey | None = optional("Key of the taint; unset matches every key.")
    operator: TolerationOperator | None = optional("Exists or Equal; unset means Equal, as in Kubernetes.")
    value: LabelValue | None = optional("Value of the taint, with operator Equal.")
    effect: TaintEffect | None = optional("Effect of the taint; unset matches every effect.")
    toleration_seconds: Annotated[StrictInt, Field(ge=0, le=31_536_000)] | None = optional(
        "Seconds that a NoExecute taint is tolerated; unset means forever."
    )


Tolerations = Annotated[tuple[Toleration, ...], Field(max_length=16)]


class Dask(SpecModel):
    """The Dask cluster of a distributed run."""

    workers: Annotated[StrictInt, Field(ge=1, le=1_000)] = Field(
        default=2, description="Number of worker pods; default 2."
    )
    ready_timeout_seconds: Annotated[StrictInt, Field(ge=1, le=3_600)] = Field(
        default=120,
        description="Seconds to wait for a healthy cluster before the run falls back to local workers; "
        "default 120.",
    )
    worker_resources: Resources | None = optional("Compute resources of each worker.")
    scheduler_resources: Resources | None = optional("Compute resources of the scheduler.")
    node_selector: NodeSelector | None = optional(
        "Labels of the nodes that scheduler and workers may run on."
    )
    tolerations: Tolerations | None = optional("Taints that scheduler and workers tolerate.")


class Trainer(SpecModel):
    """The trainer's pod."""

    resources: Resources | None = optional("Compute resources of the trainer.")
    node_selector: NodeSelector | None = optional("Labels of the nodes that the trainer may run on.")
    tolerations: Tolerations | None = optional("Taints that the trainer tolerates.")
    priority_class_name: ObjectName | None = optional("PriorityClass of the trainer's pod.")
    service_account_annotations: (
        Annotated[
            dict[LabelKey, Annotated[str, characters(1024)]],
            Field(max_length=16),
        ]
        | None
    ) = optional("Annotations of the job's own service account, such as a cloud role for access to storage.")
    image_pull_secrets: Annotated[tuple[ObjectRef, ...], Field(max_length=8)] | None = optional(
        "Secrets used to pull the images."
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
    target_column: Annotated[ColumnName, SEARCH] = Field(description="Column to predict.")
    positive_label: Annotated[Annotated[str, characters(256)] | None, SEARCH] = optional(
        "Label that binary metrics count as positive, as text; default 1 for labels 0 and 1, "
        "True for False and True, else the rarer label."
    )
    task: Annotated[Task, SEARCH] = Field(
        default=Task.AUTO,
        description="classification, regression or auto; default auto, which looks at the target.",
    )
    feature_types: Annotated[dict[ColumnName, FeatureType], Field(max_length=1_000), SEARCH] = Field(
        default_factory=dict,
        description="Types by column: numeric, categorical, text, datetime or ignore; others are inferred.",
    )
    metric: Annotated[CommonName | None, SEARCH.by("TPOT__METRIC")] = optional(
        "A scikit-learn scorer that fits the task, such as f1, roc_auc, neg_log_loss; "
        "default TPOT__METRIC, else accuracy or r2."
    )
    validation: Validation = Field(
        default_factory=Validation, description="How rows are split into hold-out set and folds."
    )
    automl: Automl = Field(
        default_factory=Automl, description="Whether to search, and whether to fall back on failure."
    )
    ensemble: Annotated[Ensemble, SHOWN] = Field(
        default=Ensemble.AUTO,
        description="auto builds an ensemble of the best pipelines, which is the model if it scores better "
        'than each of them; "off" (in quotes: a bare off is a boolean in YAML) never does; default auto.',
    )
    budget: Budget = Field(default_factory=Budget, description="Limits of the search.")
    search_space: Annotated[SearchSpace, SHOWN] = Field(
        default_factory=SearchSpace,
        description="Which pipelines are searched: preset, inline or configMapRef; default "
        "TPOT__CONFIG_DICT, else the preset linear.",
    )
    parallel_mode: Annotated[ParallelMode, SHOWN.by("TPOT_PARALLEL_MODE")] = Field(
        default=ParallelMode.LOCAL,
        description="local (worker processes in the trainer), distributed (a Dask cluster) or none (one "
        "local worker); default TPOT_PARALLEL_MODE, else local.",
    )
    n_jobs: Annotated[Annotated[StrictInt, Field(ge=1, le=256)] | None, SHOWN.by("TPOT__N_JOBS")] = optional(
        "Workers of a local run; default TPOT__N_JOBS, else the trainer's cores minus one (2 of two cores), "
        "at most 8."
    )
    memory_limit_mb: Annotated[StrictInt, Field(ge=256, le=1_048_576), SHOWN.by("TPOT__MEMORY_LIMIT_MB")] = (
        Field(
            default=3_072,
            description="Memory of each worker in MiB; default TPOT__MEMORY_LIMIT_MB, else 3072.",
        )
    )
    dask: Annotated[Dask, PLAIN] = Field(
        default_factory=Dask, description="The Dask cluster of a distributed run."
    )
    output: Output = Field(default_factory=Output, description="Where the model and its reports are stored.")
    acceptance: Annotated[Acceptance | None, SHOWN] = optional(
        "When the model is accepted. May change after creation."
    )
    random_state: Annotated[StrictInt, Field(ge=0, le=4_294_967_295), SEARCH] = Field(
        default=0, description="Random seed; default 0."
    )
    suspend: Annotated[Bool, PLAIN] = Field(
        default=False,
        description="true stops the run and keeps its results so far; false resumes it. May change after "
        "creation.",
    )
    active_deadline_seconds: Annotated[Annotated[StrictInt, Field(ge=1, le=2_592_000)] | None, SHOWN] = (
        optional(
            "Seconds after which the job fails, waiting time included; at least the budget; default: "
            "the budget plus a margin."
        )
    )
    backoff_limit: Annotated[StrictInt, Field(ge=0, le=20), PLAIN] = Field(
        default=2, description="Retries after the first attempt; evictions do not count; default 2."
    )
    ttl_seconds_after_finished: Annotated[StrictInt, Field(ge=0, le=31_536_000), PLAIN] = Field(
        default=86_400,
        description="Seconds after which the pods of a finished job are deleted (never the TrainingJob); "
        "default 86400. May change after creation.",
    )
    trainer: Annotated[Trainer, PLAIN] = Field(default_factory=Trainer, description="The trainer's pod.")
