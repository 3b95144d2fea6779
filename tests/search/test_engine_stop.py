"""The end of a search, on a simulated clock, with the expected time of the final fit."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainingjob_trainer.search.candidate import Evaluation, Journal, JournalHeader, Outcome, SearchResult
from trainingjob_trainer.search.costs import FitEstimate
from trainingjob_trainer.search.engine import SearchEngine
from trainingjob_trainer.search.evolution import Evolution
from trainingjob_trainer.search.limits import RunClock, SearchBudget, SearchProgress, TaskLimit
from trainingjob_trainer.search.pool import Completion, Task
from trainingjob_trainer.search.store import StoreRef

HEADER = JournalHeader(search_digest="s", data_digest="d", versions={})
REF = StoreRef(folder="", work_digest="", frame_digest="", folds=2, named=False)
EVALUATION_SECONDS = 8.0


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Timed:
    """Workers whose tasks take their time on the clock, one after the other."""

    def __init__(self, clock: Clock, workers: int) -> None:
        self.workers = workers
        self.limits: list[tuple[float, TaskLimit]] = []
        self.dropped = False
        self._clock = clock
        self._running: list[tuple[float, Completion]] = []

    def free(self) -> int:
        return self.workers - len(self._running)

    def submit(self, task: Task) -> None:
        function, arguments, limit = task.call()
        self.limits.append((self._clock.now, limit))
        ends = self._clock.now + EVALUATION_SECONDS
        self._running.append((ends, Completion(tag=task.tag, value=function(*arguments, limit))))

    def poll(self, timeout: float) -> list[Completion]:
        self._clock.now = min(self._clock.now + timeout, *(ends for ends, _ in self._running))
        done = [completion for ends, completion in self._running if ends <= self._clock.now]
        self._running = [(ends, left) for ends, left in self._running if ends > self._clock.now]
        return done

    def drop(self) -> None:
        self.dropped = True


class Numbers:
    def generate(self, rng: np.random.Generator) -> int:
        return int(rng.integers(10**6))


@dataclass
class Searching:
    """A search on a clock of its own, whose first pipeline is the best; `fits` gives each one's seconds."""

    folder: Path
    workers: int = 1
    fits_on: int | None = None
    budget: float = 400.0
    encode_seconds: float = 1.0
    all_rows: int = 1000
    fold_rows: int = 500
    fits: Callable[[float], float] = lambda _number: 4.0
    cuts: int = 0
    clock: Clock = field(default_factory=Clock)
    told: list[SearchProgress] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.first: dict[str, Any] | None = None
        self.pool = Timed(self.clock, self.workers)
        self.run_clock = RunClock(self.budget, now=self.clock)

    def evaluate(self, pipeline: dict[str, Any], _ref: StoreRef, _limit: TaskLimit) -> Evaluation:
        number = len(self.pool.limits) - 1
        if self.first is None:
            self.first = pipeline
        if pipeline == self.first and self.cuts:
            self.cuts -= 1
            return Evaluation(outcome=None, error="the run's time was up")
        return Evaluation(outcome=Outcome.OK, fold_scores=(-number,), fit_seconds=self.fits(number))

    def __call__(self, *, generations: int = 1000, population: int = 4) -> SearchResult:
        evolution = Evolution(
            Numbers(),
            seeds=[],
            population_size=population,
            random_state=0,
            breed=lambda _parents, rng, _operator: int(rng.integers(10**6)),
            translate=lambda number: {"value": number},
        )
        self.run_clock.start()
        with Journal(self.folder / "journal.jsonl", HEADER) as journal:
            return SearchEngine(
                evolution=evolution,
                pool=self.pool,
                ref=REF,
                journal=journal,
                clock=self.run_clock,
                budget=SearchBudget(
                    generations=generations, population_size=population, per_run_limit_seconds=60.0
                ),
                estimate=FitEstimate(
                    encode_seconds=self.encode_seconds, all_rows=self.all_rows, fold_rows=self.fold_rows
                ),
                evaluator=self.evaluate,
                on_tick=self.told.append,
                fits_on=None if self.fits_on is None else Timed(self.clock, self.fits_on),
            ).run()


@pytest.mark.parametrize(("cuts", "outcome"), [(1, Outcome.OK), (2, Outcome.OK), (1000, Outcome.TIMEOUT)])
@pytest.mark.parametrize("workers", [1, 2])
def test_an_evaluation_that_the_clock_cuts_off_does_not_stop_the_search(
    tmp_path: Path, workers: int, cuts: int, outcome: Outcome
) -> None:
    search = Searching(tmp_path, workers=workers, cuts=cuts, budget=4000.0)
    result = search(generations=3)
    assert result.stopped_by == "generations"
    assert [candidate.number for candidate in result.candidates] == list(range(12))
    assert [candidate.outcome for candidate in result.candidates] == [outcome, *[Outcome.OK] * 11]


def both_fits(fit_seconds: float, *, rows: float, encode_seconds: float = 1.0, workers: int = 1) -> float:
    """Return what the fits with and without the hold-out rows take at least: as long as rows are many."""
    return (encode_seconds + fit_seconds * rows) * (2 if workers == 1 else 1)


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("rows", [500, 1000, 2000])
def test_a_search_stops_in_time_to_fit_the_best_pipeline_on_all_rows(
    tmp_path: Path, workers: int, rows: int
) -> None:
    search = Searching(tmp_path, workers=workers, all_rows=rows)
    assert search().stopped_by == "time"
    needed = both_fits(4.0, rows=rows / 500, workers=workers)
    assert search.run_clock.remaining >= needed
    assert search.run_clock.remaining <= 3 * needed + EVALUATION_SECONDS, "the rest is for the search"


def test_the_best_pipeline_decides_the_reserved_time(tmp_path: Path) -> None:
    (tmp_path / "slow").mkdir()
    fast = Searching(tmp_path, fits=lambda number: 60.0 if number else 0.1)
    slow = Searching(tmp_path / "slow", fits=lambda number: 0.1 if number else 20.0)
    fast()
    slow()
    assert fast.run_clock.remaining < both_fits(60.0, rows=2)
    assert slow.run_clock.remaining >= both_fits(20.0, rows=2)


def test_the_time_of_the_encoder_on_all_rows_is_reserved(tmp_path: Path) -> None:
    search = Searching(tmp_path, encode_seconds=25.0)
    search()
    assert search.run_clock.remaining >= both_fits(4.0, rows=2, encode_seconds=25.0)


def test_one_worker_that_fits_needs_twice_the_time_however_many_search(tmp_path: Path) -> None:
    search = Searching(tmp_path, workers=4, fits_on=1)
    search()
    assert search.run_clock.remaining >= both_fits(4.0, rows=2, workers=1)


def test_a_slow_best_pipeline_leaves_most_of_the_budget_to_the_search(tmp_path: Path) -> None:
    search = Searching(tmp_path, fits=lambda _number: 3000.0)
    search()
    assert search.run_clock.remaining <= search.budget / 2


def test_an_evaluation_may_not_run_into_the_time_of_the_final_fit(tmp_path: Path) -> None:
    search = Searching(tmp_path)
    begin, started = time.time(), search.clock.now
    search()
    allowed = search.budget - both_fits(4.0, rows=2)
    for at, limit in search.pool.limits[1:]:  # the first one is sent before a fit was timed
        assert limit.seconds <= 60.0, "what could not be fitted afterwards ends earlier"
        assert at - started + limit.deadline - begin <= allowed + 5.0


def test_evaluations_that_run_at_the_end_of_the_search_are_dropped(tmp_path: Path) -> None:
    search = Searching(tmp_path, workers=3)
    result = search()
    assert search.pool.dropped
    assert len(result.candidates) < len(search.pool.limits)
    assert len((tmp_path / "journal.jsonl").read_text().splitlines()) == 1 + len(result.candidates)


def test_generations_that_are_done_stop_a_search_with_time_to_spare(tmp_path: Path) -> None:
    search = Searching(tmp_path)
    result = search(generations=2, population=4)
    assert (result.stopped_by, result.generations, len(result.candidates)) == ("generations", 2, 8)
    assert search.run_clock.elapsed == pytest.approx(8 * EVALUATION_SECONDS)


def test_progress_has_the_best_score(tmp_path: Path) -> None:
    search = Searching(tmp_path)
    search(generations=2)
    assert {progress.best_score for progress in search.told} == {None, 0.0}
    last = search.told[-1]
    assert (last.generation, last.evaluated, last.failed, last.timed_out) == (2, 8, 0, 0)
    assert last.elapsed_seconds + last.remaining_seconds == pytest.approx(search.budget)
