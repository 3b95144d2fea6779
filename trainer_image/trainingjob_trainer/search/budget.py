"""The run's clock and the limits of a search.

The process that watches a run reads them, too, so nothing here imports an estimator.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

__all__ = [
    "RunClock",
    "SearchBudget",
    "SearchProgress",
    "overrun_allowance",
]

_ALLOWANCE_SHARE = 0.05
_ALLOWANCE_SECONDS = 5.0


def overrun_allowance(budget_seconds: float) -> float:
    """Return the seconds that a run may take beyond its budget: 5 % of it, at least 5 s."""
    return max(_ALLOWANCE_SHARE * budget_seconds, _ALLOWANCE_SECONDS)


class RunClock:
    """Seconds of the budget that are used and left.

    The clock stands until `start` is called, so that imports, downloads and the start of workers are
    not charged to the search.

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
        """Pause the clock while the run waits for something that is not its own work."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchBudget:
    """Limits of a search: evaluations per generation, generations, and seconds of one evaluation."""

    generations: int
    population_size: int
    per_run_limit_seconds: float

    @property
    def evaluations(self) -> int:
        """Evaluations in all."""
        return self.generations * self.population_size


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchProgress:
    """How far a search has come.

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
