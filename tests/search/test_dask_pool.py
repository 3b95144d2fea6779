import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.naughty import behave, misbehave
from trainingjob_trainer.search.dask_pool import DaskPool
from trainingjob_trainer.search.limits import TaskLimit
from trainingjob_trainer.search.pool import Completion, Task, Workers, local_workers

pytestmark = [
    pytest.mark.slow,
    # A killed worker leaves its socket to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
LIMIT = 2.0
AMPLE = 240.0  # for what ends by itself or dies of something else, however busy the machine is


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    with local_workers(2, memory_limit_mb=700, scratch=tmp_path_factory.mktemp("dask")) as found:
        yield found


def good(number: int) -> Task:
    return Task(tag=number, call=lambda: (behave, (number,), TaskLimit(AMPLE, time.time() + 600)))


def bad(deed: str, limit: float) -> Task:
    return Task(tag=deed, call=lambda: (misbehave, (deed,), TaskLimit(limit, time.time() + 600)))


def collect(pool: DaskPool, count: int, seconds: float = AMPLE) -> dict[object, Completion]:
    done: dict[object, Completion] = {}
    end = time.monotonic() + seconds
    while len(done) < count:
        assert time.monotonic() < end, f"only {len(done)} of {count} came back: {done}"
        done |= {completion.tag: completion for completion in pool.poll(0.2)}
    return done


def until(condition: Callable[[], bool], seconds: float) -> float:
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, f"not within {seconds} s"
        time.sleep(0.05)
    return time.monotonic() - started


def test_a_pool_returns_results(workers: Workers) -> None:
    pool = DaskPool(workers)
    for number in range(12):
        pool.submit(good(number))
    done = collect(pool, 12)
    assert {tag: completion.value for tag, completion in done.items()} == {n: n for n in range(12)}
    assert pool.in_flight == 0


@pytest.mark.parametrize(
    ("deed", "limit", "words"),
    [
        ("sleep", LIMIT, "took longer than 2 s and had to be killed"),
        ("hold", LIMIT, "took longer than 2 s and had to be killed"),
        ("allocate", AMPLE, "out of memory or a crash of native code"),
        ("crash", AMPLE, "out of memory or a crash of native code"),
    ],
    ids=["sleep", "hold", "allocate", "crash"],
)
def test_a_bad_task_harms_neither_its_neighbours_nor_the_pool(
    workers: Workers, deed: str, limit: float, words: str
) -> None:
    pool = DaskPool(workers)
    until(lambda: pool.workers == 2, 90)
    pool.submit(bad(deed, limit))
    for number in range(20):
        pool.submit(good(number))
    done = collect(pool, 21)
    assert [done[n].value for n in range(20)] == list(range(20))
    end = done[deed]
    assert (end.value, end.killed, end.timed_out) == (None, True, limit == LIMIT)
    assert words in (end.error or "")
    until(lambda: pool.workers == 2, 90)


def test_the_death_of_every_worker_costs_no_healthy_task(workers: Workers) -> None:
    pool = DaskPool(workers)
    until(lambda: pool.workers == 2, 90)
    for number in range(10):
        pool.submit(good(number))
    pids = workers.client.run(os.getpid)
    for pid in pids.values():
        os.kill(pid, signal.SIGKILL)
    done = collect(pool, 10)
    survived = [n for n in range(10) if done[n].value == n]
    assert len(survived) >= 8, "only the two that were running may be blamed"


def test_dropped_tasks_return_nothing(workers: Workers) -> None:
    pool = DaskPool(workers)
    until(lambda: pool.workers == 2, 90)
    for number in range(8):
        pool.submit(good(number))
    pool.drop()
    pool.submit(good(99))
    done = collect(pool, 1)
    assert set(done) == {99}


def test_workers_have_one_thread_and_keep_freed_memory(workers: Workers) -> None:
    for environment in workers.client.run(lambda: dict(os.environ)).values():
        assert environment["OMP_NUM_THREADS"] == "1"
        assert "MALLOC_TRIM_THRESHOLD_" not in environment


def test_workers_keep_their_files_in_the_scratch_folder(workers: Workers) -> None:
    folders = workers.client.run(lambda dask_worker: dask_worker.local_directory)
    assert all("dask" in Path(folder).parts[-2] or "dask" in folder for folder in folders.values())
