"""The systems that are compared, and how a run of each is made; each runs in processes of its own."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import yaml
from catalog import Table
from environments import BIN, HERE, ROOT, Environments
from switches import WITHOUT, copy_without

__all__ = ["PEERS", "SYSTEMS", "RunError", "System", "Trial", "run"]

_GRACE_SECONDS = 300
# With it each process compiles all that it imports, which takes 10 s and more.
_NOT_A_USERS = {"PYTHONDONTWRITEBYTECODE"}


class RunError(Exception):
    """A system gave no predictions; the message says why."""


@dataclass(frozen=True, slots=True)
class System:
    """A system under a name: its script and environment, or this product if it has none."""

    script: str = ""
    environment: str = ""
    option: str = ""
    settings: tuple[str, ...] = ()
    """Fields that are set in the job, for this product."""
    without: str = ""
    """The part of this product that is left out."""

    @property
    def version(self) -> str:
        """Version of what is measured: a peer's pinned release, or the last commit of this product."""
        if not self.script:
            return _git("log", "-1", "--format=%h", "--", "trainer_image", "crds", "locks")
        pinned = (HERE / "requirements" / f"{self.environment}.txt").read_text()
        found = re.search(rf"^{self.environment}(?:\.tabular|-tabular)?==(\S+)", pinned, re.MULTILINE)
        assert found, f"the version of {self.environment} is not pinned"
        return found[1]


SYSTEMS = {
    "ours": System(),
    "hist-gradient-boosting": System("hist_gradient_boosting.py", "scikit-learn"),
    "tpot": System("stock_tpot.py", "tpot"),
    "flaml": System("flaml_automl.py", "flaml"),
    "autogluon": System("autogluon_tabular.py", "autogluon", "medium_quality"),
    "autogluon-best": System("autogluon_tabular.py", "autogluon", "best_quality"),
    "without-ensemble": System(settings=("spec.ensemble=off",)),
} | {f"without-{part}": System(without=part) for part in WITHOUT}
PEERS = tuple(name for name, system in SYSTEMS.items() if system.script)


@dataclass(frozen=True, slots=True)
class Trial:
    """A system on a table at a budget, with a seed."""

    table: Table
    seed: int
    seconds: int
    system: str
    data: Path = field(repr=False)

    @property
    def key(self) -> tuple[str, int, int, str, str]:
        """What makes a run the same as another."""
        return (self.table.name, self.seed, self.seconds, self.system, SYSTEMS[self.system].version)


def run(trial: Trial, folder: Path, cores: int, environments: Environments) -> dict[str, Any]:
    """Return what a system says of its run; its predictions are in ``predictions.csv`` in *folder*."""
    system = SYSTEMS[trial.system]
    request = {
        "folder": str(folder),
        "data": str(trial.data),
        "target": trial.table.target,
        "task": trial.table.task,
        "metric": trial.table.metric,
        "dates": trial.table.dates,
        "seconds": trial.seconds,
        "cores": cores,
        "seed": trial.seed,
        "option": system.option,
    }
    (folder / "request.json").write_text(json.dumps(request))
    python = environments.python(system.environment) if system.script else None
    started = time.monotonic()
    if python is not None:
        _call([python, HERE / "peers" / system.script, folder / "request.json"], folder, trial.seconds)
        wall, facts = time.monotonic() - started, {}
    else:
        paths = [copy_without(system.without, environments.cache)] if system.without else []
        facts = _train(trial, system, folder, paths)
        wall = time.monotonic() - started
        python = environments.of_model(folder / "requirements.txt")
        _call(
            [python, HERE / "peers" / "trainingjob_model.py", folder / "request.json"], folder, trial.seconds
        )
    answer = json.loads((folder / "answer.json").read_text())
    return {"wall_seconds": round(wall, 2)} | answer | facts


def _train(trial: Trial, system: System, folder: Path, paths: list[Path]) -> dict[str, Any]:
    """Run a TrainingJob with its defaults, as a user does; put model and requirements into *folder*."""
    job = {
        "apiVersion": "automl.trainingjob.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": "quality"},
        "spec": {
            "dataset": {"uri": f"file://{trial.data / 'train.csv'}"},
            "targetColumn": trial.table.target,
            "task": trial.table.task,
            "metric": trial.table.metric,
            "budget": {"timeLeftSeconds": trial.seconds},
            "randomState": trial.seed,
            "output": {"uri": f"file://{folder / 'runs'}"},
        },
    }
    (folder / "job.yaml").write_text(yaml.safe_dump(job))
    command: list[Any] = [BIN / "trainingjob", "run", folder / "job.yaml", "--json"]
    command += [argument for setting in system.settings for argument in ("--set", setting)]
    printed = _call(command, folder, trial.seconds, paths)
    home = Path(json.loads(printed)["home"])
    for name in ("model.joblib", "requirements.txt"):
        (home / name).rename(folder / name)
    summary = json.loads((home / "evaluation_summary.json").read_text())
    boards = json.loads((home / "leaderboard.json").read_text())["entries"]
    return {
        "used_seconds": summary["budget"]["used"]["total"],
        "evaluations": summary["evaluations"]["total"],
        "valid_share": summary["evaluations"]["validShare"],
        "shown": summary["best"]["holdoutScore"],
        "best": summary["best"]["pipeline"],
        "details": {
            "source": summary["modelSource"],
            "fallbacks": summary["fallbacks"],
            "used": summary["budget"]["used"],
            "outcomes": summary["evaluations"]["byOutcome"],
            "errors": summary["evaluations"]["dominantErrors"],
            "not_fitted": summary["notFitted"],
            "cross_validated": summary["best"]["score"],
            "board": [
                {name: entry.get(name) for name in ("pipeline", "score", "fitSeconds", "origin")}
                for entry in boards
            ],
        },
    }


def _call(command: list[Any], folder: Path, seconds: int, paths: Sequence[Path] = ()) -> str:
    """Return what a command prints; it is ended with its children when it takes far too long."""
    environment = {name: value for name, value in os.environ.items() if name not in _NOT_A_USERS}
    environment["PYTHONWARNINGS"] = "ignore"
    if paths:
        environment["PYTHONPATH"] = os.pathsep.join(map(str, paths))
    with (folder / "log.txt").open("a") as log:
        child = subprocess.Popen(
            [str(part) for part in command],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            printed, _ = child.communicate(timeout=2 * seconds + _GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            raise RunError(f"no end after {2 * seconds + _GRACE_SECONDS} s") from None
        finally:
            _end(child)
    if child.returncode != 0:
        last = (folder / "log.txt").read_text().strip().splitlines()[-3:]
        raise RunError(f"status {child.returncode}: {' | '.join(last)[-600:]}")
    return printed


def _end(child: subprocess.Popen[str]) -> None:
    """Kill a command that is still running, with all that it has started, in other sessions too."""
    if child.poll() is None:
        for process in [*psutil.Process(child.pid).children(recursive=True), psutil.Process(child.pid)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
    child.wait()


def _git(*arguments: str) -> str:
    return subprocess.run(
        [shutil.which("git") or "git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()
