"""The resource as a whole, and the checks across its fields."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StrictInt
from pydantic.alias_generators import to_camel

from trainingjob_api.errors import Problem
from trainingjob_api.spec import TrainingJobSpec, Validation
from trainingjob_api.status import TrainingJobStatus
from trainingjob_api.types import ObjectName, StatusModel, Timestamp, Uid, optional
from trainingjob_api.uris import parse_uri
from trainingjob_api.vocabulary import Task, ValidationStrategy

__all__ = ["ObjectMeta", "TrainingJob", "check_deadline", "check_spec"]


class ObjectMeta(StatusModel):
    """The part of an object's metadata that the project reads; the rest is ignored."""

    name: ObjectName = Field(description="Name of the job.")
    namespace: ObjectName | None = optional("Namespace of the job.")
    uid: Uid | None = optional("Uid given by the API server.")
    generation: Annotated[StrictInt, Field(ge=0)] | None = optional("Version of the spec.")
    resource_version: str | None = optional("Version of the object.")
    creation_timestamp: Timestamp | None = optional("When the job was created.")
    deletion_timestamp: Timestamp | None = optional("When its deletion was requested.")
    labels: dict[str, str] = Field(default_factory=dict, description="Labels.")
    annotations: dict[str, str] = Field(default_factory=dict, description="Annotations.")


class TrainingJob(StatusModel):
    """A table, a target and a budget; the operator turns it into a verified model."""

    model_config = ConfigDict(extra="forbid")

    api_version: Literal["automl.trainingjob.dev/v1alpha1"] = Field(
        default="automl.trainingjob.dev/v1alpha1", description="Group and version."
    )
    kind: Literal["TrainingJob"] = Field(default="TrainingJob", description="Kind.")
    metadata: ObjectMeta = Field(description="Name, namespace, labels.")
    spec: TrainingJobSpec = Field(description="The desired training: table, target, budget and output.")
    status: TrainingJobStatus | None = optional("The observed state; written by the operator alone.")


def check_spec(spec: TrainingJobSpec) -> list[Problem]:
    """Return the contradictions within *spec*, whatever the environment says.

    The resource definition states the same as CEL rules, beside the models.
    """
    problems = _check_columns(spec)
    output = spec.output.uri if spec.output is not None else None
    for field, uri in (("spec.dataset.uri", spec.dataset.uri), ("spec.output.uri", output)):
        try:
            if uri is not None:
                parse_uri(uri)
        except ValueError as error:
            message, _, hint = str(error).partition("; ")
            problems.append(Problem(field, message, hint or None))
    if spec.validation is not None:
        problems += _check_validation(spec.validation)
    if spec.search_space is not None:
        given = [to_camel(name) for name, value in spec.search_space if value is not None]
        if len(given) > 1:
            message = f"{' and '.join(given)} are mutually exclusive"
            problems.append(Problem("spec.searchSpace", message, "keep one of them"))
    if spec.budget is not None and spec.budget.time_left_seconds is not None:
        problems += check_deadline(spec.active_deadline_seconds, spec.budget.time_left_seconds)
    return problems


def check_deadline(deadline: int | None, time_left: int) -> list[Problem]:
    """Return the problem of a deadline (seconds) that is shorter than the budget (seconds)."""
    if deadline is None or deadline >= time_left:
        return []
    return [
        Problem(
            "spec.activeDeadlineSeconds",
            f"{deadline} s is less than the budget of {time_left} s (budget.timeLeftSeconds)",
            "raise the deadline, lower the budget or omit the deadline",
        )
    ]


def _check_columns(spec: TrainingJobSpec) -> list[Problem]:
    problems = []
    target = spec.target_column
    if target in (spec.feature_types or {}):
        field = f"spec.featureTypes.{target}"
        problems.append(
            Problem(field, "is the target column", "remove it; set task to change how it is read")
        )
    if spec.validation is not None:
        columns = {"groupColumn": spec.validation.group_column, "timeColumn": spec.validation.time_column}
        problems += [
            Problem(f"spec.validation.{name}", "is the target column", "name another column")
            for name, column in columns.items()
            if column == target
        ]
    if spec.task is Task.REGRESSION and spec.positive_label is not None:
        message = "cannot be used with task: regression"
        problems.append(Problem("spec.positiveLabel", message, "remove it or change the task"))
    return problems


def _check_validation(validation: Validation) -> list[Problem]:
    columns = {"groupColumn": validation.group_column, "timeColumn": validation.time_column}
    if all(columns.values()):
        message = "groupColumn and timeColumn are mutually exclusive"
        return [Problem("spec.validation", message, "keep one of them")]
    strategy = validation.strategy or ValidationStrategy.AUTO
    if strategy is ValidationStrategy.AUTO:
        return []
    needed = {ValidationStrategy.GROUP: "groupColumn", ValidationStrategy.TIME: "timeColumn"}.get(strategy)
    problems = [
        Problem(f"spec.validation.{name}", f"cannot be used with strategy: {strategy}", "remove one of them")
        for name, column in columns.items()
        if column is not None and name != needed
    ]
    if needed is not None and columns[needed] is None:
        message = f"is required by strategy: {strategy}"
        problems.insert(0, Problem(f"spec.validation.{needed}", message, "name the column"))
    return problems
