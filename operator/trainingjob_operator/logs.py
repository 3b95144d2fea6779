"""The operator's log: JSON lines with the job that is being reconciled."""

import logging
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, TextIO

from trainingjob_api import KIND
from trainingjob_api.log_lines import JsonLines, install

__all__ = ["configure", "set_log_context"]

_KOPF = frozenset({"k8s_ref", "k8s_skip", "settings"})
_context: ContextVar[Mapping[str, Any]] = ContextVar("context", default=MappingProxyType({}))


def set_log_context(**fields: Any) -> None:
    """Add *fields* (``job``, ``uid``, ``attempt``) to every log line of this task until the next call."""
    _context.set({name: value for name, value in fields.items() if value is not None})


def configure(stream: TextIO | None = None, level: int = logging.INFO) -> None:
    """Write the log lines of this process and its libraries to *stream*, by default standard error."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines(_context_of, hidden=_KOPF))
    install(handler, level)
    # Kopf logs each event that it handled; the reconciler logs the result.
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)


def _context_of(record: logging.LogRecord) -> dict[str, Any]:
    return {**_context.get(), **_of_kopf(getattr(record, "k8s_ref", None))}


def _of_kopf(reference: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the object that a log line of Kopf is about."""
    if not reference:
        return {}
    where = f"{reference.get('namespace')}/{reference.get('name')}"
    if reference.get("kind") == KIND:
        return {"job": where, "uid": reference.get("uid")}
    return {"object": f"{reference.get('kind')} {where}"}
