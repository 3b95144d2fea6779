"""The error of the contract: every problem of a spec at once, in sentences for its user."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any

from pydantic import BaseModel, ValidationError

from trainingjob_api.reasons import Reason
from trainingjob_api.storage import DATASET_FORMS, DATASET_URI_PATTERN, OUTPUT_FORMS, OUTPUT_URI_PATTERN
from trainingjob_api.types import LABEL_KEY_PATTERN, QUANTITY_PATTERN, field_class, fields_below
from trainingjob_api.vocabulary import did_you_mean, shorten

MAX_PROBLEMS = 20
"""Maximum number of problems in one error; the others show up once these are corrected."""

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
    """One problem of a spec."""

    field: str
    """Path such as ``spec.budget.timeLeftSeconds``, an environment variable, or empty for a whole file."""
    message: str
    hint: str | None = None
    """The way out, if it is obvious."""

    def __str__(self) -> str:
        text = f"{self.field}: {self.message}" if self.field else self.message
        return f"{text}; {self.hint}" if self.hint else text


class SpecError(ValueError):
    """A TrainingJob, or the environment that it is resolved in, is wrong; the user must act.

    `field`, `message` and `hint` are those of the first problem; duplicates count once.

    Attributes
    ----------
    problems
        The problems in the order of the file, at most 20; no more of the iterable are consumed than needed.
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
        found: dict[Problem, None] = {}
        for problem in problems:
            found[problem] = None
            if len(found) > MAX_PROBLEMS:
                break
        self.problems = tuple(found)[:MAX_PROBLEMS] or (Problem(field, message, hint),)
        self.more = more or len(found) > MAX_PROBLEMS
        first = self.problems[0]
        self.field, self.message, self.hint = first.field, first.message, first.hint
        super().__init__("\n".join([*map(str, self.problems), *(["and more"] if self.more else [])]))

    def __reduce__(self) -> tuple[object, ...]:
        return partial(SpecError, problems=self.problems, more=self.more), ()


def explain(error: ValidationError, model: type[BaseModel]) -> Iterator[Problem]:
    """Yield the problems of *error*, raised by validating *model*, in the order of the fields."""
    for item in error.errors(include_url=False):
        loc = tuple(part for part in item["loc"] if part != "[key]")
        kind, value = item["type"], item.get("input")
        if kind in PYDANTIC_TYPES:
            yield wrong_type(path_text(loc), PYDANTIC_TYPES[kind], value)
        elif kind == "extra_forbidden":
            yield _unknown(loc, model)
        elif kind == "enum":
            yield _enum(path_text(loc), value, field_class(model, loc, StrEnum))
        else:
            yield Problem(path_text(loc), plain_message(kind, item["msg"], item.get("ctx") or {}))


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
    hint = "did you mean none?" if value == "off" and "none" in names else did_you_mean(value, names)
    return Problem(field, f"{message}, not {shorten(value, 60)!r}", hint)


def _unknown(loc: tuple[Any, ...], model: type[BaseModel]) -> Problem:
    *parents, name = loc
    parent = field_class(model, parents, BaseModel)
    names = [str(info.alias) for info in parent.model_fields.values()] if parent else []
    elsewhere = sorted(path for path, _ in fields_below(model) if path.rsplit(".", 1)[-1] == str(name))
    if elsewhere:
        hint: str | None = f"it belongs to {elsewhere[0].rsplit('.', 1)[0]}"
    else:
        hint = did_you_mean(str(name), names, f"the fields are {', '.join(names)}" if names else None)
    return Problem(path_text(loc), f"is not a field of {path_text(parents) or model.__name__}", hint)


def path_text(loc: Sequence[Any], prefix: str = "") -> str:
    """Return a location as users write it: ``spec.dask.tolerations[0].key``."""
    text = prefix
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{shorten(str(part), 80)}"
    return text.removeprefix(".")
