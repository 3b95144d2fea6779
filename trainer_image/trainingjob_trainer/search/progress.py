"""How far a search has come, and when it must end."""

from dataclasses import dataclass

__all__ = ["FinalFits", "FitEstimate", "SearchProgress"]

_GROWTH = 1.3
_LEAST_GROWTH = 0.4
_SAFETY = 1.5
_MEASURED_SAFETY = 1.2
_OVERHEAD_SECONDS = 1.5
_MAX_SHARE = 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchProgress:
    """A count of what has been evaluated.

    Parameters
    ----------
    generation
        Whole generations that are committed.
    evaluated, failed, timed_out
        Finished evaluations, and how many of them were invalid or killed, or too slow.
    best_score
        Of the best finished evaluation.
    elapsed_seconds, remaining_seconds
        Of the run's clock.
    """

    generation: int
    evaluated: int
    failed: int
    timed_out: int
    best_score: float | None
    elapsed_seconds: float
    remaining_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FitEstimate:
    """What a fit on all rows is expected to take, from fits that have been made.

    Parameters
    ----------
    encode_seconds
        Seconds that the baseline's fit on all rows took, from the raw table to the dumped model: the encoder
        has most of them.
    all_rows, fold_rows
        Rows of the table and training rows of a fold.
    """

    encode_seconds: float
    all_rows: int
    fold_rows: int

    @property
    def ratio(self) -> float:
        """How many times more rows than on a fold are learned from."""
        return max(1.0, self.all_rows / max(self.fold_rows, 1))

    def seconds(self, fold_seconds: float) -> float:
        """Return the expected seconds of a full fit for a pipeline that took `fold_seconds` on a fold.

        Time is taken to grow with the number of rows to the power of 1.3: between the linear growth of trees
        and linear models and the quadratic one of kernel methods.
        """
        return self.encode_seconds + fold_seconds * float(self.ratio**_GROWTH)

    def least_seconds(self, fold_seconds: float) -> float:
        """Return the seconds if time grows slowly, with the number of rows to the power of 0.4.

        From 8,000 to 100,000 rows the time of boosted trees grew with a power of 0.38 (xgboost) to 0.63
        (scikit-learn).
        """
        return self.encode_seconds + fold_seconds * float(self.ratio**_LEAST_GROWTH)


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalFits:
    """What it takes to fit the model that ships: on all rows, and without the hold-out rows.

    Parameters
    ----------
    estimate
        Of one fit.
    workers
        Workers that can fit at the same time.
    budget_seconds
        The whole budget.
    """

    estimate: FitEstimate
    workers: int
    budget_seconds: float

    @property
    def rounds(self) -> int:
        """How many fits are made one after the other."""
        return 1 if self.workers > 1 else 2

    def least(self, fold_seconds: float) -> float:
        """Return the seconds below which both fits are hardly to be had."""
        return self.rounds * self.estimate.least_seconds(fold_seconds)

    def expected(self, fold_seconds: float) -> float:
        """Return the expected seconds of both fits."""
        return self.rounds * self.estimate.seconds(fold_seconds)

    def reserve(self, fold_seconds: float) -> float:
        """Return the seconds to keep: a fifth more than was measured, and half more than is expected beyond.

        That is at most 40 % of the budget, since the growth is a guess, but never less than both fits take.
        """
        measured, expected = self.expected(0.0), self.expected(fold_seconds)
        kept = _MEASURED_SAFETY * measured + _SAFETY * (expected - measured)
        kept = min(kept, _MAX_SHARE * self.budget_seconds)
        return max(kept, self.least(fold_seconds)) + _OVERHEAD_SECONDS

    def useful_evaluation(self, remaining_seconds: float, folds: int) -> float:
        """Return the seconds after which an evaluation is too slow for its pipeline to be fitted in time."""
        free = remaining_seconds - self.least(0.0) - _OVERHEAD_SECONDS
        growth = float(self.estimate.ratio**_LEAST_GROWTH)
        return max(0.0, free) * folds / (folds + self.rounds * growth)
