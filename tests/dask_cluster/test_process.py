"""What schedulers and workers log: plain lines, and JSON lines as the trainer's in a pod of a job."""

import json
import logging
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from trainingjob_trainer.cli import dask_commands
from trainingjob_trainer.dask_cluster.process import log_to_stderr

POD = {"POD_NAMESPACE": "team", "TRAININGJOB_JOB_NAME": "churn", "TRAININGJOB_JOB_UID": "0123456789abcdef"}
NAMES = ("", "trainingjob_trainer", "distributed")


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    logging.captureWarnings(capture=False)  # what an earlier test left
    loggers = [logging.getLogger(name) for name in NAMES]
    before = [(one.handlers, one.level, one.propagate) for one in loggers]
    yield
    logging.captureWarnings(capture=False)
    for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)


def say() -> None:
    logging.getLogger("trainingjob_trainer.dask_cluster.worker").info("worker %s joined", "a")
    logging.getLogger("distributed.nanny").warning("Restarting worker")
    logging.getLogger("distributed.core").info("Connection closed")
    logging.getLogger("another_library").error("odd")


def test_in_a_pod_each_line_has_the_keys_of_operator_and_trainer(capsys: pytest.CaptureFixture[str]) -> None:
    assert log_to_stderr(POD)
    say()
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.warn("old", UserWarning, stacklevel=1)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["level"], line["event"]) for line in lines[:3]] == [
        ("info", "worker a joined"),
        ("warning", "Restarting worker"),
        ("error", "odd"),
    ]
    assert "old" in lines[3]["event"]
    assert {(line["job"], line["uid"]) for line in lines} == {("team/churn", POD["TRAININGJOB_JOB_UID"])}
    assert all(line["time"].endswith("Z") for line in lines)


def test_elsewhere_lines_are_plain(capsys: pytest.CaptureFixture[str]) -> None:
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
