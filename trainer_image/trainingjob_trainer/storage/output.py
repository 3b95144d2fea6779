"""The output of a run in any store: names, manifest and pointer, publishing and verification.

The layout is ``<name>-<uid8>/`` with ``manifest.json`` written last, and ``<name>/latest.json``, which points
to it. A reader trusts only what the manifest lists.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

from trainingjob_api import Artifact, Reason
from trainingjob_trainer.errors import RunFailed
from trainingjob_trainer.storage.store import (
    CHUNK,
    PLAIN_NAME,
    Again,
    Hidden,
    Missing,
    StateStore,
    Store,
    StoreError,
)

T = TypeVar("T")

MANIFEST = "manifest.json"
_LATEST = "latest.json"
_STATE = ".state"

_JOB = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_LONGEST_JOB = 246
"""With the uid behind it a longer name has no room in a file name, which ends at 255 bytes."""
_DIGEST_CHARS = 10
_UID = re.compile(r"[A-Za-z0-9]{1,16}")
_SHA256 = re.compile(r"[0-9a-f]{64}")

_SCHEMA_VERSION = "1.0"
_MAX_DOCUMENT_BYTES = 256 * 1024
_MAX_ENTRIES = 200


def folder_name(name: str, uid8: str) -> str:
    """Return ``<name>-<uid8>``, the folder of one run.

    A name of more than 246 characters is cut; part of its digest distinguishes it from others with the same
    beginning.

    Raises
    ------
    ValueError
        If either part could leave the output.
    """
    if not _JOB.fullmatch(name) or ".." in name:
        raise ValueError(f"{name!r} is not the name of a TrainingJob")
    if not _UID.fullmatch(uid8):
        raise ValueError(f"{uid8!r} is not the beginning of a uid")
    if len(name) > _LONGEST_JOB:
        digest = hashlib.sha256(name.encode()).hexdigest()[:_DIGEST_CHARS]
        name = f"{name[: _LONGEST_JOB - _DIGEST_CHARS - 1]}-{digest}"
    return f"{name}-{uid8}"


def _is_artifact_name(name: str) -> bool:
    """Return whether a file of a run's folder may be an artifact: a plain name that is not hidden."""
    return bool(PLAIN_NAME.fullmatch(name)) and name not in {MANIFEST, _LATEST}


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestEntry:
    """One artifact: a file name within the run's folder, and the sha256 in lower-case hexadecimal."""

    name: str
    size_bytes: int
    sha256: str

    @classmethod
    def of_bytes(cls, name: str, raw: bytes) -> Self:
        """Return the entry of a file with this content."""
        return cls(name=name, size_bytes=len(raw), sha256=hashlib.sha256(raw).hexdigest())

    @classmethod
    def of_file(cls, path: Path) -> Self:
        """Return the entry of a file."""
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return cls(name=path.name, size_bytes=path.stat().st_size, sha256=digest)

    @classmethod
    def of_row(cls, row: Any) -> Self:
        """Return the entry that a manifest lists; raise `ValueError` if it is not well-formed."""
        name, size, digest = row["name"], row["sizeBytes"], row["sha256"]
        if not isinstance(name, str) or not _is_artifact_name(name):
            raise ValueError(f"{name!r} is not the name of an artifact")
        if isinstance(size, bool) or not isinstance(size, int) or size < 0:
            raise ValueError(f"the size of {name} is not a number of bytes")
        if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
            raise ValueError(f"the digest of {name} is not a sha256")
        return cls(name=name, size_bytes=size, sha256=digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The files of a run's folder, sorted by name."""

    job: str
    uid8: str
    entries: tuple[ManifestEntry, ...]

    @classmethod
    def of_folder(cls, folder: Path, job: str, uid8: str) -> Self:
        """Digest the artifacts of a folder.

        Only plain files of the folder itself count: hidden ones (such as ``.work/``), links, folders and the
        manifest are left out.
        """
        files = [
            path
            for path in folder.iterdir()
            if _is_artifact_name(path.name) and path.is_file() and not path.is_symlink()
        ]
        entries = tuple(ManifestEntry.of_file(path) for path in sorted(files, key=lambda path: path.name))
        return cls(job=job, uid8=uid8, entries=entries)

    def to_bytes(self) -> bytes:
        """Return the file's content; equal manifests give equal bytes."""
        rows = [{"name": e.name, "sizeBytes": e.size_bytes, "sha256": e.sha256} for e in self.entries]
        return _document("Manifest", self.job, self.uid8, artifacts=rows)

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Read a manifest; its names are plain file names, its sizes and digests well-formed.

        Raises
        ------
        RunFailed
            With reason ``ManifestInvalid``.
        """
        try:
            content = _content(raw)
            job, entries = content["job"], tuple(ManifestEntry.of_row(row) for row in content["artifacts"])
            return cls(job=str(job["name"]), uid8=str(job["uid8"]), entries=entries)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise RunFailed(Reason.MANIFEST_INVALID, f"{MANIFEST} cannot be trusted: {error}") from error


def _content(raw: bytes) -> Any:
    if len(raw) > _MAX_DOCUMENT_BYTES:
        raise ValueError("it is too large")
    content = json.loads(raw)
    rows = content["artifacts"]
    if content["kind"] != "Manifest" or not isinstance(rows, list) or len(rows) > _MAX_ENTRIES:
        raise ValueError("it is not a list of artifacts")
    if len({row["name"] for row in rows}) != len(rows):
        raise ValueError("a name appears twice")
    return content


def _document(kind: str, job: str, uid8: str, **fields: Any) -> bytes:
    head = {"schemaVersion": _SCHEMA_VERSION, "kind": kind, "job": {"name": job, "uid8": uid8}}
    return (json.dumps(head | fields, indent=2) + "\n").encode()


class Output:
    """The folders of runs in a store.

    Every artifact is read back in full and its sha256 compared: entity tags are no digest of content where
    objects are encrypted or sent in parts, and metadata only repeats what the sender claimed.
    """

    def __init__(self, store: Store) -> None:
        self.store = store

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
        retry = self.store.retry
        try:
            replace(retry, attempts=min(retry.attempts or 3, 3), deadline_seconds=60.0).call(self.store.check)
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
        the run's own. Returns the artifacts by name, and the manifest last.

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
        if self._read(base + MANIFEST, Reason.UPLOAD_FAILED) not in {None, raw}:
            # While files change, no manifest may vouch for them.
            self._run("removing", base + MANIFEST, lambda: self.store.delete(base + MANIFEST))
        for entry in manifest.entries:
            self._put(base + entry.name, entry, folder / entry.name)
        own = ManifestEntry.of_bytes(MANIFEST, raw)
        self._put(base + MANIFEST, own, raw)
        # With the digest of the manifest, who trusts the pointer can trust the whole folder.
        pointer = _document(
            "Latest",
            name,
            uid8,
            folder=base.rstrip("/"),
            uri=f"{self.store.uri}/{base}".rstrip("/"),
            manifestSha256=own.sha256,
            publishedAt=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        )
        self._put(f"{name}/{_LATEST}", ManifestEntry.of_bytes(_LATEST, pointer), pointer)
        return self._artifacts(base, (*manifest.entries, own))

    def verify(self, name: str, uid8: str) -> list[Artifact]:
        """Read back what a run published and compare it with its manifest.

        Raises
        ------
        RunFailed
            With reason ``ManifestMissing``, ``ManifestInvalid``, ``ArtifactMismatch`` or
            ``StorageUnreachable``.
        """
        base = f"{folder_name(name, uid8)}/"
        raw = self._read(base + MANIFEST)
        if raw is None:
            raise RunFailed(
                Reason.MANIFEST_MISSING,
                f"{self.store.uri}/{base}{MANIFEST} is missing: the run did not finish, or this is not its "
                "folder",
            )
        manifest = Manifest.from_bytes(raw)
        for entry in manifest.entries:
            key = base + entry.name
            holds = partial(self._holds, key, entry)
            if not self._run("reading", key, holds, Reason.STORAGE_UNREACHABLE):
                raise _mismatch(f"{self.store.uri}/{key}")
        return self._artifacts(base, (*manifest.entries, ManifestEntry.of_bytes(MANIFEST, raw)))

    def read(self, name: str, uid8: str, artifact: Artifact) -> bytes:
        """Return a published artifact of at most 256 KiB.

        Raises
        ------
        RunFailed
            With reason ``ArtifactMismatch`` if it is missing, larger or another one; ``StorageUnreachable``.
        """
        raw = self._read(f"{folder_name(name, uid8)}/{artifact.name}")
        if raw is None or hashlib.sha256(raw).hexdigest() != artifact.sha256:
            raise _mismatch(artifact.uri)
        return raw

    def state(self, name: str, uid8: str) -> StateStore:
        """Return the store of a run's small state objects, such as the journal's mirror."""
        return StateStore(self.store, f"{folder_name(name, uid8)}/{_STATE}/")

    def _put(self, key: str, entry: ManifestEntry, content: Path | bytes) -> None:
        """Send one object unless it is stored already, and read it back."""

        def send() -> None:
            if self._holds(key, entry, maybe_hidden=True):
                return
            self.store.put(key, content, sha256=entry.sha256)
            if not self._holds(key, entry):
                raise Again("what was read back differs from what was sent")

        self._run("writing", key, send)

    def _holds(self, key: str, entry: ManifestEntry, *, maybe_hidden: bool = False) -> bool:
        """Return whether the store holds this very content; an object of another size is not read."""
        try:
            if self.store.stat(key) != entry.size_bytes:
                return False
            digest = hashlib.sha256()
            with self.store.get(key) as stream:
                while piece := stream.read(CHUNK):
                    digest.update(piece)
        except Hidden:
            if maybe_hidden:
                return False
            raise
        except Missing:
            return False
        return digest.hexdigest() == entry.sha256

    def _read(self, key: str, reason: Reason = Reason.STORAGE_UNREACHABLE) -> bytes | None:
        """Return a small object up to one byte more than it may have, or None if there is none."""

        def read() -> bytes | None:
            try:
                with self.store.get(key) as stream:
                    return bytes(stream.read(_MAX_DOCUMENT_BYTES + 1))
            except Missing:
                return None

        return self._run("reading", key, read, reason)

    def _run(self, doing: str, key: str, action: Callable[[], T], reason: Reason = Reason.UPLOAD_FAILED) -> T:
        try:
            return self.store.retry.call(action)
        except Hidden as error:
            raise error.refusal from None
        except StoreError as error:
            failed = "failed repeatedly" if isinstance(error, Again) else "failed"
            raise RunFailed(reason, f"{doing} {key} in {self.store.where} {failed}: {error}") from None

    def _artifacts(self, base: str, entries: Iterable[ManifestEntry]) -> list[Artifact]:
        place = f"{self.store.uri}/{base}"
        return [
            Artifact(name=e.name, uri=place + e.name, sha256=e.sha256, size_bytes=e.size_bytes)
            for e in entries
        ]


def _mismatch(uri: str) -> RunFailed:
    return RunFailed(Reason.ARTIFACT_MISMATCH, f"{uri} is not the file that {MANIFEST} lists")
