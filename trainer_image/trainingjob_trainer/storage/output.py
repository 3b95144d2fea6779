"""Artifacts and state objects of runs in any store: manifest, reading back and retry, written once."""

import hashlib
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar
from urllib.parse import unquote

from trainingjob_api import CLUSTER_SCHEMES, OBJECT_STORAGE, Artifact, Reason
from trainingjob_api.uris import Place, parse_uri
from trainingjob_trainer.errors import RunFailed, SpecInvalid
from trainingjob_trainer.settings import TrainerSettings
from trainingjob_trainer.storage.folder import FolderStore
from trainingjob_trainer.storage.manifest import (
    LATEST,
    MANIFEST,
    MAX_DOCUMENT_BYTES,
    STATE,
    Manifest,
    ManifestEntry,
    checked,
    checked_key,
    folder_name,
    latest_bytes,
)
from trainingjob_trainer.storage.s3 import open_s3
from trainingjob_trainer.storage.store import Again, Hidden, Missing, Store, StoreError

__all__ = ["MAX_STATE_BYTES", "OBJECT_STORES", "Output", "StateStore", "open_output", "open_store"]

T = TypeVar("T")

MAX_STATE_BYTES = 64 * 1024 * 1024
_CHUNK = 1024 * 1024


class Output:
    """The folders of runs in a store.

    Every artifact is read back in full and its sha256 compared: entity tags are no digest of content where
    objects are encrypted or sent in parts, and metadata only repeats what the sender claimed.

    Parameters
    ----------
    store
        Where.
    """

    def __init__(self, store: Store) -> None:
        self.store = store

    @property
    def uri(self) -> str:
        """The place as the user names it."""
        return self.store.uri

    def check(self) -> None:
        """Prove, before anything is computed, that the place exists and can be written to.

        Raises
        ------
        SpecInvalid
            With reason ``OutputNotWritable``, ``ClaimNotMounted``, ``BucketNotFound`` or
            ``CredentialsRefused``.
        RunFailed
            With reason ``StorageUnreachable`` if the storage does not answer.
        """
        try:
            self.store.check_retry.call(self.store.check)
        except Hidden as error:
            raise error.refusal from None
        except Again as error:
            raise RunFailed(
                Reason.STORAGE_UNREACHABLE,
                f"spec.output: {self.store.where} cannot be reached ({error}); "
                "if this persists, check the endpoint and the network policy",
            ) from None
        except StoreError as error:
            raise RunFailed(
                Reason.UPLOAD_FAILED, f"spec.output: {self.store.where} refuses the request: {error}"
            ) from None

    def publish(self, folder: Path, name: str, uid8: str) -> list[Artifact]:
        """Store a folder's artifacts, verify each, then write the manifest and the pointer to it.

        May be repeated: what is stored already, with the right digest, is not sent again. The folder may be
        the run's own.

        Returns
        -------
        list of Artifact
            The artifacts by name, and the manifest last.

        Raises
        ------
        RunFailed
            With reason ``UploadFailed``.
        SpecInvalid
            As `check`.
        """
        base = f"{folder_name(name, uid8)}/"
        try:
            manifest = Manifest.of_folder(folder, name, uid8)
        except OSError as error:
            raise RunFailed(
                Reason.UPLOAD_FAILED, f"{error.filename} cannot be read: {error.strerror}"
            ) from error
        raw = manifest.to_bytes()
        if self._run("reading", base + MANIFEST, lambda: self._read(base + MANIFEST)) not in {None, raw}:
            # While files change, no manifest may vouch for them.
            self._run("removing", base + MANIFEST, lambda: self.store.delete(base + MANIFEST))
        for entry in manifest.entries:
            self._put(base + entry.name, entry, folder / entry.name)
        own = ManifestEntry.of_bytes(MANIFEST, raw)
        self._put(base + MANIFEST, own, raw)
        pointer = latest_bytes(
            name,
            uid8,
            uri=f"{self.uri}/{base}".rstrip("/"),
            manifest_sha256=own.sha256,
            now=datetime.now(UTC),
        )
        self._put(f"{name}/{LATEST}", ManifestEntry.of_bytes(LATEST, pointer), pointer)
        return self._artifacts(base, manifest, own)

    def verify(self, name: str, uid8: str) -> list[Artifact]:
        """Read back what a run published and compare it with its manifest.

        Raises
        ------
        RunFailed
            With reason ``ManifestMissing``, ``ManifestInvalid``, ``ArtifactMismatch`` or
            ``StorageUnreachable``.
        """
        base = f"{folder_name(name, uid8)}/"
        raw = self._read_again(base + MANIFEST)
        if raw is None:
            raise RunFailed(
                Reason.MANIFEST_MISSING,
                f"{self.uri}/{base}{MANIFEST} is missing: the run did not finish, or this is not its folder",
            )
        manifest = Manifest.from_bytes(raw)
        for entry in manifest.entries:
            key = base + entry.name
            if not self._run("reading", key, self._holds_call(key, entry), Reason.STORAGE_UNREACHABLE):
                raise RunFailed(
                    Reason.ARTIFACT_MISMATCH, f"{self.uri}/{key} is not the file that {MANIFEST} lists"
                )
        return self._artifacts(base, manifest, ManifestEntry.of_bytes(MANIFEST, raw))

    def read(self, name: str, uid8: str, artifact: Artifact) -> bytes:
        """Return a published artifact of at most 256 KiB.

        Raises
        ------
        RunFailed
            With reason ``ArtifactMismatch`` if it is missing, larger or another one; ``StorageUnreachable``.
        """
        return checked(self._read_again(f"{folder_name(name, uid8)}/{artifact.name}"), artifact)

    def state(self, name: str, uid8: str) -> "StateStore":
        """Return the store of a run's small state objects, such as the journal's mirror."""
        return StateStore(self.store, f"{folder_name(name, uid8)}/{STATE}/")

    def _put(self, key: str, entry: ManifestEntry, content: Path | bytes) -> None:
        """Send one object unless it is stored already, and read it back."""

        def send() -> None:
            if self._holds(key, entry, maybe_hidden=True):
                return
            self.store.put(key, content, sha256=entry.sha256)
            if not self._holds(key, entry):
                raise Again("what was read back differs from what was sent")

        self._run("writing", key, send)

    def _holds_call(self, key: str, entry: ManifestEntry) -> Callable[[], bool]:
        return lambda: self._holds(key, entry)

    def _holds(self, key: str, entry: ManifestEntry, *, maybe_hidden: bool = False) -> bool:
        """Return whether the store holds this very content; an object of another size is not read."""
        try:
            if self.store.stat(key) != entry.size_bytes:
                return False
            digest = hashlib.sha256()
            with self.store.get(key) as stream:
                while piece := stream.read(_CHUNK):
                    digest.update(piece)
        except Hidden as hidden:
            if maybe_hidden:
                return False
            raise hidden.refusal from None
        except Missing:
            return False
        return digest.hexdigest() == entry.sha256

    def _read(self, key: str) -> bytes | None:
        """Return a small object up to one byte more than it may have, or None if there is none."""
        try:
            with self.store.get(key) as stream:
                return bytes(stream.read(MAX_DOCUMENT_BYTES + 1))
        except Missing:
            return None

    def _read_again(self, key: str) -> bytes | None:
        return self._run("reading", key, lambda: self._read(key), Reason.STORAGE_UNREACHABLE)

    def _run(self, doing: str, key: str, action: Callable[[], T], reason: Reason = Reason.UPLOAD_FAILED) -> T:
        try:
            return self.store.retry.call(action)
        except Hidden as error:
            raise error.refusal from None
        except StoreError as error:
            failed = "failed repeatedly" if isinstance(error, Again) else "failed"
            raise RunFailed(reason, f"{doing} {key} in {self.store.where} {failed}: {error}") from None

    def _artifacts(self, base: str, manifest: Manifest, own: ManifestEntry) -> list[Artifact]:
        return [
            Artifact(
                name=entry.name,
                uri=f"{self.uri}/{base}{entry.name}",
                sha256=entry.sha256,
                size_bytes=entry.size_bytes,
            )
            for entry in (*manifest.entries, own)
        ]


