"""The log format: one JSON object per line, with the same keys in operator and trainer.

Keys: ``time`` (RFC 3339, UTC, milliseconds), ``level``, ``event``; ``job`` (``namespace/name``), ``uid`` and
``attempt`` for lines about a job; further keys of the line.
"""

import json
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from trainingjob_api.text import shorten

__all__ = ["MAX_TEXT", "JsonLines", "install"]

MAX_TEXT = 8000
_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "fields"}


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON.

    ``extra`` adds keys to a line; its ``fields``, a mapping, may use names of attributes of a record, such
    as ``message``.

    Parameters
    ----------
    about
        Returns the job's keys for a record.
    clean
        Returns a function that removes secrets from texts.
    hidden
        Attributes of a record that are not logged.
    """

    def __init__(
        self,
        about: Callable[[logging.LogRecord], Mapping[str, Any]],
        *,
        clean: Callable[[], Callable[[str], str]] = lambda: str,
        hidden: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__()
        self._about = about
        self._clean = clean
        self._hidden = _PLAIN | hidden

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        time = datetime.fromtimestamp(record.created, UTC)
        head = {
            "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "event": shorten(record.getMessage(), MAX_TEXT),
            **self._about(record),
        }
        extra = {name: value for name, value in vars(record).items() if name not in self._hidden}
        line = {**head, **extra, **getattr(record, "fields", {}), "logger": record.name, **head}
        if record.exc_info:
            # The end of a traceback names the error.
            line["traceback"] = self.formatException(record.exc_info)[-MAX_TEXT:]
        return json.dumps(_cleaned(line, self._clean()), default=str, ensure_ascii=False)


def install(handler: logging.Handler, level: int = logging.INFO) -> None:
    """Send all logs of this process, including those of libraries imported so far, to *handler*."""
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.captureWarnings(capture=True)
    # When it is imported, Dask gives some loggers, tornado's among them, handlers that write plain lines.
    loggers = [logger for logger in root.manager.loggerDict.values() if isinstance(logger, logging.Logger)]
    for logger in loggers:
        for own in logger.handlers[:]:
            if isinstance(own, logging.StreamHandler):
                logger.removeHandler(own)
                logger.propagate = True


def _cleaned(value: Any, clean: Callable[[str], str]) -> Any:
    match value:
        case str():
            return clean(value)
        case dict():
            return {key: _cleaned(item, clean) for key, item in value.items()}
        case list() | tuple():
            return [_cleaned(item, clean) for item in value]
        case _:
            return value
