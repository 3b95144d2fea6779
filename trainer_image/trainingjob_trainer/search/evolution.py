"""Which pipeline is evaluated next: TPOT's individuals in a steady state with a fixed lag.

Stock TPOT waits for a whole generation before it breeds the next one, and workers stand idle meanwhile.
Here pipeline *i* is bred as soon as the results of the first *i* - lag pipelines are known, from these alone
and from the seed. So the sequence depends neither on the number of workers nor on their speed, and a resumed
run breeds the same sequence again. Breeding begins as soon as the portfolio is proposed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray
from tpot.selectors import tournament_selection

from trainingjob_trainer.search.candidate import Candidate, rank
from trainingjob_trainer.search.shares import Trial, diverse, shares
from trainingjob_trainer.search_space.context import Untranslatable
from trainingjob_trainer.search_space.individual import Operator
from trainingjob_trainer.search_space.pipeline import estimator_of, fingerprint

__all__ = ["Evolution", "Proposal", "SpaceLike", "lag_for"]

_ATTEMPTS = 60
_TOURNAMENT = 3
_LAG = 8
_LAG_A_WORKER = 12
_WORKERS_FOR_FREE = 2
_LEAST_PARENTS = 6
_KNOWN_A_PARENT = 3
_FAMILY_SHARE = 1 / 3
_NEXT_FAMILY = 0.7
"""What a family is chosen less than the one whose best parent is better."""
_OPERATORS: Final = {
    Operator.REFINE: 0.4,
    Operator.MUTATE: 0.2,
    Operator.CROSS: 0.2,
    Operator.NEW: 0.1,
    Operator.ENCODE: 0.1,
}
"""The shares of the operators before any has been tried."""
SPACE_ORIGIN = "space"


class SpaceLike(Protocol):
    """A search space as the evolution sees it."""

    def generate(self, rng: np.random.Generator) -> Any:
        """Return a new random individual."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A pipeline to be evaluated, with the TPOT individual that it was translated from.

    `number`, `key`, `origin` and `pipeline` are those of a `Candidate`. `operator` made it, and `rival` is
    the number of its first parent, or of the parent that a new pipeline is compared with; both are None in
    the portfolio.
    """

    number: int
    key: str
    origin: str
    individual: Any
    pipeline: dict[str, Any]
    operator: Operator | None = None
    rival: int | None = None

    @property
    def family(self) -> str:
        """Return the name of its final estimator, the same for both tasks."""
        return estimator_of(self.pipeline).removesuffix("Classifier").removesuffix("Regressor")


def lag_for(population_size: int, *, workers: int) -> int:
    """Return how many results behind the sequence breeding looks.

    Eight, or half of a smaller population, which keeps two workers busy (`race.race_lag`), and twelve for
    each further worker: where evaluation times are log-normal with sigma 1, fifteen times the mean is not
    rare, and the other workers must have something to do that long. A longer lag costs quality
    (``docs/design/0005-distributed-search.md``).

    `workers` are those that the job asks for, however many there are: otherwise the sequence would depend on
    the cluster.
    """
    return max(1, min(_LAG, population_size // 2), _LAG_A_WORKER * (workers - _WORKERS_FOR_FREE))


class Evolution:
    """A deterministic sequence of pipelines.

    Parameters
    ----------
    space
        Where new individuals come from.
    seeds
        Pairs of origin and individual for the first places.
    population_size
        The most parents, and the most seeds. Breeding begins behind the seeds, or after twice the lag where
        these are few.
    breed
        ``breed(parents, rng, operator)`` returns a new individual and leaves its arguments alone.
    translate
        Turns an individual into a pipeline as data, or raises `Untranslatable`.
    operators
        Those that can change something.
    lag
        How many results behind the sequence breeding looks; by default that of `lag_for`.

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
        breed: Callable[[list[Any], np.random.Generator, Operator], Any],
        translate: Callable[[Any], dict[str, Any]],
        operators: Sequence[Operator] = (Operator.REFINE, Operator.MUTATE, Operator.CROSS, Operator.NEW),
        lag: int | None = None,
    ) -> None:
        self._space = space
        self._seeds = list(seeds)[:population_size]
        self._population_size = population_size
        self._random_state = random_state
        self._breed = breed
        self._translate = translate
        self._operators = {operator: _OPERATORS[operator] for operator in operators}
        self.lag = lag_for(population_size, workers=0) if lag is None else lag
        self._unbred = min(population_size, max(len(self._seeds), 2 * self.lag))
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
        return self.proposed < self._unbred or self.proposed - self.committed <= self.lag

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
        breeding = self._breeding(number)
        for attempt in range(_ATTEMPTS):
            made = self._made(number, attempt, breeding, rng)
            try:
                pipeline = self._translate(made.individual)
            except Untranslatable:
                continue
            key = fingerprint(pipeline)
            if key in self._keys:
                continue
            proposal = replace(made, key=key, pipeline=pipeline)
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

    def _breeding(self, number: int) -> "_Breeding | None":
        """Return what pipeline `number` may be bred from, or None if that is nothing."""
        if number < self._unbred:
            return None
        # With a lag beyond the portfolio, the first pipelines after it may look at no result.
        known = self._history[: max(0, number - self.lag)]
        most = min(self._population_size, max(_LEAST_PARENTS, len(known) // _KNOWN_A_PARENT))
        families = {proposal.number: proposal.family for proposal in self._proposals[: len(known)]}
        parents = diverse(rank(known), families, most=most, share=_FAMILY_SHARE)
        if not parents:
            return None
        by_family: dict[str, list[Candidate]] = {}
        for parent in parents:
            by_family.setdefault(families[parent.number], []).append(parent)
        trials = self._trials(known, families)
        prior = {family: _NEXT_FAMILY**place for place, family in enumerate(by_family)}
        return _Breeding(
            parents=parents,
            families=list(by_family.values()),
            family_shares=shares(prior, ((trial.family, trial.gained) for trial in trials)),
            operator_shares=shares(
                {operator.value: share for operator, share in self._operators.items()},
                ((trial.operator, trial.gained) for trial in trials),
            ),
        )

    def _trials(self, known: Sequence[Candidate], families: Mapping[int, str]) -> list[Trial]:
        """Return what became of each child among the results that are known."""
        trials = []
        for candidate, proposal in zip(known, self._proposals, strict=False):
            if proposal.operator is None or proposal.rival is None:
                continue
            better = rank([candidate]) and (candidate.score or 0.0) > (known[proposal.rival].score or 0.0)
            trials.append(Trial(proposal.operator.value, families[proposal.rival], bool(better)))
        return trials

    def _made(
        self, number: int, attempt: int, breeding: "_Breeding | None", rng: np.random.Generator
    ) -> Proposal:
        """Return a proposal whose pipeline is not translated yet."""
        made = Proposal(number=number, key="", origin=SPACE_ORIGIN, individual=None, pipeline={})
        if attempt == 0 and number < len(self._seeds):
            origin, individual = self._seeds[number]
            return replace(made, origin=origin, individual=individual)
        if breeding is None:
            return replace(made, individual=self._space.generate(rng))
        operator, chosen = breeding.draw(list(self._operators), rng)
        made = replace(made, operator=operator, rival=chosen[0].number)
        if operator is Operator.NEW:
            return replace(made, individual=self._space.generate(rng))
        child = self._breed([self._proposals[c.number].individual for c in chosen], rng, operator)
        return replace(made, origin=chosen[0].origin, individual=child)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Breeding:
    """The parents that a pipeline may have, best first, and the shares of families and operators."""

    parents: list[Candidate]
    families: list[list[Candidate]]
    family_shares: NDArray[np.float64]
    operator_shares: NDArray[np.float64]

    def draw(
        self, operators: Sequence[Operator], rng: np.random.Generator
    ) -> tuple[Operator, list[Candidate]]:
        """Return an operator and one parent, or two to be crossed."""
        operator = operators[rng.choice(len(operators), p=self.operator_shares)]
        first = _tournament(self.families[rng.choice(len(self.families), p=self.family_shares)], rng)
        others = [parent for parent in self.parents if parent is not first]
        if operator is not Operator.CROSS or not others:
            return operator, [first]
        return operator, [first, _tournament(others, rng)]


def _tournament(parents: list[Candidate], rng: np.random.Generator) -> Candidate:
    scores = np.array([[parent.score] for parent in parents])
    picked = tournament_selection(
        scores, k=1, n_parents=1, rng=rng, tournament_size=min(_TOURNAMENT, len(parents))
    )
    return parents[int(np.asarray(picked).ravel()[0])]
