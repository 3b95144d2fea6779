"""Runs of all systems in turns, each written to the results as soon as it has ended."""

import json
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
from catalog import TABLES
from environments import HERE, Environments
from scores import score
from systems import RunError, Trial, run

__all__ = ["Results", "measure", "plan"]

OVER = 1.05


class Results:
    """A file with one run a line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text().splitlines() if path.exists() else []
        self.runs: list[dict[str, Any]] = [json.loads(line) for line in lines]
        self._keys = {tuple(run["key"]) for run in self.runs}

    def has(self, trial: Trial) -> bool:
        """Return whether a run is there; a system that failed is not tried again."""
        return trial.key in self._keys

    def add(self, trial: Trial, facts: dict[str, Any]) -> None:
        """Append a run."""
        table, seed, seconds, system, version = trial.key
        line = {
            "key": trial.key,
            "table": table,
            "metric": trial.table.metric,
            "seed": seed,
            "seconds": seconds,
            "system": system,
            "version": version,
        } | facts
        self.runs.append(line)
        self._keys.add(trial.key)
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")


def plan(
    tables: Sequence[str],
    budgets: Sequence[int],
    systems: Sequence[str],
    *,
    seeds: int,
    environments: Environments,
) -> Iterator[Trial]:
    """Yield the runs: for each budget, seed and table all systems in turns, whose order rotates."""
    turn = 0
    for seconds in budgets:
        for seed in range(seeds):
            for name in tables:
                data = environments.cache / "tables" / f"{name}-{seed}"
                if not (data / "table.json").exists():
                    command = [environments.python("data"), HERE / "write_table.py", name, str(seed), data]
                    subprocess.run([*map(str, command)], check=True)
                for i in range(len(systems)):
                    yield Trial(TABLES[name], seed, seconds, systems[(turn + i) % len(systems)], data)
                turn += 1


def measure(trial: Trial, cores: int, environments: Environments) -> dict[str, Any]:
    """Return a run's figures, or why there are none; its folder stays if it failed."""
    folder = environments.cache / "runs" / "-".join(map(str, trial.key)).replace("=", "")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    facts: dict[str, Any] = json.loads((trial.data / "table.json").read_text()) | {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "load": round(os.getloadavg()[0], 1),
        "nice": os.nice(0),
        "machine": f"{cores} cores of {platform.processor() or platform.machine()}, "
        f"{psutil.virtual_memory().total / 2**30:.0f} GiB, Python {platform.python_version()}",
    }
    before = time.monotonic()
    try:
        facts |= run(trial, folder, cores, environments)
        facts["score"] = score(trial.table, trial.data, folder / "predictions.csv")
    except RunError as error:
        return facts | {"failed": str(error), "wall_seconds": round(time.monotonic() - before, 2)}
    facts["over_budget"] = facts["used_seconds"] > trial.seconds * OVER
    if trial.table.metric == "neg_root_mean_squared_error" and facts.get("shown") is not None:
        facts["shown"] /= _deviation(trial)
    shutil.rmtree(folder)
    return facts


def _deviation(trial: Trial) -> float:
    return float(pd.read_csv(trial.data / "truth.csv")[trial.table.target].std())
