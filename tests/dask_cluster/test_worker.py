"""`trainingjob worker`: its tasks, and all ways in which it ends."""

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from distributed import Client
from distributed.scheduler import KilledWorker

from support.dask_processes import PATIENCE, Process, Stage, call, check, check_as_a_process, wait_until
from trainingjob_trainer.dask_cluster.connection import resolve_address
from trainingjob_trainer.dask_cluster.probe import Probe

NAMES = ("steady", "drained", "hasty", "retired", "idle")


@pytest.fixture(scope="module")
def workers(stage: Stage) -> dict[str, Process]:
    stage.scheduler()
    options = {"idle": ("--idle-timeout", "2")}
    started = {}
    # One after the other: their imports compete for processors, and a worker has 60 s to start.
    for name in NAMES:
        started[name] = stage.worker("--name", name, "--memory-limit-mb", "1024", *options.get(name, ()))
        started[name].wait_for("works for")
    return started


@pytest.fixture(scope="module")
def client(stage: Stage, workers: dict[str, Process]) -> Iterator[Client]:
    with Client(resolve_address(stage.scheduler_file), set_as_default=False) as client:
        yield client


def address_of(client: Client, name: str) -> str | None:
    known = client.scheduler_info(n_workers=-1)["workers"].items()
    return next((address for address, worker in known if worker["name"] == name), None)


def status_of(client: Client, name: str) -> str | None:
    known = client.scheduler_info(n_workers=-1)["workers"].values()
    return next((worker["status"] for worker in known if worker["name"] == name), None)


def here(client: Client, name: str) -> dict[str, Any]:
    """Return how a call on the worker of that name is placed."""
    address = address_of(client, name)
    assert address is not None
    return {"workers": [address], "allow_other_workers": False, "pure": False}


def test_an_idle_worker_ends_with_success(workers: dict[str, Process]) -> None:
    idle = workers["idle"]
    assert idle.ended() == 0
    assert "worker idle ends: idle for too long" in idle.text
    assert "Traceback" not in idle.text


def test_the_worker_has_the_settings_of_the_search(client: Client) -> None:
    def look() -> dict[str, Any]:
        import os
        import sys
        import threading
        from multiprocessing import current_process

        import dask
        from distributed import get_worker

        worker = get_worker()
        settings = dask.config.get("distributed.worker.memory")
        return {
            "daemon": current_process().daemon,
            "threads": worker.state.nthreads,
            "memory": worker.memory_manager.memory_limit,
            "terminate": settings["terminate"],
            "off": [settings[name] for name in ("target", "spill", "pause")],
            "environment": {
                name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "MALLOC_TRIM_THRESHOLD_")
            },
            "imported": {"sklearn.ensemble", "lightgbm", "xgboost", "catboost"} - set(sys.modules),
            "main": threading.current_thread() is not threading.main_thread(),
        }

    found = client.submit(look, **here(client, "steady")).result(timeout=30)
    assert found == {
        "daemon": False,
        "threads": 1,
        "memory": 1024 * 1024 * 1024,
        "terminate": 0.95,
        "off": [False, False, False],
        "environment": {"OMP_NUM_THREADS": "1", "MALLOC_TRIM_THRESHOLD_": None},
        "imported": set(),
        "main": True,
    }


