"""What is counted of a release, and the units of a window."""

import re
from dataclasses import dataclass
from datetime import timedelta

__all__ = ["Evidence", "GateError", "parse_window"]

_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
_LONGEST = timedelta(days=90)


class GateError(Exception):
    """There is no evidence to judge by; the message says why and what helps."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one release did within the window.

    Parameters
    ----------
    ended
        Jobs that ended, whichever way.
    failed
        Those that ended without a model.
    fallbacks
        Steps down from parallel evaluation; a job may take more than one.
    overruns
        Runs that took more than their budget plus its allowance.
    unhandled
        Jobs of this release that no operator has looked at for a while; None where the source cannot know.
    """

    ended: int = 0
    failed: int = 0
    fallbacks: int = 0
    overruns: int = 0
    unhandled: int | None = None


def parse_window(text: str) -> timedelta:
    """Parse ``90m``, ``72h`` or ``7d``.

    Raises
    ------
    ValueError
        If *text* is none of these, not above zero, or more than 90 days.
    """
    match = re.fullmatch(r"([1-9][0-9]{0,5})([mhd])", text)
    window = timedelta(**{_UNITS[match.group(2)]: int(match.group(1))}) if match else timedelta()
    if not timedelta() < window <= _LONGEST:
        raise ValueError(f"{text!r} is no window: give 90m, 72h or 7d, at most 90d")
    return window
