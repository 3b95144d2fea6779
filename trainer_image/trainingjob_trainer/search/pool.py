"""What the search needs of a place where tasks run, and the one that runs them in this process."""

import math
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from distributed import Client, Future
from distributed.client import FutureCancelledError

from trainingjob_api import Reason
from trainingjob_trainer.search.limits import TaskLimit, describe_error

__all__ = [
    "Answer",
    "Completion",
    "InlinePool",
    "Line",
    "Pool",
    "PoolLost",
    "Task",
    "WorkerSource",
    "answer_of",
]

_ANSWER_SECONDS = 10.0
_FETCH_SECONDS = 5.0


class PoolLost(Exception):  # noqa: N818 - the name says what happened
    """The workers are gone for good.

    Parameters
    ----------
    reason
        As a fallback has it, such as ``SchedulerLost``.
    message
        In words.
    """

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class WorkerSource(Protocol):
    """What the pool needs of a cluster."""

    @property
    def client(self) -> Client:
        """A connected client."""

    @property
    def remote(self) -> bool:
        """Whether workers have clocks of their own and may go for reasons of their own."""

    def live(self) -> Mapping[str, str]:
        """Return the workers that take tasks now: address, and what no other process has had there."""

    def leaving(self) -> Collection[str]:
        """Return the addresses of the workers that finish what they do and take no more."""

    def check(self) -> None:
        """Raise `PoolLost` if the cluster is lost."""


@dataclass(slots=True, kw_only=True, eq=False)
class Task:
    """A function to call on a worker.

    Parameters
    ----------
    tag
        What the caller knows it by.
    call
        Makes the function, its arguments and its limit in seconds, at the time of submission.
    """

    tag: Any
    call: Callable[[], tuple[Callable[..., Any], tuple[Any, ...], TaskLimit]]
    deaths: int = 0
    suspected: bool = False
    not_before: float = 0.0
    limit_seconds: float = 0.0
    deadline: float = math.inf
    future: Future | None = None

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


@dataclass(slots=True)
class Line:
    """The tasks of one worker, in order; the first one is running.

    A port is soon given to another process, so an address alone does not say which worker it is.
    """

    tasks: deque[Task] = field(default_factory=deque)
    worker: str | None = None
    head_since: float = 0.0
    missing_since: float | None = None
    drained: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a future that is done has to say.

    Parameters
    ----------
    value
        What the function returned.
    error
        Why there is none.
    vanished
        Whether the value was there and is lost: its worker died before it was fetched.
    """

    value: Any = None
    error: BaseException | None = None
    vanished: bool = False


def answer_of(future: Future) -> Answer:
    """Ask a future that is done; takes seconds where scheduler or worker have just gone."""
    if future.status == "finished":
        try:
            return Answer(value=future.result(timeout=_FETCH_SECONDS))
        except Exception as error:  # noqa: BLE001 - whatever it is, the value did not come
            return Answer(error=error, vanished=True)
    try:
        told = future.exception(timeout=_ANSWER_SECONDS)
    except Exception as failure:  # noqa: BLE001 - cancelled futures raise instead of returning
        return Answer(error=failure)
    lost = FutureCancelledError(future.key, "lost")
    return Answer(error=told if isinstance(told, BaseException) else lost)


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
        """Return what has ended."""

    def drop(self) -> None:
        """Forget every task."""


class InlinePool:
    """Runs each task when it is submitted.

    A task that outlives its limit takes this process with it; the parent then steps down the ladder.

    Parameters
    ----------
    beat
        Called around each task.
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
