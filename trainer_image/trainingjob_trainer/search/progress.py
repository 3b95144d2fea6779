"""How far a search has come, and when it must end."""

from dataclasses import dataclass

__all__ = ["FitEstimate", "SearchProgress", "final_reserve"]

_SAFETY = 1.5
_OVERHEAD_SECONDS = 1.5
_MAX_SHARE = 0.4
_GROWTH = 1.3


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
    """What a fit on all rows is expected to take.

    Parameters
    ----------
    encode_seconds
        Seconds of the encoder on all rows.
    all_rows, fold_rows
        Rows of the table and training rows of a fold.
    """

    encode_seconds: float
    all_rows: int
    fold_rows: int

    def seconds(self, fit_seconds: float) -> float:
        """Return the expected seconds of a full fit for a pipeline that took `fit_seconds` on a fold.

        Time is taken to grow with the number of rows to the power of 1.3: between the linear growth of trees
        and linear models and the quadratic one of kernel methods.
        """
        growth: float = max(1.0, self.all_rows / max(self.fold_rows, 1)) ** _GROWTH
        return self.encode_seconds + fit_seconds * growth


def final_reserve(full_fit_seconds: float, *, workers: int, budget_seconds: float) -> float:
    """Return the seconds to keep for fitting the model that ships, twice: without and with the hold-out rows.

    Parameters
    ----------
    full_fit_seconds
        Expected seconds of one fit on all rows.
    workers
        Workers that can fit at the same time.
    budget_seconds
        The whole budget, of which at most 40 % is kept back.
    """
    fits = full_fit_seconds * (1 if workers > 1 else 2)
    return min(_SAFETY * fits + _OVERHEAD_SECONDS, _MAX_SHARE * budget_seconds)
