"""`trainingjob scheduler`: its settings, its file, its end."""

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from distributed import Client

from support.dask_processes import Process, Stage, call, check, check_as_a_process
from trainingjob_trainer.dask_cluster.connection import resolve_address
from trainingjob_trainer.search.pool import scheduler_settings


def listening(process: psutil.Process) -> set[str]:
    return {
        connection.laddr.ip
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }


@pytest.fixture(scope="module")
def scheduler(stage: Stage) -> Process:
    contrary = {
        "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "3",
        "DASK_DISTRIBUTED__SCHEDULER__WORK_STEALING": "True",
        "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "5 minutes",
    }
    return stage.scheduler(environment=contrary)


def test_the_scheduler_file_is_complete_and_readable(stage: Stage, scheduler: Process) -> None:
    document = json.loads(stage.scheduler_file.read_text())
    assert document["type"] == "Scheduler"
    assert f"the scheduler listens on {document['address']} ({document['id']})" in scheduler.text
    assert stage.scheduler_file.stat().st_mode & 0o777 == 0o644
    assert {path.name for path in stage.folder.iterdir()} == {"scheduler.json", "scheduler-0.log"}


def test_the_scheduler_has_the_settings_of_the_search_in_any_environment(
    stage: Stage, scheduler: Process
) -> None:
    wanted = scheduler_settings()

    def read(dask_scheduler: Any = None) -> list[Any]:
        import dask

        periodic = set(dask_scheduler.periodic_callbacks)
        in_force = [dask_scheduler.allowed_failures, dask_scheduler.worker_ttl, "worker-ttl" in periodic]
        return [{name: dask.config.get(name) for name in wanted}, in_force, "stealing" in periodic]

    with Client(resolve_address(stage.scheduler_file), set_as_default=False) as client:
        settings, in_force, steals = client.run_on_scheduler(read)
    assert settings == wanted
    assert in_force == [0, None, False]
    assert not steals


def test_only_this_machine_reaches_the_scheduler_by_default(scheduler: Process) -> None:
    assert listening(psutil.Process(scheduler.popen.pid)) == {"127.0.0.1"}
    assert "WARNING" not in scheduler.text


def test_the_file_of_a_running_scheduler_is_not_changed(stage: Stage, scheduler: Process) -> None:
    before = stage.scheduler_file.read_text()
    second = call("scheduler", "--scheduler-file", str(stage.scheduler_file), "--port", "0")
    assert second.returncode == 2
    assert "is in use by the running scheduler" in second.stderr
    assert "reason: SchedulerFileInUse" in second.stderr
    assert stage.scheduler_file.read_text() == before


def test_a_check_prints_a_line_and_sets_the_exit_status(
    stage: Stage, scheduler: Process, tmp_path: Path
) -> None:
    absent = check("scheduler", "--scheduler-file", str(tmp_path / "none.json"))
    assert absent.returncode == 1
    assert absent.stderr.count("\n") == 1
    assert absent.stderr.startswith(f"the scheduler file {tmp_path / 'none.json'} does not exist: ")
    file = ("--scheduler-file", str(stage.scheduler_file))
    well = check_as_a_process("scheduler", *file)
    address = resolve_address(stage.scheduler_file)
    assert (well.returncode, well.stderr) == (0, "")
    assert well.stdout == f"the scheduler at {address} answers, workers: 0\n"
    everywhere = ("--host", "0.0.0.0", "--port", address.rpartition(":")[2])  # noqa: S104 - not bound
    by_port = check("scheduler", "--no-scheduler-file", *everywhere)
    assert by_port.returncode == 0, by_port.stderr
    scheduler.send(signal.SIGSTOP)
    try:
        stopped = check("scheduler", *file)
    finally:
        scheduler.send(signal.SIGCONT)
    assert stopped.returncode == 1
    assert stopped.stderr == f"the scheduler at {address} does not answer: no answer within 3 s\n"


def test_the_scheduler_ends_soon_and_removes_its_file(stage: Stage, scheduler: Process) -> None:
    """Runs last of those that need the module's scheduler."""
    began = time.monotonic()
    scheduler.send(signal.SIGTERM)
    assert scheduler.ended(10) == 0
    assert time.monotonic() - began < 8
    assert not stage.scheduler_file.exists()
    assert "the scheduler ends: SIGTERM" in scheduler.text
    assert "Traceback" not in scheduler.text


def test_the_scheduler_warns_of_an_open_port_and_replaces_only_its_own_stale_file(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    try:
        opened = stage.scheduler("--host", "0.0.0.0")  # noqa: S104 - what is tested
        connections = psutil.Process(opened.popen.pid).net_connections("tcp")
        port = int(resolve_address(stage.scheduler_file).rpartition(":")[2])
        public = {
            connection.laddr.port
            for connection in connections
            if connection.status == "LISTEN" and connection.laddr.ip != "127.0.0.1"
        }
        assert public == {port}
        assert "WARNING without TLS, anyone who can reach" in opened.text

        opened.send(signal.SIGKILL)
        opened.ended()
        stale = stage.scheduler_file.read_text()
        second = stage.scheduler()
        assert "left by a scheduler that is gone" in second.text
        assert stage.scheduler_file.read_text() != stale

        other = json.dumps({"address": "tcp://127.0.0.1:1", "id": "another"})
        stage.scheduler_file.write_text(other)
        second.send(signal.SIGINT)
        assert second.ended() == 0
        assert stage.scheduler_file.read_text() == other
    finally:
        stage.close()


def test_an_idle_scheduler_ends(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    try:
        scheduler = stage.scheduler("--idle-timeout", "1")
        assert scheduler.ended() == 0
        assert "idle for too long" in scheduler.text
        assert not stage.scheduler_file.exists()
    finally:
        stage.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--scheduler-file", "{tmp}/none/s.json"), "cannot be written: No such file or directory"),
        (("--no-scheduler-file", "--scheduler-file", "x"), "contradict each other"),
        (("--no-scheduler-file", "--tls-cert", "{tmp}/x.crt"), "missing: --tls-ca-file"),
        (
            (
                "--no-scheduler-file",
                "--tls-ca-file",
                "{tmp}/a",
                "--tls-cert",
                "{tmp}/b",
                "--tls-key",
                "{tmp}/c",
            ),
            "/a cannot be read: No such file or directory",
        ),
    ],
)
def test_it_says_what_is_wrong_with_its_options(
    tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    failed = call("scheduler", "--port", "0", *(option.format(tmp=tmp_path) for option in options))
    assert failed.returncode == 2
    assert message in failed.stderr
    assert "Traceback" not in failed.stderr


def test_the_scheduler_names_a_port_that_is_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = str(server.getsockname()[1])
        failed = Stage(tmp_path).start("scheduler", "--no-scheduler-file", "--port", taken)
        assert failed.ended() == 1
        assert "Address already in use" in failed.text
        assert "Traceback" not in failed.text


def test_scheduler_nanny_and_check_import_no_module_of_the_search() -> None:
    rooms = "trainingjob_trainer.dask_cluster"
    heavy = "{'sklearn', 'tpot', 'pandas', 'xgboost', 'lightgbm', 'catboost', 'scipy', 'pydantic'}"
    check = f"trainingjob_trainer.cli.dask_commands, {rooms}.connection, {rooms}.probe"
    for modules in (check, f"{rooms}.scheduler", f"{rooms}.worker"):
        program = f"import sys, {modules}; print(sorted({heavy} & set(sys.modules)))"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert done.stdout == "[]\n"
