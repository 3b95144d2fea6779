"""New individuals out of known ones."""

import copy
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from tpot.search_spaces.base import SearchSpace

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
    memo: dict[int, Any] = {}
    _share(individual, memo, set())
    return copy.deepcopy(individual, memo)


def _share(node: Any, memo: dict[int, Any], seen: set[int]) -> None:
    """Enter every search space below *node* into *memo*, so that copying stops there."""
    if id(node) in seen:
        return
    seen.add(id(node))
    for name, value in vars(node).items():
        if name in {"space", "method", "hyperparameter_parser", "hyperparameters_parser", "subset_dict"}:
            memo[id(value)] = value
        for item in value if isinstance(value, list | np.ndarray) else [value]:
            _enter(item, memo, seen)
        if name == "graph":
            for item in value.nodes:
                _enter(item, memo, seen)
        if name == "union_dict":
            for item in value.values():
                _enter(item, memo, seen)


def _enter(item: Any, memo: dict[int, Any], seen: set[int]) -> None:
    if isinstance(item, SearchSpace):
        memo[id(item)] = item
    elif hasattr(item, "export_pipeline"):
        _share(item, memo, seen)


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
