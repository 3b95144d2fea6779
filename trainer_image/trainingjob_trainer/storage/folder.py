"""A store in a folder: of this machine, or of a mounted claim."""

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex

from trainingjob_api import Reason
from trainingjob_trainer.errors import SpecInvalid
from trainingjob_trainer.storage.store import Missing, Readable, RetryPolicy, StoreError

__all__ = ["FolderStore"]


class FolderStore:
    """Files below a folder; each appears whole, by renaming.

    Parameters
    ----------
    root
        The folder; `check` and `put` make it if it is missing.
    uri
        How the user names it; default the ``file://`` URI.
    mount
        For a claim: the folder that must be mounted already.
    """

    # What a disk refuses it refuses again.
    retry = check_retry = RetryPolicy(attempts=1)

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