def test_the_worker_opens_only_its_own_ports(client: Client, workers: dict[str, Process]) -> None:
    nanny = psutil.Process(workers["steady"].popen.pid)
    process = psutil.Process(
        client.submit(lambda: __import__("os").getpid(), **here(client, "steady")).result()
    )
    for member in (nanny, process):
        listening = [c.laddr for c in member.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
        assert {address.ip for address in listening} == {"127.0.0.1"}


def test_a_killed_worker_restarts_within_seconds(client: Client) -> None:
    before = address_of(client, "steady")
    with pytest.raises(KilledWorker):
        client.submit(
            lambda: __import__("os").kill(__import__("os").getpid(), 9), **here(client, "steady")
        ).result(timeout=30)
    began = time.monotonic()
    wait_until(lambda: address_of(client, "steady") not in {None, before}, "the worker is back")
    assert time.monotonic() - began < 15
    assert client.submit(lambda: 7, **here(client, "steady")).result(timeout=30) == 7


def test_a_worker_that_exceeds_its_memory_is_killed(client: Client) -> None:
    def devour() -> int:
        import time

        held = bytearray(b"x" * (1100 * 1024 * 1024))
        time.sleep(60)
        return len(held)

    began = time.monotonic()
    with pytest.raises(KilledWorker):
        client.submit(devour, **here(client, "steady")).result(timeout=60)
    assert time.monotonic() - began < 30
    wait_until(lambda: address_of(client, "steady"), "the worker is back")


def test_a_stopped_worker_finishes_its_task_and_takes_no_other(
    client: Client, workers: dict[str, Process], stage: Stage
) -> None:
    drained = workers["drained"]
    begun, allowed = stage.folder / "begun", stage.folder / "allowed"

    def wait(begun: str, allowed: str) -> str:
        import pathlib
        import time

        pathlib.Path(begun).touch()
        end = time.monotonic() + 60
        while not pathlib.Path(allowed).exists() and time.monotonic() < end:
            time.sleep(0.02)
        return "finished"

    place = here(client, "drained")
    first = client.submit(wait, str(begun), str(allowed), **place)
    second = client.submit(lambda: "begun too late", **place)
    wait_until(begun.exists, "the task has begun")
    drained.send(signal.SIGTERM)

    wait_until(lambda: status_of(client, "drained") == "closing_gracefully", "it drains")
    check_result = check("worker", "--name", "drained", "--scheduler-file", str(stage.scheduler_file))
    assert check_result.returncode == 1
    assert "drained is closing_gracefully" in check_result.stderr
    with Probe(resolve_address(stage.scheduler_file), interval=0.1) as probe:
        wait_until(lambda: probe.snapshot().reachable, "an answer")
        seen = probe.snapshot()
    assert seen.leaving == (place["workers"][0],)
    assert place["workers"][0] not in seen.workers
    allowed.touch()
    assert first.result(timeout=30) == "finished"
    first.release()
    assert drained.ended(30) == 0
    assert "worker drained ends: SIGTERM" in drained.text
    assert "Traceback" not in drained.text
    # Nobody is blamed, and it is still to be done.
    assert second.status == "pending"
    second.cancel()


def test_a_second_signal_ends_the_worker_at_once_without_blame(
    client: Client, workers: dict[str, Process]
) -> None:
    place = here(client, "hasty")
    running = client.submit(lambda: __import__("time").sleep(300), **place)
    wait_until(lambda: client.processing(workers=place["workers"])[place["workers"][0]], "the task has begun")
    workers["hasty"].send(signal.SIGTERM)
    wait_until(lambda: status_of(client, "hasty") == "closing_gracefully", "it drains")
    workers["hasty"].send(signal.SIGTERM)
    assert workers["hasty"].ended(15) == 0
    wait_until(lambda: address_of(client, "hasty") is None, "the scheduler knows")
    assert running.status == "pending"
    running.cancel()


def test_a_retired_worker_does_not_come_back(client: Client, workers: dict[str, Process]) -> None:
    address = address_of(client, "retired")
    client.retire_workers([address], close_workers=True, remove=True)
    assert workers["retired"].ended() == 0
    assert "worker retired ends: retired" in workers["retired"].text


def test_a_check_asks_the_scheduler_for_the_worker(stage: Stage, client: Client) -> None:
    file = ("--scheduler-file", str(stage.scheduler_file))
    address = resolve_address(stage.scheduler_file)
    well = check_as_a_process("worker", "--name", "steady", *file)
    assert (well.returncode, well.stdout) == (0, f"worker steady takes tasks of the scheduler at {address}\n")
    by_environment = check("worker", "--name", "steady", environment={"DASK_SCHEDULER_ADDRESS": address})
    assert by_environment.returncode == 0
    gone = check("worker", "--name", "retired", *file)
    assert gone.returncode == 1
    assert gone.stderr == f"worker retired takes no tasks of the scheduler at {address}: not connected\n"


def test_a_name_that_is_in_use_is_reported(stage: Stage, client: Client) -> None:
    second = stage.worker("--name", "steady", "--wait-seconds", "0")
    assert second.ended() == 1
    assert "the scheduler already has a worker steady: give this one another --name" in second.text


def test_a_worker_joins_the_next_scheduler_after_a_loss(stage: Stage, workers: dict[str, Process]) -> None:
    """Runs last: it ends the module's scheduler."""
    roaming = workers["steady"]
    first = stage.processes[0]
    first.send(signal.SIGKILL)
    first.ended()
    roaming.wait_for("has lost its scheduler")
    second = stage.scheduler()
    second.wait_for("worker steady joined")
    roaming.wait_for("works for", times=2)
    second.send(signal.SIGTERM)
    assert second.ended() == 0
    roaming.wait_for("has lost its scheduler", times=2)
    roaming.send(signal.SIGTERM)
    assert roaming.ended() == 0
    # Dask logs a heartbeat during the kill of its scheduler with a traceback.
    cut_off = r"Failed to communicate with scheduler during heartbeat\.\n.*?(?=^\d{4}-)"
    assert "Traceback" not in re.sub(cut_off, "", roaming.text, flags=re.DOTALL | re.MULTILINE)


def test_a_worker_gives_up_without_a_scheduler(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    alone = stage.worker("--wait-seconds", "1")
    assert alone.ended() == 1
    assert "no scheduler was available within 1 s (--wait-seconds): the scheduler file" in alone.text
    assert "Traceback" not in alone.text


def test_a_waiting_worker_ends_at_once_on_a_signal(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    try:
        waiting = stage.worker()
        waiting.wait_for("waiting for the scheduler: the scheduler file")
        began = time.monotonic()
        waiting.send(signal.SIGTERM)
        assert waiting.ended() == 0
        assert time.monotonic() - began < 5
    finally:
        stage.close()


def test_it_says_what_is_wrong_with_its_options() -> None:
    with_both = call("worker", "--scheduler-file", "x", "--scheduler", "tcp://127.0.0.1:1")
    assert with_both.returncode == 2
    assert "contradict each other" in with_both.stderr
    no_address = call("worker", "--scheduler", "127.0.0.1:1")
    assert no_address.returncode == 2
    assert "(--scheduler, DASK_SCHEDULER_ADDRESS) must look like tcp://host:8786" in no_address.stderr


def test_the_default_name_of_a_worker_is_host_and_number(stage: Stage) -> None:
    from trainingjob_trainer.dask_cluster.worker import default_name

    assert default_name() == f"{os.uname().nodename}-{os.getpid()}"


def test_a_worker_that_is_stopped_while_it_starts_ends_at_once(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    try:
        stage.scheduler()
        starting = stage.worker()
        parent = psutil.Process(starting.popen.pid)
        wait_until(parent.children, "the nanny has begun")
        family = parent.children(recursive=True)
        starting.send(signal.SIGTERM)
        assert starting.ended() == 0
        assert "works for" not in starting.text
        assert "ends: SIGTERM" in starting.text
        assert "Traceback" not in starting.text
        _, alive = psutil.wait_procs(family, timeout=PATIENCE)
        assert not alive
    finally:
        stage.close()
