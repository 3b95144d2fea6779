"""Environment variables: those that set fields of the spec, and the settings of a process.

An empty variable counts as unset, since Helm and shells write empty ones.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from inspect import signature
from typing import Annotated, Any, TypeAlias, TypeVar, get_type_hints

from pydantic import BeforeValidator, TypeAdapter, ValidationError
from pydantic.alias_generators import to_snake
from pydantic.fields import FieldInfo

from trainingjob_api.errors import Problem, SpecError, field_class, fields_below, plain_message
from trainingjob_api.spec import TrainingJobSpec
from trainingjob_api.text import nearest, shorten
from trainingjob_api.types import Use
from trainingjob_api.vocabulary import ParallelMode

__all__ = [
    "CONFIG_DICT",
    "DASK_SCHEDULER_FILE",
    "DEFAULT_SCHEDULER_FILE",
    "TABLE",
    "Row",
    "Variable",
    "Words",
    "read_settings",
    "read_variable",
    "variables_of",
]

CONFIG_DICT = "TPOT__CONFIG_DICT"
DASK_SCHEDULER_FILE = "TPOT__DASK_SCHEDULER_FILE"
DEFAULT_SCHEDULER_FILE = "/var/run/tpot/scheduler.json"

_PREFIX = "TRAININGJOB_"
_Settings = TypeVar("_Settings")
_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off"})


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table.

    Parameters
    ----------
    variable
        Name of the environment variable.
    field
        Dotted path below ``spec``, as users write it.
    info
        The field of the model.
    """

    variable: str
    field: str
    info: FieldInfo

    @property
    def default(self) -> Any:
        """Value in force if neither spec nor environment has one; ``None`` leaves it to the trainer."""
        return self.info.default

    @property
    def attributes(self) -> tuple[str, ...]:
        """The path as Python attributes."""
        return tuple(map(to_snake, self.field.split(".")))

    def from_spec(self, spec: TrainingJobSpec) -> Any:
        """Return the field's value in *spec*, ``None`` if unset."""
        value: Any = spec
        for name in self.attributes:
            value = getattr(value, name) if name in value.model_fields_set else None
            if value is None:
                return None
        return value

    def from_environment(self, environment: Mapping[str, str]) -> Any:
        """Return the variable's value, ``None`` if unset.

        Raises
        ------
        SpecError
            Naming the variable.
        """
        text = read_variable(environment, self.variable)
        if text is None:
            return None
        kind = field_class(TrainingJobSpec, self.field.split("."), object)
        if kind is bool:
            return _bool(self.variable, text)
        if kind is ParallelMode:
            return _mode(self.variable, text)
        return _checked(self, _int(self.variable, text) if kind is int else text)


TABLE = tuple(
    Row(mark.variable, path, info)
    for path, info in fields_below(TrainingJobSpec)
    if (mark := Use.of(info)) is not None and mark.variable is not None
)
"""The rows with one value; ``TPOT__CONFIG_DICT`` and ``TPOT__DASK_SCHEDULER_FILE`` are read separately."""


def read_variable(environment: Mapping[str, str], name: str) -> str | None:
    """Return the variable without surrounding space, ``None`` if it is unset or empty."""
    return environment.get(name, "").strip() or None


def _bool(variable: str, text: str) -> bool:
    word = text.lower()
    if word in _TRUE | _FALSE:
        return word in _TRUE
    raise SpecError(variable, f"must be true or false, not {shorten(text, 60)!r}")


def _int(variable: str, text: str) -> int:
    # int() would take underscores and the digits of other scripts.
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        raise SpecError(variable, f"must be a whole number, not {shorten(text, 60)!r}")
    return int(text)


def _mode(variable: str, text: str) -> ParallelMode:
    word = text.lower()
    if word == "off":
        return ParallelMode.NONE
    names = [mode.value for mode in ParallelMode]
    if word in names:
        return ParallelMode(word)
    found = nearest(word, [*names, "off"])
    raise SpecError(
        variable,
        f"must be one of {', '.join(names)} or off, not {shorten(text, 60)!r}",
        f"did you mean {found}?" if found else None,
    )


def _checked(row: Row, value: int | str) -> Any:
    """Return *value* if it is within the bounds of the spec's field."""
    kind: Any = row.info.rebuild_annotation()
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        hint = f"it stands for {row.field}"
        raise SpecError(problems=[_problem(row.variable, error.errors(include_url=False)[0], hint)]) from None


def _problem(variable: str, item: Any, hint: str | None) -> Problem:
    message = plain_message(item["type"], item["msg"], item.get("ctx") or {})
    return Problem(variable, f"{message}, not {shorten(str(item['input']), 60)!r}", hint)


@dataclass(frozen=True, slots=True)
class Variable:
    """Marks a setting that is not read from ``TRAININGJOB_<NAME>``; the first variable that is set wins."""

    names: tuple[str, ...]


def _split(text: object) -> object:
    return [word.strip() for word in text.split(",") if word.strip()] if isinstance(text, str) else text


Words: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(_split)]
"""Words that a variable holds between commas."""


def variables_of(kind: type) -> dict[str, tuple[str, ...]]:
    """Return the names of the variables of each field of a settings class."""
    variables = {}
    for name, hint in get_type_hints(kind, include_extras=True).items():
        marks = [mark for mark in getattr(hint, "__metadata__", ()) if isinstance(mark, Variable)]
        variables[name] = marks[0].names if marks else (f"{_PREFIX}{name.upper()}",)
    return variables


def read_settings(kind: type[_Settings], environment: Mapping[str, str], **known: Any) -> _Settings:
    """Return settings read from *environment*.

    Parameters
    ----------
    kind
        A pydantic dataclass; each field is read from the variable ``TRAININGJOB_<NAME>`` or those of its
        :class:`Variable`.
    environment
        The variables; an empty variable counts as unset, an empty flag as false.
    known
        Fields that no variable holds.

    Raises
    ------
    SpecError
        Naming each variable that is missing or cannot be read.
    """
    variables, parameters = variables_of(kind), signature(kind).parameters
    texts: dict[str, Any] = dict(known)
    for name in variables.keys() - known.keys():
        found = (read_variable(environment, variable) for variable in variables[name])
        text = next((each for each in found if each is not None), None)
        if parameters[name].default is True and not environment.keys().isdisjoint(variables[name]):
            text = text or "false"  # an empty value must not allow what false forbids
        if text is not None:
            texts[name] = text
    try:
        return kind(**texts)
    except ValidationError as error:
        raise SpecError(
            problems=[
                Problem(variables[str(item["loc"][0])][0], "is required", "set it")
                if item["type"] in {"missing", "missing_keyword_only_argument"}
                else _problem(variables[str(item["loc"][0])][0], item, "correct or unset it")
                for item in error.errors(include_url=False)
            ]
        ) from None
