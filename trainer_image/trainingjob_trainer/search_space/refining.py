"""Small steps in a space of hyperparameters."""

import math
from collections.abc import Mapping
from typing import Any, Final, Self

import numpy as np
from ConfigSpace import ConfigurationSpace
from ConfigSpace.hyperparameters import FloatHyperparameter, IntegerHyperparameter

__all__ = ["Shared", "SharedConfigurationSpace", "refined"]

_STEP: Final = 0.1  # standard deviation of a step, as a share of the range


class Shared:
    """Makes copies of an individual share its search space: TPOT copies the whole space with each."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return the same object: a search space does not change."""
        return self


class SharedConfigurationSpace(Shared, ConfigurationSpace):
    """A space of hyperparameters that is never copied; its seed is set before each draw."""


def refined(params: Mapping[str, Any], space: ConfigurationSpace, rng: np.random.Generator) -> dict[str, Any]:
    """Return hyperparameters near *params*: numbers take a small step, the rest stays.

    Parameters
    ----------
    params
        The present hyperparameters.
    space
        Where they come from; steps end at its bounds.
    rng
        The source of chance.
    """
    near = dict(params)
    for name in sorted(near):
        bounds = space.get(name) if name in space else None
        if isinstance(bounds, IntegerHyperparameter):
            near[name] = _whole(near[name], bounds, rng)
        elif isinstance(bounds, FloatHyperparameter):
            near[name] = _step(float(near[name]), bounds, rng)
    return near


def _step(value: float, bounds: Any, rng: np.random.Generator) -> float:
    low, high = float(bounds.lower), float(bounds.upper)
    if bounds.log:
        place = math.log(value) + rng.normal(0.0, _STEP) * (math.log(high) - math.log(low))
        return float(min(high, max(low, math.exp(place))))
    return float(min(high, max(low, value + rng.normal(0.0, _STEP) * (high - low))))


def _whole(value: int, bounds: Any, rng: np.random.Generator) -> int:
    """Take a step of at least one, up or down."""
    moved = round(_step(float(value), bounds, rng))
    if moved == value:
        moved = value + int(rng.choice([-1, 1]))
    return int(min(bounds.upper, max(bounds.lower, moved)))
