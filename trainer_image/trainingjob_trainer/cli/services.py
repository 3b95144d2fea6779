"""What the commands work with; tests put something else in its place."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from trainingjob_api import ResolvedRun
    from trainingjob_trainer.cli.cluster import Cluster
    from trainingjob_trainer.cli.inspection import Inspection
    from trainingjob_trainer.events import Event
    from trainingjob_trainer.run.result import RunOptions, RunResult
    from trainingjob_trainer.settings import TrainerSettings

    Supervise = Callable[[ResolvedRun, RunOptions, TrainerSettings, Callable[[Event], None]], RunResult]
    Inspect = Callable[[ResolvedRun, TrainerSettings], Inspection]
    Render = Callable[[Path], Path]
    Connect = Callable[[str | None, str | None], Cluster]

__all__ = ["Services"]


def _supervise(
    run: ResolvedRun, options: RunOptions, settings: TrainerSettings, on_event: Callable[[Event], None]
) -> RunResult:
    # These bring pandas and scikit-learn along, which nobody waits for who only asks for help.
    from trainingjob_trainer.run.supervisor import supervise  # noqa: PLC0415

    return supervise(run, options, settings, on_event)


def _inspect(run: ResolvedRun, settings: TrainerSettings) -> Inspection:
    from trainingjob_trainer.cli.inspection import inspect_data  # noqa: PLC0415 - as above

    return inspect_data(run, settings)


def _connect(context: str | None, namespace: str | None) -> Cluster:
    from trainingjob_trainer.cli.cluster import connect  # noqa: PLC0415 - as above

    return connect(context, namespace)


def _render(folder: Path) -> Path:
    from trainingjob_trainer.report import render_from_folder  # noqa: PLC0415 - as above

    return render_from_folder(folder)


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The outside world of a command.

    Parameters
    ----------
    supervise
        Runs a job to its end.
    inspect
        Loads and prepares a job's table.
    render
        Writes a run's report anew and returns its path.
    connect
        Returns the cluster of a kubeconfig context and a namespace.
    environment
        Environment variables.
    """

    supervise: Supervise = _supervise
    inspect: Inspect = _inspect
    render: Render = _render
    connect: Connect = _connect
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
