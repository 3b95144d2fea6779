"""The log: one JSON object a line, with the same keys in operator and trainer.

Keys: ``time`` (RFC 3339, UTC, milliseconds), ``level``, ``event``; ``job`` (``namespace/name``), ``uid`` and
``attempt`` where a line is about a job; whatever else a line has to say.
"""

import json
import logging
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, TextIO

from trainingjob_api import KIND
from trainingjob_api.text import shorten

__all__ = ["configure", "speak_of"]

MAX_TEXT = 8000
_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_KOPF = frozenset({"k8s_ref", "k8s_skip", "settings"})
_subject: ContextVar[Mapping[str, Any]] = ContextVar("subject", default=MappingProxyType({}))


def speak_of(**fields: Any) -> None:
    """Put *fields* (``job``, ``uid``, ``attempt``) into every line of this task until the next call."""
    _subject.set({name: value for name, value in fields.items() if value is not None})


def configure(stream: TextIO | None = None, level: int = logging.INFO) -> None:
    """Send every line of this process, those of libraries too, to *stream* (standard error)."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.captureWarnings(capture=True)
    # It tells of each event of each object that it was taken; what came of it is told by the reconciler.
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)


class _JsonLines(logging.Formatter):
    """Formats a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        time = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, Any] = {
            "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "event": shorten(record.getMessage(), MAX_TEXT),
            **_subject.get(),
            **_of_kopf(getattr(record, "k8s_ref", None)),
            **{name: value for name, value in vars(record).items() if name not in _PLAIN | _KOPF},
            "logger": record.name,
        }
        if record.exc_info:
            # Its end says what happened.
            line["traceback"] = self.formatException(record.exc_info)[-MAX_TEXT:]
        return json.dumps(line, default=str, ensure_ascii=False)


def _of_kopf(reference: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what a line of Kopf's is about."""
    if not reference:
        return {}
    where = f"{reference.get('namespace')}/{reference.get('name')}"
    if reference.get("kind") == KIND:
        return {"job": where, "uid": reference.get("uid")}
    return {"object": f"{reference.get('kind')} {where}"}
