"""Artifacts in an S3 bucket."""

import hashlib
import io
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from minio import Minio
from minio.error import S3Error

from trainingjob_api import Artifact, Reason
from trainingjob_trainer.errors import RunFailed, SpecInvalid, TrainingError
from trainingjob_trainer.storage.errors import S3_FAILURES, brief, may_pass, s3_failure
from trainingjob_trainer.storage.journal_store import S3State
from trainingjob_trainer.storage.latest import latest_bytes
from trainingjob_trainer.storage.manifest import MAX_MANIFEST_BYTES, Manifest, ManifestEntry, checked
from trainingjob_trainer.storage.names import LATEST, MANIFEST, STATE, folder_name
from trainingjob_trainer.storage.retry import Again, RetryPolicy

__all__ = ["S3Output"]

T = TypeVar("T")

_CHUNK = 1024 * 1024
_PART = 16 * 1024 * 1024
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".py": "text/x-python; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
}
_MISSING = frozenset({"NoSuchKey", "NoSuchObject"})
_PROBE = ".trainingjob-probe"
_CHECK_RETRY = RetryPolicy(attempts=3, first_delay_seconds=0.5, deadline_seconds=60.0)


class S3Output:
    """A bucket and a prefix.

    Every object is read back in full and its sha256 compared: entity tags are no digest of content where
    objects are encrypted or sent in parts, and metadata only repeats what the sender claimed.

    Parameters
    ----------
    client
        From `s3_client`.
    bucket, prefix
        Where; the prefix has no slash at either end and may be empty.
    endpoint
        For messages.
    retry, check_retry
        How often each object is tried when it is published, and when the bucket is checked.
    """

    def __init__(
        self,
        client: Minio,
        bucket: str,
        prefix: str,
        *,
        endpoint: str,
        retry: RetryPolicy | None = None,
        check_retry: RetryPolicy = _CHECK_RETRY,
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._endpoint = endpoint
        self._retry = retry or RetryPolicy()
        self._check_retry = check_retry

    @property
    def uri(self) -> str:
        """The place as the user names it."""
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    def check(self) -> None:
        """Prove that objects can be made here, by making one; see `Output.check`."""
        try:
            self._check_retry.call(self._attempt(self._probe))
        except Again as error:
            raise RunFailed(
                Reason.STORAGE_UNREACHABLE,
                f"spec.output: bucket {self._bucket!r} at {self._endpoint} cannot be reached ({error}); "
                "if this goes on, check the endpoint and the network policy",
            ) from None

    def _probe(self) -> None:
        try:
            exists = self._client.bucket_exists(self._bucket)
        except S3Error as error:
            if error.code != "AccessDenied":
                raise
            # Keys that may write need not be able to look at the bucket.
            exists = True
        if not exists:
            raise SpecInvalid(
                Reason.BUCKET_NOT_FOUND,
                f"spec.output.uri: there is no bucket {self._bucket!r} at {self._endpoint}; "
                "create it or correct the name",
            )
        key = self._prefix + _PROBE
        self._client.put_object(self._bucket, key, io.BytesIO(b""), 0)
        try:
            self._client.remove_object(self._bucket, key)
        except S3Error as error:
            if error.code != "AccessDenied":
                raise

    def publish(self, folder: Path, name: str, uid8: str) -> list[Artifact]:
        """Store a folder's artifacts; see `Output.publish`."""
        base = f"{self._prefix}{folder_name(name, uid8)}/"
        try:
            manifest = Manifest.of_folder(folder, name, uid8)
        except OSError as error:
            raise RunFailed(
                Reason.UPLOAD_FAILED, f"{error.filename} cannot be read: {error.strerror}"
            ) from error
        raw = manifest.to_bytes()
        if self._run("reading", base + MANIFEST, lambda: self._read(base + MANIFEST)) not in {None, raw}:
            # While objects change, no manifest may vouch for them.
            self._run("removing", base + MANIFEST, lambda: self._remove(base + MANIFEST))
        for entry in manifest.entries:
            self._put(base + entry.name, entry, folder / entry.name)
        own = _entry(MANIFEST, raw)
        self._put(base + MANIFEST, own, raw)
        pointer = latest_bytes(
            name,
            uid8,
            uri=f"s3://{self._bucket}/{base}".rstrip("/"),
            manifest_sha256=own.sha256,
            now=datetime.now(UTC),
        )
        self._put(f"{self._prefix}{name}/{LATEST}", _entry(LATEST, pointer), pointer)
        return self._artifacts(base, manifest, own)

    def verify(self, name: str, uid8: str) -> list[Artifact]:
        """Read back what a run published; see `Output.verify`."""
        base = f"{self._prefix}{folder_name(name, uid8)}/"
        raw = self._run(
            "reading", base + MANIFEST, lambda: self._read(base + MANIFEST), Reason.STORAGE_UNREACHABLE
        )
        if raw is None:
            raise RunFailed(
                Reason.MANIFEST_MISSING,
                f"s3://{self._bucket}/{base}{MANIFEST} is missing: the run did not finish",
            )
        manifest = Manifest.from_bytes(raw)
        for entry in manifest.entries:
            key = base + entry.name
            if not self._run("reading", key, self._holds_action(key, entry), Reason.STORAGE_UNREACHABLE):
                raise RunFailed(
                    Reason.ARTIFACT_MISMATCH,
                    f"s3://{self._bucket}/{key} is not the object that {MANIFEST} lists",
                )
        return self._artifacts(base, manifest, _entry(MANIFEST, raw))

    def read(self, name: str, uid8: str, artifact: Artifact) -> bytes:
        """Return a small artifact; see `Output.read`."""
        key = f"{self._prefix}{folder_name(name, uid8)}/{artifact.name}"
        return checked(
            self._run("reading", key, lambda: self._read(key), Reason.STORAGE_UNREACHABLE), artifact
        )

    def state(self, name: str, uid8: str) -> S3State:
        """Return the store of a run's state objects."""
        prefix = f"{self._prefix}{folder_name(name, uid8)}/{STATE}/"
        return S3State(self._client, self._bucket, prefix, endpoint=self._endpoint)

    def _put(self, key: str, entry: ManifestEntry, content: Path | bytes) -> None:
        """Send one object unless it is there already, and read it back."""

        def send() -> None:
            if self._holds(key, entry, maybe_hidden=True):
                return
            self._send(key, entry, content)
            if not self._holds(key, entry):
                raise Again("what was read back differs from what was sent")

        self._run("writing", key, send)

    def _send(self, key: str, entry: ManifestEntry, content: Path | bytes) -> None:
        kind = _TYPES.get(Path(entry.name).suffix, "application/octet-stream")
        labels: dict[str, str | list[str] | tuple[str]] = {"sha256": entry.sha256}
        if isinstance(content, Path):
            self._client.fput_object(
                self._bucket, key, str(content), content_type=kind, metadata=labels, part_size=_PART
            )
            return
        self._client.put_object(
            self._bucket, key, io.BytesIO(content), len(content), content_type=kind, metadata=labels
        )

    def _holds_action(self, key: str, entry: ManifestEntry) -> Callable[[], bool]:
        return lambda: self._holds(key, entry)

    def _holds(self, key: str, entry: ManifestEntry, *, maybe_hidden: bool = False) -> bool:
        """Tell whether the bucket holds this very content, by reading it.

        To keys without the right to list, a missing object looks like a forbidden one; `maybe_hidden` takes
        it for missing.
        """
        try:
            if self._client.stat_object(self._bucket, key).size != entry.size_bytes:
                return False
        except S3Error as error:
            if error.code in _MISSING or (maybe_hidden and error.code == "AccessDenied"):
                return False
            raise
        digest = hashlib.sha256()
        response = self._client.get_object(self._bucket, key)
        try:
            for piece in response.stream(_CHUNK):
                digest.update(piece)
        finally:
            response.close()
            response.release_conn()
        return digest.hexdigest() == entry.sha256

    def _read(self, key: str) -> bytes | None:
        """Return a small object, or None if there is none."""
        try:
            response = self._client.get_object(self._bucket, key)
        except S3Error as error:
            if error.code in _MISSING or error.code == "AccessDenied":
                return None
            raise
        try:
            return bytes(response.read(MAX_MANIFEST_BYTES + 1))
        finally:
            response.close()
            response.release_conn()

    def _remove(self, key: str) -> None:
        self._client.remove_object(self._bucket, key)

    def _attempt(self, action: Callable[[], T]) -> Callable[[], T]:
        """Translate what the client raises: the user's error, another attempt, or a failure."""

        def attempt() -> T:
            try:
                return action()
            except S3_FAILURES as error:
                known = s3_failure(error, field="spec.output", bucket=self._bucket, endpoint=self._endpoint)
                if known is not None:
                    raise known from None
                if may_pass(error):
                    raise Again(brief(error)) from None
                raise self._failed(brief(error)) from None

        return attempt

    def _run(self, doing: str, key: str, action: Callable[[], T], reason: Reason = Reason.UPLOAD_FAILED) -> T:
        try:
            return self._retry.call(self._attempt(action))
        except Again as error:
            raise RunFailed(
                reason,
                f"{doing} s3://{self._bucket}/{key} at {self._endpoint} failed again and again: {error}",
            ) from None

    def _failed(self, cause: str) -> TrainingError:
        return RunFailed(Reason.UPLOAD_FAILED, f"{self._endpoint} refuses s3://{self._bucket}: {cause}")

    def _artifacts(self, base: str, manifest: Manifest, own: ManifestEntry) -> list[Artifact]:
        return [
            Artifact(
                name=entry.name,
                uri=f"s3://{self._bucket}/{base}{entry.name}",
                sha256=entry.sha256,
                size_bytes=entry.size_bytes,
            )
            for entry in (*manifest.entries, own)
        ]


def _entry(name: str, raw: bytes) -> ManifestEntry:
    return ManifestEntry(name=name, size_bytes=len(raw), sha256=hashlib.sha256(raw).hexdigest())
