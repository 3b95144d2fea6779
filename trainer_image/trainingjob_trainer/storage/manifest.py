"""What a run leaves in its output: the names, the manifest, and the pointer to the newest finished run.

The layout is the same in every store: ``<name>-<uid8>/`` with ``manifest.json`` written last, and
``<name>/latest.json`` that points to it. A reader trusts only what the manifest lists.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from trainingjob_api import Artifact, Reason
from trainingjob_trainer.errors import RunFailed

__all__ = [
    "LATEST",
    "MANIFEST",
    "MAX_DOCUMENT_BYTES",
    "STATE",
    "Manifest",
    "ManifestEntry",
    "checked",
    "checked_key",
    "folder_name",
    "is_artifact_name",
    "latest_bytes",
    "publishable",
]

MANIFEST = "manifest.json"
LATEST = "latest.json"
STATE = ".state"

_JOB = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_LONGEST_JOB = 246
"""With the uid behind it a longer name has no room in a file name, which ends at 255 bytes."""
_DIGEST_CHARS = 10
_UID = re.compile(r"[A-Za-z0-9]{1,16}")
_ARTIFACT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")

SCHEMA_VERSION = "1.0"
MAX_DOCUMENT_BYTES = 256 * 1024
_MAX_ENTRIES = 200
_DIGEST_LENGTH = 64


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


def is_artifact_name(name: str) -> bool:
    """Return whether a file of a run's folder may be an artifact: a plain name that is not hidden."""
    return bool(_ARTIFACT.fullmatch(name)) and name not in {MANIFEST, LATEST}


def checked_key(key: str) -> str:
    """Return the key of a state object.

    Raises
    ------
    ValueError
        If it is not a plain name.
    """
    if not _ARTIFACT.fullmatch(key):
        raise ValueError(f"{key!r} is not a plain name")
    return key


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a run's folder holds; the entries are sorted by name."""

    job: str
    uid8: str
    entries: tuple[ManifestEntry, ...]

    @classmethod
    def of_folder(cls, folder: Path, job: str, uid8: str) -> Self:
        """Digest the publishable files of a folder."""
        entries = tuple(
            ManifestEntry(name=path.name, size_bytes=path.stat().st_size, sha256=_sha256_of(path))
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
    if len(raw) > MAX_DOCUMENT_BYTES:
        raise ValueError("it is too large")
    content = json.loads(raw)
    rows = content["artifacts"]
    if content["kind"] != "Manifest" or not isinstance(rows, list) or len(rows) > _MAX_ENTRIES:
        raise ValueError("it is not a list of artifacts")
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


def _sha256_of(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def latest_bytes(job: str, uid8: str, *, uri: str, manifest_sha256: str, now: datetime) -> bytes:
    """Return the content of ``latest.json``; `uri` is the run's folder.

    It holds the digest of the manifest, so that a reader who trusts the pointer can trust the whole folder.
    """
    content = {
        "schemaVersion": SCHEMA_VERSION,
        "kind": "Latest",
        "job": {"name": job, "uid8": uid8},
        "folder": folder_name(job, uid8),
        "uri": uri,
        "manifestSha256": manifest_sha256,
        "publishedAt": now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    return (json.dumps(content, indent=2) + "\n").encode()
