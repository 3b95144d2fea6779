"""A compiled search space: where individuals come from."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from trainingjob_api.resolve import ResolvedSearchSpace
from trainingjob_trainer.search_space.context import SpaceContext
from trainingjob_trainer.search_space.presets import TEMPLATES, preset_space
from trainingjob_trainer.search_space.tree import compile_tree, has_feature_sets, read_tree

__all__ = ["Space", "compile_space"]


@dataclass(frozen=True)
class Space:
    """A search space ready for use.

    Parameters
    ----------
    root
        TPOT's search space, mended.
    uses_feature_sets
        Whether pipelines choose raw columns, so that the encoder must name its columns.
    template
        ``linear`` or ``graph`` where it has the shape of TPOT's templates of that name.
    """

    root: Any
    uses_feature_sets: bool
    template: str | None = None

    def generate(self, rng: np.random.Generator) -> Any:
        """Return a new individual.

        Parameters
        ----------
        rng
            The only source of chance: equal states give equal individuals in every process.
        """
        return self.root.generate(rng)


def compile_space(search_space: ResolvedSearchSpace, context: SpaceContext) -> Space:
    """Return the search space that a job asks for.

    Parameters
    ----------
    search_space
        A preset's name or a tree.
    context
        The problem.

    Raises
    ------
    SpecInvalid
        A name, hyperparameter or column is unknown, or a step does not fit its place.
    """
    if search_space.tree is None:
        name = search_space.preset or "linear"
        shape = name.partition("-")[0] if name in TEMPLATES else None
        return Space(preset_space(name, context), uses_feature_sets=False, template=shape)
    node = read_tree(search_space.tree, search_space.source)
    root = compile_tree(node, context, search_space.source)
    return Space(root, uses_feature_sets=has_feature_sets(node))
