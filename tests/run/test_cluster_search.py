"""A distributed run searches on its cluster, or locally with a reason."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from trainingjob_trainer.errors import RunFailed
from trainingjob_trainer.events import BackendReady, Channel, Event, WaitingForCluster, decode_event
from trainingjob_trainer.run.search_stage import cluster_workers
from trainingjob_trainer.search.dask_pool import DaskPool
from trainingjob_trainer.search.limits import RunClock
from trainingjob_trainer.search.pool import InlinePool, PoolLost
from trainingjob_trainer.search.store import StoreRef

REF = StoreRef(folder="nowhere", work_digest="a" * 64, frame_digest="b" * 64, folds=2, named=False)


class Remote:
    """A cluster whose answers a test sets."""

    remote = True
    address = "tcp://scheduler:8786"
    client = None

    def __init__(self, **lost: PoolLost) -> None:
        self._lost = lost
        self.steps: list[str] = []

    def live(self) -> dict[str, str]:
        return {"a": "1", "b": "2"}

    def leaving(self) -> list[str]:
        return []

    def _step(self, name: str) -> None:
        self.steps.append(name)
        if name in self._lost:
            raise self._lost[name]

    def settings(self, _tick: Callable[[], None]) -> None:
        self._step("settings")

    def ship(self, _ref: StoreRef, _tick: Callable[[], None]) -> None:
        self._step("ship")

    def check(self) -> None:
        self._step("check")

    def close(self, _ref: StoreRef) -> None:
        self._step("close")


class Joining:
    source = Path("/var/run/tpot/scheduler.json")
    end = 0.0

    def __init__(self, found: Any, *, done: bool = True) -> None:
        self._found = found
        self.done = done
        self.closed = False

    def wait(self, tick: Callable[[], None]) -> Any:
        tick()
        if isinstance(self._found, PoolLost):
            raise self._found
        return self._found

    def close(self) -> None:
        self.closed = True


class Run:
    """Keeps the messages of the search."""

    def __init__(self) -> None:
        self._reader, writer = os.pipe()
        self.channel = Channel(writer, clock=lambda: (0.0, False))
        self._writer = writer
        self.steps: list[tuple[str, str]] = []
        self.allowed = True
        self.stopped = False
        self.clock = RunClock(60)

    def step_down(self, source: str, target: str, reason: str, message: str) -> None:
        assert (source, target) == ("dask", "local")
        if not self.allowed:
            raise RunFailed(reason, message)
        self.steps.append((reason, message))

    def search(self, joining: Joining, home: InlinePool) -> AbstractContextManager[tuple[Any, Any]]:
        context = SimpleNamespace(
            channel=self.channel,
            clock=self.clock,
            send=self.channel.send,
            step_down=self.step_down,
            stop=SimpleNamespace(is_set=lambda: self.stopped),
        )
        return cluster_workers(context, joining, home, REF)  # type: ignore[arg-type]

    def events(self) -> list[Event]:
        self.channel.close()
        os.close(self._writer)
        with os.fdopen(self._reader, "rb") as file:
            return [decode_event(line) for line in file.read().splitlines() if b"heartbeat" not in line]


@pytest.fixture
def run() -> Run:
    return Run()


def test_the_search_runs_on_an_available_cluster(run: Run) -> None:
    remote, joining, home = Remote(), Joining(None), InlinePool()
    joining._found = remote
    with run.search(joining, home) as (pool, _):
        assert isinstance(pool, DaskPool)
        assert remote.steps == ["settings", "ship", "check"]
    assert remote.steps[-1] == "close"
    assert joining.closed
    (event,) = run.events()
    assert isinstance(event, BackendReady)
    assert (event.backend, event.workers, event.scheduler) == ("dask", 2, remote.address)
    assert run.steps == []


def test_the_wait_for_a_cluster_is_reported(run: Run) -> None:
    with run.search(Joining(Remote(), done=False), InlinePool()):
        pass
    first, _ = run.events()
    assert isinstance(first, WaitingForCluster)
    assert first.source == "/var/run/tpot/scheduler.json"


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (PoolLost("SchedulerUnavailable", "nobody"), "SchedulerUnavailable"),
        (PoolLost("NoWorkers", "none"), "NoWorkers"),
        (Remote(settings=PoolLost("SettingsMismatch", "3")), "SettingsMismatch"),
        (Remote(ship=PoolLost("VersionMismatch", "0.1")), "VersionMismatch"),
        (Remote(check=PoolLost("WorkersLost", "all")), "WorkersLost"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_without_a_cluster_the_search_runs_locally_with_a_reason(run: Run, found: Any, reason: str) -> None:
    home = InlinePool()
    with run.search(Joining(found), home) as (pool, _):
        assert pool is home
    assert [step[0] for step in run.steps] == [reason]
    (event,) = run.events()
    assert isinstance(event, BackendReady)
    assert (event.backend, event.workers, event.scheduler) == ("local", 1, None)
    if isinstance(found, Remote):
        assert found.steps[-1] == "close"


def test_a_search_on_a_lost_cluster_continues_on_local_workers(run: Run) -> None:
    home = InlinePool()
    with run.search(Joining(Remote()), home) as (_, instead):
        assert instead(PoolLost("SchedulerLost", "gone")) is home
    assert run.steps == [("SchedulerLost", "gone")]
    assert [event.backend for event in run.events() if isinstance(event, BackendReady)] == ["dask", "local"]


def test_a_job_without_fallback_fails_with_the_reason(run: Run) -> None:
    run.allowed = False
    with (
        pytest.raises(RunFailed) as caught,
        run.search(Joining(PoolLost("NoWorkers", "none")), InlinePool()),
    ):
        pass
    assert caught.value.reason == "NoWorkers"
    run.events()


def test_a_signal_ends_the_waiting_without_a_fallback(run: Run) -> None:
    run.stopped = True
    home = InlinePool()
    with run.search(Joining(Remote(), done=False), home) as (pool, _):
        assert pool is home
    assert run.steps == []
    run.events()
