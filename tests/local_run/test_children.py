"""Runs whose searching child is killed or frozen: another child goes on, and there is a model."""

import contextlib
import os
import signal
from pathlib import Path

import psutil
import pytest

from support.runs import Runs
from trainingjob_api import load_job, resolve
from trainingjob_trainer.run.state import RunOptions, RunResult
from trainingjob_trainer.run.supervisor import supervise
from trainingjob_trainer.run.watch import Patience
from trainingjob_trainer.settings import TrainerSettings

pytestmark = pytest.mark.slow
SPEC = {
    "dataset": {"uri": "sample://breast_cancer"},
    "output": {"uri": "file://./runs"},
    "searchSpace": {"preset": "linear-light"},
    "budget": {"timeLeftSeconds": 120, "generations": 2, "populationSize": 10, "cvFolds": 3},
    "randomState": 5,
}


def child_of(parent: int) -> psutil.Process | None:
    """Return the searching child of a run, unless it has ended."""
    for process in psutil.Process(parent).children():
        # One that has just ended is a zombie until its parent waits for it, and has no command line.
        with contextlib.suppress(psutil.NoSuchProcess):
            if "trainingjob_trainer.run.child" in process.cmdline():
                return process
    return None


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
        if hit or len(runs.journal(name)) < 4:
            return
        child = child_of(os.getpid())
        if child is not None:
            hit.append(child.pid)
            child.send_signal(number)

    result: RunResult = supervise(
        run,
        RunOptions(environment=dict(os.environ)),
        TrainerSettings(),
        lambda _event, _state: strike(),
        patience=Patience(silence=15.0),
    )
    assert hit
    assert any(words in warning for warning in result.warnings)
    assert result.progress is not None
    assert result.progress.evaluated == 20
    assert (Path(result.home) / "model.joblib").is_file()
    assert result.fallbacks == ()
