"""The bases of all models: their rules across fields, and the bounded types and marks of their fields.

Every string has a length, every number a range, every list and map a size: the custom resource definition is
generated from these types, and an API server prices CEL rules by their bounds. Patterns use only syntax that
Go, Rust and Python share.
"""

import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import UnionType
from typing import Annotated, Any, ClassVar, Final, TypeVar, Union, get_args, get_origin

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
from pydantic.alias_generators import to_camel, to_snake
from pydantic.fields import FieldInfo

QUANTITY_PATTERN = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$"
LABEL_KEY_PATTERN = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"
SCORE_PATTERN = r"^-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?$"


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """Marks a field of the values in force with its uses beside the run itself."""

    digest: bool
    """Whether it decides which pipelines are evaluated or how they score: part of ``search_digest``."""
    listed: bool
    """Whether ``trainingjob validate`` lists it."""
    path: str | None = None
    """Its path below ``spec``, if that is not the field's own."""
    variable: str | None = None
    """The environment variable that sets it where the spec does not."""
    status: bool = False
    """Whether ``status.resolved`` shows it, by its own name."""

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


SEARCH = Use(digest=True, listed=True)
SEARCH_ONLY = Use(digest=True, listed=False)
SHOWN = Use(digest=False, listed=True)
PLAIN = Use(digest=False, listed=False)
REFINED: Final = "refined"
"""Marks a field of ``status.resolved`` that the trainer refines once it has read the data."""

_COMPARISONS: Final[dict[str, Callable[[Any, Any], bool]]] = {"!=": operator.ne, ">=": operator.ge}
_Class = TypeVar("_Class")


@dataclass(frozen=True, slots=True)
class Check:
    """A condition on a model of the spec: as CEL, in which ``self`` is the model, and as a function.

    Both are built from the same parts, so that API server and local runs cannot differ.
    """

    cel: str
    holds: Callable[[BaseModel], bool]

    def __and__(self, other: "Check") -> "Check":
        return Check(f"{self.cel} && {other.cel}", lambda model: self.holds(model) and other.holds(model))

    def __or__(self, other: "Check") -> "Check":
        right = f"({other.cel})" if other.cel.startswith("has(") and "&&" in other.cel else other.cel
        return Check(f"{self.cel} || {right}", lambda model: self.holds(model) or other.holds(model))

    def __invert__(self) -> "Check":
        cel = f"({self.cel})" if " " in self.cel else self.cel
        return Check(f"!{cel}", lambda model: not self.holds(model))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A condition that a model of the spec has to fulfil, and what is wrong if it does not."""

    check: Check
    message: str
    hint: str = ""
    """The remedy, added to the message in local runs; ``{model}`` is the model."""
    field: str = ""
    """The field that a problem names, below the model; empty for the model itself."""
    in_cluster_only: bool = False


def has(*fields: str) -> Check:
    """Return the condition that all *fields*, by their paths below the model, are set."""
    return Check(
        " && ".join(f"has(self.{field})" for field in fields),
        lambda model: all(value_at(model, field) is not None for field in fields),
    )


def unset(*fields: str) -> Check:
    """Return the condition that one of *fields* is unset; name the parts of a path before the path."""
    return Check(" || ".join((~has(field)).cel for field in fields), (~has(*fields)).holds)


def is_one_of(field: str, *values: str) -> Check:
    """Return the condition that a field that is set has one of *values*."""
    quoted = [f"'{value}'" for value in values]
    test = f"== {quoted[0]}" if len(values) == 1 else f"in [{', '.join(quoted)}]"
    return Check(f"self.{field} {test}", lambda model: value_at(model, field) in values)


def compare(field: str, sign: str, other: str) -> Check:
    """Return the comparison (``!=`` or ``>=``) of two fields that are set."""
    compared = _COMPARISONS[sign]
    return Check(
        f"self.{field} {sign} self.{other}",
        lambda model: compared(value_at(model, field), value_at(model, other)),
    )


def lacks_key(mapping: str, key: str) -> Check:
    """Return the condition that the field *mapping* has no key that equals the field *key*."""
    return Check(
        f"!(self.{key} in self.{mapping})", lambda model: value_at(model, key) not in value_at(model, mapping)
    )


def at_most_one(*fields: str) -> Check:
    """Return the condition that at most one of *fields* is set."""
    return Check(
        f"[{', '.join(has(field).cel for field in fields)}].filter(x, x).size() <= 1",
        lambda model: sum(value_at(model, field) is not None for field in fields) <= 1,
    )


def matches(field: str, pattern: str) -> Check:
    """Return the condition that a field that is set has a part that matches *pattern*."""
    return Check(
        f"self.{field}.matches('{pattern}')", lambda model: bool(re.search(pattern, value_at(model, field)))
    )


def starts_with(field: str, text: str) -> Check:
    """Return the condition that a field that is set begins with *text*."""
    return Check(
        f"self.{field}.startsWith('{text}')", lambda model: str(value_at(model, field)).startswith(text)
    )


def value_at(model: Any, path: str) -> Any:
    """Return the field at *path* below *model*, by aliases; ``None`` if it or a part above it is unset."""
    for name in map(to_snake, path.split(".")):
        if name not in model.model_fields_set:
            return None
        model = getattr(model, name)
    return model


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


def characters(most: int, *, least: int | None = None, pattern: str | None = None) -> StringConstraints:
    """Return the bounds of a text."""
    return StringConstraints(min_length=least, max_length=most, pattern=pattern)


def optional(description: str, **more: Any) -> Any:
    """Return a field that is ``None`` where unset."""
    return Field(default=None, description=description, **more)


def field_class(model: type[BaseModel], loc: Sequence[Any], base: type[_Class]) -> type[_Class] | None:
    """Return the class of the values at *loc*, by aliases and indexes, if it is a subclass of *base*."""
    here: list[Any] = [model]
    for part in loc:
        if not isinstance(part, int):  # _classes yields the items of a list already
            here = [below for kind in here for below in _field_classes(kind, part)]
    return next((kind for kind in here if isinstance(kind, type) and issubclass(kind, base)), None)


def _field_classes(kind: Any, alias: str) -> Iterator[Any]:
    """Yield the classes of a model's field; the key of a map leads to the class of its values itself."""
    if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
        yield kind
        return
    for info in kind.model_fields.values():
        if info.alias == alias:
            yield from _classes(info.annotation)


