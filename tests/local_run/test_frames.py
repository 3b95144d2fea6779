"""How deep the trainer's own code is between the command line and a fit on a worker."""

import json
import os
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from support.counted_child import STACKS, own_frames
from support.runs import Runs
from trainingjob_trainer.cli import app
from trainingjob_trainer.cli.command import Dependencies
from trainingjob_trainer.run.supervisor import supervise
from trainingjob_trainer.run.watch import watch_child

pytestmark = pytest.mark.slow
MOST_FRAMES = 12
_RUN = "engine.SearchEngine.run"
_EVALUATE = "tasks.evaluate"


def test_a_few_functions_are_between_the_command_and_the_fit(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = runs.job(
        "frames",
        dataset={"uri": "sample://iris"},
        output={"uri": (runs.folder / "runs").as_uri()},
        searchSpace={"preset": "linear-light"},
        budget={"timeLeftSeconds": 120, "generations": 1, "populationSize": 4, "cvFolds": 2},
        nJobs=1,
    )
    parent: list[list[str]] = []
    start = subprocess.Popen

    def popen(*arguments: Any, **options: Any) -> Any:
        parent.append(own_frames())
        return start(*arguments, **options)

    monkeypatch.setattr("trainingjob_trainer.run.watch.subprocess.Popen", popen)
    stacks = runs.folder / "stacks.jsonl"
    tests = str(Path(__file__).parents[1])
    dependencies = Dependencies(
        supervise=partial(supervise, start=partial(watch_child, module="support.counted_child")),
        environment={**os.environ, "PYTHONPATH": tests, STACKS: str(stacks)},
    )
    done = CliRunner().invoke(app, ["run", str(job), "--quiet"], obj=dependencies)
    assert done.exit_code == 0, done.output
    noted = [json.loads(line) for line in stacks.read_text().splitlines()]
    in_search = {tuple(frames) for process, frames in noted if process == "child" and _RUN in frames}
    in_fold = {tuple(frames) for process, frames in noted if process == "worker" and _EVALUATE in frames}
    (command,) = {tuple(frames[frames.index("run_command.run") :]) for frames in parent}
    (sent,) = {frames for frames in in_search if "dask_pool.DaskPool.submit" in frames}
    (fitted,) = in_fold
    assert [*command, *sent, *fitted] == [
        "run_command.run",
        "supervisor.supervise",
        "supervisor._Supervision.train",
        "watch.watch_child",
        "child.main",
        "trainer.Trainer.train",
        "trainer.Trainer._search",
        _RUN,
        "dask_pool.DaskPool.submit",
        "dask_pool.DaskPool._place",
        _EVALUATE,
        "tasks._score",
    ]
    assert len([*command, *sent, *fitted]) <= MOST_FRAMES
