"""The pool with simulated workers that join, leave and are lost."""

import math
import threading
import time

import pytest
from distributed.client import FutureCancelledError

from support.played_workers import LIMIT, Clock, Cluster, KilledWorker, results, started, task
from trainingjob_trainer.search.dask_pool import DaskPool
from trainingjob_trainer.search.pool import PoolLost


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(time, "monotonic", found)
    return found


def test_a_task_is_sent_as_bytes_and_without_a_time_of_this_clock() -> None:
    cluster = Cluster("a")
    pool = started(cluster, 7)
    (future,) = cluster.sent["a"]
    assert future.key.startswith("double-")
    future.finish()
    assert results(pool.poll(0)) == {7: (14, math.inf)}


def test_a_joining_worker_gets_waiting_tasks() -> None:
    cluster = Cluster("a")
    pool = started(cluster, 1, 2, 3, 4)
    assert len(cluster.sent["a"]) == 2
    cluster.workers.append("b")
    pool.poll(0)
    assert len(cluster.sent["b"]) == 2


@pytest.mark.parametrize(("seconds", "waiting"), [(0.05, 1), (0.2, 1), (0.3, 0), (20.0, 0)])
def test_a_second_task_waits_behind_short_ones_only(clock: Clock, seconds: float, waiting: int) -> None:
    cluster = Cluster("a", "b")
    pool = started(cluster, 1)
    clock.now += seconds
    cluster.sent["a"][0].finish()
    pool.poll(0)
    assert pool.free() == 2 * (1 + waiting)


def test_no_task_is_blamed_when_all_workers_die_at_once(clock: Clock) -> None:
    cluster = Cluster("a", "b", "c")
    pool = started(cluster, 1, 2, 3, 4)
    stale = list(cluster.workers)
    for worker in stale:
        cluster.kill(worker)
        cluster.workers = stale[:]  # what is known of the workers lags behind
        assert pool.poll(0) == []
    assert cluster.sent == {}, "nothing goes to a worker that has died"
    cluster.workers = ["d", "e"]
    clock.now += 10
    pool.poll(0)
    for future in [*cluster.sent["d"], *cluster.sent["e"]]:
        future.finish()
    assert set(results(pool.poll(0))) == {1, 2, 3, 4}


def test_a_worker_that_takes_the_address_of_a_dead_one_is_used(clock: Clock) -> None:
    cluster = Cluster("a")
    pool = started(cluster, 1, 2)
    cluster.kill("a")
    cluster.workers, cluster.processes = ["a"], {"a": "second"}  # between two looks
    assert pool.poll(0) == []
    clock.now += 10
    pool.poll(0)
    for future in cluster.sent["a"]:
        future.finish()
    assert set(results(pool.poll(0))) == {1, 2}


def test_tasks_of_a_replaced_worker_are_submitted_again(clock: Clock) -> None:
    cluster = Cluster("a")
    pool = started(cluster, 1, 2)
    lost = cluster.sent.pop("a")  # without an event
    cluster.processes = {"a": "second"}
    assert pool.free() == 0
    assert pool.poll(0) == []
    clock.now += 10
    pool.poll(0)
    assert len(cluster.sent["a"]) == len(lost) == 2
    for future in cluster.sent["a"]:
        future.finish()
    assert set(results(pool.poll(0))) == {1, 2}


def test_a_drained_worker_is_forgotten_with_its_process(clock: Clock) -> None:
    cluster = Cluster("a")
    pool = started(cluster, 1)
    cluster.workers, cluster.drained = [], ["a"]
    pool.poll(0)
    cluster.sent["a"][0].finish()
    assert set(results(pool.poll(0))) == {1}
    cluster.workers, cluster.drained, cluster.processes = ["a"], [], {"a": "second"}
    pool.submit(task(2))
    clock.now += LIMIT + 2
    cluster.kill("a")
    (end,) = pool.poll(0)
    assert (end.tag, end.killed) == (2, True), "a task that outlives its limit is no victim of a drain"


def test_a_task_is_not_blamed_for_the_first_death_of_its_worker(clock: Clock) -> None:
    cluster = Cluster("a", "b")
    pool = started(cluster, 1, 2, 3)
    cluster.kill("a")
    assert pool.poll(0) == []
    clock.now += 10
    pool.poll(0)
    for future in cluster.sent["b"]:
        future.finish()
    first = results(pool.poll(0))
    for future in cluster.sent["b"][2:]:
        future.finish()
    assert set(first) | set(results(pool.poll(0))) == {1, 2, 3}


def test_a_task_whose_worker_dies_twice_is_blamed(clock: Clock) -> None:
    cluster = Cluster("a", "b")
    pool = started(cluster, 1)
    cluster.kill("a")
    assert pool.poll(0) == []
    clock.now += 10
    pool.poll(0)
    cluster.kill("b")
    (end,) = pool.poll(0)
    assert (end.tag, end.killed, end.timed_out) == (1, True, False)
    assert end.error is not None
    assert "the worker died" in end.error


