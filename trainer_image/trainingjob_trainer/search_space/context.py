"""Size and kind of the problem, and how many columns reach a step."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

from trainingjob_trainer.encodings import Encoding


class Untranslatable(Exception):  # noqa: N818 - it is about the individual, not a fault
    """An individual has no plain scikit-learn equivalent within the limits."""


@dataclass(frozen=True, kw_only=True)
class SpaceContext:
    """Size and kind of the problem, fixed for a whole run."""

    task: str
    n_rows: int
    """Rows of the training part (all folds together)."""
    n_features: int
    """Columns of the encoded table; a fold may have somewhat fewer."""
    n_classes: int
    """0 for regression."""
    random_state: int
    columns: tuple[str, ...] = ()
    """Raw columns in the order of the encoder, for feature sets."""
    min_class_rows: int | None = None
    """Rows of the rarest class in the training part, where known."""
    encodings: tuple[str, ...] = (Encoding.DENSE.value,)
    """Those that the table has, the more important ones first."""
    encoded_columns: tuple[int, ...] = ()
    """Columns of the table in each of `encodings`; those of the first encoding where it is empty."""
    named: bool = False
    """Whether the encoded table is a frame, whose column names hold categories of the table."""

    def encoded(self, encoding: str) -> Self:
        """Return the same problem as a pipeline with an encoding of `encodings` sees it."""
        widths = dict(zip(self.encodings, self.encoded_columns, strict=False))
        return replace(self, n_features=widths.get(encoding, self.n_features))

    @property
    def classification(self) -> bool:
        """Whether classes are predicted."""
        return self.task == "classification"

    @property
    def least_fold_rows(self) -> int:
        """Minimum number of rows of a fit: half of all, as with two folds."""
        return max(2, self.n_rows // 2)

    @property
    def least_class_rows(self) -> int:
        """Rows of the rarest class that a fit sees at the least, guessed low where unknown."""
        known = self.min_class_rows
        if known is None:
            known = self.n_rows // (5 * max(1, self.n_classes))
        return max(2, known // 2)


_MAX_COLUMNS: Final = 500
"""The widest table that a step may make."""
_MAX_CELLS: Final = 20_000_000
"""The most values (rows times columns) that a step may make: 160 MB as float64."""


@dataclass(frozen=True)
class Width:
    """Bounds of a number of columns; there is at least one column."""

    least: int
    most: int

    @classmethod
    def of_table(cls, context: SpaceContext) -> Self:
        """Return the bounds of the encoded table; a fold may lack rare categories."""
        n = max(1, context.n_features)
        return cls(max(1, math.floor(0.7 * n)), math.ceil(1.1 * n))

    @classmethod
    def exactly(cls, columns: int) -> Self:
        """Return the bounds of a known number of columns."""
        return cls(columns, columns)

    @classmethod
    def beside(cls, widths: Sequence["Width"]) -> Self:
        """Return the bounds of tables set side by side."""
        return cls(sum(width.least for width in widths), sum(width.most for width in widths))

    def grown(self, factor: int) -> "Width":
        """Return the bounds where each column becomes one to *factor* columns."""
        return Width(self.least, self.most * factor)

    def room(self, context: SpaceContext) -> int:
        """Return how many columns one column may become within the limits."""
        allowed = min(_MAX_COLUMNS, _MAX_CELLS // max(1, context.n_rows))
        return max(1, allowed // self.most)
