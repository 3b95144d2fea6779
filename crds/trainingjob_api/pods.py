"""The parts of the spec about pods: resources, placement, the trainer and the Dask cluster."""

from typing import Annotated

from pydantic import Field, StrictInt, StringConstraints

from trainingjob_api.rules import Rule, has, is_one_of
from trainingjob_api.types import (
    LabelKey,
    LabelValue,
    ObjectName,
    Quantity,
    SpecModel,
    optional,
)
from trainingjob_api.uris import secret_keys
from trainingjob_api.vocabulary import TaintEffect, TolerationOperator

__all__ = [
    "Dask",
    "NodeSelector",
    "ObjectRef",
    "Quantities",
    "Resources",
    "SecretRef",
    "Toleration",
    "Tolerations",
    "Trainer",
]

Quantities = Annotated[dict[LabelKey, Quantity], Field(max_length=8)]
NodeSelector = Annotated[dict[LabelKey, LabelValue], Field(max_length=16)]


class ObjectRef(SpecModel):
    """A reference to an object in the job's own namespace, by name."""

    name: ObjectName = Field(description="Name of the object, in the namespace of the job.")


class SecretRef(ObjectRef):
    """A reference to a Secret in the job's own namespace."""

    name: ObjectName = Field(
        description=f"Name of the Secret, in the namespace of the job. Its keys: {secret_keys()}."
    )


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
            dict[LabelKey, Annotated[str, StringConstraints(max_length=1024)]],
            Field(max_length=16),
        ]
        | None
    ) = optional("Annotations of the job's own service account, such as a cloud role for access to storage.")
    image_pull_secrets: Annotated[tuple[ObjectRef, ...], Field(max_length=8)] | None = optional(
        "Secrets used to pull the images."
    )
