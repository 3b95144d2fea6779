"""A compiled search space and its individuals: new ones, and the seeds of the first population."""

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np

from trainingjob_api.resolved import ResolvedSearchSpace
from trainingjob_trainer.encodings import Encoding
from trainingjob_trainer.search_space.context import SpaceContext
from trainingjob_trainer.search_space.individual import Individual, drawn
from trainingjob_trainer.search_space.portfolio import PortfolioEntry, Step, portfolio
from trainingjob_trainer.search_space.presets import TEMPLATES, named_space, preset_space
from trainingjob_trainer.search_space.tpot_fixes.spaces import (
    FixedDynamicUnion,
    FixedGraph,
    FixedGraphIndividual,
    FixedSequential,
)
from trainingjob_trainer.search_space.tree import compile_tree

__all__ = ["Seed", "Space", "compile_space", "seeds"]

_FIXED: Final = 0  # what is drawn while a seed is made is overwritten
_OF_ANY_SPACE: Final = ("linear", "hist_gradient_boosting", "lightgbm", "extra_trees")
"""Entries of the portfolio that come first in a search space of the user's own."""


@dataclass(frozen=True)
class Space:
    """A search space ready for use.

    Parameters
    ----------
    root
        TPOT's search space, fixed.
    uses_feature_sets
        Whether pipelines choose raw columns, so that the encoder must name its columns.
    template
        ``linear`` or ``graph`` where it has the shape of TPOT's templates of that name.
    encodings
        Those of the table.
    """

    root: Any
    uses_feature_sets: bool
    template: str | None = None
    encodings: tuple[Encoding, ...] = (Encoding.DENSE,)

    def generate(self, rng: np.random.Generator) -> Individual:
        """Return a new individual; equal states of `rng` give equal individuals in every process."""
        return Individual(self.root.generate(rng), drawn(self.encodings, rng), self.encodings)


def compile_space(search_space: ResolvedSearchSpace, context: SpaceContext) -> Space:
    """Return the search space that a job asks for.

    Raises
    ------
    SpecInvalid
        A name, hyperparameter or column is unknown, or a step does not fit its place.
    """
    encodings = tuple(map(Encoding, context.encodings))
    if search_space.tree is None:
        name = search_space.preset or "linear"
        shape = name.partition("-")[0] if name in TEMPLATES else None
        return Space(
            preset_space(name, context), uses_feature_sets=False, template=shape, encodings=encodings
        )
    root, uses_feature_sets = compile_tree(search_space.tree, context, search_space.source)
    return Space(root, uses_feature_sets=uses_feature_sets, encodings=encodings)


class Seed(NamedTuple):
    """An individual of the first population, and where it comes from, such as ``linear``."""

    origin: str
    individual: Individual


def seeds(context: SpaceContext, space: Space | None = None) -> list[Seed]:
    """Return the portfolio as individuals, the legacy linear model first.

    They take the shape of `space` where it is that of a template, so that they can be crossed with its
    individuals. A search space of the user's own begins with four of them.
    """
    entries = portfolio(context)
    if space is None or space.template is None:
        chosen = {entry.origin: entry for entry in entries}
        entries = [chosen[origin] for origin in _OF_ANY_SPACE]
    encodings = tuple(map(Encoding, context.encodings))
    return [
        Seed(entry.origin, Individual(_shaped(entry, context, space), entry.encoding(context), encodings))
        for entry in entries
    ]


def _estimator(step: Step | None, context: SpaceContext, *, predicts: bool = False) -> Any:
    name, hyperparameters = ("Passthrough", {}) if step is None else (step.name, step.hyperparameters)
    made = named_space([name], context, predicts=predicts).generate(_FIXED)
    if hyperparameters:
        made.hyperparameters = dict(hyperparameters)
    return made


def _shaped(entry: PortfolioEntry, context: SpaceContext, space: Space | None) -> Any:
    predictor = _estimator(entry.predictor, context, predicts=True)
    if space is not None and space.template == "graph":
        return _graph(space.root, entry, predictor, context)
    root = space.root if space is not None and space.template == "linear" else preset_space("linear", context)
    return _linear(root, entry, predictor, context)


def _linear(root: FixedSequential, entry: PortfolioEntry, predictor: Any, context: SpaceContext) -> Any:
    """Fill TPOT's four steps: scaler, selector, transformers beside the columns, predictor."""
    made = root.generate(_FIXED)
    scale, select, transform, predict = made.pipeline
    scale.node, predict.node = _estimator(entry.scaler, context), predictor
    select.node = _estimator(None, context)
    if entry.expansion is None:
        transform.pipeline[0].node = _estimator(Step("SkipTransformer"), context)
    else:
        transformers = named_space(["transformers"], context, predicts=False)
        union = FixedDynamicUnion(transformers, max_estimators=1).generate(_FIXED)
        node = next(iter(union.union_dict.values()))
        node.node = _estimator(entry.expansion, context)
        union.union_dict = {node.unique_id(): node}
        transform.pipeline[0].node = union
    return made


def _graph(root: FixedGraph, entry: PortfolioEntry, predictor: Any, context: SpaceContext) -> Any:
    """Make the predictor the root and the scaler its child, with the expansion between them."""
    made = FixedGraphIndividual(
        root.root_search_space, root.leaf_search_space, root.inner_search_space, root.max_size, rng=_FIXED
    )
    made.root.node = predictor
    above = [made.root]
    for step in (entry.expansion, entry.scaler):
        if step is not None:
            child = root.inner_search_space.generate(_FIXED)
            child.node = _estimator(step, context)
            made.graph.add_edges_from((parent, child) for parent in above)
            above.append(child)
    return made
