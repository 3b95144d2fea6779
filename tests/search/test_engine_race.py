"""The race in a search: the same pipelines are stopped for any number and speed of workers."""

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainingjob_trainer.search.candidate import Evaluation, Journal, JournalHeader, Outcome, SearchResult
from trainingjob_trainer.search.costs import FitEstimate
from trainingjob_trainer.search.engine import SearchEngine
from trainingjob_trainer.search.evolution import Evolution
from trainingjob_trainer.search.limits import RunClock, SearchBudget, TaskLimit
from trainingjob_trainer.search.pool import Completion, Task
from trainingjob_trainer.search.store import StoreRef
from trainingjob_trainer.search.tasks import Race

HEADER = JournalHeader(search_digest="s", data_digest="d", versions={})
FOLDS = 3
REF = StoreRef(folder="", work_digest="", frame_digest="", folds=FOLDS, named=False)
EVALUATIONS = 40
FIRST_LAG, LAG = 2, 5


def lag(number: int) -> int:
    return FIRST_LAG if number < EVALUATIONS // 2 else LAG


class Shuffled:
    """Workers that finish their tasks in any order."""

    def __init__(self, workers: int, seed: int) -> None:
        self.workers = workers
        self._rng = np.random.default_rng(seed)
        self._tasks: list[Task] = []

    def free(self) -> int:
        return self.workers - len(self._tasks)

    def submit(self, task: Task) -> None:
        self._tasks.append(task)

    def poll(self, timeout: float) -> list[Completion]:
        if not self._tasks or not timeout:  # as long as there is work for others, nothing ends
            return []
        task = self._tasks.pop(int(self._rng.integers(len(self._tasks))))
        function, arguments, limit = task.call()
        return [Completion(tag=task.tag, value=function(*arguments, limit))]

    def drop(self) -> None:
        self._tasks = []


class Numbers:
    def generate(self, rng: np.random.Generator) -> int:
        return int(rng.integers(10**6))


def evaluate(
    pipeline: dict[str, Any], _ref: StoreRef, _limit: TaskLimit, *, race: Race | None = None
) -> Evaluation:
    """Score a number by its distance from the largest, with folds that differ a little."""
    rng = np.random.default_rng(pipeline["value"])
    scores: list[float] = []
    for fold in range(FOLDS):
        scores.append(pipeline["value"] / 10**6 + 0.01 * fold + 0.01 * rng.normal())
        if race is not None and race.lost(scores, 1.0):
            return Evaluation(
                outcome=Outcome.STOPPED, fold_scores=tuple(scores), complexity=1.0, rounds=mark(race)
            )
    return Evaluation(outcome=Outcome.OK, fold_scores=tuple(scores), complexity=1.0, rounds=mark(race))


def mark(race: Race | None) -> int:
    """Return a number that says which race it was: few other rivals change who is stopped."""
    return zlib.crc32(repr(race).encode()) % 10**5 + 1


def search(
    folder: Path, pool: Shuffled, *, race_lag: Callable[[int], int] | None = lag, most: int = 10**6
) -> SearchResult:
    evolution = Evolution(
        Numbers(),
        seeds=[],
        population_size=EVALUATIONS // 2,
        random_state=0,
        breed=lambda parents, rng, _operator: max(0, int(parents[0] + rng.integers(-(10**5), 10**5))),
        translate=lambda number: {"value": number},
    )
    clock = RunClock(1000.0)
    clock.start()
    seen: list[int] = []
    with Journal(folder / "journal.jsonl", HEADER, check=lambda _candidate: None) as journal:
        return SearchEngine(
            evolution=evolution,
            pool=pool,
            ref=REF,
            journal=journal,
            clock=clock,
            budget=SearchBudget(generations=2, population_size=EVALUATIONS // 2, per_run_limit_seconds=60.0),
            estimate=FitEstimate(encode_seconds=0.0, all_rows=10, fold_rows=10),
            race_lag=race_lag,
            evaluator=evaluate,
            on_candidate=lambda candidate, _known: seen.append(candidate.number),
            should_stop=lambda: len(seen) >= most,
        ).run()


def board(result: SearchResult) -> list[tuple[int, str, tuple[float, ...], int | None]]:
    return [
        (candidate.number, candidate.outcome, candidate.fold_scores, candidate.rounds)
        for candidate in result.candidates
    ]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> SearchResult:
    return search(tmp_path_factory.mktemp("reference"), Shuffled(1, 0))


def test_the_race_stops_pipelines_and_not_the_best(tmp_path: Path, reference: SearchResult) -> None:
    outcomes = [candidate.outcome for candidate in reference.candidates]
    assert outcomes[: FIRST_LAG + 3] == [Outcome.OK] * (FIRST_LAG + 3), "these have no three rivals"
    assert outcomes.count(Outcome.STOPPED) > EVALUATIONS / 4
    assert {*outcomes} == {Outcome.OK, Outcome.STOPPED}
    stopped = [candidate for candidate in reference.candidates if candidate.outcome is Outcome.STOPPED]
    assert all(candidate.score is None and 0 < len(candidate.fold_scores) < FOLDS for candidate in stopped)
    assert not {candidate.number for candidate in stopped} & {
        candidate.number for candidate in reference.ranked
    }
    assert all(
        candidate.outcome is Outcome.OK
        for candidate in search(tmp_path, Shuffled(1, 0), race_lag=None).candidates
    )


@pytest.mark.parametrize(("workers", "seed"), [(2, 0), (2, 1), (4, 2), (9, 3)])
def test_the_race_is_the_same_for_any_number_and_speed_of_workers(
    tmp_path: Path, reference: SearchResult, workers: int, seed: int
) -> None:
    assert board(search(tmp_path, Shuffled(workers, seed))) == board(reference)


@pytest.mark.parametrize("most", [1, 9, 30])
def test_a_resumed_race_has_the_same_leaderboard(tmp_path: Path, reference: SearchResult, most: int) -> None:
    search(tmp_path, Shuffled(3, 0), most=most)
    assert board(search(tmp_path, Shuffled(2, 5))) == board(reference)
