"""The limits of a run: its clock, the budget of its search, and the time of each task on a worker.

A thread cannot stop another one that holds the interpreter's lock, so the last resort of a task's limit is
``faulthandler.dump_traceback_later(exit=True)``, whose watchdog is a C thread: it writes the traceback and
ends the process; the nanny starts a new worker. The process that supervises a run reads this module too, so
it imports nothing of a worker's.
"""

import ctypes
import faulthandler
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

KILL_GRACE_SECONDS = 1.5
"""Seconds between the soft time-out and the end of the process."""
MIN_USEFUL_SECONDS = 0.2
"""A task that has less time left does not begin."""
_ALLOWANCE_SHARE = 0.05
_ALLOWANCE_SECONDS = 5.0
_ERROR_CHARS = 300
_SWITCH_SECONDS = 0.01
_DELIVERY_SECONDS = 0.5


def overrun_allowance(budget_seconds: float) -> float:
    """Return the seconds that a run may take beyond its budget: 5 % of it, at least 5 s."""
    return max(_ALLOWANCE_SHARE * budget_seconds, _ALLOWANCE_SECONDS)


class RunClock:
    """Seconds of the budget that are used and left.

    The clock does not run until `start` is called, so that imports, downloads and the start of workers are
    not charged to the search.

    Parameters
    ----------
    budget_seconds
        ``timeLeftSeconds`` of the job.
    used_before
        Seconds that earlier attempts of the same run used.
    now
        A monotonic clock, in seconds.
    """

    def __init__(
        self, budget_seconds: float, *, used_before: float = 0.0, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.budget_seconds = budget_seconds
        self.used_before = used_before
        self._now = now
        self._started: float | None = None
        self._stopped: float | None = None
        self._paused_since: float | None = None
        self._waited = 0.0

    def start(self) -> None:
        """Start the clock; calling it again changes nothing."""
        if self._started is None:
            self._started = self._now()

    def stop(self) -> None:
        """Stop the clock for good: what comes after, such as drawing the report, is not charged."""
        if self._stopped is None:
            self._stopped = self._now()

    def leave(self, seconds: float) -> None:
        """Reduce the time used by earlier attempts until `seconds` are left, at most the whole budget."""
        short = min(seconds, self.budget_seconds) - (self.budget_seconds - self.elapsed)
        self.used_before -= max(0.0, short)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Pause the clock while the run waits for something that is not its own work."""
        self._paused_since = self._now()
        try:
            yield
        finally:
            self._waited += self._now() - self._paused_since
            self._paused_since = None

    @property
    def running(self) -> bool:
        """Whether the clock has been started and not stopped."""
        return self._started is not None and self._stopped is None

    @property
    def elapsed(self) -> float:
        """Seconds used so far, those of earlier attempts included."""
        if self._started is None:
            return self.used_before
        until = self._now() if self._stopped is None else self._stopped
        if self._paused_since is not None:
            until = self._paused_since
        return self.used_before + until - self._started - self._waited

    @property
    def remaining(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.budget_seconds - self.elapsed)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchBudget:
    """Limits of a search: evaluations per generation, generations, and seconds of one evaluation."""

    generations: int
    population_size: int
    per_run_limit_seconds: float

    @property
    def evaluations(self) -> int:
        """Evaluations in all."""
        return self.generations * self.population_size


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchProgress:
    """How far a search has come.

    Parameters
    ----------
    generation
        Whole generations that are committed.
    evaluated, failed, timed_out
        Finished evaluations, and how many of them were invalid or killed, or too slow.
    """

    generation: int
    evaluated: int
    failed: int
    timed_out: int
    best_score: float | None
    elapsed_seconds: float
    remaining_seconds: float


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

    A task that never releases the interpreter's lock would hold that message back, and the task before it
    would be blamed for the death of the worker.
    """
    time.sleep(_SWITCH_SECONDS)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence warnings and floating point errors of candidates; the outcome shows failures."""
    from numpy import errstate  # noqa: PLC0415 - only where estimators run

    with warnings.catch_warnings(), errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield
