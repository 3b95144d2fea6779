"""How many columns a step gives at the least and at the most.

A repair must know it before anything is fitted: a clustering of columns into ten fails on nine, and forty
bins on three hundred columns fill the memory. The bounds hold for every fold, whatever its data.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

from trainingjob_trainer.search_space.context import SpaceContext

__all__ = ["MAX_CELLS", "MAX_COLUMNS", "Width"]

MAX_COLUMNS: Final = 500
"""The widest table that a step may make."""

MAX_CELLS: Final = 20_000_000
"""The most values (rows times columns) that a step may make: 160 MB as float64."""


@dataclass(frozen=True)
class Width:
    """Bounds of a number of columns.

    Parameters
    ----------
    least
        There are at least so many columns, and at least one.
    most
        There are at most so many columns.
    """

    least: int
    most: int

    @classmethod
    def of_table(cls, context: SpaceContext) -> Self:
        """Return the bounds of the encoded table; a fold may lack rare categories.

        Parameters
        ----------
        context
            The problem.
        """
        n = max(1, context.n_features)
        return cls(max(1, math.floor(0.7 * n)), math.ceil(1.1 * n))

    @classmethod
    def exactly(cls, columns: int) -> Self:
        """Return the bounds of a known number of columns.

        Parameters
        ----------
        columns
            The number.
        """
        return cls(columns, columns)

    @classmethod
    def beside(cls, parts: Iterable["Width"]) -> Self:
        """Return the bounds of tables set side by side.

        Parameters
        ----------
        parts
            Their widths.
        """
        widths = list(parts)
        return cls(sum(w.least for w in widths), sum(w.most for w in widths))

    def grown(self, factor: int) -> "Width":
        """Return the bounds where each column becomes one to *factor* columns.

        Parameters
        ----------
        factor
            The most that one column becomes.
        """
        return Width(self.least, self.most * factor)

    def upto(self, columns: int) -> "Width":
        """Return the bounds where one to *columns* columns are made of these.

        Parameters
        ----------
        columns
            The most that are made.
        """
        return Width(1, max(1, min(self.most, columns)))

    def room(self, context: SpaceContext) -> int:
        """Return how many columns one column may become within the limits.

        Parameters
        ----------
        context
            The problem.
        """
        allowed = min(MAX_COLUMNS, MAX_CELLS // max(1, context.n_rows))
        return max(1, allowed // self.most)
