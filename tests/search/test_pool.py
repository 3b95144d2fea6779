import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import dask
import psutil
import pytest

from trainingjob_trainer.search.pool import Workers, local_workers


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    with local_workers(1, memory_limit_mb=700, scratch=tmp_path_factory.mktemp("dask")) as found:
        yield found


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.usefixtures("workers")
def test_workers_and_scheduler_listen_on_the_loopback_interface_alone() -> None:
    here = psutil.Process()
    listening = [
        found.laddr
        for process in [here, *here.children(recursive=True)]
        for found in process.net_connections()
        if found.status == psutil.CONN_LISTEN
    ]
    assert {address.ip for address in listening} == {"127.0.0.1"}
    assert 8787 not in {address.port for address in listening}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("distributed.worker.profile.enabled", False),
        ("distributed.admin.tick.interval", "500ms"),
        ("distributed.admin.system-monitor.interval", "2s"),
        ("distributed.admin.system-monitor.gil.enabled", False),
    ],
)
def test_dask_does_not_monitor_workers_for_a_dashboard(workers: Workers, setting: str, value: object) -> None:
    assert list(workers.client.run(dask.config.get, setting).values()) == [value]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_workers_restart_after_repeated_kills(tmp_path: Path) -> None:
    # Dask gives a worker up if it is away 15 s after it was lost, even if that is another time.
    with local_workers(2, memory_limit_mb=700, scratch=tmp_path) as workers:
        started, known = time.monotonic(), set[str]()  # by process: a port is soon given out again
        while time.monotonic() - started < 20:
            known = await_new(workers, known)
            for pid in workers.client.run(os.getpid).values():
                os.kill(pid, signal.SIGKILL)
        await_new(workers, known)


def await_new(workers: Workers, known: set[str]) -> set[str]:
    deadline = time.monotonic() + 90
    while len(found := set(workers.live().values()) - known) < 2:
        assert time.monotonic() < deadline, f"{len(found)} of 2 workers came back"
        time.sleep(0.1)
    return known | found


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_local_workers_use_no_certificates_of_a_remote_cluster(tmp_path: Path) -> None:
    # They are named in the environment, and may be missing: then the run has to continue locally.
    named = ["ca-file", *(f"{role}.{part}" for role in ("client", "scheduler") for part in ("cert", "key"))]
    tls = {f"distributed.comm.tls.{setting}": "/nowhere" for setting in named}
    with (
        dask.config.set({**tls, "distributed.comm.require-encryption": True}),
        local_workers(1, memory_limit_mb=700, scratch=tmp_path) as workers,
    ):
        assert workers.client.submit(sum, [1, 2]).result(timeout=60) == 3
