"""What every task on a worker needs: its limit, quiet, and errors in one line."""

import time
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["MIN_USEFUL_SECONDS", "TaskLimit", "describe_error", "let_the_last_answer_go", "quiet"]

MIN_USEFUL_SECONDS = 0.2
"""A task that has less time left does not begin."""
_ERROR_CHARS = 300
_SWITCH_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class TaskLimit:
    """How long a task may take.

    Parameters
    ----------
    seconds
        Its own limit.
    deadline
        Unix time at which it ends in any case, since a task may wait in a worker's queue.
    """

    seconds: float
    deadline: float

    def effective(self) -> float:
        """Return the seconds that are left to a task that starts now."""
        return min(self.seconds, self.deadline - time.time())


def describe_error(failure: BaseException) -> str:
    """Return an exception as one bounded line."""
    first = (str(failure).strip().splitlines() or [""])[0]
    return f"{type(failure).__name__}: {first}"[:_ERROR_CHARS]


def let_the_last_answer_go() -> None:
    """Give the worker's event loop a moment to send the previous task's result.

    A task that takes the interpreter's lock for good would hold that message back, and the task before it
    would be blamed for the death of the worker.
    """
    time.sleep(_SWITCH_SECONDS)


class quiet(warnings.catch_warnings):  # noqa: N801 - reads as a verb where it is used
    """Silence warnings and floating point noise of candidates; failures are told by outcome."""

    def __enter__(self) -> Any:
        entered = super().__enter__()
        warnings.simplefilter("ignore")
        self._errors = np.seterr(all="ignore")
        return entered

    def __exit__(self, *exc: object) -> None:
        np.seterr(**self._errors)
        super().__exit__(*exc)  # type: ignore[arg-type]
