"""Which pipeline is evaluated next: TPOT's individuals in a steady state with a fixed lag.

Stock TPOT waits for a whole generation before it breeds the next one, and workers are idle meanwhile.
Here pipeline *i* is bred as soon as the results of the first *i* - lag pipelines are known, from these alone
and from the seed. So the sequence depends neither on the number of workers nor on their speed, and a resumed
run breeds the same sequence again. Breeding begins as soon as the portfolio is proposed.

How often each operator and each model family is chosen depends on what it has gained so far. A child gains if
it is better than its first parent, or for a new pipeline, than the parent that was drawn beside it. Shares
are the means of Beta posteriors, so an arm that has never gained keeps a part of its share (probability
matching; Goldberg, "Probability matching, the magnitude of reinforcement, and classifier system bidding",
1990).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray
from tpot.selectors import tournament_selection

from trainingjob_trainer.search.candidate import Candidate, rank
from trainingjob_trainer.search_space.context import Untranslatable
from trainingjob_trainer.search_space.individual import Operator
from trainingjob_trainer.search_space.pipeline import estimator_of, fingerprint

_ATTEMPTS = 60
_TOURNAMENT = 3
_LAG = 8
_FIRST_LAG = 4
_LAG_A_WORKER = 12
_WORKERS_FOR_FREE = 2
_LEAST_PARENTS = 6
_KNOWN_A_PARENT = 3
_FAMILY_SHARE = 1 / 3
_NEXT_FAMILY = 0.7
"""Factor on the prior share of a family for each family with a better parent."""
_OPERATORS: Final = {
    Operator.REFINE: 0.4,
    Operator.MUTATE: 0.2,
    Operator.CROSS: 0.2,
    Operator.NEW: 0.1,
    Operator.ENCODE: 0.1,
}
"""The shares of the operators before any has been tried."""
_GAINS: Final = 1.0
_TRIALS: Final = 4.0
"""Gains and trials that each arm has before its first trial."""
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

    Eight, or half of a smaller population, which keeps two workers busy (`race_lag`), and twelve for
    each further worker: where evaluation times are log-normal with sigma 1, fifteen times the mean is not
    rare, and the other workers must have something to do that long. A longer lag costs quality
    (``docs/design/0005-distributed-search.md``).

    `workers` are those that the job asks for, however many there are: otherwise the sequence would depend on
    the cluster.
    """
    return max(1, min(_LAG, population_size // 2), _LAG_A_WORKER * (workers - _WORKERS_FOR_FREE))


def race_lag(number: int, *, population_size: int, workers: int) -> int:
    """Return how many results behind a pipeline its race looks.

    With two workers and log-normal times of sigma 1, a lag of eight leaves 3 % of their time idle, of six 6 %
    and of four 12 %. The first population has four: its pipelines differ the most in time and score, so that
    there the race saves more than that. Each further worker that the job asks for adds twelve, as in
    `lag_for`.
    """
    lag = _FIRST_LAG if number < population_size else _LAG
    return max(lag, _LAG_A_WORKER * (workers - _WORKERS_FOR_FREE))


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
        """Number of proposed pipelines."""
        return len(self._proposals)

    @property
    def committed(self) -> int:
        """Number of committed results."""
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
        """Return the parents from which pipeline `number` may be bred, or None."""
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
            family_shares=shares(prior, ((family, gained) for _, family, gained in trials)),
            operator_shares=shares(
                {operator.value: share for operator, share in self._operators.items()},
                ((operator, gained) for operator, _, gained in trials),
            ),
        )

    def _trials(self, known: Sequence[Candidate], families: Mapping[int, str]) -> list[tuple[str, str, bool]]:
        """Return each known child's operator, the family of its first parent, and whether it gained."""
        trials = []
        for candidate, proposal in zip(known, self._proposals, strict=False):
            if proposal.operator is None or proposal.rival is None:
                continue
            better = rank([candidate]) and (candidate.score or 0.0) > (known[proposal.rival].score or 0.0)
            trials.append((proposal.operator.value, families[proposal.rival], bool(better)))
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


def shares(prior: Mapping[str, float], trials: Iterable[tuple[str, bool]]) -> NDArray[np.float64]:
    """Return the share of each arm of `prior`, in its order; their sum is 1."""
    tried: Counter[str] = Counter()
    gained: Counter[str] = Counter()
    for arm, success in trials:
        tried[arm] += 1
        gained[arm] += success
    values = np.array(
        [weight * (_GAINS + gained[arm]) / (_TRIALS + tried[arm]) for arm, weight in prior.items()]
    )
    return np.asarray(values / values.sum(), dtype=np.float64)


def diverse(
    ranked: Sequence[Candidate], families: Mapping[int, str], *, most: int, share: float
) -> list[Candidate]:
    """Return the best of some results as parents, best first.

    A family has at most a `share` of the places, or two, unless the others cannot fill the rest. Results of a
    family with the same fold scores behave alike and count once.

    Parameters
    ----------
    families
        By the number of the candidate.
    """
    allowed = max(2, round(share * most))
    taken: Counter[str] = Counter()
    behaviours: set[tuple[str, tuple[float, ...]]] = set()
    kept: list[Candidate] = []
    spare: list[Candidate] = []
    for candidate in ranked:
        family = families[candidate.number]
        if candidate.fold_scores:
            behaviour = (family, candidate.fold_scores)
            if behaviour in behaviours:
                continue
            behaviours.add(behaviour)
        if taken[family] < allowed:
            taken[family] += 1
            kept.append(candidate)
        else:
            spare.append(candidate)
        if len(kept) == most:
            return kept
    place = {candidate.number: place for place, candidate in enumerate(ranked)}
    return sorted([*kept, *spare[: most - len(kept)]], key=lambda candidate: place[candidate.number])
