from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from trainingjob_trainer.search.candidate import Candidate, Outcome
from trainingjob_trainer.search.evolution import Evolution, Proposal, diverse, lag_for
from trainingjob_trainer.search_space.context import Untranslatable
from trainingjob_trainer.search_space.individual import Operator


class Numbers:
    """A search space of whole numbers; its best one is 50,000."""

    def __init__(self, most: int = 100_000) -> None:
        self.most = most

    def generate(self, rng: np.random.Generator) -> int:
        return int(rng.integers(self.most))


def breed(parents: list[int], rng: np.random.Generator, _operator: Operator) -> int:
    return int(np.mean(parents)) + int(rng.integers(-2000, 2001))


def translate(individual: int) -> dict[str, Any]:
    if individual < 0:
        raise Untranslatable
    return {"value": individual}


def evolution(
    space: Numbers | None = None, *, population: int = 8, state: int = 0, lag: int | None = None
) -> Evolution:
    return Evolution(
        space or Numbers(),
        seeds=[("linear", 0), ("boosting", 900)],
        population_size=population,
        random_state=state,
        breed=breed,
        translate=translate,
        lag=lag,
    )


def result(number: int, pipeline: dict[str, Any], key: str) -> Candidate:
    return Candidate(
        number=number,
        key=key,
        origin="space",
        generation=1,
        pipeline=pipeline,
        outcome=Outcome.OK,
        score=-abs(pipeline["value"] - 50_000.0),
    )


def play(breeder: Evolution, total: int, eager: Callable[[Evolution], bool]) -> list[int]:
    """Propose and commit until `total` are committed; `eager` says which of both is done first."""
    waiting = []
    sequence = []
    while breeder.committed < total:
        if breeder.can_propose() and breeder.proposed < total and (eager(breeder) or not waiting):
            proposal = breeder.propose()
            assert proposal is not None
            waiting.append(proposal)
            sequence.append(proposal.individual)
        else:
            due = waiting.pop(0)
            breeder.commit(result(due.number, due.pipeline, due.key))
    return sequence


@pytest.mark.parametrize("lag", [None, 24])
@pytest.mark.parametrize("population", [1, 2, 5, 8, 16])
def test_the_sequence_depends_neither_on_the_number_nor_on_the_speed_of_workers(
    population: int, lag: int | None
) -> None:
    rng = np.random.default_rng(1)
    first = play(evolution(population=population, lag=lag), 60, lambda _: True)
    second = play(evolution(population=population, lag=lag), 60, lambda _: False)
    third = play(evolution(population=population, lag=lag), 60, lambda _: bool(rng.random() < 0.5))
    assert first == second == third


def test_another_seed_gives_another_sequence() -> None:
    assert play(evolution(state=1), 30, lambda _: True) != play(evolution(state=2), 30, lambda _: True)


def test_seeds_come_first_and_keep_their_names() -> None:
    breeder = evolution()
    proposals = [breeder.propose() for _ in range(3)]
    assert [p.origin for p in proposals if p] == ["linear", "boosting", "space"]


def test_no_pipeline_is_proposed_twice() -> None:
    sequence = play(evolution(), 100, lambda _: True)
    assert len(set(sequence)) == len(sequence)


def test_evolution_improves_the_best_score() -> None:
    sequence = play(evolution(population=16), 160, lambda _: True)
    early = np.median([abs(value - 50_000) for value in sequence[2:16]])
    late = np.median([abs(value - 50_000) for value in sequence[-40:]])
    assert late < early / 2


def test_a_space_without_anything_new_is_exhausted() -> None:
    breeder = evolution(Numbers(3), population=8)
    proposals = []
    while breeder.can_propose() and (proposal := breeder.propose()) is not None:
        proposals.append(proposal.individual)
    assert sorted(proposals) == [0, 1, 2, 900]
    assert breeder.exhausted_
    assert not breeder.can_propose()


def test_results_are_committed_in_their_order() -> None:
    breeder = evolution()
    first, second = breeder.propose(), breeder.propose()
    assert first is not None
    assert second is not None
    with pytest.raises(ValueError, match="result 1 came where 0 was due"):
        breeder.commit(result(second.number, second.pipeline, second.key))


def test_breeding_uses_only_known_results() -> None:
    breeder = evolution(population=4)
    for _ in range(4):
        breeder.propose()
    assert not breeder.can_propose()
    with pytest.raises(RuntimeError):
        breeder.propose()


@pytest.mark.parametrize(
    ("population", "workers", "lag"),
    [(1, 0, 1), (6, 0, 3), (64, 0, 8), (64, 2, 8), (16, 4, 24), (64, 16, 168)],
)
def test_the_lag_follows_the_workers_of_the_job(population: int, workers: int, lag: int) -> None:
    assert lag_for(population, workers=workers) == lag


