"""Bounded repetition of what may fail for a while."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

__all__ = ["Again", "RetryPolicy"]

T = TypeVar("T")


class Again(Exception):  # noqa: N818 - a request, not an error
    """The attempt failed in a way that may pass; ``str()`` says how, without secrets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and how long to try.

    Parameters
    ----------
    attempts
        Most attempts, at least 1.
    first_delay_seconds
        Pause after the first failure; it doubles each time.
    longest_delay_seconds
        Longest pause.
    deadline_seconds
        No attempt starts later than this after the first one.
    sleep, clock
        The seam for tests: ``time.sleep`` and ``time.monotonic``.
    """

    attempts: int = 6
    first_delay_seconds: float = 0.5
    longest_delay_seconds: float = 8.0
    deadline_seconds: float = 180.0
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic

    def call(self, action: Callable[[], T]) -> T:
        """Return what `action` returns; it is repeated while it raises `Again`.

        Raises
        ------
        Again
            The last failure, once attempts or time are used up.
        """
        begin = self.clock()
        delay = self.first_delay_seconds
        for attempt in range(1, self.attempts + 1):
            try:
                return action()
            except Again:
                late = self.clock() - begin + delay > self.deadline_seconds
                if attempt == self.attempts or late:
                    raise
            self.sleep(delay)
            delay = min(2 * delay, self.longest_delay_seconds)
        raise ValueError("a retry policy needs at least one attempt")
