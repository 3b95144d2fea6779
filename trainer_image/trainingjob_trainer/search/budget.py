"""The run's clock, what the final fits take, and so when a search must end."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

__all__ = ["FinalFits", "FitEstimate", "RunClock", "SearchProgress", "overrun_allowance"]

_ALLOWANCE_SHARE = 0.05
_ALLOWANCE_SECONDS = 5.0


def overrun_allowance(budget_seconds: float) -> float:
    """Return the seconds that a run may take beyond its budget: 5 % of it, at least 5 s."""
    return max(_ALLOWANCE_SHARE * budget_seconds, _ALLOWANCE_SECONDS)


class RunClock:
    """Seconds of the budget that are used and left.

    The clock stands until `start` is called, so that imports, downloads and the start of workers are
    not charged to the search. What earlier attempts used is given as `used_before`.

    Parameters
    ----------
    budget_seconds
        ``timeLeftSeconds`` of the job.
    used_before
        Seconds that earlier attempts of the same run used.
    now
        A monotonic clock, in seconds.
    """

    def __init__(
        self, budget_seconds: float, *, used_before: float = 0.0, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.budget_seconds = budget_seconds
        self.used_before = used_before
        self._now = now
        self._started: float | None = None
        self._stopped: float | None = None
        self._paused_since: float | None = None
        self._waited = 0.0

    def start(self) -> None:
        """Start the clock; calling it again changes nothing."""
        if self._started is None:
            self._started = self._now()

    def stop(self) -> None:
        """Stop the clock for good: what comes after, such as drawing the report, is not charged."""
        if self._stopped is None:
            self._stopped = self._now()

    def leave(self, seconds: float) -> None:
        """Give back what earlier attempts used until `seconds` are left, at most the whole budget."""
        short = min(seconds, self.budget_seconds) - (self.budget_seconds - self.elapsed)
        self.used_before -= max(0.0, short)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let the clock stand while the run waits for something that is not its own work."""
        self._paused_since = self._now()
        try:
            yield
        finally:
            self._waited += self._now() - self._paused_since
            self._paused_since = None

    @property
    def running(self) -> bool:
        """Whether the clock has been started and not stopped."""
        return self._started is not None and self._stopped is None

    @property
    def elapsed(self) -> float:
        """Seconds used so far, those of earlier attempts included."""
        if self._started is None:
            return self.used_before
        until = self._now() if self._stopped is None else self._stopped
        if self._paused_since is not None:
            until = self._paused_since
        return self.used_before + until - self._started - self._waited

    @property
    def remaining(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.budget_seconds - self.elapsed)


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
