"""The resource as a whole."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StrictInt
from pydantic.alias_generators import to_camel

from trainingjob_api.base import ObjectName, StatusModel, Timestamp, Uid
from trainingjob_api.spec import TrainingJobSpec
from trainingjob_api.status import TrainingJobStatus

__all__ = ["ObjectMeta", "TrainingJob"]


class ObjectMeta(StatusModel):
    """The part of an object's metadata that the project reads; the rest is ignored."""

    name: ObjectName = Field(description="Name of the job.")
    namespace: ObjectName | None = Field(default=None, description="Namespace of the job.")
    uid: Uid | None = Field(default=None, description="Uid that the API server gave.")
    generation: Annotated[StrictInt, Field(ge=0)] | None = Field(
        default=None, description="Version of the spec."
    )
    resource_version: str | None = Field(default=None, description="Version of the object.")
    creation_timestamp: Timestamp | None = Field(default=None, description="When the job was created.")
    deletion_timestamp: Timestamp | None = Field(default=None, description="When its deletion was asked for.")
    labels: dict[str, str] = Field(default_factory=dict, description="Labels.")
    annotations: dict[str, str] = Field(default_factory=dict, description="Annotations.")


class TrainingJob(StatusModel):
    """A table, a target and a budget; the operator turns it into a verified model."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True)

    api_version: Literal["automl.trainingjob.dev/v1alpha1"] = Field(
        default="automl.trainingjob.dev/v1alpha1", description="Group and version."
    )
    kind: Literal["TrainingJob"] = Field(default="TrainingJob", description="Kind.")
    metadata: ObjectMeta = Field(description="Name, namespace, labels.")
    spec: TrainingJobSpec = Field(
        description="What to learn, from what, with what budget, and where the model goes."
    )
    status: TrainingJobStatus | None = Field(
        default=None, description="What the operator saw last; written by the operator alone."
    )
