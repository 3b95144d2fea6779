"""Where and with what the pods of a job run: resources, tolerations, placement."""

from typing import Annotated, Self

from pydantic import ConfigDict, Field, StrictInt, model_validator

from trainingjob_api.base import LabelKey, LabelValue, ObjectName, Quantity, SpecModel, rules
from trainingjob_api.vocabulary import TaintEffect, TolerationOperator

__all__ = ["NodeSelector", "ObjectRef", "Quantities", "Resources", "SecretRef", "Toleration", "Tolerations"]

Quantities = Annotated[dict[LabelKey, Quantity], Field(max_length=8)]
NodeSelector = Annotated[dict[LabelKey, LabelValue], Field(max_length=16)]


class ObjectRef(SpecModel):
    """A reference to an object of the job's own namespace, by name."""

    name: ObjectName = Field(description="Name of the object, in the namespace of the job.")


class SecretRef(ObjectRef):
    """A reference to a Secret of the job's own namespace."""

    name: ObjectName = Field(
        description="Name of the Secret, in the namespace of the job. It holds AWS_ACCESS_KEY_ID and "
        "AWS_SECRET_ACCESS_KEY and, for temporary credentials, AWS_SESSION_TOKEN."
    )


class Resources(SpecModel):
    """Compute resources of a container, as in Kubernetes."""

    requests: Quantities | None = Field(
        default=None, description="What is set aside for the container, such as cpu: 500m, memory: 2Gi."
    )
    limits: Quantities | None = Field(
        default=None, description="What the container may use at most, such as cpu: 2, memory: 4Gi."
    )


class Toleration(SpecModel):
    """A toleration, as in Kubernetes."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!(has(self.operator) && self.operator == 'Exists' && has(self.value))",
                "a toleration with operator Exists has no value",
            ),
            (
                "has(self.key) || (has(self.operator) && self.operator == 'Exists')",
                "a toleration without a key needs operator Exists",
            ),
        )
    )

    key: LabelKey | None = Field(default=None, description="Key of the taint; unset matches every key.")
    operator: TolerationOperator | None = Field(
        default=None, description="Exists or Equal; unset means Equal, as in Kubernetes."
    )
    value: LabelValue | None = Field(default=None, description="Value of the taint, with operator Equal.")
    effect: TaintEffect | None = Field(
        default=None, description="Effect of the taint; unset matches every effect."
    )
    toleration_seconds: Annotated[StrictInt, Field(ge=0, le=31_536_000)] | None = Field(
        default=None, description="How long a NoExecute taint is tolerated, in seconds; unset is for ever."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        exists = self.operator is TolerationOperator.EXISTS
        if exists and self.value is not None:
            raise ValueError("a toleration with operator Exists has no value; remove it or use Equal")
        if self.key is None and not exists:
            raise ValueError("a toleration without a key needs operator: Exists")
        return self


Tolerations = Annotated[tuple[Toleration, ...], Field(max_length=16)]
