"""The byte store that every kind of storage implements, its failures, and the store of a folder.

A store makes one attempt a call. `StateStore` and `output` are written once above all of them.
"""

import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Protocol, TypeVar

from trainingjob_api import OBJECT_STORAGE, Reason
from trainingjob_trainer.errors import RunFailed, SpecInvalid, TrainingError

T = TypeVar("T")

PROBE = ".trainingjob-probe"
"""The object that `Store.check` writes to a bucket."""
PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
CHUNK = 1024 * 1024
MAX_STATE_BYTES = 64 * 1024 * 1024
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
    """An attempt failed permanently; ``str()`` says why in a few words, without secrets."""


class Again(StoreError):  # noqa: N818 - a request, not an error
    """The attempt failed in a way that may pass."""


class Missing(StoreError):  # noqa: N818 - an answer as good as any
    """There is nothing under the key."""


class Hidden(Missing):
    """The key may not be read. Without the right to list, a missing object looks like a forbidden one.

    `refusal` is the error if the object is known to exist.
    """

    def __init__(self, refusal: TrainingError) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


class Readable(Protocol):
    """An open object of `Store.get`."""

    def read(self, amount: int, /) -> bytes:
        """Return the next bytes, at most `amount`; none at the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Limits on attempts and time.

    The pause after the first failure doubles each time, up to the longest; no attempt starts later than
    `deadline_seconds` after the first one. `sleep` and `clock` are the seam for tests.
    """

    attempts: int | None = 6  # None: as many as the time allows
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
        """Return the result of `action`, repeated after each failure that `may_pass`.

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
    retry: RetryPolicy

    def check(self) -> None:
        """Prove that objects can be written, by writing one; raise ``OutputNotWritable``, too."""

    def stat(self, key: str) -> int:
        """Return the size of an object in bytes."""

    def get(self, key: str) -> AbstractContextManager[Readable]:
        """Open an object."""

    def put(self, key: str, content: Path | bytes, *, sha256: str | None = None) -> None:
        """Write an object, whole or not at all; `sha256` is noted beside it where that is possible."""

    def delete(self, key: str) -> None:
        """Remove an object, if it exists."""


class BucketStore:
    """The common part of stores of a bucket or container: the place, and the user's errors.

    The prefix has no slash at either end and may be empty. Errors name `host`, where requests go, and
    `field`, the part of the spec that asks.
    """

    def __init__(
        self, scheme: str, bucket: str, prefix: str, *, host: str, field: str, retry: RetryPolicy | None
    ) -> None:
        self._scheme, self._bucket, self._host, self._field = scheme, bucket, host, field
        self._prefix = f"{prefix}/" if prefix else ""
        self.uri = f"{scheme}://{bucket}/{prefix}".rstrip("/")
        self.where = f"{OBJECT_STORAGE[scheme].noun} {bucket!r} at {host}"
        self.retry = retry or RetryPolicy()

    def _no_bucket(self) -> SpecInvalid:
        return SpecInvalid(
            Reason.BUCKET_NOT_FOUND,
            f"{self._field}.uri: there is no {self.where}; create it or correct the name",
        )

    def _access_refused(self, cause: str) -> SpecInvalid:
        """Return the error for credentials that the storage rejects; *cause* holds nothing that it wrote."""
        kind = OBJECT_STORAGE[self._scheme]
        return SpecInvalid(
            Reason.CREDENTIALS_REFUSED,
            f"{self._field}: {self._host} refuses access to {kind.noun} {self._bucket!r} ({cause}); check "
            f"{', '.join((*kind.required, *kind.optional))} in the referenced Secret or the environment, "
            "or the role of the service account, and the rights that they have",
        )


def content_type(key: str) -> str:
    """Return the media type of an artifact."""
    return _TYPES.get(Path(key).suffix, "application/octet-stream")


def status_may_pass(status: int) -> bool:
    """Return whether a request that failed with this HTTP status may succeed later."""
    return status in _BUSY or (status >= _SERVER_FAULT and status != _NOT_IMPLEMENTED)


class FolderStore:
    """Files below a folder of this machine or of a mounted claim; each appears whole, by renaming.

    `check` and `put` make the folder if it is missing; that of a claim is below `mount`, which they do not
    make. `uri` is how the user names it, by default its ``file://`` URI.
    """

    # What a disk refuses it refuses again.
    retry = RetryPolicy(attempts=1)

    def __init__(self, root: Path, *, uri: str | None = None, mount: Path | None = None) -> None:
        self.root = root.absolute()
        self.uri = (uri or self.root.as_uri()).rstrip("/")
        self.where = str(self.root)
        self._mount = mount

    def check(self) -> None:
        """Prove that files can be written here; see `Store.check`."""
        if self._mount is not None and not self._mount.is_dir():
            raise SpecInvalid(
                Reason.CLAIM_NOT_MOUNTED,
                f"spec.output.uri: {self.uri} is not mounted at {self._mount}; check the claim's name",
            )
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root) as probe:
                probe.write(b"writable")
        except OSError as error:
            raise SpecInvalid(
                Reason.OUTPUT_NOT_WRITABLE,
                f"spec.output.uri: {self.root} cannot be written to ({error.strerror}); "
                "choose another folder or change its permissions",
            ) from error

    def stat(self, key: str) -> int:
        """Return the size of a file; a link is none."""
        path = self.root / key
        with _found(path):
            found = path.lstat()
        if not stat.S_ISREG(found.st_mode):
            raise Missing(f"{path} is not a file")
        return found.st_size

    @contextmanager
    def get(self, key: str) -> Iterator[Readable]:
        """Open a file."""
        path = self.root / key
        with _found(path):
            stream = path.open("rb")
        with stream:
            try:
                yield stream
            except OSError as error:
                raise _unreadable(path, error) from error

    def put(self, key: str, content: Path | bytes, *, sha256: str | None = None) -> None:  # noqa: ARG002
        """Write a file, so that neither it nor its name survives a power cut half-written."""
        target = self.root / key
        # Two runs that write the same file must not share an unfinished one.
        partial = target.with_name(f".{target.name}.{token_hex(8)}.partial")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Path):
                shutil.copyfile(content, partial)
            else:
                partial.write_bytes(content)
            _settle(partial, target)
        except OSError as error:
            raise StoreError(f"{error.filename or target} cannot be written: {error.strerror}") from error
        finally:
            with suppress(OSError):
                partial.unlink()

    def delete(self, key: str) -> None:
        """Remove a file, if it exists."""
        try:
            (self.root / key).unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"{self.root / key} cannot be removed: {error.strerror}") from error


@contextmanager
def _found(path: Path) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise Missing(f"{path} is missing") from error
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> StoreError:
    return StoreError(f"{path} cannot be read: {error.strerror}")


def _settle(partial: Path, target: Path) -> None:
    with partial.open("rb") as stream:
        os.fsync(stream.fileno())
    partial.replace(target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    except OSError:
        # Some network file systems cannot sync a folder; the file itself is safe.
        pass
    finally:
        os.close(folder)


def write_text(path: Path, text: str) -> Path:
    """Write a UTF-8 text file, so that a reader sees the old file or the new one, and return its path.

    A crash leaves a hidden file, which is not an artifact.
    """
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8", newline="\n")
    return partial.replace(path)


class StateStore:
    """Small state objects beside a run's artifacts, such as the mirror of its journal.

    They are no artifacts and are in no manifest. A reader must check them against a digest of its own. To
    write is one attempt, since a mirror that fails must not hold up a search; to read is retried as the store
    says, since an attempt without the state of the one before it would fail.
    """

    def __init__(self, store: Store, prefix: str = "") -> None:
        self._store = store
        self._prefix = prefix

    def put(self, key: str, path: Path) -> None:
        """Store a file under a key, replacing what was there; raise ``StateNotSaved`` if that fails."""
        target = self._path(key)
        size = path.stat().st_size
        if size > MAX_STATE_BYTES:
            raise RunFailed(
                Reason.STATE_NOT_SAVED, f"{path.name} has {size} bytes, more than {MAX_STATE_BYTES}"
            )
        try:
            self._store.put(target, path)
        except StoreError as error:
            raise self._failed(Reason.STATE_NOT_SAVED, target, error) from None

    def get(self, key: str, path: Path) -> bool:
        """Write the object to `path`, whole or not at all; return whether there is one.

        Raise ``StateNotRead`` if that fails or the object is larger than `MAX_STATE_BYTES`.
        """
        source = self._path(key)
        partial = path.with_name(f".{path.name}.partial")
        try:
            self._store.retry.call(lambda: self._copy(source, partial))
            partial.replace(path)
        except Missing:
            return False
        except (StoreError, OSError) as error:
            raise self._failed(Reason.STATE_NOT_READ, source, error) from None
        finally:
            partial.unlink(missing_ok=True)
        return True

    def _copy(self, source: str, path: Path) -> None:
        size = 0
        with self._store.get(source) as stream, path.open("wb") as copy:
            while piece := stream.read(CHUNK):
                size += len(piece)
                if size > MAX_STATE_BYTES:
                    message = f"{source} is larger than {MAX_STATE_BYTES} bytes"
                    raise RunFailed(Reason.STATE_NOT_READ, message)
                copy.write(piece)

    def delete(self, key: str) -> None:
        """Remove an object, if it exists; raise ``StateNotSaved`` if that fails."""
        target = self._path(key)
        try:
            self._store.delete(target)
        except StoreError as error:
            raise self._failed(Reason.STATE_NOT_SAVED, target, error) from None

    def _path(self, key: str) -> str:
        if not PLAIN_NAME.fullmatch(key):
            raise ValueError(f"{key!r} is not a plain name")
        return self._prefix + key

    def _failed(self, reason: Reason, key: str, error: Exception) -> Exception:
        if isinstance(error, Hidden):
            return error.refusal
        return RunFailed(reason, f"{key} in {self._store.where}: {error}")
