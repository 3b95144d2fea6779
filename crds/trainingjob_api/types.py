"""The bases of all models, and the bounded types and marks of their fields.

Every string has a length, every number a range, every list and map a size: the custom resource definition is
generated from these types, and an API server prices CEL rules by their bounds. Patterns use only syntax that
Go, Rust and Python share.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Final

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
    StrictBool,
    StrictInt,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo

from trainingjob_api.rules import Rule

__all__ = [
    "REFINED",
    "Bool",
    "ColumnName",
    "CommonName",
    "Count",
    "Digest",
    "LabelKey",
    "LabelValue",
    "Message",
    "ObjectName",
    "PipelineText",
    "Quantity",
    "ReasonWord",
    "Score",
    "SpecModel",
    "StatusModel",
    "StrictModel",
    "Timestamp",
    "Uid",
    "Uri",
    "UriOrigin",
    "Use",
    "format_score",
    "optional",
]

QUANTITY_PATTERN = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$"
LABEL_KEY_PATTERN = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"
SCORE_PATTERN = r"^-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?$"


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """Marks a field of the values in force with its uses beside the run itself.

    Parameters
    ----------
    digest
        Whether it decides which pipelines are evaluated or how they score: part of ``search_digest``.
    listed
        Whether ``trainingjob validate`` lists it.
    path
        Its path below ``spec``, if that is not the field's own.
    variable
        The environment variable that sets it where the spec does not.
    status
        Whether ``status.resolved`` shows it, by its own name.
    """

    digest: bool
    listed: bool
    path: str | None = None
    variable: str | None = None
    status: bool = False

    def by(self, variable: str) -> "Use":
        """Return this mark for a field that *variable* sets where the spec does not."""
        return replace(self, variable=variable)

    def in_status(self) -> "Use":
        """Return this mark for a field that ``status.resolved`` shows under the field's own name."""
        return replace(self, status=True)

    @classmethod
    def of(cls, info: FieldInfo) -> "Use | None":
        """Return the mark of a field."""
        return next((mark for mark in info.metadata if isinstance(mark, cls)), None)


REFINED: Final = "refined"
"""Marks a field of ``status.resolved`` that the trainer refines once it has read the data."""


class StatusModel(BaseModel):
    """A part of status or report: frozen, camelCase outside.

    Unknown fields are ignored, so that an operator reads newer reports.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        extra="ignore",
        frozen=True,
        allow_inf_nan=False,
    )


class StrictModel(StatusModel):
    """A part of what users write; unknown fields are rejected."""

    model_config = ConfigDict(extra="forbid")


class SpecModel(StrictModel):
    """A part of the spec, with the default of each field; null is unset.

    Whether a field was given is in ``model_fields_set``: the environment sets only those that were not.
    """

    rules: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        given = ((name, info) for name, info in cls.model_fields.items() if not info.is_required())
        known = {key for name, info in given for key in (name, info.alias)}
        return {key: value for key, value in data.items() if value is not None or key not in known}

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Return the JSON schema with the CEL rules."""
        found = handler.resolve_ref_schema(handler(schema))
        if cls.rules:
            found["x-kubernetes-validations"] = [
                {"rule": rule.check.cel, "message": rule.message} for rule in cls.rules
            ]
        return found


def optional(description: str, **more: Any) -> Any:
    """Return a field that is ``None`` where unset."""
    return Field(default=None, description=description, **more)


def _quantity(value: object) -> object:
    # Kubernetes accepts an integer as a quantity; in Python True is an int.
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _utc_seconds(value: datetime) -> str:
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def format_score(value: float) -> str:
    """Return a score as the status shows it: six significant digits, never NaN.

    Raises
    ------
    ValueError
        If *value* is not finite; such a score means that the evaluation failed.
    """
    if not math.isfinite(value):
        raise ValueError(f"a score must be finite, got {value}")
    text = format(float(value), ".6g")
    return "0" if text == "-0" else text


def _lower(value: str) -> str:
    return value.lower()


Bool = StrictBool
Count = Annotated[StrictInt, Field(ge=0, le=1_000_000_000)]
ColumnName = Annotated[str, StringConstraints(min_length=1, max_length=256)]
CommonName = Annotated[
    str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9_]*$")
]
ObjectName = Annotated[
    str,
    StringConstraints(
        min_length=1,
        max_length=253,
        pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
    ),
]
LabelKey = Annotated[str, StringConstraints(min_length=1, max_length=317, pattern=LABEL_KEY_PATTERN)]
LabelValue = Annotated[
    str, StringConstraints(max_length=63, pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$")
]
Digest = Annotated[
    str,
    StringConstraints(min_length=64, max_length=64, pattern=r"^[A-Fa-f0-9]{64}$"),
    AfterValidator(_lower),
]
Quantity = Annotated[
    str,
    StringConstraints(min_length=1, max_length=32, pattern=QUANTITY_PATTERN),
    BeforeValidator(_quantity),
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "x-kubernetes-int-or-string": True,
            "maxLength": 32,
            "pattern": QUANTITY_PATTERN,
        },
        mode="validation",
    ),
]
Uri = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
UriOrigin = Annotated[
    str,
    StringConstraints(
        min_length=8,
        max_length=512,
        pattern=r"^https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?/?$",
    ),
]
Score = Annotated[str, StringConstraints(min_length=1, max_length=32, pattern=SCORE_PATTERN)]
PipelineText = Annotated[str, StringConstraints(max_length=300)]
Message = Annotated[str, StringConstraints(max_length=1024)]
ReasonWord = Annotated[
    str, StringConstraints(min_length=1, max_length=128, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")
]
Uid = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._:-]+$")]
Timestamp = Annotated[
    AwareDatetime,
    PlainSerializer(_utc_seconds, return_type=str, when_used="json-unless-none"),
    WithJsonSchema({"type": "string", "format": "date-time", "maxLength": 40}),
]