def test_a_task_that_is_killed_at_its_limit_is_not_retried(clock: Clock) -> None:
    cluster = Cluster("a", "b")
    pool = started(cluster, 1)
    clock.now += LIMIT + 2
    cluster.kill("a")
    (end,) = pool.poll(0)
    assert (end.tag, end.timed_out) == (1, True)


def test_cancelled_futures_mean_the_loss_of_the_scheduler_without_blame() -> None:
    cluster = Cluster("a")
    pool = started(cluster, 1, 2)
    for future in cluster.sent["a"]:
        future.fail(FutureCancelledError(future.key, "scheduler-connection-lost"), status="cancelled")
    with pytest.raises(PoolLost) as caught:
        pool.poll(0)
    assert caught.value.reason == "SchedulerLost"


def test_results_before_a_loss_are_kept() -> None:
    cluster = Cluster("a")
    pool = started(cluster, 1, 2)
    first, second = cluster.sent["a"]
    first.finish()
    second.fail(FutureCancelledError(second.key, "scheduler-connection-lost"), status="cancelled")
    assert results(pool.poll(0)).keys() == {1}
    with pytest.raises(PoolLost):
        pool.poll(0)


def test_a_cluster_that_is_lost_by_its_probe_is_lost_at_once() -> None:
    cluster = Cluster("a")
    pool = started(cluster, 1)
    cluster.lost = PoolLost("WorkersLost", "no worker for 15 s")
    with pytest.raises(PoolLost, match="no worker for 15 s"):
        pool.poll(10)


@pytest.mark.parametrize("how", ["killed", "vanished"])
def test_a_task_is_not_blamed_while_its_value_is_fetched(clock: Clock, how: str) -> None:
    cluster = Cluster("a", "b")
    cluster.remote = False
    pool = DaskPool(cluster)
    for number in (1, 2, 3, 4):
        pool.submit(task(number))
    fetched, running = cluster.sent["a"]
    fetched.status = "finished"
    if how == "killed":
        running.fail(KilledWorker("a"))
    else:
        cluster.workers.remove("a")
        pool.poll(0)
        clock.now += 6
    ended = pool.poll(0)
    assert [(end.tag, end.killed) for end in ended] == [(3, True)]
    fetched.finish()
    assert [(end.tag, end.killed) for end in pool.poll(0)] == [(1, False)]


def test_a_client_that_has_closed_is_a_loss() -> None:
    cluster = Cluster("a")
    cluster.closed = True
    with pytest.raises(PoolLost):
        started(cluster, 1)


def test_only_short_tasks_have_a_second_task_waiting(clock: Clock) -> None:
    cluster = Cluster("a", "b")
    pool = DaskPool(cluster)
    assert pool.free() == 4
    for number in range(2):
        pool.submit(task(number))
    clock.now += 5
    for worker in ("a", "b"):
        cluster.sent[worker][0].finish()
    assert len(pool.poll(0)) == 2
    assert pool.free() == 2, "the next tasks go to idle workers"


def test_a_drained_worker_may_finish_a_long_task(clock: Clock) -> None:
    cluster = Cluster("a", "b")
    pool = started(cluster, 1, 2, 3)
    drained = cluster.sent["a"][0]
    cluster.workers, cluster.drained = ["b"], ["a"]
    for _ in range(3):
        clock.now += 8
        pool.poll(0)
    drained.finish()
    assert 1 in results(pool.poll(0)), "what it finished is kept"


def test_a_drained_worker_blames_no_task(clock: Clock) -> None:
    cluster = Cluster("a", "b")
    pool = started(cluster, 1)
    for worker in ("a", "b"):
        pool.poll(0)
        assert cluster.sent[worker]
        cluster.workers.remove(worker)
        cluster.drained = [worker]
        pool.poll(0)
        cluster.drained = []
        for future in cluster.sent.pop(worker, []):
            future.fail(KilledWorker(worker))
        assert pool.poll(0) == []
        clock.now += 10
    cluster.workers = ["c"]
    pool.poll(0)
    cluster.sent["c"][0].finish()
    assert results(pool.poll(0)).keys() == {1}, "two drained workers prove nothing against a task"


def test_a_missing_result_does_not_delay_the_search() -> None:
    cluster = Cluster("a")
    pool = started(cluster, 1, 2)
    stuck = threading.Event()
    cluster.sent["a"][0].result = stuck.wait  # type: ignore[method-assign]
    fetching = threading.Thread(target=cluster.sent["a"][0].finish, daemon=True)
    fetching.start()
    try:
        started_at = time.monotonic()
        assert pool.poll(0.05) == []
        cluster.lost = PoolLost("SchedulerLost", "gone")
        with pytest.raises(PoolLost):
            pool.poll(0.05)
        assert time.monotonic() - started_at < 2
    finally:
        stuck.set()
        fetching.join()
