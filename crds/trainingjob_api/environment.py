"""The environment table: variables, the fields of the spec they stand for, and defaults.

An empty variable counts as unset, since Helm and shells write empty ones.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.alias_generators import to_snake

from trainingjob_api.errors import SpecError, field_class, plain_message
from trainingjob_api.spec import Budget, TrainingJobSpec
from trainingjob_api.text import nearest, shorten
from trainingjob_api.vocabulary import ParallelMode

__all__ = [
    "CONFIG_DICT",
    "DASK_SCHEDULER_FILE",
    "DEFAULT_SCHEDULER_FILE",
    "TABLE",
    "Row",
    "read_variable",
]

CONFIG_DICT = "TPOT__CONFIG_DICT"
DASK_SCHEDULER_FILE = "TPOT__DASK_SCHEDULER_FILE"
DEFAULT_SCHEDULER_FILE = "/var/run/tpot/scheduler.json"

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
    default
        Value in force if neither spec nor environment has one; ``None`` leaves it to the trainer.
    """

    variable: str
    field: str
    default: bool | int | str | None

    @property
    def attributes(self) -> tuple[str, ...]:
        """The path as Python attributes."""
        return tuple(map(to_snake, self.field.split(".")))

    def from_spec(self, spec: TrainingJobSpec) -> Any:
        """Return the field's value in *spec*, ``None`` if unset."""
        value: Any = spec
        for name in self.attributes:
            value = getattr(value, name, None)
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


TABLE = (
    Row("ENABLE_AUTOML", "automl.enabled", default=True),
    Row("ENABLE_AUTOML_FALLBACK", "automl.fallback", default=True),
    Row("TPOT_PARALLEL_MODE", "parallelMode", ParallelMode.LOCAL),
    Row("TPOT__GENERATIONS", "budget.generations", 40),
    Row("TPOT__POPULATION_SIZE", "budget.populationSize", 64),
    Row("TPOT__TIME_LEFT", "budget.timeLeftSeconds", 600),
    Row("TPOT__PER_RUN_LIMIT", "budget.perRunLimitSeconds", 60),
    Row("TPOT__METRIC", "metric", None),
    Row("TPOT__CV_FOLDS", "budget.cvFolds", 5),
    Row("TPOT__N_JOBS", "nJobs", None),
    Row("TPOT__MEMORY_LIMIT_MB", "memoryLimitMb", 3072),
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
    """Hold *value* to the bounds of the spec's own field."""
    model = Budget if row.attributes[0] == "budget" else TrainingJobSpec
    kind: Any = model.model_fields[row.attributes[-1]].annotation
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        item = error.errors(include_url=False)[0]
        message = plain_message(item["type"], item["msg"], item.get("ctx") or {})
        raise SpecError(
            row.variable, f"{message}, not {shorten(str(value), 60)!r}", f"it stands for {row.field}"
        ) from None
