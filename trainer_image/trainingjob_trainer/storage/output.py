"""Opening the output that ``spec.output`` names."""

import re
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote

from trainingjob_api import Artifact, Reason
from trainingjob_api.uris import Place, parse_uri
from trainingjob_trainer.errors import SpecInvalid
from trainingjob_trainer.settings import TrainerSettings
from trainingjob_trainer.storage.client import endpoint_of, s3_client
from trainingjob_trainer.storage.folder import FolderOutput
from trainingjob_trainer.storage.journal_store import StateStore
from trainingjob_trainer.storage.names import folder_name
from trainingjob_trainer.storage.s3 import S3Output

__all__ = ["Output", "folder_name", "open_output"]


_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


class Output(Protocol):
    """A place for artifacts."""

    @property
    def uri(self) -> str:
        """The place as the user names it."""

    def check(self) -> None:
        """Prove, before anything is computed, that the place is there and can be written to.

        Raises
        ------
        SpecInvalid
            With reason ``OutputNotWritable``, ``BucketNotFound`` or ``CredentialsRefused``.
        RunFailed
            With reason ``StorageUnreachable`` if the storage is away.
        """

    def publish(self, folder: Path, name: str, uid8: str) -> list[Artifact]:
        """Store a folder's artifacts, verify each, then write the manifest and the pointer to it.

        May be repeated: what is there already, with the right digest, is not sent again.

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

    def verify(self, name: str, uid8: str) -> list[Artifact]:
        """Read back what a run published and compare it with its manifest.

        Raises
        ------
        RunFailed
            With reason ``ManifestMissing``, ``ManifestInvalid``, ``ArtifactMismatch`` or
            ``StorageUnreachable``.
        """

    def read(self, name: str, uid8: str, artifact: Artifact) -> bytes:
        """Return a published artifact of at most 256 KiB.

        Raises
        ------
        RunFailed
            With reason ``ArtifactMismatch`` if it is missing, larger or another one; ``StorageUnreachable``.
        """

    def state(self, name: str, uid8: str) -> StateStore:
        """Return the store of a run's small state objects, such as the journal's mirror."""


def open_output(
    uri: str, *, endpoint: str | None, credentials_dir: Path | None, settings: TrainerSettings
) -> Output:
    """Return the output behind a URI; nothing is read or written yet.

    Parameters
    ----------
    uri
        ``s3://bucket/prefix``, ``pvc://claim/path``, ``file://path`` (of this machine, relative to the
        working directory without a leading slash) or a plain path.
    endpoint
        S3 endpoint, if not the default one.
    credentials_dir
        See `s3_client`.
    settings
        Time-outs, allowed endpoints and the folder where claims are mounted.

    Raises
    ------
    SpecInvalid
        With reason ``InvalidOutput`` if the URI is of another kind; as `s3_client` for S3.
    """
    if "://" not in uri:
        return FolderOutput(Path(uri))
    try:
        place = parse_uri(uri)
    except ValueError as error:
        raise _invalid(uri, str(error)) from error
    match place.scheme:
        case "file":
            return FolderOutput(Path(unquote(uri.removeprefix("file://"))))
        case "pvc":
            claim, path = _two_parts(uri, place, "pvc://claim/path")
            mount = settings.pvc_root / claim
            return FolderOutput(mount / path, uri=uri, mount=mount)
        case "s3":
            bucket, prefix = _two_parts(uri, place, "s3://bucket/prefix")
            if not _BUCKET.fullmatch(bucket):
                raise _invalid(
                    uri, "a bucket's name has 3 to 63 lower-case letters, digits, dots and hyphens"
                )
            client = s3_client(endpoint, credentials_dir, settings, field="spec.output")
            return S3Output(client, bucket, prefix, endpoint=endpoint_of(endpoint, settings))
        case _:
            raise _invalid(uri, "it must begin with s3://, pvc:// or file://, or be a plain path")


def _two_parts(uri: str, place: Place, shape: str) -> tuple[str, str]:
    """Return bucket or claim, and the path below it without slashes at its ends."""
    first, path = place.root, place.path.strip("/")
    if not first or "@" in first or first.startswith("."):
        raise _invalid(uri, f"it must look like {shape}")
    return first, path


def _invalid(uri: str, cause: str) -> SpecInvalid:
    shown = uri if "@" not in uri else uri.split("://", 1)[0] + "://…"
    return SpecInvalid(
        Reason.INVALID_OUTPUT, f"spec.output.uri: {shown!r} is no place for artifacts; {cause}"
    )
