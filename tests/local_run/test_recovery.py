"""Runs that are killed or interrupted lose nothing."""

import signal
import subprocess
from collections.abc import Callable

import psutil
import pytest

from support.runs import Runs, until

pytestmark = pytest.mark.slow
SPEC = {
    "dataset": {"uri": "sample://breast_cancer"},
    "output": {"uri": "file://./runs"},
    "searchSpace": {"preset": "linear-light"},
    "budget": {"timeLeftSeconds": 120, "generations": 2, "populationSize": 10, "cvFolds": 3},
    "randomState": 5,
}


def evaluated(runs: Runs, name: str, count: int) -> Callable[[], bool]:
    return lambda: len(runs.journal(name)) >= count


def kill_all(process: subprocess.Popen[str]) -> None:
    """End a run and everything that it has started, as a power cut would."""
    family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    for member in family:
        member.kill()
    psutil.wait_procs(family, timeout=10)
    process.communicate()


def test_a_killed_run_is_resumed(runs: Runs) -> None:
    job = runs.job("killed", **SPEC)
    process = runs.start("run", str(job), "--json")
    try:
        until(evaluated(runs, "killed", 6), seconds=120, what="six evaluations")
    finally:
        kill_all(process)
    before = runs.journal("killed")
    assert len(before) < 20
    status, document, error = runs(job)
    assert status == 0, error
    assert document["resumed"]
    after = runs.journal("killed")
    assert after[: len(before)] == before, "nothing is lost"
    keys = [line["key"] for line in after]
    assert len(keys) == len(set(keys)), "nothing is repeated"
    assert document["progress"]["evaluated"] == 20
    assert document["elapsedSeconds"] <= 120
    assert document["elapsedSeconds"] > after[len(before) - 1]["elapsedSeconds"]


def test_ctrl_c_saves_the_best_model(runs: Runs) -> None:
    budget = {**SPEC["budget"], "generations": 1000}  # type: ignore[dict-item]
    job = runs.job("stopped", **{**SPEC, "budget": budget})
    process = runs.start("run", str(job), "--json")
    until(evaluated(runs, "stopped", 3), seconds=120, what="three evaluations")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=90)
    assert process.returncode == 0, err
    assert '"stoppedBy": "signal"' in out
    assert (runs.home("stopped") / "model.joblib").is_file()