class Family:
    """An evolution whose breeding is written down: each child's parents, and what was known before it."""

    def __init__(
        self,
        total: int,
        *,
        population: int = 8,
        score: Callable[[int, int], float | None],
        made: dict[int, Operator] | None = None,
    ) -> None:
        self.parents: dict[int, list[int]] = {}
        self.made = {} if made is None else made
        self.population = population
        self.space = Numbers()
        self.evolution = Evolution(
            self.space,
            seeds=[("linear", 0), ("boosting", 900)],
            population_size=population,
            random_state=0,
            breed=self._breed,
            translate=translate,
        )
        self.proposals: list[Proposal] = []
        self.scores: list[float | None] = []
        while self.evolution.committed < total:
            proposal = self.evolution.propose()
            assert proposal is not None
            self.proposals.append(proposal)
            end = result(proposal.number, proposal.pipeline, proposal.key)
            value = score(proposal.number, proposal.individual)
            outcome = Outcome.INVALID if value is None else Outcome.OK
            self.scores.append(value)
            self.evolution.commit(replace(end, origin=proposal.origin, outcome=outcome, score=value))

    def _breed(self, parents: list[int], rng: np.random.Generator, operator: Operator) -> int:
        child = int(rng.integers(10**9)) + 10**6
        self.parents[child] = parents
        self.made[child] = operator
        return child

    def children(self) -> list[tuple[Proposal, list[int]]]:
        """Return each child with the numbers of its parents."""
        number = {proposal.individual: proposal.number for proposal in self.proposals}
        return [
            (proposal, [number[parent] for parent in self.parents[proposal.individual]])
            for proposal in self.proposals
            if proposal.individual in self.parents
        ]

    def ranked(self, proposal: Proposal) -> list[int]:
        """Return what a child may know, best first and the earlier of equals first."""
        scores = self.scores[: proposal.number - self.evolution.lag]
        known = [place for place, score in enumerate(scores) if score is not None]
        return sorted(known, key=lambda place: (-float(scores[place] or 0.0), place))


@pytest.mark.parametrize(
    "score",
    [
        pytest.param(lambda number, _value: float(number % 17), id="any"),
        pytest.param(lambda _number, _value: 1.0, id="all equal"),
        pytest.param(lambda number, _value: None if number % 3 else float(number % 17), id="many fail"),
    ],
)
def test_parents_are_the_best_known_pipelines_and_never_failed_ones(
    score: Callable[[int, int], float | None],
) -> None:
    family = Family(160, score=score)
    assert len(family.children()) > 100
    for proposal, parents in family.children():
        assert set(parents) <= set(family.ranked(proposal)[: family.population])


def test_better_parents_have_more_children() -> None:
    family = Family(400, score=lambda number, _value: float(number % 97))
    places = [
        family.ranked(child).index(parent) for child, parents in family.children() for parent in parents
    ]
    assert np.mean([place == 0 for place in places]) > 0.2, "by chance it would be one of eight"
    assert np.mean(places) < 2.8, "by chance it would be 3.5"


def test_an_operator_gets_its_share_by_what_it_has_gained() -> None:
    def shares(score: Callable[[int, int], float], made: dict[int, Operator]) -> Counter[str]:
        Family(400, score=score, made=made)
        late = list(made.values())[200:]
        return Counter({str(operator): count / len(late) for operator, count in Counter(late).items()})

    made: dict[int, Operator] = {}
    equal = shares(lambda number, _value: float(number % 97), {})
    crossed = shares(lambda number, value: float(number) * (made.get(value) is Operator.CROSS), made)
    assert equal["cross"] < equal["refine"]
    assert "encode" not in equal, "there is a single encoding"
    assert crossed["cross"] > 2 * equal["cross"]


def test_a_family_has_no_more_than_its_share_of_the_parents() -> None:
    candidates = [
        replace(
            result(number, {"value": number}, str(number)), score=1.0 - number, fold_scores=(1.0 - number,)
        )
        for number in range(30)
    ]
    families = {number: "few" if number in {20, 25} else "many" for number in range(30)}
    parents = diverse(candidates, families, most=9, share=1 / 3)
    assert [parent.number for parent in parents] == [0, 1, 2, 3, 4, 5, 6, 20, 25]
    families |= dict.fromkeys(range(10, 20), "third")
    parents = diverse(candidates, families, most=9, share=1 / 3)
    assert [parent.number for parent in parents] == [0, 1, 2, 3, 10, 11, 12, 20, 25]


def test_pipelines_of_a_family_with_equal_fold_scores_count_once() -> None:
    candidates = [
        replace(result(number, {"value": number}, str(number)), fold_scores=(0.5, number // 3 / 10))
        for number in range(12)
    ]
    families = {number: ("a", "b")[number % 3 == 1] for number in range(12)}
    parents = diverse(candidates, families, most=10, share=1.0)
    assert [parent.number for parent in parents] == [0, 1, 3, 4, 6, 7, 9, 10]


def test_offspring_are_bred_as_soon_as_the_portfolio_is_evaluated() -> None:
    breeder = Evolution(
        Numbers(),
        seeds=[(str(number), number) for number in range(18)],
        population_size=64,
        random_state=0,
        breed=breed,
        translate=translate,
    )
    play(breeder, 24, lambda _: True)
    numbers = [breeder.propose() for _ in range(2)]
    assert all(proposal is not None and proposal.rival is not None for proposal in numbers)


def test_a_child_keeps_the_origin_of_its_first_parent() -> None:
    family = Family(120, score=lambda number, _value: float(-number))
    origins = {proposal.number: proposal.origin for proposal in family.proposals}
    for child, parents in family.children():
        assert child.origin == origins[parents[0]]
    assert {"linear", "boosting", "space"} <= {child.origin for child, _ in family.children()}


def test_a_small_population_takes_the_first_seeds() -> None:
    proposals = play(evolution(population=1), 3, lambda _: True)
    assert proposals[0] == 0
    assert 900 not in proposals
