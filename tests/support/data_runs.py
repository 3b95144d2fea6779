"""Runs, tables and files that the tests of the data package share."""

from pathlib import Path
from typing import Any

import pandas as pd

from support.jobs import job
from trainingjob_api.resolved import ResolvedRun, resolve
from trainingjob_trainer.data.load import Table
from trainingjob_trainer.settings import TrainerSettings

SETTINGS = TrainerSettings()


def run_for(target: str = "y", /, **spec: Any) -> ResolvedRun:
    """Return what is in force for a job on *target*, with *spec* on top."""
    fields = {"dataset": {"uri": "file://table.csv"}, "output": {"uri": "file:///unused"}, **spec}
    return resolve(job("job", targetColumn=target, **fields), {})


def table_of(frame: pd.DataFrame) -> Table:
    """Return *frame* as if it had been read."""
    return Table(frame=frame, sha256="0" * 64, size_bytes=1)


def write(path: Path, content: str | bytes) -> Path:
    """Write *content* to *path* and return it."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path
