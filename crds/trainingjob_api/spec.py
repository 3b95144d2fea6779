"""The spec of a TrainingJob: what a user may ask for.

Optional fields are ``None`` where unset; their defaults live in :mod:`trainingjob_api.resolve` alone,
since the environment stands between the spec and a default.
"""

from typing import Annotated

from pydantic import ConfigDict, Field, StrictInt, StringConstraints

from trainingjob_api.base import Bool, ColumnName, CommonName, SpecModel, rules
from trainingjob_api.spec_data import Acceptance, Csv, Dataset, Output, Validation
from trainingjob_api.spec_run import Automl, Budget, ConfigMapRef, Dask, SearchSpace, Trainer
from trainingjob_api.vocabulary import FeatureType, ParallelMode, Task

__all__ = [
    "MUTABLE_FIELDS",
    "Acceptance",
    "Automl",
    "Budget",
    "ConfigMapRef",
    "Csv",
    "Dask",
    "Dataset",
    "Output",
    "SearchSpace",
    "Trainer",
    "TrainingJobSpec",
    "Validation",
]

MUTABLE_FIELDS = frozenset({"suspend", "ttlSecondsAfterFinished", "acceptance"})
"""Fields of the spec that may change after creation."""


class TrainingJobSpec(SpecModel):
    """What to learn, from what, with what budget, and where the model goes."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!has(self.featureTypes) || !(self.targetColumn in self.featureTypes)",
                "featureTypes must not name the target column",
            ),
            (
                (
                    "!has(self.validation) || !has(self.validation.groupColumn)"
                    " || self.validation.groupColumn != self.targetColumn"
                ),
                "validation.groupColumn must not be the target column",
            ),
            (
                (
                    "!has(self.validation) || !has(self.validation.timeColumn)"
                    " || self.validation.timeColumn != self.targetColumn"
                ),
                "validation.timeColumn must not be the target column",
            ),
            (
                "!has(self.positiveLabel) || !has(self.task) || self.task != 'regression'",
                "positiveLabel has no meaning for task regression",
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
    positive_label: Annotated[str, StringConstraints(max_length=256)] | None = Field(
        default=None,
        description="The label that binary metrics count as positive, as text; default 1 of 0 and 1, True of "
        "False and True, else the rarer label.",
    )
    task: Task | None = Field(
        default=None,
        description="classification, regression, or auto (the default), which looks at the target.",
    )
    feature_types: Annotated[dict[ColumnName, FeatureType], Field(max_length=1_000)] | None = Field(
        default=None,
        description="Type by column: numeric, categorical, text, datetime or ignore; the rest is inferred.",
    )
    metric: CommonName | None = Field(
        default=None,
        description="Any scikit-learn scorer that fits the task, such as f1, roc_auc, neg_log_loss; "
        "default TPOT__METRIC, else accuracy or r2.",
    )
    validation: Validation | None = Field(
        default=None, description="How rows are split into hold-out and folds."
    )
    automl: Automl | None = Field(
        default=None, description="Whether to search, and whether to step down on failure."
    )
    budget: Budget | None = Field(default=None, description="What the search may spend.")
    search_space: SearchSpace | None = Field(
        default=None,
        description="Which pipelines are searched: one of preset, inline and configMapRef; default "
        "TPOT__CONFIG_DICT, else the preset linear.",
    )
    parallel_mode: ParallelMode | None = Field(
        default=None,
        description="local (worker processes in the trainer), distributed (a Dask cluster) or none (one "
        "local worker); default TPOT_PARALLEL_MODE, else local.",
    )
    n_jobs: Annotated[StrictInt, Field(ge=1, le=256)] | None = Field(
        default=None,
        description="Workers of a local run; default TPOT__N_JOBS, else the trainer's cores less one, 1 "
        "to 8.",
    )
    memory_limit_mb: Annotated[StrictInt, Field(ge=256, le=1_048_576)] | None = Field(
        default=None, description="Memory of each worker in MiB; default TPOT__MEMORY_LIMIT_MB, else 3072."
    )
    dask: Dask | None = Field(default=None, description="The Dask cluster of a distributed run.")
    output: Output | None = Field(default=None, description="Where the model and its reports go.")
    acceptance: Acceptance | None = Field(
        default=None, description="When the model counts as good enough. May change after creation."
    )
    random_state: Annotated[StrictInt, Field(ge=0, le=4_294_967_295)] | None = Field(
        default=None, description="Seed of everything random; default 0."
    )
    suspend: Bool | None = Field(
        default=None,
        description="true stops the run and keeps what it has found; false goes on. May change after "
        "creation.",
    )
    active_deadline_seconds: Annotated[StrictInt, Field(ge=1, le=2_592_000)] | None = Field(
        default=None,
        description="Seconds after which the job fails, waiting included; at least the budget; default "
        "the budget and a grace.",
    )
    backoff_limit: Annotated[StrictInt, Field(ge=0, le=20)] | None = Field(
        default=None, description="Attempts after the first one; evictions do not count; default 2."
    )
    ttl_seconds_after_finished: Annotated[StrictInt, Field(ge=0, le=31_536_000)] | None = Field(
        default=None,
        description="Seconds after which finished pods are removed (never the TrainingJob); default "
        "86400. May change after creation.",
    )
    trainer: Trainer | None = Field(default=None, description="The trainer's pod.")
