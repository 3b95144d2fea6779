"""The parts of the spec about the run: search, budget, search space, and the pods that do it."""

from typing import Annotated

from pydantic import ConfigDict, Field, StrictInt, StringConstraints

from trainingjob_api.base import Bool, LabelKey, ObjectName, SpecModel, rules
from trainingjob_api.scheduling import NodeSelector, ObjectRef, Resources, Tolerations
from trainingjob_api.vocabulary import Preset

__all__ = ["Automl", "Budget", "ConfigMapRef", "Dask", "SearchSpace", "Trainer"]

MAX_INLINE_CHARACTERS = 65_536


class Automl(SpecModel):
    """Whether to search, and whether to step down when the search fails."""

    enabled: Bool | None = Field(
        default=None,
        description="false trains the baseline alone, in seconds; default ENABLE_AUTOML, else true. "
        "ENABLE_AUTOML=false in the operator's environment wins over this field.",
    )
    fallback: Bool | None = Field(
        default=None,
        description="Whether a failure steps down (dask, local, baseline) instead of failing the job; "
        "default ENABLE_AUTOML_FALLBACK, else true.",
    )


class Budget(SpecModel):
    """What the search may spend."""

    time_left_seconds: Annotated[StrictInt, Field(ge=1, le=604_800)] | None = Field(
        default=None,
        description="Seconds for baseline, search, final fit and hold-out scoring together; default "
        "TPOT__TIME_LEFT, else 600.",
    )
    per_run_limit_seconds: Annotated[StrictInt, Field(ge=1, le=86_400)] | None = Field(
        default=None,
        description="Seconds after which one pipeline's evaluation is stopped, never more than "
        "timeLeftSeconds; default TPOT__PER_RUN_LIMIT, else 60.",
    )
    generations: Annotated[StrictInt, Field(ge=1, le=10_000)] | None = Field(
        default=None, description="Generations of the evolution at most; default TPOT__GENERATIONS, else 40."
    )
    population_size: Annotated[StrictInt, Field(ge=1, le=10_000)] | None = Field(
        default=None, description="Pipelines in a generation; default TPOT__POPULATION_SIZE, else 64."
    )
    cv_folds: Annotated[StrictInt, Field(ge=2, le=20)] | None = Field(
        default=None, description="Folds of the cross-validation; default TPOT__CV_FOLDS, else 5."
    )


class ConfigMapRef(ObjectRef):
    """A reference to a key of a ConfigMap in the job's own namespace."""

    name: ObjectName = Field(description="Name of the ConfigMap, in the namespace of the job.")
    key: (
        Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")] | None
    ) = Field(default=None, description="Key that holds the search space; default search-space.yaml.")


class SearchSpace(SpecModel):
    """Which pipelines are searched: a preset, or a declarative tree."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                (
                    "[has(self.preset), has(self.inline), has(self.configMapRef)]"
                    ".filter(given, given).size() <= 1"
                ),
                "preset, inline and configMapRef exclude each other",
            ),
        )
    )

    preset: Preset | None = Field(default=None, description="One of TPOT's presets; default linear.")
    inline: Annotated[str, StringConstraints(min_length=2, max_length=MAX_INLINE_CHARACTERS)] | None = Field(
        default=None,
        description="A declarative tree as one YAML or JSON string of at most 64 KiB (docs/tpot.md).",
    )
    config_map_ref: ConfigMapRef | None = Field(
        default=None,
        description="A ConfigMap that holds the declarative tree; read once, when the job begins.",
    )


class Dask(SpecModel):
    """The Dask cluster of a distributed run."""

    workers: Annotated[StrictInt, Field(ge=1, le=1_000)] | None = Field(
        default=None, description="Number of worker pods; default 2."
    )
    ready_timeout_seconds: Annotated[StrictInt, Field(ge=1, le=3_600)] | None = Field(
        default=None,
        description="Seconds to wait for a healthy cluster before the run goes on locally; default 120.",
    )
    worker_resources: Resources | None = Field(default=None, description="Compute resources of each worker.")
    scheduler_resources: Resources | None = Field(
        default=None, description="Compute resources of the scheduler."
    )
    node_selector: NodeSelector | None = Field(
        default=None, description="Labels of the nodes that scheduler and workers may run on."
    )
    tolerations: Tolerations | None = Field(
        default=None, description="Taints that scheduler and workers tolerate."
    )


class Trainer(SpecModel):
    """The trainer's pod."""

    resources: Resources | None = Field(default=None, description="Compute resources of the trainer.")
    node_selector: NodeSelector | None = Field(
        default=None, description="Labels of the nodes that the trainer may run on."
    )
    tolerations: Tolerations | None = Field(default=None, description="Taints that the trainer tolerates.")
    priority_class_name: ObjectName | None = Field(
        default=None, description="PriorityClass of the trainer's pod."
    )
    service_account_annotations: (
        Annotated[
            dict[LabelKey, Annotated[str, StringConstraints(max_length=1024)]],
            Field(max_length=16),
        ]
        | None
    ) = Field(
        default=None,
        description="Annotations of the job's own service account, such as a cloud role for access to "
        "storage.",
    )
    image_pull_secrets: Annotated[tuple[ObjectRef, ...], Field(max_length=8)] | None = Field(
        default=None, description="Secrets with which the images are pulled."
    )
