"""Hard limits on what runs inside a worker: a soft time-out, then the end of the process.

A thread cannot stop another one that holds the interpreter's lock, so the last resort is
``faulthandler.dump_traceback_later(exit=True)``, whose watchdog is a C thread: it writes the traceback
and ends the process; the nanny starts a new worker.
"""

import ctypes
import faulthandler
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["KILL_GRACE_SECONDS", "LimitExceeded", "time_limit"]

KILL_GRACE_SECONDS = 1.5
"""Seconds between the soft time-out and the end of the process."""

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

    Parameters
    ----------
    seconds
        After these, `LimitExceeded` is raised at the next Python instruction; `KILL_GRACE_SECONDS` later
        the whole process ends with its traceback on standard error.

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
