"""The log of a run: JSON lines, one for each event, and the result of the search at the end."""

import logging
import time
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from trainingjob_api.log_lines import JsonLines
from trainingjob_trainer.cli.text import redact
from trainingjob_trainer.events import Evaluated, Event, FellBack, Progressed
from trainingjob_trainer.run.state import RunState

__all__ = ["RunLog", "run_logger"]

_PROGRESS_SECONDS = 15.0
_MAX_FRONT_POINTS = 20
_MAX_LAST = 5
_ENTRIES = {
    "stage": (logging.INFO, "stage_changed"),
    "waiting": (logging.INFO, "waiting_for_cluster"),
    "data": (logging.INFO, "data_ready"),
    "backend": (logging.INFO, "backend_ready"),
    "resumed": (logging.INFO, "resumed"),
    "baseline": (logging.INFO, "baseline"),
    "model": (logging.INFO, "model"),
    "saved": (logging.INFO, "saved"),
    "progress": (logging.INFO, "progress"),
    "evaluated": (logging.DEBUG, "evaluated"),
    "fallback": (logging.WARNING, "fallback"),
    "warning": (logging.WARNING, "warning"),
    "failed": (logging.ERROR, "failed"),
}
"""Level and name of the log entry, by kind of event; other kinds are not logged."""


class _LogFile(logging.FileHandler):
    """A file that is given up when a line cannot be written: a run is worth more than its log."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802 - logging's own
        self.setLevel(logging.CRITICAL + 1)


def run_logger(console: TextIO | None, secrets: Iterable[str]) -> logging.Logger:
    """Return a logger for one run on this machine, which no other logger knows.

    Parameters
    ----------
    console
        Takes all entries but single evaluations; None if no log is asked for.
    secrets
        Never appear.
    """
    logger = logging.Logger("trainingjob")  # noqa: LOG001 - two runs in one process must not share it
    formatter = JsonLines(lambda _record: {}, clean=lambda: partial(redact, secrets=tuple(secrets)))
    handler: logging.Handler = logging.NullHandler() if console is None else logging.StreamHandler(console)
    handler.setFormatter(formatter)
    handler.setLevel(logging.INFO)
    logger.addHandler(handler)
    return logger


class RunLog:
    """Writes a run's events to a logger.

    Parameters
    ----------
    logger
        Takes the entries; single evaluations have level DEBUG.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._state = RunState()
        self._file: _LogFile | None = None
        self._progress_at = float("-inf")
        self._last: list[dict[str, Any]] = []

    def open(self, path: Path) -> None:
        """Write every entry from now on to a file too, if it can be opened."""
        with suppress(OSError):
            self._file = _LogFile(path, encoding="utf-8")
            self._file.setFormatter(self._logger.handlers[0].formatter)
            self._logger.addHandler(self._file)

    def take(self, event: Event, state: RunState) -> None:
        """Write an event, if it is worth an entry."""
        self._state = state
        match event:
            case Evaluated():
                fields = _plain(event)
                self._last = [*self._last, fields][-_MAX_LAST:]
            case Progressed(progress=progress):
                now = time.monotonic()
                if now - self._progress_at < _PROGRESS_SECONDS:
                    return
                self._progress_at = now
                fields = _plain(progress)
            case FellBack(fallback=fallback):
                fields = _plain(fallback)
            case _:
                fields = _plain(event)
        if event.kind in _ENTRIES:
            self._write(*_ENTRIES[event.kind], fields)

    def finish(self) -> None:
        """Write the result of the search and close the file."""
        state = self._state
        evaluated = {"total": state.evaluations, "counts": dict(state.counts), "last": self._last}
        self._write(logging.INFO, "evaluated_individuals", evaluated)
        board = [_plain(row) for row in state.leaderboard]
        self._write(logging.INFO, "leaderboard_topk", {"entries": board})
        front = [_plain(point) for point in state.pareto_front[:_MAX_FRONT_POINTS]]
        self._write(logging.INFO, "Pareto_Front", {"points": front})
        if self._file is not None:
            self._logger.removeHandler(self._file)
            self._file.close()

    def _write(self, level: int, name: str, fields: dict[str, Any]) -> None:
        self._logger.log(level, name, extra={"fields": fields})


def _plain(model: Any) -> dict[str, Any]:
    fields: dict[str, Any] = model.model_dump(
        mode="json", by_alias=True, exclude_none=True, exclude={"kind", "known"}
    )
    return fields
