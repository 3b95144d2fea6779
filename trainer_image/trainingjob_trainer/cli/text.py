"""Text and numbers as a terminal shows them."""

import re
from collections.abc import Iterable, Mapping

__all__ = [
    "OUTCOME_WORDS",
    "about_column",
    "change",
    "counts_text",
    "duration",
    "label_text",
    "plain",
    "redact",
    "secrets_of",
]

OUTCOME_WORDS = {
    "ok": "ok",
    "stopped": "stopped",
    "invalid": "failed",
    "killed": "killed",
    "timeout": "timed out",
}
"""Outcomes of an evaluation, and how a terminal names them."""

_MINUTE = 60
_HOUR = 3600
_MIN_SECRET = 6
_SECRET_WORDS = ("SECRET", "PASSWORD", "PASSWD", "TOKEN", "ACCESS_KEY", "ACCOUNT_KEY", "PRIVATE_KEY")


def plain(text: object) -> str:
    """Return text from a table, a pipeline or a spec as one line that cannot control a terminal.

    Control characters, ANSI escapes and marks that change the writing direction become spaces.
    """
    return re.sub("\0+", " ", "".join(char if char.isprintable() else "\0" for char in str(text))).strip()


def about_column(message: str, column: str | None) -> str:
    """Return a finding as one line that names its column."""
    return plain(message if column is None else f"column {column!r}: {message}")


def label_text(label: str) -> str:
    """Return a label, in quotes if its start, end or characters would be ambiguous without them."""
    ambiguous = not label or not label.isprintable() or label != " ".join(label.split())
    return repr(label) if ambiguous or any(mark in label for mark in ",'\"") else label


def duration(seconds: float) -> str:
    """Return seconds as ``7 s``, ``1:05 min`` or ``2:03:04 h``."""
    whole = max(0, int(seconds))
    if whole < _MINUTE:
        return f"{whole} s"
    minutes, rest = divmod(whole, _MINUTE)
    if whole < _HOUR:
        return f"{minutes}:{rest:02d} min"
    hours, minutes = divmod(minutes, _MINUTE)
    return f"{hours}:{minutes:02d}:{rest:02d} h"


def change(new: float | None, old: float | None) -> str:
    """Return the difference of two scores with its sign, or "" if one of them is missing."""
    return "" if new is None or old is None else f"{new - old:+.3g}"


def counts_text(counts: Mapping[str, int]) -> str:
    """Return evaluations by outcome, such as ``96 ok · 2 failed``, without zeros except that of ``ok``."""
    shown = {OUTCOME_WORDS.get(outcome, outcome): count for outcome, count in counts.items()}
    return " · ".join(f"{count} {word}" for word, count in shown.items() if count or word == "ok")


def secrets_of(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the values of variables that look like credentials, longest first."""
    found = {
        value
        for name, value in environment.items()
        if len(value) >= _MIN_SECRET and any(word in name.upper() for word in _SECRET_WORDS)
    }
    return tuple(sorted(found, key=len, reverse=True))


def redact(text: str, secrets: Iterable[str]) -> str:
    """Return text with `secrets` replaced by ``***``."""
    for secret in secrets:
        text = text.replace(secret, "***")
    return text
