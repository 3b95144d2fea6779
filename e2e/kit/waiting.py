"""Waits for conditions, never for a fixed time."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["eventually"]

T = TypeVar("T")

PAUSE_SECONDS = 0.5


def eventually(look: Callable[[], T], message: str | Callable[[], str], seconds: float) -> T:
    """Return the first true result of *look*, called repeatedly; fail with *message* after *seconds*."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() >= deadline:
            text = message() if callable(message) else message
            raise AssertionError(f"not within {seconds:g} s: {text}")
        pause.wait(PAUSE_SECONDS)
