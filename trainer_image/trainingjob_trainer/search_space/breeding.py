"""New individuals out of known ones."""

import copy
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

__all__ = ["breed", "clone"]

_ATTEMPTS: Final = 8
_MUTATE_AFTER_CROSSOVER: Final = 0.3


def clone(individual: Any) -> Any:
    """Return a copy that can be changed; the search spaces that it refers to are shared.

    Parameters
    ----------
    individual
        A TPOT individual.
    """
    return copy.deepcopy(individual)


def breed(parents: Sequence[Any], rng: np.random.Generator) -> Any:
    """Return a child of one or two parents, which stay as they are.

    Parameters
    ----------
    parents
        One individual, to be mutated, or two, to be crossed and sometimes mutated too. Two that cannot be
        crossed give a mutation of the first.
    rng
        The only source of chance.

    Raises
    ------
    ValueError
        There is not one parent, nor two.
    """
    if len(parents) not in {1, 2}:
        raise ValueError("A child has one parent or two.")
    first = parents[0]
    before = first.unique_id()
    child = clone(first)
    for _ in range(_ATTEMPTS):
        child = clone(first)
        crossed = len(parents) == 2 and bool(child.crossover(clone(parents[1]), rng=rng))  # noqa: PLR2004
        if not crossed or rng.random() < _MUTATE_AFTER_CROSSOVER:
            child.mutate(rng=rng)
        if child.unique_id() != before:
            return child
    return child
