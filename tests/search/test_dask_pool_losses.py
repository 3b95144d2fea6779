"""A pool with workers that die, do not answer or disappear."""

import time

import pytest

from support.played_workers import LIMIT, Clock, Cluster, results, started, task
from trainingjob_trainer.search.dask_pool import DaskPool
from trainingjob_trainer.search.limits import TaskLimit
from trainingjob_trainer.search.pool import Completion, PoolLost, Task


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(time, "monotonic", found)
    return found


@pytest.mark.parametrize("remote", [True, False])
def test_a_worker_that_does_not_answer_after_the_limit_is_restarted(clock: Clock, remote: bool) -> None:
    cluster = Cluster("a", "b")
    cluster.remote = remote
    pool = started(cluster, 1, 2)
    clock.now += LIMIT + 9
    assert pool.poll(0) == []
    clock.now += 2
    assert {(end.tag, end.killed, end.timed_out) for end in pool.poll(0)} == {
        (1, True, True),
        (2, True, True),
    }
    assert cluster.asked.wait(60)


def test_a_local_worker_dies_of_its_first_task_and_of_no_other(clock: Clock) -> None:
    cluster = Cluster("a")
    cluster.remote = False
    pool = started(cluster, 1, 2)
    cluster.kill("a")
    (end,) = pool.poll(0)
    assert (end.tag, end.killed, end.timed_out) == (1, True, False)
    cluster.workers = ["b"]
    assert pool.poll(0) == []
    cluster.sent["b"][0].finish()
    assert results(pool.poll(0)) == {2: (4, pytest.approx(time.time() + 5, abs=60))}


def test_a_task_that_the_deadline_ended_is_not_blamed_for_its_workers_death(clock: Clock) -> None:
    cluster = Cluster("a")
    cluster.remote = False
    pool = DaskPool(cluster)
    pool.submit(Task(tag=1, call=lambda: (started, (), TaskLimit(LIMIT, time.time() - 1))))
    cluster.kill("a")
    (end,) = pool.poll(0)
    assert (end.killed, end.timed_out, end.cut_off) == (True, False, True)


def test_a_minute_without_any_worker_is_a_loss(clock: Clock) -> None:
    cluster = Cluster("a")
    pool = started(cluster, 1)
    cluster.drained, cluster.workers = ["a"], []
    assert pool.poll(0) == []
    clock.now += 59
    assert pool.poll(0) == []
    clock.now += 2
    with pytest.raises(PoolLost) as caught:
        pool.poll(0)
    assert caught.value.reason == "WorkersLost"


def test_workers_that_come_back_within_the_minute_are_not_a_loss(clock: Clock) -> None:
    cluster = Cluster("a")
    pool = DaskPool(cluster)
    for _ in range(4):
        cluster.workers = []
        pool.poll(0)
        clock.now += 40
        cluster.workers = ["a"]
        assert pool.poll(0) == []


def test_a_task_is_not_sent_to_dying_workers_forever(clock: Clock) -> None:
    cluster = Cluster("a")
    pool = started(cluster, 1)
    ends: list[Completion] = []
    deaths = 0
    while not ends:
        cluster.drained = ["a"]
        pool.poll(0)
        assert deaths < 10, "it is given up"
        cluster.kill("a")
        deaths += 1
        ends = pool.poll(0)
        cluster.workers, cluster.drained = ["a"], []
        cluster.processes = {"a": f"after {deaths}"}
        clock.now += 10
        pool.poll(0)
    assert [(end.tag, end.killed, end.error) for end in ends] == [
        (1, True, "its workers died again and again")
    ]
    assert deaths > 1


def test_a_dropped_task_is_not_reported_when_it_ends(clock: Clock) -> None:
    cluster = Cluster("a")
    pool = started(cluster, 1, 2, 3)
    pool.drop()
    running, *_ = cluster.sent["a"]
    pool.submit(task(4))
    running.finish()
    assert pool.poll(0) == []
    cluster.sent["a"][-1].finish()
    assert results(pool.poll(0)).keys() == {4}


def test_a_task_whose_worker_died_waits_before_it_is_sent_again(clock: Clock) -> None:
    cluster = Cluster("a", "b")
    pool = started(cluster, 1)
    cluster.kill("a")
    assert pool.poll(0) == []
    assert cluster.sent == {}
    clock.now += 2
    pool.poll(0)
    assert cluster.sent == {}
    clock.now += 1
    pool.poll(0)
    assert len(cluster.sent["b"]) == 1
