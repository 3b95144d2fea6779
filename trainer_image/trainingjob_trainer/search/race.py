"""The race: which pipelines are stopped between folds, since they can no longer reach the front of the field.

The rivals of a pipeline are complete evaluations that were committed at least a lag before it. So they depend
on the sequence alone, and neither on the number of workers nor on their speed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, combinations
from typing import Self

import numpy as np

from trainingjob_trainer.search.candidate import Candidate, rank

__all__ = ["Race", "Rival", "race_lag"]

_LAG = 8
_FIRST_LAG = 4
_LAG_A_WORKER = 12
_WORKERS_FOR_FREE = 2
_AHEAD = 3
"""Complete pipelines that must be ahead of a stopped one."""
_ERRORS = 2.0
"""Standard errors that they must be ahead."""
_FIELD = 10
"""Best pipelines whose folds say how much paired differences vary."""


def race_lag(number: int, *, population_size: int, workers: int) -> int:
    """Return how many results behind a pipeline its race looks.

    With two workers and log-normal times of sigma 1, a lag of eight leaves 3 % of their time idle, of six 6 %
    and of four 12 %. The first population has four: its pipelines differ the most in time and score, so that
    there the race saves more than that. Each further worker that the job asks for adds twelve, as in
    `evolution.lag_for`.
    """
    lag = _FIRST_LAG if number < population_size else _LAG
    return max(lag, _LAG_A_WORKER * (workers - _WORKERS_FOR_FREE))


@dataclass(frozen=True, slots=True)
class Rival:
    """A complete pipeline: its complexity in KiB, and the mean of its first one, two, … fold scores."""

    complexity: float
    means: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Race:
    """What a pipeline must keep up with.

    Parameters
    ----------
    rivals
        Best first.
    slack
        By the number of folds that are scored: how far behind a pipeline may be.
    """

    rivals: tuple[Rival, ...]
    slack: tuple[float, ...]

    @classmethod
    def against(cls, committed: Sequence[Candidate], folds: int) -> Self | None:
        """Return the race against the complete ones of some results; None where these are too few.

        With *n* of *N* folds scored, the difference to a rival over all folds is estimated by that over the
        first *n*. Its standard error is ``s * sqrt(1 / n - 1 / N)``, as of a sample without replacement
        (Cochran, *Sampling Techniques*, 1977, section 2.6), where *s* is how much the differences between two
        of the best pipelines vary from fold to fold.
        """
        complete = [candidate for candidate in rank(committed) if len(candidate.fold_scores) == folds]
        if len(complete) < _AHEAD or folds < 2:  # noqa: PLR2004
            return None
        field = np.array([candidate.fold_scores for candidate in complete[:_FIELD]])
        pairs = [float(np.var(a - b, ddof=1)) for a, b in combinations(field, 2)]
        spread = math.sqrt(sum(pairs) / len(pairs))
        return cls(
            rivals=tuple(_rival(candidate) for candidate in _possible(complete)),
            slack=tuple(_ERRORS * spread * math.sqrt(1 / n - 1 / folds) for n in range(1, folds)),
        )

    def lost(self, scores: Sequence[float], complexity: float | None) -> bool:
        """Return whether a pipeline with these scores of its first folds can no longer reach the front.

        At least three complete pipelines that are no larger are ahead of it by more than the folds vary. One
        of unknown complexity is compared with all.
        """
        done = len(scores)
        if not 0 < done <= len(self.slack):
            return False
        least = sum(scores) / done + self.slack[done - 1]
        size = math.inf if complexity is None else complexity
        ahead = sum(rival.complexity <= size and rival.means[done - 1] > least for rival in self.rivals)
        return ahead >= _AHEAD


def _rival(candidate: Candidate) -> Rival:
    means = tuple(total / n for n, total in enumerate(accumulate(candidate.fold_scores), start=1))
    return Rival(_size(candidate), means)


def _size(candidate: Candidate) -> float:
    return math.inf if candidate.complexity is None else candidate.complexity


def _possible(complete: Sequence[Candidate]) -> list[Candidate]:
    """Return those that fewer than three better and smaller ones precede; the others decide little."""
    kept: list[Candidate] = []
    for candidate in complete:
        if sum(_size(other) <= _size(candidate) for other in kept) < _AHEAD:
            kept.append(candidate)
    return kept
