"""What the search needs of a place where tasks run, and the pool that runs them in this process."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from trainingjob_api import Reason
from trainingjob_trainer.search.limits import TaskLimit, describe_error

__all__ = ["Completion", "InlinePool", "Pool", "PoolLost", "Task", "run_tasks"]

_POLL_SECONDS = 0.25

Call = tuple[Callable[..., Any], tuple[Any, ...]]
BoundCall = tuple[Callable[..., Any], tuple[Any, ...], TaskLimit]


class PoolLost(Exception):  # noqa: N818 - the name says what happened
    """The workers are gone for good; `reason` is that of the fallback."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(slots=True, kw_only=True, eq=False)
class Task:
    """A function to call on a worker.

    Parameters
    ----------
    tag
        What the caller knows it by.
    call
        Returns the function, its arguments and its limit, at the time of submission.
    """

    tag: Any
    call: Callable[[], BoundCall]
    deaths: int = 0
    suspected: bool = False
    not_before: float = 0.0
    limit_seconds: float = 0.0
    deadline: float = math.inf
    future: Any = None

    @property
    def done(self) -> bool:
        """Whether the function has returned, though its value may not be here yet."""
        return self.future is not None and self.future.status == "finished"


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """How a task ended.

    Parameters
    ----------
    tag
        The task's.
    value
        What the function returned, if it did.
    killed
        Whether the task took its worker with it.
    timed_out
        With `killed`: whether it had run for as long as its limit.
    cut_off
        With `killed`: whether it was ended at its deadline, before its own limit.
    error
        One line, where there is no value.
    seconds
        From the time at which the task was first in its worker's line.
    """

    tag: Any
    value: Any = None
    killed: bool = False
    timed_out: bool = False
    cut_off: bool = False
    error: str | None = None
    seconds: float = 0.0


class Pool(Protocol):
    """Where tasks run."""

    @property
    def workers(self) -> int:
        """Workers that take tasks now."""

    def free(self) -> int:
        """Return how many more tasks can be submitted without waiting."""

    def submit(self, task: Task) -> None:
        """Take a task."""

    def poll(self, timeout: float) -> list[Completion]:
        """Return what has ended, waiting at most `timeout` seconds for the first."""

    def drop(self) -> None:
        """Forget every task."""


class InlinePool:
    """Runs each task in this process when it is submitted, and calls `beat` before and after.

    A task that outlives its limit takes this process with it; the parent then continues with a simpler model.
    """

    workers = 1

    def __init__(self, beat: Callable[[], None] = lambda: None) -> None:
        self._beat = beat
        self._done: list[Completion] = []

    def free(self) -> int:
        """Return 1 unless a result waits to be taken."""
        return 0 if self._done else 1

    def submit(self, task: Task) -> None:
        """Run a task to its end."""
        function, arguments, limit = task.call()
        self._beat()
        try:
            completion = Completion(tag=task.tag, value=function(*arguments, limit))
        except Exception as error:  # noqa: BLE001 - as on a worker: the caller sees the error of the task
            completion = Completion(tag=task.tag, error=describe_error(error))
        self._beat()
        self._done.append(completion)

    def poll(self, timeout: float) -> list[Completion]:  # noqa: ARG002 - nothing is ever under way
        """Return what has been run since the last call."""
        done, self._done = self._done, []
        return done

    def drop(self) -> None:
        """Forget what has been run."""
        self._done = []


def run_tasks(
    pool: Pool, calls: Mapping[str, Call], *, seconds: float, tick: Callable[[], None]
) -> dict[str, Completion]:
    """Run functions on the pool at the same time, and give up those that are not done after `seconds`.

    Parameters
    ----------
    calls
        Functions and their arguments by a name; the last argument, a `TaskLimit`, is added.
    tick
        Called several times a second.

    Returns
    -------
    dict of str to Completion
        Of all calls; those that were given up have an error.
    """
    end = time.monotonic() + seconds
    limit = TaskLimit(seconds, time.time() + seconds)
    for name, (function, arguments) in calls.items():
        pool.submit(Task(tag=name, call=partial(_bound, function, arguments, limit)))
    done: dict[str, Completion] = {}
    while len(done) < len(calls) and time.monotonic() < end:
        for completion in pool.poll(_POLL_SECONDS):
            done[completion.tag] = completion
        tick()
    if len(done) < len(calls):
        pool.drop()
    error = f"was given up after {seconds:.1f} s"
    return done | {name: Completion(tag=name, error=error) for name in calls if name not in done}


def _bound(function: Callable[..., Any], arguments: tuple[Any, ...], limit: TaskLimit) -> BoundCall:
    return function, arguments, limit
