"""The engine with TPOT's own individuals: determinism, resume, limits."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.naughty import evaluate_with_naughty
from support.stores import small_store
from trainingjob_api import ResolvedSearchSpace, Task
from trainingjob_trainer.search.candidate import Candidate, Journal, JournalHeader, Outcome, SearchResult
from trainingjob_trainer.search.costs import FitEstimate
from trainingjob_trainer.search.dask_pool import DaskPool
from trainingjob_trainer.search.engine import SearchEngine
from trainingjob_trainer.search.evolution import Evolution
from trainingjob_trainer.search.limits import RunClock, SearchBudget, SearchProgress
from trainingjob_trainer.search.pool import (
    Completion,
    InlinePool,
    Pool,
    PoolLost,
    Workers,
    local_workers,
)
from trainingjob_trainer.search.pool import (
    Task as PoolTask,
)
from trainingjob_trainer.search.store import StoreRef
from trainingjob_trainer.search.tasks import evaluate
from trainingjob_trainer.search_space.context import SpaceContext
from trainingjob_trainer.search_space.individual import breed, translate
from trainingjob_trainer.search_space.portfolio import seeds
from trainingjob_trainer.search_space.space import compile_space

pytestmark = [
    pytest.mark.slow,
    # A killed worker leaves its sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
HEADER = JournalHeader(search_digest="s", data_digest="d", versions={})
CONTEXT = SpaceContext(
    task=Task.CLASSIFICATION,
    n_rows=60,
    n_features=5,
    n_classes=2,
    random_state=3,
    columns=("x0", "x1", "x2", "x3", "x4"),
)


@pytest.fixture(scope="module")
def ref(tmp_path_factory: pytest.TempPathFactory) -> StoreRef:
    return small_store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    with local_workers(2, memory_limit_mb=900, scratch=tmp_path_factory.mktemp("dask")) as found:
        yield found


class Doomed:
    """Two workers' worth of a pool, in no order but the last come first; lost after some results."""

    workers = 2

    def __init__(self, results: int) -> None:
        self._results = results
        self._tasks: list[PoolTask] = []

    def free(self) -> int:
        return 4 - len(self._tasks)

    def submit(self, task: PoolTask) -> None:
        self._tasks.append(task)

    def poll(self, timeout: float) -> list[Completion]:
        if self._results == 0:
            raise PoolLost("SchedulerLost", "it is gone")
        if not self._tasks:
            return []
        self._results -= 1
        inline = InlinePool()
        inline.submit(self._tasks.pop())
        return inline.poll(0)

    def drop(self) -> None:
        self._tasks = []


class Mixed:
    """TPOT's light space, and now and then something that misbehaves."""

    def __init__(self, deeds: dict[int, str]) -> None:
        self._space = compile_space(ResolvedSearchSpace(preset="linear-light", source="spec"), CONTEXT)
        self._deeds = deeds
        self._count = 0

    def generate(self, rng: np.random.Generator) -> Any:
        self._count += 1
        return self._deeds.get(self._count) or self._space.generate(rng)


def translate_mixed(individual: Any) -> dict[str, Any]:
    return {"naughty": individual} if isinstance(individual, str) else translate(individual, CONTEXT)


def search(
    pool: Pool,
    ref: StoreRef,
    path: Path,
    *,
    space: Any = None,
    generations: int = 3,
    population: int = 6,
    seconds: float = 300,
    limit: float = 60,
    on_candidate: Callable[[Candidate, bool], None] = lambda _candidate, _known: None,
    should_stop: Callable[[], bool] = lambda: False,
    on_tick: Callable[[SearchProgress], None] = lambda _progress: None,
    instead: Callable[[PoolLost], Pool] | None = None,
) -> tuple[SearchResult, RunClock]:
    clock = RunClock(seconds)
    clock.start()
    evolution = Evolution(
        space or compile_space(ResolvedSearchSpace(preset="linear-light", source="spec"), CONTEXT),
        seeds=seeds(CONTEXT)[:2],
        population_size=population,
        random_state=3,
        breed=breed,
        translate=translate_mixed,
    )
    with Journal(path, HEADER, check=lambda _candidate: None) as journal:  # naughty ones are not bred
        engine = SearchEngine(
            evolution=evolution,
            pool=pool,
            ref=ref,
            journal=journal,
            clock=clock,
            budget=SearchBudget(
                generations=generations, population_size=population, per_run_limit_seconds=limit
            ),
            estimate=FitEstimate(encode_seconds=0.1, all_rows=150, fold_rows=60),
            evaluator=evaluate if space is None else evaluate_with_naughty,
            on_candidate=on_candidate,
            should_stop=should_stop,
            on_tick=on_tick,
            instead=instead,
        )
        return engine.run(), clock


def board(result: SearchResult) -> list[tuple[int, str, str, float | None]]:
    return [(c.number, c.key, c.origin, c.score) for c in result.candidates]


@pytest.fixture(scope="module")
def reference(ref: StoreRef, tmp_path_factory: pytest.TempPathFactory) -> SearchResult:
    result, _ = search(InlinePool(), ref, tmp_path_factory.mktemp("reference") / "journal.jsonl")
    return result


def test_generations_end_the_search(reference: SearchResult) -> None:
    assert (reference.stopped_by, reference.generations) == ("generations", 3)
    assert [c.number for c in reference.candidates] == list(range(18))
    assert [c.origin for c in reference.candidates[:2]] == ["linear", "hist_gradient_boosting"]
    assert sum(c.outcome is Outcome.OK for c in reference.candidates) >= 17


def test_two_workers_give_the_same_leaderboard_as_one(
    reference: SearchResult, workers: Workers, ref: StoreRef, tmp_path: Path
) -> None:
    result, _ = search(DaskPool(workers), ref, tmp_path / "journal.jsonl")
    assert board(result) == board(reference)


@pytest.mark.parametrize("kept", [1, 7, 17])
def test_a_resumed_search_repeats_nothing_and_has_the_same_leaderboard(
    reference: SearchResult, ref: StoreRef, tmp_path: Path, kept: int
) -> None:
    path = tmp_path / "journal.jsonl"
    seen: list[int] = []
    search(
        InlinePool(),
        ref,
        path,
        on_candidate=lambda c, _known: seen.append(c.number),
        should_stop=lambda: len(seen) >= kept,
    )
    again: list[int] = []
    result, _ = search(
        InlinePool(),
        ref,
        path,
        on_candidate=lambda c, known: None if known else again.append(c.number),
    )
    assert board(result) == board(reference)
    assert not set(seen) & set(again)
    assert len(path.read_text().splitlines()) == 1 + len(reference.candidates)


# What dies of something else has ample time, so that it does not matter how busy the machine is.
LIMITS = {Outcome.TIMEOUT: 10.0, Outcome.KILLED: 200.0}
CAUSES = {
    Outcome.TIMEOUT: "took longer than 10 s and had to be killed",
    Outcome.KILLED: "out of memory or a crash of native code",
}


@pytest.mark.parametrize(
    ("deeds", "outcome"),
    [({1: "sleep", 3: "hold"}, Outcome.TIMEOUT), ({2: "allocate", 5: "crash"}, Outcome.KILLED)],
    ids=["slow", "deadly"],
)
def test_bad_pipelines_cost_their_limit_and_nothing_else(
    workers: Workers, ref: StoreRef, tmp_path: Path, deeds: dict[int, str], outcome: Outcome
) -> None:
    result, _ = search(
        DaskPool(workers),
        ref,
        tmp_path / "journal.jsonl",
        space=Mixed(deeds),
        generations=2,
        population=8,
        seconds=10_000,
        limit=LIMITS[outcome],
    )
    assert result.stopped_by == "generations"
    bad = {c.pipeline["naughty"]: c for c in result.candidates if "naughty" in c.pipeline}
    assert {key: c.outcome for key, c in bad.items()} == dict.fromkeys(deeds.values(), outcome)
    assert all(CAUSES[outcome] in (c.error or "") for c in bad.values())
    healthy = [c for c in result.candidates if "naughty" not in c.pipeline]
    assert len(healthy) == 14
    assert sum(c.outcome is Outcome.OK for c in healthy) >= 13
    assert all(c.outcome in (Outcome.OK, Outcome.INVALID) for c in healthy), "no other pipeline is blamed"


def test_the_end_of_the_time_ends_the_search_with_its_results(
    workers: Workers, ref: StoreRef, tmp_path: Path
) -> None:
    result, clock = search(
        DaskPool(workers), ref, tmp_path / "journal.jsonl", generations=10_000, population=8, seconds=8
    )
    assert result.stopped_by == "time"
    assert result.candidates
    assert clock.elapsed < 8


@pytest.mark.parametrize("results", [0, 1, 7, 12])
def test_a_pool_that_is_lost_costs_no_finished_evaluation(
    reference: SearchResult, ref: StoreRef, tmp_path: Path, results: int
) -> None:
    seen: list[int] = []
    counts: list[int] = []
    losses: list[str] = []

    def instead(lost: PoolLost) -> Pool:
        losses.append(lost.reason)
        return InlinePool()

    result, _ = search(
        Doomed(results),
        ref,
        tmp_path / "journal.jsonl",
        on_candidate=lambda c, _known: seen.append(c.number),
        on_tick=lambda progress: counts.append(progress.evaluated),
        instead=instead,
    )
    assert board(result) == board(reference)
    assert sorted(seen) == list(range(18)), "each pipeline is evaluated once"
    assert counts == sorted(counts), "progress never goes backwards"
    assert losses == ["SchedulerLost"]


def test_a_pool_that_is_lost_ends_a_search_that_has_no_other(ref: StoreRef, tmp_path: Path) -> None:
    with pytest.raises(PoolLost, match="it is gone"):
        search(Doomed(2), ref, tmp_path / "journal.jsonl")
