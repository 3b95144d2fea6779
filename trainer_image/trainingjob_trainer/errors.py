"""Errors of the trainer, each with a reason that is also a condition's reason.

::

    TrainingError
    ├── SpecInvalid   the spec is wrong: the user must act, exit status 2
    ├── DataError     the data is wrong: the user must act, exit status 2
    └── RunFailed     the run failed: exit status 1

An outage of something that the run needs is a `RunFailed`, since a later attempt finds it back. Where an
outage looks like a mistake, as with a host name that does not resolve, it counts as an outage.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, Final

from trainingjob_api import EXIT_INVALID, Reason

_FULL_DISK: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
"""Error codes of a full or read-only disk."""

MAY_COME = frozenset(
    {
        Reason.BUCKET_NOT_FOUND,
        Reason.CLAIM_NOT_MOUNTED,
        Reason.CREDENTIALS_MISSING,
        Reason.CREDENTIALS_REFUSED,
        Reason.OUTPUT_NOT_WRITABLE,
    }
)
"""Reasons that end a job before its first work. Later they are retried, since what worked may work again."""


class TrainingError(Exception):
    """Base of all errors that end a run with a message for the user.

    The message is one or two sentences: the field or column, the cause and the way out. Never a secret.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message

    def __reduce__(self) -> tuple[type["TrainingError"], tuple[Reason, str]]:
        """Pickle the error with all its fields."""
        return type(self), (self.reason, self.message)


class SpecInvalid(TrainingError):  # noqa: N818 - the reason of a condition reads like this
    """The TrainingJob asks for something that cannot be done; no retry helps."""

    exit_code = EXIT_INVALID


class DataError(TrainingError):
    """The table cannot be trained on as it is; no retry helps."""

    exit_code = EXIT_INVALID


class RunFailed(TrainingError):  # noqa: N818 - the reason of a condition reads like this
    """The run could not end in a model that was saved."""


def folder_unusable(folder: Path, error: OSError) -> RunFailed:
    """Return the error of a run whose own folder cannot be written to."""
    return RunFailed(
        Reason.WORK_FOLDER_UNUSABLE,
        f"{folder} cannot be written to ({error.strerror}); free space there, change its permissions or "
        "choose another folder. What was evaluated is kept, and the same command continues the run",
    )


@contextmanager
def naming_full_disk(folder: Path) -> Iterator[None]:
    """Raise the error of a run whose folder is full, where a write fails for that."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL_DISK:
            raise
        raise folder_unusable(folder, error) from error


def once_begun(error: TrainingError) -> TrainingError:
    """Return the error as a job meets it that has done work already: a refusal is retried by another pod."""
    if isinstance(error, SpecInvalid) and error.reason in MAY_COME:
        return RunFailed(error.reason, error.message)
    return error
