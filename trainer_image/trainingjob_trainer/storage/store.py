"""The byte store that every kind of storage implements, and what its failures are called.

A store makes one attempt a call. What is written once above it for all of them: manifest, digests, reading
back, retry, ``latest.json`` and state objects (`output`).
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from trainingjob_api import OBJECT_STORAGE, Reason
from trainingjob_trainer.errors import SpecInvalid, TrainingError

__all__ = [
    "CHECK_RETRY",
    "PROBE",
    "Again",
    "Hidden",
    "Missing",
    "Readable",
    "RetryPolicy",
    "Store",
    "StoreError",
    "access_refused",
    "content_type",
    "no_bucket",
    "status_may_pass",
]

T = TypeVar("T")

PROBE = ".trainingjob-probe"
"""The object that `Store.check` writes to a bucket."""
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".py": "text/x-python; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
}
_BUSY = frozenset({408, 429})
_SERVER_FAULT = 500
_NOT_IMPLEMENTED = 501


class StoreError(Exception):
    """One attempt failed for good; ``str()`` says how in a few words, without secrets."""


class Again(StoreError):  # noqa: N818 - a request, not an error
    """The attempt failed in a way that may pass."""


class Missing(StoreError):  # noqa: N818 - an answer as good as any
    """There is nothing under the key."""


class Hidden(Missing):
    """The key may not be read. Without the right to list, a missing object looks like a forbidden one.

    Parameters
    ----------
    refusal
        The error if the object is known to exist.
    """

    def __init__(self, refusal: TrainingError) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


class Readable(Protocol):
    """What `Store.get` opens."""

    def read(self, amount: int, /) -> bytes:
        """Return the next bytes, at most `amount`; none at the end."""


class Store(Protocol):
    """Bytes under keys, whose parts are separated by slashes.

    Raises
    ------
    StoreError
        From each method: `Again` if it may pass, `Missing` if there is no such key.
    SpecInvalid
        From each method: ``BucketNotFound`` or ``CredentialsRefused``.
    """

    uri: str
    """The place as the user writes it, without a slash at its end."""
    where: str
    """The place in messages."""
    retry: "RetryPolicy"
    """For publishing and reading."""
    check_retry: "RetryPolicy"

    def check(self) -> None:
        """Prove that objects can be written, by writing one.

        Raises
        ------
        SpecInvalid
            Also ``OutputNotWritable`` or ``ClaimNotMounted``.
        """

    def stat(self, key: str) -> int:
        """Return the size of an object in bytes."""

    def get(self, key: str) -> AbstractContextManager[Readable]:
        """Open an object."""

    def put(self, key: str, content: Path | bytes, *, sha256: str | None = None) -> None:
        """Write an object, whole or not at all; `sha256` is noted beside it where that is possible."""

    def delete(self, key: str) -> None:
        """Remove an object, if it exists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and how long to try.

    Parameters
    ----------
    attempts
        Most attempts, at least 1; None: as many as the time allows.
    first_delay_seconds
        Pause after the first failure; it doubles each time.
    longest_delay_seconds
        Longest pause.
    deadline_seconds
        No attempt starts later than this after the first one.
    sleep, clock
        The seam for tests: ``time.sleep`` and ``time.monotonic``.
    """

    attempts: int | None = 6
    first_delay_seconds: float = 0.5
    longest_delay_seconds: float = 8.0
    deadline_seconds: float = 180.0
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic

    def call(
        self,
        action: Callable[[], T],
        may_pass: Callable[[Exception], bool] = lambda error: isinstance(error, Again),
    ) -> T:
        """Return what `action` returns; it is repeated after each failure that `may_pass`.

        The last failure is raised once attempts or time are used up.
        """
        begin = self.clock()
        delay = self.first_delay_seconds
        attempt = 1
        while True:
            try:
                return action()
            except Exception as error:
                late = self.clock() - begin + delay > self.deadline_seconds
                if not may_pass(error) or attempt == self.attempts or late:
                    raise
            self.sleep(delay)
            delay = min(2 * delay, self.longest_delay_seconds)
            attempt += 1


CHECK_RETRY = RetryPolicy(attempts=3, first_delay_seconds=0.5, deadline_seconds=60.0)
"""For `Store.check` of a bucket."""


def content_type(key: str) -> str:
    """Return the media type of an artifact."""
    return _TYPES.get(Path(key).suffix, "application/octet-stream")


def status_may_pass(status: int) -> bool:
    """Return whether a request that failed with this HTTP status may succeed later."""
    return status in _BUSY or (status >= _SERVER_FAULT and status != _NOT_IMPLEMENTED)


def no_bucket(scheme: str, bucket: str, where: str, field: str) -> SpecInvalid:
    """Return the error for a bucket that does not exist; *where* is its host or endpoint."""
    noun = OBJECT_STORAGE[scheme].noun
    return SpecInvalid(
        Reason.BUCKET_NOT_FOUND,
        f"{field}.uri: there is no {noun} {bucket!r} at {where}; create it or correct the name",
    )


def access_refused(scheme: str, bucket: str, where: str, field: str, cause: str) -> SpecInvalid:
    """Return the error for credentials that a storage rejects; *cause* holds nothing that it wrote."""
    kind = OBJECT_STORAGE[scheme]
    return SpecInvalid(
        Reason.CREDENTIALS_REFUSED,
        f"{field}: {where} refuses access to {kind.noun} {bucket!r} ({cause}); check "
        f"{', '.join((*kind.required, *kind.optional))} in the referenced Secret or the environment, "
        "or the role of the service account, and the rights that they have",
    )
