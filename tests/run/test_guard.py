"""The parent ends a child that does not leave a lost cluster, and no other child."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from trainingjob_api import Backend, Fallback, Stage
from trainingjob_trainer.dask_cluster.probe import ProbeSnapshot
from trainingjob_trainer.events import BackendReady, Event, FellBack, StageChanged
from trainingjob_trainer.run.watch import ClusterGuard

DASK = BackendReady(backend=Backend.DASK, workers=2, scheduler="tcp://scheduler:8786")
LOST = ProbeSnapshot(misses=3, error="no answer within 3 s")
GOOD = ProbeSnapshot(scheduler_id="one", workers={"a": "1"})


@dataclass
class FakeProbe:
    seen: ProbeSnapshot = GOOD
    addresses: list[str] = field(default_factory=list)
    closed: bool = False

    def __call__(self, address: str, **_how: Any) -> "FakeProbe":
        self.addresses.append(address)
        return self

    def start(self) -> "FakeProbe":
        return self

    def snapshot(self) -> ProbeSnapshot:
        return self.seen

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> FakeProbe:
    fake = FakeProbe()
    monkeypatch.setattr("trainingjob_trainer.dask_cluster.probe.Probe", fake)
    return fake


def fallback() -> FellBack:
    step = Fallback(from_="dask", to="local", reason="SchedulerLost", time=datetime.now(UTC), message="")
    return FellBack(fallback=step)


def test_a_run_without_a_cluster_is_never_ended_by_the_guard(probe: FakeProbe) -> None:
    guard = ClusterGuard({})
    guard.hear(BackendReady(backend=Backend.LOCAL, workers=2))
    assert guard.complaint() is None
    assert probe.addresses == []


def test_a_child_on_a_lost_cluster_is_ended_after_its_grace(probe: FakeProbe) -> None:
    guard = ClusterGuard({}, grace_seconds=0.0)
    guard.hear(DASK)
    assert guard.complaint() is None
    probe.seen = LOST
    guard.complaint()
    complaint = guard.complaint()
    assert complaint is not None
    assert "no answer within 3 s" in complaint


def test_a_child_has_its_grace_to_leave_by_itself(probe: FakeProbe) -> None:
    guard = ClusterGuard({}, grace_seconds=60.0)
    guard.hear(DASK)
    probe.seen = LOST
    assert guard.complaint() is None
    assert guard.complaint() is None


def test_a_cluster_that_answers_again_is_not_lost(probe: FakeProbe) -> None:
    guard = ClusterGuard({}, grace_seconds=0.0)
    guard.hear(DASK)
    probe.seen = LOST
    guard.complaint()
    probe.seen = GOOD
    assert guard.complaint() is None
    probe.seen = LOST
    assert guard.complaint() is None, "the grace starts again"


@pytest.mark.parametrize(
    "event",
    [
        fallback(),
        BackendReady(backend=Backend.LOCAL, workers=1),
        StageChanged(stage=Stage.FITTING),
        StageChanged(stage=Stage.SAVING),
    ],
    ids=["fell-back", "local", "fitting", "saving"],
)
def test_a_child_that_needs_no_cluster_any_more_is_not_ended(probe: FakeProbe, event: Event) -> None:
    guard = ClusterGuard({}, grace_seconds=0.0)
    guard.hear(DASK)
    probe.seen = LOST
    guard.hear(event)
    assert probe.closed
    guard.complaint()
    assert guard.complaint() is None
