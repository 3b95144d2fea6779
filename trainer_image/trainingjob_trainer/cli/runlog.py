"""The structured log of a run: JSON lines, one an event, and what came of the search at the end."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, TextIO

import structlog

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
    from collections.abc import Callable, Iterable, MutableMapping
    from pathlib import Path

    from trainingjob_trainer.cli.view import RunView

__all__ = ["LateFile", "RunLog"]

_EVERY_SECONDS = 15.0
_MOST_FRONT_POINTS = 20
_FIRST_KEYS = ("time", "level", "event")

Fields = tuple[str, str, dict[str, Any]]


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


class RunLog:
    """Writes a run's events as JSON lines.

    Parameters
    ----------
    view
        What the run has told, for the entries at the end.
    file
        Takes every entry.
    console
        Takes all but single evaluations: a stream, or a logger that has the schema of pods; None if no log
        is asked for.
    secrets
        Never appear.
    """

    def __init__(
        self,
        view: RunView,
        *,
        file: LateFile,
        console: TextIO | logging.Logger | None = None,
        secrets: Iterable[str] = (),
    ) -> None:
        self._view = view
        self._file = file
        self._secrets = tuple(secrets)
        self._progress_at = float("-inf")
        self._last: list[dict[str, Any]] = []
        self._to_file = self._logger(file)
        is_stream = console is not None and not isinstance(console, logging.Logger)
        self._to_console = self._logger(console) if is_stream else console

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
            self._write(level, name, **fields)

    def finish(self) -> None:
        """Write what came of the search, and close the file."""
        seen = self._view.now
        self._write(
            "info", "evaluated_individuals", total=seen.evaluations, counts=dict(seen.counts), last=self._last
        )
        self._write("info", "leaderboard_topk", entries=[_model(row) for row in seen.leaderboard])
        front = [_model(point) for point in seen.pareto_front[:_MOST_FRONT_POINTS]]
        self._write("info", "Pareto_Front", points=front)
        self._file.close()

    def _write(self, level: str, name: str, **fields: Any) -> None:
        getattr(self._to_file, level)(name, **fields)
        if level == "debug" or self._to_console is None:
            return
        if isinstance(self._to_console, logging.Logger):
            getattr(self._to_console, level)(name, extra={"fields": fields})
        else:
            getattr(self._to_console, level)(name, **fields)

    def _logger(self, file: Any) -> Any:
        return structlog.wrap_logger(
            structlog.WriteLogger(file),
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
                self._blank,
                structlog.processors.JSONRenderer(sort_keys=False, ensure_ascii=False, allow_nan=False),
            ],
            wrapper_class=structlog.BoundLogger,
        )

    def _blank(self, _logger: Any, _method: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        first = {key: entry.pop(key) for key in _FIRST_KEYS if key in entry}
        return {key: _without(value, self._secrets) for key, value in {**first, **entry}.items()}


def _without(value: Any, secrets: tuple[str, ...]) -> Any:
    match value:
        case str():
            return redact(value, secrets)
        case dict():
            return {key: _without(one, secrets) for key, one in value.items()}
        case list() | tuple():
            return [_without(one, secrets) for one in value]
        case _:
            return value


def _entry(event: Event) -> Fields | None:
    match event:
        case StageChanged():
            return "info", "stage_changed", _model(event)
        case WaitingForCluster():
            return "info", "waiting_for_cluster", _model(event)
        case DataReady() | BackendReady() | Resumed() | BaselineReady() | ModelReady() | Saved():
            return (
                "info",
                f"{event.kind}_ready" if event.kind in {"data", "backend"} else event.kind,
                _model(event),
            )
        case Progressed(progress=progress):
            return "info", "progress", _model(progress)
        case Evaluated():
            return "debug", "evaluated", _evaluation(event)
        case FellBack(fallback=fallback):
            return "warning", "fallback", _model(fallback)
        case Warned():
            return "warning", "warning", _model(event)
        case Failed():
            return "error", "failed", _model(event)
        case _:
            return None


def _model(model: Any) -> dict[str, Any]:
    fields: dict[str, Any] = model.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"kind"})
    return fields


def _evaluation(event: Evaluated) -> dict[str, Any]:
    fields = _model(event)
    fields.pop("known", None)
    return fields
