"""Hyperparameters of a tree: checked values, and the space that they are drawn from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ConfigSpace import Categorical, Float, Integer

from trainingjob_api import Reason
from trainingjob_api.search_space import ChoiceValues, Range
from trainingjob_trainer.errors import SpecInvalid
from trainingjob_trainer.search_space.catalogue import Entry, nearest
from trainingjob_trainer.search_space.parameter_checks import FUNCTION_PARAMETERS, check_value, invalid
from trainingjob_trainer.search_space.refining import SharedConfigurationSpace
from trainingjob_trainer.search_space.values import function_named

__all__ = ["Reader", "hyperparameter_space"]


@dataclass(frozen=True)
class Reader:
    """Reads drawn values: constants are added, and a choice is drawn by its number.

    ConfigSpace knows no None and makes one type of all choices; numbers of choices avoid both.

    Parameters
    ----------
    constants
        Values that are not drawn.
    choices
        The values behind each number, by hyperparameter.
    """

    constants: Mapping[str, Any] = field(default_factory=dict)
    choices: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    def __call__(self, drawn: Mapping[str, Any]) -> dict[str, Any]:
        """Return the hyperparameters of an estimator.

        Parameters
        ----------
        drawn
            What ConfigSpace has drawn.
        """
        read = {
            name: self.choices[name][int(item)] if name in self.choices else item
            for name, item in drawn.items()
        }
        return {**self.constants, **read}


def hyperparameter_space(found: Entry, given: Mapping[str, Any]) -> tuple[Any, Reader]:
    """Return the space of the hyperparameters that a tree gives, and how drawn values are read.

    Parameters
    ----------
    found
        The estimator.
    given
        A constant, a `Range` or a `ChoiceValues` by name.

    Raises
    ------
    SpecInvalid
        A name is unknown (``UnknownHyperparameter``), or a value is refused by the estimator
        (``InvalidHyperparameter``).
    """
    constants: dict[str, Any] = {}
    choices: dict[str, tuple[Any, ...]] = {}
    drawn = []
    for name, value in sorted(given.items()):
        if name not in found.hyperparameters:
            known = f"{found.name} has no hyperparameter {name!r:.80} that may be set."
            raise SpecInvalid(
                Reason.UNKNOWN_HYPERPARAMETER, f"{known} {nearest(name, found.hyperparameters)}"
            )
        if isinstance(value, Range):
            for bound in (value.low, value.high):
                check_value(found, name, int(bound) if value.integer else float(bound))
            drawn.append(_drawn(name, value))
        elif isinstance(value, ChoiceValues):
            choices[name] = tuple(_checked(found, name, item) for item in value.choice)
            drawn.append(Categorical(name, list(range(len(value.choice)))))
        else:
            constants[name] = _checked(found, name, value)
    space = SharedConfigurationSpace()
    space.add(drawn)
    return (space if drawn else {}), Reader(constants, choices)


def _drawn(name: str, value: Range) -> Any:
    if value.integer:
        return Integer(name, (int(value.low), int(value.high)), log=value.log)
    return Float(name, (float(value.low), float(value.high)), log=value.log)


def _checked(found: Entry, name: str, value: Any) -> Any:
    """Return a value that the estimator accepts; a function is said by its name."""
    if name in FUNCTION_PARAMETERS and isinstance(value, str):
        function = function_named(value)
        if function is None:
            raise invalid(found, name, value, "no such function is allowed")
        return function
    check_value(found, name, value)
    return value
