"""What a search space has to know of the table and the task."""

from dataclasses import dataclass

__all__ = ["SpaceContext", "Untranslatable"]


class Untranslatable(Exception):  # noqa: N818 - it tells of the individual, not of a fault
    """An individual has no plain scikit-learn equivalent within the limits."""


@dataclass(frozen=True, kw_only=True)
class SpaceContext:
    """Size and kind of the problem, fixed for a whole run.

    Parameters
    ----------
    task
        ``classification`` or ``regression``.
    n_rows
        Rows of the training part (all folds together).
    n_features
        Columns of the encoded table; a fold may have somewhat fewer.
    n_classes
        Number of classes; 0 for regression.
    random_state
        Given to every estimator that takes one.
    columns
        Raw columns in the order of the encoder, for feature sets.
    min_class_rows
        Rows of the rarest class in the training part, where known. It bounds what needs more rows in
        each class than columns (quadratic discriminant analysis).
    """

    task: str
    n_rows: int
    n_features: int
    n_classes: int
    random_state: int
    columns: tuple[str, ...] = ()
    min_class_rows: int | None = None

    @property
    def classification(self) -> bool:
        """Whether classes are predicted."""
        return self.task == "classification"

    @property
    def least_fold_rows(self) -> int:
        """Rows that a fit sees at the least: half of them, as with two folds."""
        return max(2, self.n_rows // 2)

    @property
    def least_class_rows(self) -> int:
        """Rows of the rarest class that a fit sees at the least, guessed low where unknown."""
        known = self.min_class_rows
        if known is None:
            known = self.n_rows // (5 * max(1, self.n_classes))
        return max(2, known // 2)
