"""The probe of a scheduler: answers, missing answers, and no waiting for them."""

import asyncio
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.dask_processes import Process, Stage, wait_until
from trainingjob_trainer.dask_cluster.connection import resolve_address
from trainingjob_trainer.dask_cluster.probe import Probe, ProbeSnapshot, SchedulerIdentity, identity
from trainingjob_trainer.errors import RunFailed


@pytest.fixture(scope="module")
def scheduler(stage: Stage) -> Process:
    scheduler = stage.scheduler()
    stage.worker("--name", "one").wait_for("works for")
    return scheduler


@pytest.fixture
def mute() -> Iterator[str]:
    """Return the address of a server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"


def ask(address: str, seconds: float = 5.0) -> SchedulerIdentity:
    return asyncio.run(identity(address, timeout=seconds))


def refusal(address: str, seconds: float = 5.0) -> str:
    with pytest.raises(RunFailed) as caught:
        ask(address, seconds)
    assert caught.value.reason == "SchedulerUnavailable"
    assert address in caught.value.message
    return caught.value.message


def until(probe: Probe, true: str, what: str) -> ProbeSnapshot:
    wait_until(lambda: eval(true, {"seen": probe.snapshot()}), what)  # noqa: S307 - written here
    return probe.snapshot()


def test_a_scheduler_answers_with_its_identity_and_workers(stage: Stage, scheduler: Process) -> None:
    seen = ask(resolve_address(stage.scheduler_file))
    assert seen.id.startswith("Scheduler-")
    assert sorted(worker.name for worker in seen.workers) == ["one"]
    for worker in seen.workers:
        assert worker.status == "running"
        assert "/worker-" in worker.directory
    assert seen.running == {worker.address: worker.directory for worker in seen.workers}


def test_a_server_that_is_not_a_scheduler_is_named(stage: Stage, scheduler: Process, mute: str) -> None:
    (worker,) = ask(resolve_address(stage.scheduler_file)).running
    assert "another Dask process, such as a worker, answers there" in refusal(worker)
    with socket.create_server(("127.0.0.1", 0)) as server:
        nobody = f"tcp://127.0.0.1:{server.getsockname()[1]}"
    # The last of several attempts may have been cut short instead of refused.
    assert re.search("Connection refused|Timed out trying to connect", refusal(nobody, 1.0))
    began = time.monotonic()
    assert "no answer within 0.5 s" in refusal(mute, 0.5)
    assert time.monotonic() - began < 5


def test_an_answer_in_another_protocol_is_ignored() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def speak() -> None:
            peer = server.accept()[0]
            peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 4)
            peer.close()

        speaker = threading.Thread(target=speak)
        speaker.start()
        refusal(f"tcp://127.0.0.1:{server.getsockname()[1]}", 1.0)
        speaker.join()


def test_a_probe_sees_a_scheduler_stop_and_continue(stage: Stage, scheduler: Process) -> None:
    address = resolve_address(stage.scheduler_file)
    with Probe(address, interval=0.1, timeout=0.5) as probe:
        before = until(probe, "seen.workers", "a worker")
        assert before.reachable
        assert before.misses == 0
        assert before.no_workers_since is None
        assert before.error is None
        scheduler.send(signal.SIGSTOP)
        try:
            stopped = until(probe, "seen.misses >= 3", "three misses")
            assert not stopped.reachable
            assert stopped.scheduler_id == before.scheduler_id
            assert stopped.error is not None
            assert "no answer within 0.5 s" in stopped.error
            began = time.monotonic()
            probe.snapshot()
            assert time.monotonic() - began < 0.1
        finally:
            scheduler.send(signal.SIGCONT)
        after = until(probe, "seen.reachable", "an answer")
        assert after.misses == 0
        assert after.scheduler_id == before.scheduler_id


def test_a_probe_waits_for_an_address_and_notes_when_the_last_worker_went(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    began = time.monotonic()
    probe = Probe(lambda: resolve_address(stage.scheduler_file), interval=0.1, timeout=1.0)
    assert probe.snapshot() == ProbeSnapshot()
    with probe:
        missing = until(probe, "seen.misses >= 2", "two misses")
        assert missing.error is not None
        assert "does not exist" in missing.error
        assert missing.no_workers_since is not None
        assert began <= missing.no_workers_since <= time.monotonic()
        try:
            first = stage.scheduler()
            alone = until(probe, "seen.reachable", "an answer")
            assert alone.workers == {}
            assert alone.no_workers_since == missing.no_workers_since
            first.send(signal.SIGKILL)
            until(probe, "not seen.reachable", "a miss")
            stage.scheduler()
            again = until(probe, "seen.reachable", "an answer")
            assert again.scheduler_id != alone.scheduler_id
        finally:
            stage.close()


def test_a_closed_probe_sends_no_further_request(mute: str) -> None:
    probe = Probe(mute, interval=0.01, timeout=0.05).start()
    until(probe, "seen.misses >= 2", "two questions")
    probe.close()
    wait_until(lambda: "scheduler-probe" not in {thread.name for thread in threading.enumerate()}, "the end")
    assert not probe.snapshot().reachable


def test_a_probe_survives_unexpected_errors() -> None:
    def locate() -> str:
        raise ZeroDivisionError

    with Probe(locate, interval=0.01, timeout=1.0) as probe:
        seen = until(probe, "seen.misses >= 2", "two misses")
        assert seen.error == "ZeroDivisionError"
