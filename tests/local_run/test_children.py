"""Runs whose child is killed or frozen continue with another child and end with a model."""

import contextlib
import math
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from support.runs import Runs
from trainingjob_api import load_job, resolve
from trainingjob_trainer.events import Event
from trainingjob_trainer.run.state import RunOptions, RunResult, RunState
from trainingjob_trainer.run.supervisor import supervise
from trainingjob_trainer.run.watch import ChildEnd, Ended, watch_child
from trainingjob_trainer.settings import TrainerSettings

pytestmark = pytest.mark.slow
SPEC = {
    "dataset": {"uri": "sample://breast_cancer"},
    "output": {"uri": "file://./runs"},
    "searchSpace": {"preset": "linear-light"},
    "budget": {"timeLeftSeconds": 600, "generations": 2, "populationSize": 10, "cvFolds": 3},
    "randomState": 5,
}


def child_of(parent: int) -> psutil.Process | None:
    """Return the searching child of a run, unless it has ended."""
    for process in psutil.Process(parent).children():
        # A child that has just ended is a zombie until its parent waits for it, and has no command line.
        with contextlib.suppress(psutil.NoSuchProcess):
            if "trainingjob_trainer.run.child" in process.cmdline():
                return process
    return None


class Children:
    """Runs children that may be silent and still for any time, except for one that was struck."""

    def __init__(self) -> None:
        self.ends: list[ChildEnd] = []
        self.struck: list[int] = []
        self._patience = SimpleNamespace()

    def start(self, arguments: list[str], **options: Any) -> ChildEnd:
        self._patience = SimpleNamespace(silence=math.inf, still=math.inf, before=math.inf, after=math.inf)
        end = watch_child(arguments, **{**options, "patience": self._patience})
        self.ends.append(end)
        return end

    def strike(self, number: signal.Signals) -> None:
        child = child_of(os.getpid())
        if child is not None:
            self.struck.append(child.pid)
            child.send_signal(number)
            self._patience.silence = 2.0


@pytest.mark.parametrize(
    ("number", "words", "ended"),
    [
        (signal.SIGKILL, "signal 9", Ended.CRASHED),
        (signal.SIGSTOP, "has not responded for 2 s", Ended.HUNG),
    ],
    ids=["killed", "frozen"],
)
def test_a_child_that_dies_or_freezes_is_followed_by_another(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, words: str, ended: Ended
) -> None:
    monkeypatch.chdir(runs.folder)
    name = number.name.lower()
    run = resolve(load_job(runs.job(name, **SPEC)), {})
    children = Children()

    def strike_once(_event: Event, _state: RunState) -> None:
        if not children.struck and len(runs.journal(name)) >= 4:
            children.strike(number)

    result: RunResult = supervise(
        run,
        RunOptions(environment=dict(os.environ)),
        TrainerSettings(),
        strike_once,
        start=children.start,
    )
    assert len(children.struck) == 1
    assert [end.ended for end in children.ends] == [ended, Ended.SAVED]
    assert not psutil.pid_exists(children.struck[0])
    assert any(words in warning for warning in result.warnings)
    assert result.progress is not None
    assert result.progress.evaluated == 20
    assert (Path(result.home) / "model.joblib").is_file()
    assert result.fallbacks == ()
