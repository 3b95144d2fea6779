"""The individual of evolution: TPOT's individual with the encoding of its pipeline."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

import numpy as np

from trainingjob_trainer.encodings import Encoding
from trainingjob_trainer.search_space.tpot_fixes.ranges import refined
from trainingjob_trainer.search_space.tpot_fixes.spaces import FixedEstimatorIndividual

__all__ = ["Individual", "Operator", "breed", "clone", "drawn"]

_ATTEMPTS: Final = 8
_MUTATE_AFTER_CROSSOVER: Final = 0.3
_REFINE_ANOTHER_STEP: Final = 0.2
_WEIGHTS: Final = {"target": 3.0, "dense": 2.0}


class Operator(StrEnum):
    """How a pipeline is made."""

    REFINE = "refine"
    """A step or two of the hyperparameters of one estimator, the predictor in most cases."""
    MUTATE = "mutate"
    """TPOT's mutation: a step is added, removed, replaced or drawn again."""
    CROSS = "cross"
    """TPOT's crossover of two parents."""
    ENCODE = "encode"
    """Another encoding of the table."""
    NEW = "new"
    """Drawn from the search space."""


@dataclass(frozen=True, slots=True)
class Individual:
    """An individual.

    Parameters
    ----------
    tree
        TPOT's individual.
    encoding
        Of the matrix that its pipeline learns from.
    encodings
        Those that the table has.
    """

    tree: Any
    encoding: Encoding = Encoding.DENSE
    encodings: tuple[Encoding, ...] = (Encoding.DENSE,)


def drawn(encodings: Sequence[Encoding], rng: np.random.Generator) -> Encoding:
    """Return an encoding at random, those that win more often more often."""
    weights = np.array([_WEIGHTS.get(encoding.value, 1.0) for encoding in encodings])
    return encodings[rng.choice(len(encodings), p=weights / weights.sum())]


def clone(individual: Individual) -> Individual:
    """Return a copy that can be changed; the search spaces that it refers to are shared."""
    return replace(individual, tree=copy.deepcopy(individual.tree))


def breed(
    parents: Sequence[Individual], rng: np.random.Generator, operator: Operator = Operator.MUTATE
) -> Individual:
    """Return a child of one or two parents, which stay as they are.

    It has the encoding of the first one, unless the operator changes that. Two parents are crossed, and
    sometimes mutated too. Where the operator cannot change the first parent, it is mutated.

    Raises
    ------
    ValueError
        There is not one parent, nor two.
    """
    if len(parents) not in {1, 2}:
        raise ValueError("A child has one parent or two.")
    first = parents[0]
    others = [encoding for encoding in first.encodings if encoding is not first.encoding]
    if operator is Operator.ENCODE and others:
        return replace(clone(first), encoding=drawn(others, rng))
    before = first.tree.unique_id()
    child = clone(first)
    for _ in range(_ATTEMPTS):
        child = clone(first)
        if len(parents) == 2:  # noqa: PLR2004
            changed = bool(child.tree.crossover(clone(parents[1]).tree, rng=rng))
        else:
            changed = operator is Operator.REFINE and _refine(child.tree, rng)
        if not changed or (len(parents) == 2 and rng.random() < _MUTATE_AFTER_CROSSOVER):  # noqa: PLR2004
            child.tree.mutate(rng=rng)
        if child.tree.unique_id() != before:
            return child
    return child


def _refine(tree: Any, rng: np.random.Generator) -> bool:
    """Take a small step in the hyperparameters of one estimator; False if none has any."""
    nodes = [node for node in _estimators(tree) if not isinstance(node.space, dict) and len(node.space)]
    if not nodes:
        return False
    # The predictor is the last one.
    number = rng.integers(len(nodes)) if rng.random() < _REFINE_ANOTHER_STEP else len(nodes) - 1
    node = nodes[number]
    node.hyperparameters = refined(node.hyperparameters, node.space, rng)
    return True


def _estimators(part: Any) -> Iterator[FixedEstimatorIndividual]:
    """Yield the estimators of an individual, the predictor last."""
    if isinstance(part, FixedEstimatorIndividual):
        yield part
    elif hasattr(part, "graph"):
        for node in (*(node for node in part.graph.nodes if node is not part.root), part.root):
            yield from _estimators(node)
    else:
        for inner in _parts(part):
            yield from _estimators(inner)


def _parts(part: Any) -> list[Any]:
    """Return the parts of a composite of TPOT, in order; nothing for a leaf."""
    if hasattr(part, "pipeline"):
        return list(part.pipeline)
    if hasattr(part, "union_dict"):
        return list(part.union_dict.values())
    return [part.node] if hasattr(part, "node") else []
