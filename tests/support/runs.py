"""The real command, as a user runs it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from support.jobs import document

COMMAND = [sys.executable, "-c", "from trainingjob_trainer.cli import main; main()"]
KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV")


@dataclass(slots=True)
class Runs:
    """Jobs that are run in a folder of their own.

    Parameters
    ----------
    folder
        Where the jobs' files and their output are.
    environment
        Environment variables beside the few that a process needs.
    """

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def output(self) -> Path:
        return self.folder / "runs"

    def job(self, name: str, **spec: Any) -> Path:
        """Write a TrainingJob."""
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(document(name, **spec)))
        return path

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the command in a process group of its own."""
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        return subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=self.folder,
            env={**kept, **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __call__(self, job: Path, *arguments: str, seconds: float = 240) -> tuple[int, dict[str, Any], str]:
        """Run a job to its end; return exit status, the JSON document and standard error."""
        process = self.start("run", str(job), "--json", *arguments)
        try:
            out, err = process.communicate(timeout=seconds)
        finally:
            process.kill()
        return process.returncode, json.loads(out) if out else {}, err

    def home(self, name: str) -> Path:
        """Return the folder of a job's only run."""
        (home,) = self.output.glob(f"{name}-*")
        return home

    def journal(self, name: str) -> list[dict[str, Any]]:
        """Return the evaluations in the journal of a job's only run, as far as they are whole."""
        homes = list(self.output.glob(f"{name}-*/.work/journal.jsonl"))
        if not homes:
            return []
        lines = homes[0].read_text().split("\n")[1:-1]
        return [json.loads(line) for line in lines]


def until(condition: Callable[[], Any], *, seconds: float, what: str) -> Any:
    """Wait for a condition; return what it returns."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {what}")


def sizes(manifest: Mapping[str, Any]) -> dict[str, int]:
    """Return the sizes that a manifest lists."""
    return {artifact["name"]: artifact["sizeBytes"] for artifact in manifest["artifacts"]}
