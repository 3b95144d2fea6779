"""The checks of a cluster before a search, with a client that gives the answers of a test."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.dask_processes import Stage
from trainingjob_trainer.dask_cluster import remote
from trainingjob_trainer.dask_cluster.probe import ProbeSnapshot
from trainingjob_trainer.dask_cluster.remote import ClusterLookup, RemoteWorkers
from trainingjob_trainer.dask_cluster.scheduler import read_settings, read_versions
from trainingjob_trainer.search.pool import PoolLost
from trainingjob_trainer.search.store import StoreRef, TableTooLarge

REF = StoreRef(folder="nowhere", work_digest="a" * 64, frame_digest="b" * 64, folds=1, named=False)
GOOD = ProbeSnapshot(scheduler_id="one", workers={"a": "1", "b": "2"}, leaving=("c",))


class Scheduler:
    allowed_failures = 0


class Client:
    status = "running"

    def __init__(self) -> None:
        self.versions: Callable[[], dict[str, str]] = read_versions
        self.scheduler = Scheduler()
        self.plugin: BaseException | None = None
        self.stuck = threading.Event()
        self.closed = False
        self.unregistered: list[str] = []

    def run_on_scheduler(self, what: Callable[..., Any]) -> Any:
        return self.versions() if what is read_versions else read_settings(self.scheduler)

    def register_plugin(self, _plugin: Any) -> None:
        if self.plugin is not None:
            raise self.plugin

    def unregister_worker_plugin(self, name: str) -> None:
        self.unregistered.append(name)

    def close(self, timeout: float) -> None:
        self.closed = True


class FakeProbe:
    seen = GOOD

    def snapshot(self) -> ProbeSnapshot:
        return self.seen

    def close(self) -> None:
        pass


@pytest.fixture
def client() -> Client:
    return Client()


@pytest.fixture
def workers(client: Client, monkeypatch: pytest.MonkeyPatch) -> RemoteWorkers:
    monkeypatch.setattr(remote, "pack_store", lambda _ref: b"")
    return RemoteWorkers(
        client=client,  # type: ignore[arg-type]
        probe=FakeProbe(),  # type: ignore[arg-type]
        address="tcp://scheduler:8786",
        scheduler_id="one",
    )


def reason_of(work: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises(PoolLost) as caught:
        work()
    return caught.value.reason, str(caught.value)


def nothing() -> None:
    pass


def test_a_suitable_cluster_is_used(workers: RemoteWorkers, client: Client) -> None:
    workers.settings(nothing)
    workers.ship(REF, nothing)
    workers.check()
    assert (workers.live(), workers.leaving()) == ({"a": "1", "b": "2"}, ("c",))
    workers.close(REF)
    assert client.closed
    assert client.unregistered == ["trainingjob-table-" + "a" * 16]


@pytest.mark.parametrize("package", ["python", "dask", "distributed"])
def test_a_scheduler_of_another_version_is_named(
    workers: RemoteWorkers, client: Client, package: str
) -> None:
    client.versions = lambda: read_versions() | {package: "0.1"}
    reason, message = reason_of(lambda: workers.settings(nothing))
    assert reason == "VersionMismatch"
    assert f"{package} 0.1 instead of {read_versions()[package]}" in message


def test_a_scheduler_that_repeats_killing_tasks_is_rejected(workers: RemoteWorkers, client: Client) -> None:
    client.scheduler.allowed_failures = 3
    reason, message = reason_of(lambda: workers.settings(nothing))
    assert reason == "SettingsMismatch"
    assert "allowed-failures is 3" in message
    assert "trainingjob scheduler" in message


@pytest.mark.parametrize(
    ("error", "reason", "words"),
    [
        (RuntimeError("VersionMismatch: this worker has numpy 1 instead of 2"), "VersionMismatch", "numpy 1"),
        (
            ModuleNotFoundError("No module named 'trainingjob_trainer'"),
            "VersionMismatch",
            "one image for all",
        ),
        (RuntimeError("the table did not arrive as it was sent"), "SchedulerLost", "did not arrive"),
    ],
)
def test_a_worker_that_does_not_accept_the_table_is_named(
    workers: RemoteWorkers, client: Client, error: Exception, reason: str, words: str
) -> None:
    client.plugin = error
    found, message = reason_of(lambda: workers.ship(REF, nothing))
    assert found == reason
    assert words in message


def test_a_large_table_is_not_sent_to_the_cluster(
    workers: RemoteWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_large(_ref: StoreRef) -> bytes:
        raise TableTooLarge("2 GiB")

    monkeypatch.setattr(remote, "pack_store", too_large)
    assert reason_of(lambda: workers.ship(REF, nothing)) == ("TableTooLarge", "2 GiB")


def test_a_hanging_call_ends_when_the_probe_sees_the_loss(
    workers: RemoteWorkers, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "register_plugin", lambda _plugin: client.stuck.wait(60))
    ticks: list[float] = []

    def tick() -> None:
        ticks.append(time.monotonic())
        workers.probe.seen = ProbeSnapshot(misses=3, error="no answer within 3 s")  # type: ignore[attr-defined]

    reason, message = reason_of(lambda: workers.ship(REF, tick))
    client.stuck.set()
    assert reason == "SchedulerLost"
    assert "no answer within 3 s" in message
    assert ticks


def test_a_stop_signal_while_waiting_is_not_taken_for_a_loss(
    workers: RemoteWorkers, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    class StopError(Exception):
        pass

    def stop() -> None:
        raise StopError

    monkeypatch.setattr(client, "register_plugin", lambda _plugin: client.stuck.wait(60))
    with pytest.raises(StopError):
        workers.ship(REF, stop)
    client.stuck.set()


def test_a_client_that_has_closed_is_a_loss(workers: RemoteWorkers, client: Client) -> None:
    client.status = "closed"
    assert reason_of(workers.check)[0] == "SchedulerLost"


def test_the_run_does_not_wait_for_a_lost_cluster_at_its_end(workers: RemoteWorkers, client: Client) -> None:
    workers.probe.seen = ProbeSnapshot(misses=3)  # type: ignore[attr-defined]
    client.close = lambda timeout: client.stuck.wait(60)  # type: ignore[method-assign,assignment]  # noqa: ARG005
    started = time.monotonic()
    workers.close(None)
    client.stuck.set()
    assert time.monotonic() - started < 2


def test_a_cluster_that_does_not_come_is_given_up_with_its_reason(tmp_path: Path) -> None:
    lookup = ClusterLookup({}, str(tmp_path / "none.json"), ready_seconds=0.3)
    with pytest.raises(PoolLost, match=r"could be reached within 0 s: .*none\.json does not exist") as caught:
        lookup.wait(lambda: None)
    assert (caught.value.reason, lookup.done) == ("SchedulerUnavailable", True)
    lookup.close()


def test_half_of_the_certificates_end_the_lookup(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").touch()
    half = {"DASK_DISTRIBUTED__COMM__TLS__CA_FILE": str(tmp_path / "ca.crt")}
    with pytest.raises(PoolLost) as caught:
        ClusterLookup(half, str(tmp_path / "none.json"), ready_seconds=60).wait(lambda: None)
    assert caught.value.reason == "CertificatesInvalid"


def test_a_lookup_that_is_closed_ends_at_once(tmp_path: Path) -> None:
    lookup = ClusterLookup({}, str(tmp_path / "none.json"), ready_seconds=60)
    lookup.close()
    with pytest.raises(PoolLost, match="the run ended before"):
        lookup.wait(lambda: None)


def test_a_cluster_that_is_there_is_found_with_its_worker(stage: Stage) -> None:
    stage.scheduler()
    stage.worker().wait_for("works for")
    lookup = ClusterLookup({}, str(stage.scheduler_file), ready_seconds=60)
    workers = lookup.wait(lambda: None)
    assert len(workers.live()) == 1
    workers.settings(lambda: None)
    workers.close(None)
