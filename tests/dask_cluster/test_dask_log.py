"""Schedulers and workers log plain lines, or in a pod of a job the JSON lines of the trainer."""

import json
import logging
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import typer
from distributed import Client
from distributed.scheduler import KilledWorker

from support.dask_processes import Process, Stage
from trainingjob_trainer.cli import dask_commands
from trainingjob_trainer.dask_cluster.scheduler import log_to_stderr

POD = {"POD_NAMESPACE": "team", "TRAININGJOB_JOB_NAME": "churn", "TRAININGJOB_JOB_UID": "0123456789abcdef"}


def say() -> None:
    logging.getLogger("trainingjob_trainer.dask_cluster.worker").info("worker %s joined", "a")
    logging.getLogger("distributed.nanny").warning("Restarting worker")
    logging.getLogger("distributed.core").info("Connection closed")
    logging.getLogger("another_library").error("odd")
    logging.getLogger("tornado.application").error("Exception in callback")
    logging.getLogger("distributed.client").warning("Lost connection")


def test_in_a_pod_each_line_has_the_keys_of_operator_and_trainer(capsys: pytest.CaptureFixture[str]) -> None:
    assert log_to_stderr(POD)
    say()
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.warn("old", UserWarning, stacklevel=1)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["level"], line["event"]) for line in lines[:5]] == [
        ("info", "worker a joined"),
        ("warning", "Restarting worker"),
        ("error", "odd"),
        ("error", "Exception in callback"),
        ("warning", "Lost connection"),
    ]
    assert "old" in lines[5]["event"]
    assert {(line["job"], line["uid"]) for line in lines} == {("team/churn", POD["TRAININGJOB_JOB_UID"])}
    assert all(line["time"].endswith("Z") for line in lines)


def test_outside_a_pod_log_lines_are_plain(capsys: pytest.CaptureFixture[str]) -> None:
    assert not log_to_stderr({})
    say()
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" ", 1)[1] for line in lines[:2]] == [
        "INFO worker a joined",
        "WARNING Restarting worker",
    ]


def test_in_a_pod_the_last_line_says_why_a_worker_cannot_run(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("trainingjob")), "worker", "--wait-seconds", "0"]
    command += ["--scheduler-file", str(tmp_path / "none.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=POD, timeout=240)
    assert done.returncode == 1
    line = json.loads(done.stderr.splitlines()[-1])
    assert (line["level"], line["event"]) == ("error", "the Dask worker failed")
    assert (line["reason"], line["job"]) == ("SchedulerUnavailable", "team/churn")
    assert "none.json does not exist" in line["message"]


def test_the_last_line_of_a_pod_names_an_unexpected_error(capsys: pytest.CaptureFixture[str]) -> None:
    def serve() -> None:
        raise ValueError("no such port")

    with pytest.raises(typer.Exit) as caught:
        dask_commands._serve("worker", POD, serve)
    assert caught.value.exit_code == 1
    *_, traced, last = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert "ValueError: no such port" in traced["traceback"]
    assert (last["event"], last["message"]) == ("the Dask worker failed", "ValueError: no such port")
    assert "traceback" not in last
    with pytest.raises(ValueError, match="no such port"):
        dask_commands._serve("worker", {}, serve)


def events_of(process: Process) -> list[str]:
    """Return the events of a log all of whose lines are the job's."""
    lines = [json.loads(line) for line in process.text.splitlines()]
    assert {(line["job"], line["uid"]) for line in lines} == {("team/churn", POD["TRAININGJOB_JOB_UID"])}
    return [line["event"] for line in lines]


def test_in_a_pod_scheduler_and_worker_write_only_json_lines(stage: Stage) -> None:
    def complain(dask_scheduler: Any = None) -> None:
        import logging
        import warnings

        for name in ("tornado.application", "distributed.client", "bokeh", "distributed.core"):
            logging.getLogger(name).error("%s complains", name)
        warnings.simplefilter("default")
        warnings.warn("deprecated", UserWarning, stacklevel=1)

    scheduler = stage.scheduler(environment=POD)
    worker = stage.worker("--name", "talking", environment=POD)
    worker.wait_for("works for")
    with Client(scheduler_file=str(stage.scheduler_file), set_as_default=False) as client:
        client.run_on_scheduler(complain)
        client.submit(complain).result(timeout=60)
        with pytest.raises(KilledWorker):
            client.submit(lambda: __import__("os").kill(__import__("os").getpid(), 9)).result(timeout=60)
    worker.wait_for("Restarting worker")
    # Read when a worker begins, in its process alone.
    wrong = {"DASK_DISTRIBUTED__WORKER__TRANSFER__MESSAGE_BYTES_LIMIT": "a lot"}
    broken = stage.worker("--name", "broken", "--wait-seconds", "0", environment=POD | wrong)
    assert broken.ended() == 1
    assert "Failed to initialize worker" in broken.text
    assert events_of(broken)[-1] == "the Dask worker failed"
    for process in (worker, scheduler):
        events = events_of(process)
        assert {f"{name} complains" for name in ("tornado.application", "distributed.client")} <= set(events)
        assert any("deprecated" in event for event in events)
