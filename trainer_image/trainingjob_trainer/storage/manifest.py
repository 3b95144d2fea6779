"""The manifest: name, size and sha256 of every artifact; a reader trusts only what it lists."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from trainingjob_api import Artifact, Reason
from trainingjob_trainer.errors import RunFailed
from trainingjob_trainer.storage.names import MANIFEST, is_artifact_name

__all__ = [
    "MAX_DOCUMENT_BYTES",
    "SCHEMA_VERSION",
    "Manifest",
    "ManifestEntry",
    "checked",
    "publishable",
    "sha256_of",
    "verify_folder",
]

SCHEMA_VERSION = "1.0"
MAX_MANIFEST_BYTES = MAX_DOCUMENT_BYTES = 256 * 1024
_MAX_ENTRIES = 200
_CHUNK = 1024 * 1024
_DIGEST_LENGTH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestEntry:
    """One artifact.

    Parameters
    ----------
    name
        File name within the run's folder.
    size_bytes
        Size in bytes.
    sha256
        Digest in lower-case hexadecimal.
    """

    name: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a run's folder holds.

    Parameters
    ----------
    job, uid8
        The TrainingJob's name and the first characters of its uid.
    entries
        The artifacts, by name.
    """

    job: str
    uid8: str
    entries: tuple[ManifestEntry, ...]

    @classmethod
    def of_folder(cls, folder: Path, job: str, uid8: str) -> Self:
        """Digest the publishable files of a folder."""
        entries = tuple(
            ManifestEntry(name=path.name, size_bytes=path.stat().st_size, sha256=sha256_of(path))
            for path in publishable(folder)
        )
        return cls(job=job, uid8=uid8, entries=entries)

    def to_bytes(self) -> bytes:
        """Return the file's content; equal manifests give equal bytes."""
        content: dict[str, Any] = {
            "schemaVersion": SCHEMA_VERSION,
            "kind": "Manifest",
            "job": {"name": self.job, "uid8": self.uid8},
            "artifacts": [
                {"name": e.name, "sizeBytes": e.size_bytes, "sha256": e.sha256} for e in self.entries
            ],
        }
        return (json.dumps(content, indent=2) + "\n").encode()

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
            job = content["job"]
            return cls(
                job=str(job["name"]),
                uid8=str(job["uid8"]),
                entries=tuple(_entry(row) for row in content["artifacts"]),
            )
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise RunFailed(Reason.MANIFEST_INVALID, f"{MANIFEST} cannot be trusted: {error}") from error


def _content(raw: bytes) -> Any:
    if len(raw) > MAX_MANIFEST_BYTES:
        raise ValueError("it is too large")
    content = json.loads(raw)
    rows = content["artifacts"]
    if content["kind"] != "Manifest" or not isinstance(rows, list) or len(rows) > _MAX_ENTRIES:
        raise ValueError("it is no list of artifacts")
    if len({row["name"] for row in rows}) != len(rows):
        raise ValueError("a name appears twice")
    return content


def _entry(row: Any) -> ManifestEntry:
    name, size, digest = row["name"], row["sizeBytes"], row["sha256"]
    if not isinstance(name, str) or not is_artifact_name(name):
        raise ValueError(f"{name!r} is not the name of an artifact")
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        raise ValueError(f"the size of {name} is not a number of bytes")
    if not isinstance(digest, str) or len(digest) != _DIGEST_LENGTH or set(digest) - set("0123456789abcdef"):
        raise ValueError(f"the digest of {name} is not a sha256")
    return ManifestEntry(name=name, size_bytes=size, sha256=digest)


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file in hexadecimal, read in pieces."""
    digest = hashlib.sha256()
    for piece in _pieces(path):
        digest.update(piece)
    return digest.hexdigest()


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while piece := stream.read(_CHUNK):
            yield piece


def checked(raw: bytes | None, artifact: Artifact) -> bytes:
    """Return the content of an artifact if it is the one that its manifest lists.

    Raises
    ------
    RunFailed
        With reason ``ArtifactMismatch``.
    """
    if raw is None or hashlib.sha256(raw).hexdigest() != artifact.sha256:
        raise RunFailed(Reason.ARTIFACT_MISMATCH, f"{artifact.uri} is not the file that {MANIFEST} lists")
    return raw


def publishable(folder: Path) -> list[Path]:
    """Return the artifacts of a folder, sorted by name.

    Only plain files of the folder itself count: hidden ones (such as ``.work/``), links, folders and the
    manifest are left out.
    """
    return sorted(
        (p for p in folder.iterdir() if is_artifact_name(p.name) and p.is_file() and not p.is_symlink()),
        key=lambda path: path.name,
    )


def verify_folder(folder: Path) -> Manifest:
    """Check every file that the folder's manifest lists.

    Returns
    -------
    Manifest
        The manifest, all of it true.

    Raises
    ------
    RunFailed
        With reason ``ManifestMissing``, ``ManifestInvalid`` or ``ArtifactMismatch``; the message names the
        first file that differs.
    """
    path = folder / MANIFEST
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_MANIFEST_BYTES + 1)
    except OSError as error:
        raise RunFailed(
            Reason.MANIFEST_MISSING,
            f"{path} cannot be read: the run did not finish, or this is not its folder",
        ) from error
    manifest = Manifest.from_bytes(raw)
    for entry in manifest.entries:
        file = folder / entry.name
        if file.is_symlink() or not file.is_file():
            raise RunFailed(Reason.ARTIFACT_MISMATCH, f"{file} is listed in {MANIFEST} and is missing")
        if file.stat().st_size != entry.size_bytes or sha256_of(file) != entry.sha256:
            raise RunFailed(Reason.ARTIFACT_MISMATCH, f"{file} is not the file that {MANIFEST} lists")
    return manifest
