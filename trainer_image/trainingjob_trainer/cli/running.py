"""``trainingjob run``: a job here and now, with live progress."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from trainingjob_api import load_job
from trainingjob_trainer.cli.documents import run_document
from trainingjob_trainer.cli.jobs import resolved
from trainingjob_trainer.cli.runlog import LateFile, RunLog, run_logger
from trainingjob_trainer.cli.summary import print_summary, verdict
from trainingjob_trainer.cli.text import plain, secrets_of
from trainingjob_trainer.cli.view import RunView
from trainingjob_trainer.events import Opened
from trainingjob_trainer.run.result import RunOptions, RunResult
from trainingjob_trainer.settings import TrainerSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainingjob_api import ResolvedRun
    from trainingjob_trainer.cli.desk import Desk
    from trainingjob_trainer.events import Event

__all__ = ["RunRequest", "run_job"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """What the command line asks for.

    Parameters
    ----------
    file
        The TrainingJob.
    overrides
        ``path=value`` of each ``--set``.
    output
        Folder or URI in place of ``spec.output.uri``, or None.
    fresh
        Whether to leave an unfinished run alone.
    work_dir
        Where run folders are when the output is no folder here.
    log_json
        Whether standard error takes JSON lines in place of progress.
    """

    file: Path
    overrides: Sequence[str] = ()
    output: str | None = None
    fresh: bool = False
    work_dir: Path = Path(".trainingjob")
    log_json: bool = False


class _Progress(Protocol):
    """Shows a run's events between entering and leaving."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_details: object) -> None: ...

    def take(self, event: Event) -> None: ...


def run_job(desk: Desk, request: RunRequest) -> dict[str, Any]:
    """Run a job to its end and print what came of it.

    Returns
    -------
    dict
        The document for ``--json``.

    Raises
    ------
    SpecError, TrainingError
        If there is no model.
    """
    environment = desk.services.environment
    run = resolved(load_job(request.file, request.overrides), environment, output=request.output)
    settings = TrainerSettings.from_environment(environment)
    options = RunOptions(work_dir=request.work_dir, fresh=request.fresh, environment=dict(environment))
    view = RunView()
    place: dict[str, Path] = {}
    log_file = LateFile(lambda: place.get("log"))
    console = sys.stderr if request.log_json else None
    log = RunLog(view, run_logger(log_file, console, secrets_of(environment)))
    with _progress(desk, run, view, log_json=request.log_json) as progress:

        def on_event(event: Event) -> None:
            if isinstance(event, Opened):
                place["log"] = event.home / ".work" / "logs" / "run.jsonl"
                desk.log = str(event.log)
            progress.take(event)
            log.take(event)

        try:
            result = desk.services.supervise(run, options, settings, on_event)
        finally:
            log.finish()
            log_file.close()
    _print_end(desk, result, view)
    return run_document(run.name, result)


def _print_end(desk: Desk, result: RunResult, view: RunView) -> None:
    if desk.as_json:
        return
    if desk.quiet:
        if result.accepted is False:
            sys.stdout.write(f"Acceptance: NOT met, {plain(result.acceptance_message)}\n")
        sys.stdout.write(verdict(result) + "\n")
        return
    print_summary(desk.console(), result, view.now)


class _Silent:
    """Keeps the view up to date and shows nothing."""

    def __init__(self, view: RunView) -> None:
        self._view = view

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_details: object) -> None:
        pass

    def take(self, event: Event) -> None:
        self._view.take(event)


def _progress(desk: Desk, run: ResolvedRun, view: RunView, *, log_json: bool) -> _Progress:
    """Return what shows progress: a picture on a terminal, lines elsewhere, nothing if it is not wanted."""
    if desk.quiet or log_json:
        return _Silent(view)
    console = desk.console(stderr=desk.as_json)
    if console.is_terminal and not console.is_dumb_terminal:
        from trainingjob_trainer.cli.live import LiveProgress  # noqa: PLC0415 - terminals only

        return LiveProgress(console, run, view)
    from trainingjob_trainer.cli.lines import LineProgress  # noqa: PLC0415 - as above

    return LineProgress(sys.stderr if desk.as_json else sys.stdout, run, view)
