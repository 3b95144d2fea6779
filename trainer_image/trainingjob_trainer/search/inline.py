"""The pool of a run that needs no workers: each task runs at once, in this process."""

from collections.abc import Callable
from typing import Protocol

from trainingjob_trainer.search.task import Completion, Task
from trainingjob_trainer.search.taskkit import describe_error

__all__ = ["InlinePool", "Pool"]


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
