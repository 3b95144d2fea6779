"""Which pipeline is evaluated next: TPOT's individuals in a steady state with a fixed lag.

Stock TPOT waits for a whole generation before it breeds the next one, and workers stand idle meanwhile.
Here pipeline *i* is bred as soon as the results of the first *i* - lag pipelines are known, from these alone
and from the seed. So the sequence depends neither on the number of workers nor on their speed, and a resumed
run breeds the same sequence again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from tpot.selectors import tournament_selection

from trainingjob_trainer.search.candidate import Candidate, rank
from trainingjob_trainer.search_space.context import Untranslatable
from trainingjob_trainer.search_space.pipeline import fingerprint

__all__ = ["Evolution", "Proposal", "SpaceLike", "lag_for"]

_ATTEMPTS = 60
_TOURNAMENT = 3
_LAG_A_WORKER = 12
_WORKERS_FOR_FREE = 2
_SHARE_NEW = 0.1
_SHARE_CROSSED = 0.35
SPACE_ORIGIN = "space"


class SpaceLike(Protocol):
    """A search space as the evolution sees it."""

    def generate(self, rng: np.random.Generator) -> Any:
        """Return a new random individual."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A pipeline to be evaluated, with the TPOT individual that it was translated from.

    `number`, `key`, `origin` and `pipeline` are those of a `Candidate`.
    """

    number: int
    key: str
    origin: str
    individual: Any
    pipeline: dict[str, Any]


def lag_for(population_size: int, *, workers: int) -> int:
    """Return how many results behind the sequence breeding looks.

    Half the population, which keeps two workers busy, or twelve for each further worker: where evaluation
    times are log-normal with sigma 1, fifteen times the mean is not rare, and the other workers must have
    something to do that long. A longer lag costs quality (``docs/design/0005-distributed-search.md``).

    `workers` are those that the job asks for, however many there are: otherwise the sequence would depend on
    the cluster.
    """
    return max(1, population_size // 2, _LAG_A_WORKER * (workers - _WORKERS_FOR_FREE))


class Evolution:
    """A deterministic sequence of pipelines.

    Parameters
    ----------
    space
        Where new individuals come from.
    seeds
        Pairs of origin and individual for the first places.
    population_size
        How many of the best are parents, and how many pipelines come before the first offspring.
    breed
        ``breed(parents, rng)`` returns a new individual and leaves its arguments alone.
    translate
        Turns an individual into a pipeline as data, or raises `Untranslatable`.
    lag
        How many results behind the sequence breeding looks; half the population by default.

    Attributes
    ----------
    exhausted_ : bool
        Whether no new pipeline could be found any more.
    """

    def __init__(
        self,
        space: SpaceLike,
        *,
        seeds: Sequence[tuple[str, Any]],
        population_size: int,
        random_state: int,
        breed: Callable[[list[Any], np.random.Generator], Any],
        translate: Callable[[Any], dict[str, Any]],
        lag: int | None = None,
    ) -> None:
        self._space = space
        self._seeds = list(seeds)[:population_size]
        self._population_size = population_size
        self._random_state = random_state
        self._breed = breed
        self._translate = translate
        self.lag = lag_for(population_size, workers=0) if lag is None else lag
        self.exhausted_ = False
        self._proposals: list[Proposal] = []
        self._keys: set[str] = set()
        self._history: list[Candidate] = []

    @property
    def proposed(self) -> int:
        """How many pipelines have been proposed."""
        return len(self._proposals)

    @property
    def committed(self) -> int:
        """How many results have been committed."""
        return len(self._history)

    def can_propose(self) -> bool:
        """Return whether enough results are known for the next pipeline."""
        if self.exhausted_:
            return False
        return self.proposed < self._population_size or self.proposed - self.committed <= self.lag

    def propose(self) -> Proposal | None:
        """Return the next pipeline, or None if no new one can be found.

        Raises
        ------
        RuntimeError
            If results are missing that it depends on.
        """
        if not self.can_propose():
            raise RuntimeError("the next pipeline depends on results that are not known yet")
        number = self.proposed
        rng = np.random.default_rng([self._random_state, number])
        parents = self._parents(number)
        for attempt in range(_ATTEMPTS):
            origin, individual = self._individual(number, attempt, parents, rng)
            try:
                pipeline = self._translate(individual)
            except Untranslatable:
                continue
            key = fingerprint(pipeline)
            if key in self._keys:
                continue
            proposal = Proposal(
                number=number, key=key, origin=origin, individual=individual, pipeline=pipeline
            )
            self._keys.add(key)
            self._proposals.append(proposal)
            return proposal
        self.exhausted_ = True
        return None

    def commit(self, candidate: Candidate) -> None:
        """Take the result of the pipeline that is next in the order of submission.

        Raises
        ------
        ValueError
            If it is another one's.
        """
        if candidate.number != self.committed:
            raise ValueError(f"result {candidate.number} came where {self.committed} was due")
        self._history.append(candidate)

    def _parents(self, number: int) -> list[Candidate]:
        """Return the best of the results that pipeline `number` may look at, best first."""
        if number < self._population_size:
            return []
        # With a lag beyond the population, the first pipelines after it may look at no result.
        return rank(self._history[: max(0, number - self.lag)])[: self._population_size]

    def _individual(
        self, number: int, attempt: int, parents: list[Candidate], rng: np.random.Generator
    ) -> tuple[str, Any]:
        if attempt == 0 and number < len(self._seeds):
            return self._seeds[number]
        if not parents or rng.random() < _SHARE_NEW:
            return SPACE_ORIGIN, self._space.generate(rng)
        count = 2 if len(parents) > 1 and rng.random() < _SHARE_CROSSED else 1
        scores = np.array([[c.score] for c in parents])
        picked = tournament_selection(
            scores, k=1, n_parents=count, rng=rng, tournament_size=min(_TOURNAMENT, len(parents))
        )
        chosen = [parents[int(index)] for index in np.asarray(picked).ravel()]
        child = self._breed([self._proposals[c.number].individual for c in chosen], rng)
        return chosen[0].origin, child
