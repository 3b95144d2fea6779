"""Rules across the fields of the spec: each stated once, for the API server and for local runs.

A :class:`Check` holds a condition as CEL, for the resource definition, and as a function, for local runs.
Both are built from the same parts, so that they cannot differ.
"""

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel
from pydantic.alias_generators import to_snake

__all__ = [
    "Check",
    "Rule",
    "at_most_one",
    "compare",
    "has",
    "is_one_of",
    "lacks_key",
    "matches",
    "starts_with",
    "unset",
]

_COMPARISONS: Final[dict[str, Callable[[Any, Any], bool]]] = {"!=": operator.ne, ">=": operator.ge}


@dataclass(frozen=True, slots=True)
class Check:
    """A condition on a model of the spec.

    Parameters
    ----------
    cel
        The condition as CEL; ``self`` is the model.
    holds
        Whether a model fulfils it.
    """

    cel: str
    holds: Callable[[BaseModel], bool]

    def __and__(self, other: "Check") -> "Check":
        """Return the condition that both hold."""
        return Check(f"{self.cel} && {other.cel}", lambda model: self.holds(model) and other.holds(model))

    def __or__(self, other: "Check") -> "Check":
        """Return the condition that one of both holds."""
        right = f"({other.cel})" if other.cel.startswith("has(") and "&&" in other.cel else other.cel
        return Check(f"{self.cel} || {right}", lambda model: self.holds(model) or other.holds(model))

    def __invert__(self) -> "Check":
        """Return the negation of this condition."""
        cel = f"({self.cel})" if " " in self.cel else self.cel
        return Check(f"!{cel}", lambda model: not self.holds(model))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A condition that a model of the spec has to fulfil.

    Parameters
    ----------
    check
        The condition.
    message
        What is wrong if it is not fulfilled, as the API server says it.
    hint
        What to do about it, added in local runs; ``{model}`` is the model.
    field
        The field that a problem names, below the model; empty for the model itself.
    in_cluster_only
        Whether local runs are free of it.
    """

    check: Check
    message: str
    hint: str = ""
    field: str = ""
    in_cluster_only: bool = False


def has(*fields: str) -> Check:
    """Return the condition that all *fields*, by their paths below the model, are set."""
    return Check(
        " && ".join(f"has(self.{field})" for field in fields),
        lambda model: all(_value(model, field) is not None for field in fields),
    )


def unset(*fields: str) -> Check:
    """Return the condition that one of *fields* is unset; name the parts of a path before the path."""
    return Check(" || ".join((~has(field)).cel for field in fields), (~has(*fields)).holds)


def is_one_of(field: str, *values: str) -> Check:
    """Return the condition that a field that is set has one of *values*."""
    quoted = [f"'{value}'" for value in values]
    test = f"== {quoted[0]}" if len(values) == 1 else f"in [{', '.join(quoted)}]"
    return Check(f"self.{field} {test}", lambda model: _value(model, field) in values)


def compare(field: str, sign: str, other: str) -> Check:
    """Return the comparison (``!=`` or ``>=``) of two fields that are set."""
    compared = _COMPARISONS[sign]
    return Check(
        f"self.{field} {sign} self.{other}",
        lambda model: compared(_value(model, field), _value(model, other)),
    )


def lacks_key(mapping: str, key: str) -> Check:
    """Return the condition that the field *mapping* has no key that equals the field *key*."""
    return Check(
        f"!(self.{key} in self.{mapping})", lambda model: _value(model, key) not in _value(model, mapping)
    )


def at_most_one(*fields: str) -> Check:
    """Return the condition that at most one of *fields* is set."""
    return Check(
        f"[{', '.join(has(field).cel for field in fields)}].filter(x, x).size() <= 1",
        lambda model: sum(_value(model, field) is not None for field in fields) <= 1,
    )


def matches(field: str, pattern: str) -> Check:
    """Return the condition that a field that is set has a part that matches *pattern*."""
    return Check(
        f"self.{field}.matches('{pattern}')", lambda model: bool(re.search(pattern, _value(model, field)))
    )


def starts_with(field: str, text: str) -> Check:
    """Return the condition that a field that is set begins with *text*."""
    return Check(
        f"self.{field}.startsWith('{text}')", lambda model: str(_value(model, field)).startswith(text)
    )


def _value(model: Any, path: str) -> Any:
    """Return the field at *path* below *model*, ``None`` if it or a part above it is unset."""
    for name in map(to_snake, path.split(".")):
        if name not in model.model_fields_set:
            return None
        model = getattr(model, name)
    return model
