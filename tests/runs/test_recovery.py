"""Runs whose processes are killed, stopped and interrupted: there is a model all the same."""

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from support.runs import Runs, until
from trainingjob_api import load_job, resolve
from trainingjob_trainer.settings import TrainerSettings
from trainingjob_trainer.supervisor.parent import supervise
from trainingjob_trainer.supervisor.result import RunOptions, RunResult
from trainingjob_trainer.supervisor.watch import Patience

pytestmark = pytest.mark.slow
SPEC = {
    "dataset": {"uri": "sample://breast_cancer"},
    "output": {"uri": "file://./runs"},
    "searchSpace": {"preset": "linear-light"},
    "budget": {"timeLeftSeconds": 120, "generations": 2, "populationSize": 10, "cvFolds": 3},
    "randomState": 5,
}


def child_of(parent: int) -> psutil.Process | None:
    """Return the searching child of a run."""
    for process in psutil.Process(parent).children():
        if "trainingjob_trainer.supervisor.child" in process.cmdline():
            return process
    return None


def evaluated(runs: Runs, name: str, count: int) -> Callable[[], bool]:
    return lambda: len(runs.journal(name)) >= count


def kill_all(process: subprocess.Popen[str]) -> None:
    """End a run and everything that it has started, as a power cut would."""
    family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    for member in family:
        member.kill()
    psutil.wait_procs(family, timeout=10)
    process.communicate()


def test_a_run_that_is_killed_goes_on_where_it_was(runs: Runs) -> None:
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
    keys = [one["key"] for one in after]
    assert len(keys) == len(set(keys)), "nothing is repeated"
    assert document["progress"]["evaluated"] == 20
    assert document["elapsedSeconds"] <= 120
    assert document["elapsedSeconds"] > after[len(before) - 1]["elapsedSeconds"]


def test_ctrl_c_saves_the_best_so_far(runs: Runs) -> None:
    budget = {**SPEC["budget"], "generations": 1000}  # type: ignore[dict-item]
    job = runs.job("stopped", **{**SPEC, "budget": budget})
    process = runs.start("run", str(job), "--json")
    until(evaluated(runs, "stopped", 3), seconds=120, what="three evaluations")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=90)
    assert process.returncode == 0, err
    assert '"stoppedBy": "signal"' in out
    assert (runs.home("stopped") / "model.joblib").is_file()


@pytest.mark.parametrize(
    ("number", "words"),
    [(signal.SIGKILL, "signal 9"), (signal.SIGSTOP, "no sign of life")],
    ids=["killed", "frozen"],
)
def test_a_child_that_dies_or_freezes_is_followed_by_another(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, words: str
) -> None:
    monkeypatch.chdir(runs.folder)
    name = number.name.lower()
    run = resolve(load_job(runs.job(name, **SPEC)), {})
    hit: list[int] = []

    def strike() -> None:
        child = child_of(os.getpid())
        if not hit and child is not None and len(runs.journal(name)) >= 4:
            hit.append(child.pid)
            child.send_signal(number)

    result: RunResult = supervise(
        run,
        RunOptions(environment=dict(os.environ)),
        TrainerSettings(),
        lambda _event: strike(),
        patience=Patience(silence=15.0),
    )
    assert hit
    assert any(words in warning for warning in result.warnings)
    assert result.progress is not None
    assert result.progress.evaluated == 20
    assert (Path(result.home) / "model.joblib").is_file()
    assert result.fallbacks == ()
