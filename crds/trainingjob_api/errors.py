"""The error of the contract: every problem of a spec at once, in sentences for its user."""

import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from trainingjob_api.reasons import Reason
from trainingjob_api.text import nearest, shorten
from trainingjob_api.types import LABEL_KEY_PATTERN, QUANTITY_PATTERN
from trainingjob_api.uris import DATASET_FORMS, DATASET_URI_PATTERN, OUTPUT_FORMS, OUTPUT_URI_PATTERN

__all__ = [
    "MAX_PROBLEMS",
    "PYDANTIC_TYPES",
    "Problem",
    "SpecError",
    "explain",
    "field_class",
    "fields_below",
    "path_text",
    "pattern_words",
    "plain_message",
    "wrong_type",
]

MAX_PROBLEMS = 20
"""Maximum number of problems in one error; the others show up once these are corrected."""

_Class = typing.TypeVar("_Class")
_FORMS = {
    DATASET_URI_PATTERN: f"must be {DATASET_FORMS}",
    OUTPUT_URI_PATTERN: f"must be {OUTPUT_FORMS}",
    QUANTITY_PATTERN: "must be a quantity such as 500m, 2 or 4Gi",
    LABEL_KEY_PATTERN: "must be a Kubernetes name such as memory or example.com/gpu",
}
PYDANTIC_TYPES = {
    "bool_type": "true or false",
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "tuple_type": "a list",
    "list_type": "a list",
}
_SENTENCES = {
    "bool_parsing": "must be true or false",
    "int_parsing": "must be a whole number",
    "float_parsing": "must be a number",
    "missing": "is required",
    "value_error": "{error}",
    "string_too_long": "must have at most {max_length} characters",
    "string_too_short": "must have at least {min_length} characters",
    "too_long": "must hold at most {max_length}, not {actual_length}",
    "too_short": "must hold at least {min_length}, not {actual_length}",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem of a spec.

    Parameters
    ----------
    field
        Path as users write it, such as ``spec.budget.timeLeftSeconds``, the name of an environment
        variable, or empty for the file as a whole.
    message
        The cause.
    hint
        The way out, if it is obvious.
    """

    field: str
    message: str
    hint: str | None = None

    def __str__(self) -> str:
        """Return field, cause and way out in one line."""
        text = f"{self.field}: {self.message}" if self.field else self.message
        return f"{text}; {self.hint}" if self.hint else text


class SpecError(ValueError):
    """A TrainingJob, or the environment that it is resolved in, is wrong; the user must act.

    Parameters
    ----------
    field, message, hint
        The first problem, see :class:`Problem`.
    problems
        The problems, if there are several; duplicates count once, and the iterable is not consumed beyond
        the bound.
    more
        Whether there are more than *problems* holds.

    Attributes
    ----------
    problems
        The problems in the order of the file, at most 20.
    more
        Whether there are more than these.
    """

    reason = Reason.SPEC_INVALID

    def __init__(
        self,
        field: str = "",
        message: str = "",
        hint: str | None = None,
        *,
        problems: Iterable[Problem] = (),
        more: bool = False,
    ) -> None:
        found = tuple(islice(_unique(problems), MAX_PROBLEMS + 1)) or (Problem(field, message, hint),)
        self.problems: tuple[Problem, ...] = found[:MAX_PROBLEMS]
        self.more = more or len(found) > MAX_PROBLEMS
        first = self.problems[0]
        self.field, self.message, self.hint = first.field, first.message, first.hint
        super().__init__(self._text())

    def _text(self) -> str:
        lines = [str(problem) for problem in self.problems]
        return "\n".join([*lines, "and more"] if self.more else lines)

    def __reduce__(self) -> tuple[object, ...]:
        """Support pickling with all problems."""
        return _rebuild, (self.problems, self.more)


def _rebuild(problems: tuple[Problem, ...], more: bool) -> SpecError:  # noqa: FBT001
    return SpecError(problems=problems, more=more)


def _unique(problems: Iterable[Problem]) -> Iterator[Problem]:
    seen: set[Problem] = set()
    for problem in problems:
        if problem not in seen:
            seen.add(problem)
            yield problem


def explain(error: ValidationError, model: type[BaseModel], prefix: str = "") -> Iterator[Problem]:
    """Yield the problems of *error*, raised by validating *model*, in the order of the fields."""
    for item in error.errors(include_url=False):
        yield _problem(item, model, prefix)


def _problem(item: Any, model: type[BaseModel], prefix: str) -> Problem:
    loc = tuple(part for part in item["loc"] if part != "[key]")
    field = path_text(loc, prefix)
    kind, value, context = item["type"], item.get("input"), item.get("ctx") or {}
    if kind in PYDANTIC_TYPES:
        return wrong_type(field, PYDANTIC_TYPES[kind], value)
    match kind:
        case "extra_forbidden":
            return _unknown(loc, model, prefix)
        case "enum":
            return _enum(field, value, field_class(model, loc, StrEnum))
        case _:
            return Problem(field, plain_message(kind, item["msg"], context))


def pattern_words(pattern: str) -> str:
    """Return in words what a text that matches *pattern* must be."""
    return _FORMS.get(pattern, f"must match {pattern}")


def plain_message(kind: str, message: str, context: Mapping[str, Any]) -> str:
    """Return the sentence for a pydantic error that does not depend on the model."""
    if kind == "string_pattern_mismatch":
        return pattern_words(context["pattern"])
    if kind in _SENTENCES:
        return _SENTENCES[kind].format_map(context)
    return re.sub(r"^(Input|String|Value) should", "must", message)


def wrong_type(field: str, wanted: str, value: Any) -> Problem:
    """Return the problem of a value that is not of the type *wanted*."""
    got = {
        bool: "a boolean",
        int: "a number",
        float: "a number",
        str: "text",
        dict: "a mapping",
        list: "a list",
    }
    found = "nothing (null)" if value is None else got.get(type(value), "something else")
    hint = None
    if wanted == "text" and isinstance(value, bool | int | float):
        hint = f'put it in quotes: "{_digits(value)}"'
    elif wanted in {"a number", "a whole number", "true or false"} and isinstance(value, str):
        hint = "remove the quotes"
    elif isinstance(value, float) and wanted == "a whole number":
        hint = "remove the fraction"
    elif value is None:
        hint = "set a value or remove the field"
    return Problem(field, f"must be {wanted}, not {found}", hint)


def _digits(value: bool | float) -> str:  # noqa: FBT001
    """Return a number or boolean as YAML writes it."""
    try:
        return shorten(str(value).lower() if isinstance(value, bool) else str(value), 60)
    except ValueError:  # Python refuses to format integers of more than 4,300 digits
        return "…"


def _enum(field: str, value: Any, enum: type[StrEnum] | None) -> Problem:
    names = [str(member) for member in enum or ()]
    message = f"must be one of {', '.join(names)}"
    if isinstance(value, bool):
        way = "write none for off" if "none" in names else "put the value in quotes"
        return Problem(field, message, f"YAML reads an unquoted off, on, no or yes as a boolean; {way}")
    if not isinstance(value, str):
        return Problem(field, message)
    found = nearest(value, names)
    if value == "off" and "none" in names:
        found = "none"
    return Problem(
        field, f"{message}, not {shorten(value, 60)!r}", f"did you mean {found}?" if found else None
    )


def _unknown(loc: tuple[Any, ...], model: type[BaseModel], prefix: str) -> Problem:
    field = path_text(loc, prefix)
    *parents, name = loc
    parent = field_class(model, parents, BaseModel)
    names = [alias for alias, _ in _fields(parent)] if parent else []
    where = path_text(tuple(parents), prefix) or model.__name__
    found = nearest(str(name), names)
    paths = (path for path, _ in fields_below(model, prefix))
    elsewhere = sorted(path for path in paths if path.rsplit(".", 1)[-1] == str(name))
    if elsewhere and found != name:
        return Problem(field, f"is not a field of {where}", f"it belongs to {elsewhere[0].rsplit('.', 1)[0]}")
    hint = f"did you mean {found}?" if found else f"the fields are {', '.join(names)}" if names else None
    return Problem(field, f"is not a field of {where}", hint)


def path_text(loc: Sequence[Any], prefix: str = "") -> str:
    """Return a location as users write it: ``spec.dask.tolerations[0].key``."""
    text = prefix
    for part in loc:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{shorten(str(part), 80)}" if text else shorten(str(part), 80)
    return text


def _fields(model: type[BaseModel]) -> Iterator[tuple[str, Any]]:
    for name, field in model.model_fields.items():
        yield field.alias or name, field.annotation


def _parts(annotation: Any) -> Iterator[Any]:
    """Yield the classes of an annotation, or of the values of a map or list."""
    origin = typing.get_origin(annotation)
    if origin is None:
        yield annotation
    elif origin in {typing.Annotated, tuple, list}:
        yield from _parts(typing.get_args(annotation)[0])
    elif origin is dict:
        yield from _parts(typing.get_args(annotation)[1])
    elif origin in {typing.Union, types.UnionType}:
        for argument in typing.get_args(annotation):
            yield from _parts(argument)


def _annotation_at(model: type[BaseModel], loc: Sequence[Any]) -> Iterator[Any]:
    here: list[Any] = [model]
    for part in loc:
        if isinstance(part, int):
            continue  # _parts yields the items already
        below: list[Any] = []
        for each in here:
            if isinstance(each, type) and issubclass(each, BaseModel):
                below += [p for alias, note in _fields(each) if alias == part for p in _parts(note)]
            else:
                below.append(each)
        here = below
    yield from here


def field_class(model: type[BaseModel], loc: Sequence[Any], base: type[_Class]) -> type[_Class] | None:
    """Return the class of the values at *loc* if it is a subclass of *base*, else ``None``."""
    found = (each for each in _annotation_at(model, loc) if isinstance(each, type) and issubclass(each, base))
    return next(found, None)


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