def _classes(annotation: Any) -> Iterator[Any]:
    """Yield the classes of an annotation, or of the values of a map or list."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is None:
        yield annotation
    elif origin in {Union, UnionType}:
        for argument in arguments:
            yield from _classes(argument)
    elif origin in {Annotated, tuple, list, dict}:
        yield from _classes(arguments[1 if origin is dict else 0])


def fields_below(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Yield each field of *model* and of its parts with its dotted path, but for metadata and status."""
    for info in model.model_fields.values():
        path = f"{prefix}.{info.alias}" if prefix else str(info.alias)
        if path in {"metadata", "status"}:
            continue
        yield path, info
        part = field_class(model, [info.alias], BaseModel)
        if part is not None:
            yield from fields_below(part, path)


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


Bool = StrictBool
Count = Annotated[StrictInt, Field(ge=0, le=1_000_000_000)]
ColumnName = Annotated[str, characters(256, least=1)]
CommonName = Annotated[str, characters(64, least=1, pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
ObjectName = Annotated[
    str,
    characters(253, least=1, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"),
]
LabelKey = Annotated[str, characters(317, least=1, pattern=LABEL_KEY_PATTERN)]
LabelValue = Annotated[str, characters(63, pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$")]
Digest = Annotated[
    str,
    characters(64, least=64, pattern=r"^[A-Fa-f0-9]{64}$"),
    AfterValidator(str.lower),
]
Quantity = Annotated[
    str,
    characters(32, least=1, pattern=QUANTITY_PATTERN),
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
Uri = Annotated[str, characters(1024, least=1)]
UriOrigin = Annotated[
    str,
    characters(512, least=8, pattern=r"^https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?/?$"),
]
Score = Annotated[str, characters(32, least=1, pattern=SCORE_PATTERN)]
PipelineText = Annotated[str, characters(300)]
Message = Annotated[str, characters(1024)]
ReasonWord = Annotated[str, characters(128, least=1, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")]
Uid = Annotated[str, characters(64, least=1, pattern=r"^[A-Za-z0-9._:-]+$")]
Timestamp = Annotated[
    AwareDatetime,
    PlainSerializer(_utc_seconds, return_type=str, when_used="json-unless-none"),
    WithJsonSchema({"type": "string", "format": "date-time", "maxLength": 40}),
]
