from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from trainingjob_trainer.search.candidate import Candidate, Outcome
from trainingjob_trainer.search.evolution import Evolution, lag_for


class Unreadable(Exception):  # noqa: N818
    pass


class Numbers:
    """A search space of whole numbers; its best one is 50,000."""

    def __init__(self, most: int = 100_000) -> None:
        self.most = most

    def generate(self, rng: np.random.Generator) -> int:
        return int(rng.integers(self.most))


def breed(parents: list[int], rng: np.random.Generator) -> int:
    return int(np.mean(parents)) + int(rng.integers(-2000, 2001))


def translate(individual: int) -> dict[str, Any]:
    if individual < 0:
        raise Unreadable
    return {"value": individual}


def evolution(space: Numbers | None = None, *, population: int = 8, state: int = 0) -> Evolution:
    return Evolution(
        space or Numbers(),
        seeds=[("linear", 0), ("boosting", 900)],
        population_size=population,
        random_state=state,
        breed=breed,
        translate=translate,
        fingerprint=lambda pipeline: str(pipeline["value"]),
        untranslatable=Unreadable,
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


def play(one: Evolution, total: int, eager: Callable[[Evolution], bool]) -> list[int]:
    """Propose and commit until `total` are committed; `eager` says which of both is done first."""
    waiting = []
    sequence = []
    while one.committed < total:
        if one.can_propose() and one.proposed < total and (eager(one) or not waiting):
            proposal = one.propose()
            assert proposal is not None
            waiting.append(proposal)
            sequence.append(proposal.individual)
        else:
            due = waiting.pop(0)
            one.commit(result(due.number, due.pipeline, due.key))
    return sequence


@pytest.mark.parametrize("population", [1, 2, 5, 8, 16])
def test_the_sequence_depends_neither_on_the_number_nor_on_the_speed_of_workers(population: int) -> None:
    rng = np.random.default_rng(1)
    first = play(evolution(population=population), 60, lambda _: True)
    second = play(evolution(population=population), 60, lambda _: False)
    third = play(evolution(population=population), 60, lambda _: bool(rng.random() < 0.5))
    assert first == second == third


def test_another_seed_gives_another_sequence() -> None:
    assert play(evolution(state=1), 30, lambda _: True) != play(evolution(state=2), 30, lambda _: True)


def test_seeds_come_first_and_keep_their_names() -> None:
    one = evolution()
    proposals = [one.propose() for _ in range(3)]
    assert [p.origin for p in proposals if p] == ["linear", "boosting", "space"]


def test_no_pipeline_is_proposed_twice() -> None:
    sequence = play(evolution(), 100, lambda _: True)
    assert len(set(sequence)) == len(sequence)


def test_it_gets_better() -> None:
    sequence = play(evolution(population=16), 160, lambda _: True)
    early = np.median([abs(value - 50_000) for value in sequence[2:16]])
    late = np.median([abs(value - 50_000) for value in sequence[-40:]])
    assert late < early / 2


def test_a_space_without_anything_new_is_exhausted() -> None:
    one = evolution(Numbers(3), population=8)
    proposals = []
    while one.can_propose() and (proposal := one.propose()) is not None:
        proposals.append(proposal.individual)
    assert sorted(proposals) == [0, 1, 2, 900]
    assert one.exhausted_
    assert not one.can_propose()


def test_results_are_committed_in_their_order() -> None:
    one = evolution()
    first, second = one.propose(), one.propose()
    assert first is not None
    assert second is not None
    with pytest.raises(ValueError, match="result 1 came where 0 was due"):
        one.commit(result(second.number, second.pipeline, second.key))


def test_it_does_not_run_ahead_of_what_it_may_know() -> None:
    one = evolution(population=4)
    for _ in range(4):
        one.propose()
    assert not one.can_propose()
    with pytest.raises(RuntimeError):
        one.propose()


@pytest.mark.parametrize(
    ("population", "workers", "lag"), [(1, 0, 1), (64, 0, 32), (64, 2, 32), (16, 4, 24), (64, 16, 168)]
)
def test_the_lag_follows_what_the_job_asks_for(population: int, workers: int, lag: int) -> None:
    assert lag_for(population, workers=workers) == lag
