"""Limits of what runs on a worker: its deadline, a soft time-out, then the end of the process.

A thread cannot stop another one that holds the interpreter's lock, so the last resort is
``faulthandler.dump_traceback_later(exit=True)``, whose watchdog is a C thread: it writes the traceback and
ends the process; the nanny starts a new worker.
"""

import ctypes
import faulthandler
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = [
    "KILL_GRACE_SECONDS",
    "MIN_USEFUL_SECONDS",
    "LimitExceeded",
    "TaskLimit",
    "describe_error",
    "quiet",
    "time_limit",
    "wait_for_last_answer",
]

KILL_GRACE_SECONDS = 1.5
"""Seconds between the soft time-out and the end of the process."""
MIN_USEFUL_SECONDS = 0.2
"""A task that has less time left does not begin."""
_ERROR_CHARS = 300
_SWITCH_SECONDS = 0.01
_DELIVERY_SECONDS = 0.5


class LimitExceeded(BaseException):
    """The time limit passed.

    It is no `Exception`, so that an estimator's own ``except Exception`` cannot swallow it.
    """


class _SoftTimeout:
    """Raises `LimitExceeded` in the thread that made it, after some seconds, unless it is closed first."""

    def __init__(self, seconds: float) -> None:
        self._target = threading.get_ident()
        self._lock = threading.Lock()
        self._closed = False
        self.fired = False
        self._timer = threading.Timer(seconds, self._fire)
        self._timer.daemon = True
        self._timer.start()

    def _fire(self) -> None:
        with self._lock:
            if not self._closed:
                self.fired = True
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(self._target), ctypes.py_object(LimitExceeded)
                )

    def close(self) -> None:
        self._timer.cancel()
        with self._lock:
            self._closed = True


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Bound what runs inside to `seconds`, and the process to a little more.

    After `seconds`, `LimitExceeded` is raised at the next Python instruction; `KILL_GRACE_SECONDS` later the
    whole process ends with its traceback on standard error.

    Raises
    ------
    LimitExceeded
        When the limit has passed.

    Notes
    -----
    For single-threaded workers only: the watchdog belongs to the process.
    """
    seconds = max(seconds, 0.001)
    faulthandler.dump_traceback_later(seconds + KILL_GRACE_SECONDS, exit=True, file=sys.__stderr__ or 2)
    soft = _SoftTimeout(seconds)
    try:
        try:
            yield
        finally:
            soft.close()
            if soft.fired and not isinstance(sys.exc_info()[1], LimitExceeded):
                # The exception is on its way: let it arrive here and not in the code that comes after.
                end = time.monotonic() + _DELIVERY_SECONDS
                while time.monotonic() < end:
                    time.sleep(0.001)
    finally:
        faulthandler.cancel_dump_traceback_later()


@dataclass(frozen=True, slots=True)
class TaskLimit:
    """Seconds that a task may take, and the Unix time at which it ends however long it waited in a queue."""

    seconds: float
    deadline: float

    def effective(self) -> float:
        """Return the seconds that are left to a task that starts now."""
        return min(self.seconds, self.deadline - time.time())


def describe_error(failure: BaseException) -> str:
    """Return an exception as one bounded line."""
    first = (str(failure).strip().splitlines() or [""])[0]
    return f"{type(failure).__name__}: {first}"[:_ERROR_CHARS]


def wait_for_last_answer() -> None:
    """Give the worker's event loop a moment to send the previous task's result.

    A task that takes the interpreter's lock for good would hold that message back, and the task before it
    would be blamed for the death of the worker.
    """
    time.sleep(_SWITCH_SECONDS)


class quiet(warnings.catch_warnings):  # noqa: N801 - reads as a verb where it is used
    """Silence warnings and floating point errors of candidates; the outcome shows failures."""

    def __enter__(self) -> Any:
        entered = super().__enter__()
        warnings.simplefilter("ignore")
        self._errors = np.seterr(all="ignore")
        return entered

    def __exit__(self, *exc: object) -> None:
        np.seterr(**self._errors)
        super().__exit__(*exc)  # type: ignore[arg-type]
