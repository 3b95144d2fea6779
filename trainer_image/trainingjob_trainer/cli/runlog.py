"""The structured log of a run: JSON lines, one an event, and what came of the search at the end."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any, TextIO

from trainingjob_api.log_lines import JsonLines
from trainingjob_trainer.cli.text import redact
from trainingjob_trainer.events import (
    BackendReady,
    BaselineReady,
    DataReady,
    Evaluated,
    Event,
    Failed,
    FellBack,
    ModelReady,
    Progressed,
    Resumed,
    Saved,
    StageChanged,
    WaitingForCluster,
    Warned,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from trainingjob_trainer.cli.view import RunView

__all__ = ["LateFile", "RunLog", "run_logger"]

_EVERY_SECONDS = 15.0
_MOST_FRONT_POINTS = 20

Fields = tuple[int, str, dict[str, Any]]


class LateFile:
    """A log file whose folder is not known at first: lines wait until it is, or are dropped at the end.

    Parameters
    ----------
    locate
        Returns the file, or None as long as it is unknown.
    """

    def __init__(self, locate: Callable[[], Path | None]) -> None:
        self._locate = locate
        self._waiting: list[str] = []
        self._file: TextIO | None = None
        self._lost = False

    @property
    def opened(self) -> bool:
        """Whether lines reach a file."""
        return self._file is not None

    def write(self, text: str) -> None:
        """Write, or keep for later."""
        if self._lost:
            return
        if self._file is None:
            self._waiting.append(text)
            self._open()
            return
        self._write(text)

    def flush(self) -> None:
        """Do nothing: each line is flushed as it is written."""

    def close(self) -> None:
        """Write what waits, if the file is known by now, and close it."""
        if self._file is None:
            self._open()
        if self._file is not None:
            self._file.close()
            self._file = None
        self._lost = True

    def _open(self) -> None:
        path = self._locate()
        if path is None or self._lost:
            return
        try:
            self._file = path.open("a", encoding="utf-8")
        except OSError:
            # A run is worth more than its log.
            self._lost = True
            return
        waiting, self._waiting = self._waiting, []
        for text in waiting:
            self._write(text)

    def _write(self, text: str) -> None:
        if self._file is None:
            return
        try:
            self._file.write(text)
            self._file.flush()
        except OSError:
            self._lost = True


def run_logger(file: LateFile, console: TextIO | None, secrets: Iterable[str]) -> logging.Logger:
    """Return a logger of one run on this machine, known to no other.

    Parameters
    ----------
    file
        Takes every entry.
    console
        Takes all but single evaluations; None if no log is asked for.
    secrets
        Never appear.
    """
    logger = logging.Logger("trainingjob")  # noqa: LOG001 - of this run alone: two in one process do not meet
    formatter = JsonLines(lambda _record: {}, clean=lambda: partial(redact, secrets=tuple(secrets)))
    for stream, level in ((file, logging.DEBUG), (console, logging.INFO)):
        if stream is not None:
            handler = logging.StreamHandler(stream)
            handler.setFormatter(formatter)
            handler.setLevel(level)
            logger.addHandler(handler)
    return logger


class RunLog:
    """Writes a run's events to a logger.

    Parameters
    ----------
    view
        What the run has reported, for the entries at the end.
    logger
        Takes the entries; single evaluations have level DEBUG.
    """

    def __init__(self, view: RunView, logger: logging.Logger) -> None:
        self._view = view
        self._logger = logger
        self._progress_at = float("-inf")
        self._last: list[dict[str, Any]] = []

    def take(self, event: Event) -> None:
        """Write an event, if it is worth an entry."""
        if isinstance(event, Evaluated):
            self._last = [*self._last, _evaluation(event)][-5:]
        if isinstance(event, Progressed):
            now = self._view.clock()
            if now - self._progress_at < _EVERY_SECONDS:
                return
            self._progress_at = now
        entry = _entry(event)
        if entry is not None:
            level, name, fields = entry
            self._write(level, name, fields)

    def finish(self) -> None:
        """Write the result of the search."""
        seen = self._view.now
        evaluated = {"total": seen.evaluations, "counts": dict(seen.counts), "last": self._last}
        self._write(logging.INFO, "evaluated_individuals", evaluated)
        board = [_model(row) for row in seen.leaderboard]
        self._write(logging.INFO, "leaderboard_topk", {"entries": board})
        front = [_model(point) for point in seen.pareto_front[:_MOST_FRONT_POINTS]]
        self._write(logging.INFO, "Pareto_Front", {"points": front})

    def _write(self, level: int, name: str, fields: dict[str, Any]) -> None:
        self._logger.log(level, name, extra={"fields": fields})


def _entry(event: Event) -> Fields | None:
    match event:
        case StageChanged():
            return logging.INFO, "stage_changed", _model(event)
        case WaitingForCluster():
            return logging.INFO, "waiting_for_cluster", _model(event)
        case DataReady() | BackendReady() | Resumed() | BaselineReady() | ModelReady() | Saved():
            return (
                logging.INFO,
                f"{event.kind}_ready" if event.kind in {"data", "backend"} else event.kind,
                _model(event),
            )
        case Progressed(progress=progress):
            return logging.INFO, "progress", _model(progress)
        case Evaluated():
            return logging.DEBUG, "evaluated", _evaluation(event)
        case FellBack(fallback=fallback):
            return logging.WARNING, "fallback", _model(fallback)
        case Warned():
            return logging.WARNING, "warning", _model(event)
        case Failed():
            return logging.ERROR, "failed", _model(event)
        case _:
            return None


def _model(model: Any) -> dict[str, Any]:
    fields: dict[str, Any] = model.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"kind"})
    return fields


def _evaluation(event: Evaluated) -> dict[str, Any]:
    fields = _model(event)
    fields.pop("known", None)
    return fields