class StateStore:
    """Small state objects beside a run's artifacts, such as the mirror of its journal.

    They are no artifacts and are in no manifest. A reader must check them against a digest of its own. To
    write is one attempt, since a mirror that fails must not hold up a search; to read is tried again as the
    store says, since an attempt without the state of the one before it would fail.
    """

    def __init__(self, store: Store, prefix: str = "") -> None:
        self._store = store
        self._prefix = prefix

    def put(self, key: str, path: Path) -> None:
        """Store a file under a key, replacing what was there.

        Raises
        ------
        RunFailed
            With reason ``StateNotSaved``.
        """
        target = self._prefix + checked_key(key)
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

        Raises
        ------
        RunFailed
            With reason ``StateNotRead``, also if the object is larger than `MAX_STATE_BYTES`.
        """
        source = self._prefix + checked_key(key)
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
            while piece := stream.read(_CHUNK):
                size += len(piece)
                if size > MAX_STATE_BYTES:
                    message = f"{source} is larger than {MAX_STATE_BYTES} bytes"
                    raise RunFailed(Reason.STATE_NOT_READ, message)
                copy.write(piece)

    def delete(self, key: str) -> None:
        """Remove an object, if it exists."""
        target = self._prefix + checked_key(key)
        try:
            self._store.delete(target)
        except StoreError as error:
            raise self._failed(Reason.STATE_NOT_SAVED, target, error) from None

    def _failed(self, reason: Reason, key: str, error: Exception) -> Exception:
        if isinstance(error, Hidden):
            return error.refusal
        return RunFailed(reason, f"{key} in {self._store.where}: {error}")


def open_output(
    uri: str, *, endpoint: str | None, credentials_dir: Path | None, settings: TrainerSettings
) -> Output:
    """Return the output behind a URI; nothing is read or written yet.

    Parameters
    ----------
    uri
        ``s3://bucket/prefix``, ``gs://bucket/prefix``, ``az://container/prefix``, ``pvc://claim/path``,
        ``file://path`` (of this machine, relative to the working directory without a leading slash) or a
        plain path.
    endpoint, credentials_dir
        See `s3_client`.

    Raises
    ------
    SpecInvalid
        With reason ``InvalidOutput`` if the URI is of another kind; as `s3_client` for S3.
    """
    return Output(open_store(uri, endpoint, credentials_dir, settings))


def open_store(
    uri: str, endpoint: str | None, credentials_dir: Path | None, settings: TrainerSettings
) -> Store:
    """Return the store behind the URI of an output."""
    if "://" not in uri:
        return FolderStore(Path(uri))
    try:
        place = parse_uri(uri)
    except ValueError as error:
        raise _invalid(uri, str(error)) from error
    match place.scheme:
        case "file":
            return FolderStore(Path(unquote(uri.removeprefix("file://"))))
        case "pvc":
            claim, path = _two_parts(uri, place, "pvc://claim/path")
            mount = settings.pvc_root / claim
            return FolderStore(mount / path, uri=uri, mount=mount)
        case scheme if scheme in OBJECT_STORES:
            kind = OBJECT_STORAGE[scheme]
            bucket, prefix = _two_parts(uri, place, f"{scheme}://{kind.noun}/prefix")
            if not re.fullmatch(kind.bucket, bucket):
                raise _invalid(uri, f"a {kind.noun}'s name has {kind.rule}")
            try:
                return OBJECT_STORES[scheme](
                    bucket,
                    prefix,
                    endpoint=endpoint,
                    credentials_dir=credentials_dir,
                    settings=settings,
                    field="spec.output",
                )
            except ValueError as error:
                raise _invalid(uri, str(error)) from None
        case _:
            raise _invalid(uri, f"it must begin with {CLUSTER_SCHEMES} or file://, or be a plain path")


def _open_cloud(scheme: str, *place: str, field: str, **access: Any) -> Store:
    try:
        from trainingjob_trainer.storage.cloud import open_cloud  # noqa: PLC0415 - it needs an extra
    except ModuleNotFoundError as error:
        raise SpecInvalid(
            Reason.INVALID_ENVIRONMENT,
            f"{field}.uri: {scheme}:// needs the package {error.name}; install trainingjob[cloud]",
        ) from None
    return open_cloud(scheme, *place, field=field, **access)


OBJECT_STORES: Mapping[str, Callable[..., Store]] = MappingProxyType(
    {"s3": open_s3, "gs": partial(_open_cloud, "gs"), "az": partial(_open_cloud, "az")}
)
"""What opens a bucket for datasets and outputs, for each scheme of `trainingjob_api.OBJECT_STORAGE`."""


def _two_parts(uri: str, place: Place, shape: str) -> tuple[str, str]:
    """Return bucket or claim, and the path below it without slashes at its ends."""
    first, path = place.root, place.path.strip("/")
    if not first or "@" in first or first.startswith("."):
        raise _invalid(uri, f"it must look like {shape}")
    return first, path


def _invalid(uri: str, cause: str) -> SpecInvalid:
    shown = uri if "@" not in uri else uri.split("://", 1)[0] + "://…"
    return SpecInvalid(Reason.INVALID_OUTPUT, f"spec.output.uri: {shown!r} cannot hold artifacts; {cause}")
