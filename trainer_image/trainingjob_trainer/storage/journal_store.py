"""Small state objects beside a run's artifacts, such as the mirror of its journal.

They live under ``<name>-<uid8>/.state/``, are no artifacts and are in no manifest. Whoever reads one back
must check it against a digest of his own before he trusts it.
"""

import shutil
from pathlib import Path
from typing import Protocol

from minio import Minio
from minio.error import S3Error

from trainingjob_api import Reason
from trainingjob_trainer.errors import RunFailed
from trainingjob_trainer.storage.errors import S3_FAILURES, brief, s3_failure
from trainingjob_trainer.storage.names import checked_key

__all__ = ["MAX_STATE_BYTES", "FolderState", "S3State", "StateStore"]

MAX_STATE_BYTES = 64 * 1024 * 1024
_CHUNK = 1024 * 1024


class StateStore(Protocol):
    """State objects of one run.

    Each call is one attempt within the client's time-outs: a mirror that fails must not hold up a search.
    """

    def put(self, key: str, path: Path) -> None:
        """Store a file under a key, replacing what was there.

        Raises
        ------
        RunFailed
            With reason ``StateNotSaved``.
        """

    def get(self, key: str, path: Path) -> bool:
        """Write the object to `path`, whole or not at all; False if there is none.

        Raises
        ------
        RunFailed
            With reason ``StateNotRead``, also if the object is larger than `MAX_STATE_BYTES`.
        """

    def delete(self, key: str) -> None:
        """Remove an object, if it is there."""


def _bounded(path: Path) -> None:
    size = path.stat().st_size
    if size > MAX_STATE_BYTES:
        raise RunFailed(Reason.STATE_NOT_SAVED, f"{path.name} has {size} bytes, more than {MAX_STATE_BYTES}")


class FolderState:
    """State objects in a folder.

    Parameters
    ----------
    folder
        The ``.state`` folder; made when something is put there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, key: str, path: Path) -> None:
        """Store a file under a key; see `StateStore.put`."""
        target = self._folder / checked_key(key)
        _bounded(path)
        partial = target.with_name(f".{key}.partial")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, partial)
            partial.replace(target)
        except OSError as error:
            raise RunFailed(
                Reason.STATE_NOT_SAVED, f"{target} cannot be written: {error.strerror}"
            ) from error

    def get(self, key: str, path: Path) -> bool:
        """Write the object to `path`; see `StateStore.get`."""
        source = self._folder / checked_key(key)
        if not source.is_file():
            return False
        if source.stat().st_size > MAX_STATE_BYTES:
            raise RunFailed(Reason.STATE_NOT_READ, f"{source} is larger than {MAX_STATE_BYTES} bytes")
        partial = path.with_name(f".{path.name}.partial")
        try:
            shutil.copyfile(source, partial)
            partial.replace(path)
        except OSError as error:
            raise RunFailed(Reason.STATE_NOT_READ, f"{source} cannot be read: {error.strerror}") from error
        return True

    def delete(self, key: str) -> None:
        """Remove an object, if it is there."""
        (self._folder / checked_key(key)).unlink(missing_ok=True)


class S3State:
    """State objects in a bucket.

    Parameters
    ----------
    client, bucket
        Where.
    prefix
        Key prefix that ends in ``.state/``.
    endpoint
        For messages.
    """

    def __init__(self, client: Minio, bucket: str, prefix: str, *, endpoint: str) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix
        self._endpoint = endpoint

    def put(self, key: str, path: Path) -> None:
        """Store a file under a key; see `StateStore.put`."""
        target = self._prefix + checked_key(key)
        _bounded(path)
        try:
            with path.open("rb") as stream:
                self._client.put_object(self._bucket, target, stream, path.stat().st_size)
        except S3_FAILURES as error:
            raise self._failed(Reason.STATE_NOT_SAVED, target, error) from None

    def get(self, key: str, path: Path) -> bool:
        """Write the object to `path`; see `StateStore.get`."""
        source = self._prefix + checked_key(key)
        partial = path.with_name(f".{path.name}.partial")
        try:
            response = self._client.get_object(self._bucket, source)
        except S3Error as error:
            # To keys without the right to list, a missing object looks like a forbidden one.
            if error.code in {"NoSuchKey", "AccessDenied"}:
                return False
            raise self._failed(Reason.STATE_NOT_READ, source, error) from None
        except S3_FAILURES as error:
            raise self._failed(Reason.STATE_NOT_READ, source, error) from None
        try:
            with partial.open("wb") as stream:
                for piece in response.stream(_CHUNK):
                    if stream.tell() + len(piece) > MAX_STATE_BYTES:
                        raise RunFailed(
                            Reason.STATE_NOT_READ, f"{source} is larger than {MAX_STATE_BYTES} bytes"
                        )
                    stream.write(piece)
            partial.replace(path)
        except S3_FAILURES as error:
            raise self._failed(Reason.STATE_NOT_READ, source, error) from None
        finally:
            partial.unlink(missing_ok=True)
            response.close()
            response.release_conn()
        return True

    def delete(self, key: str) -> None:
        """Remove an object, if it is there."""
        target = self._prefix + checked_key(key)
        try:
            self._client.remove_object(self._bucket, target)
        except S3_FAILURES as error:
            raise self._failed(Reason.STATE_NOT_SAVED, target, error) from None

    def _failed(self, reason: Reason, key: str, error: BaseException) -> Exception:
        known = s3_failure(error, field="spec.output", bucket=self._bucket, endpoint=self._endpoint)
        return known or RunFailed(reason, f"s3://{self._bucket}/{key} at {self._endpoint}: {brief(error)}")
