"""Artifacts in a folder: of this machine, or of a mounted claim."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from secrets import token_hex

from trainingjob_api import Artifact, Reason
from trainingjob_trainer.errors import RunFailed, SpecInvalid
from trainingjob_trainer.storage.journal_store import FolderState
from trainingjob_trainer.storage.latest import latest_bytes
from trainingjob_trainer.storage.manifest import (
    MAX_DOCUMENT_BYTES,
    Manifest,
    ManifestEntry,
    checked,
    sha256_of,
    verify_folder,
)
from trainingjob_trainer.storage.names import LATEST, MANIFEST, STATE, folder_name

__all__ = ["FolderOutput"]


class FolderOutput:
    """A folder that holds one folder a run; files appear whole, by renaming.

    Parameters
    ----------
    root
        The output folder; made if it is missing.
    uri
        How the user names it; default the ``file://`` URI.
    mount
        For a claim: the folder that must be mounted already.
    """

    def __init__(self, root: Path, *, uri: str | None = None, mount: Path | None = None) -> None:
        self._root = root.absolute()
        self._uri = (uri or self._root.as_uri()).rstrip("/")
        self._mount = mount

    @property
    def uri(self) -> str:
        """The place as the user names it."""
        return self._uri

    def path(self, name: str, uid8: str) -> Path:
        """Return the folder of a run, which need not exist yet."""
        return self._root / folder_name(name, uid8)

    def check(self) -> None:
        """Prove that files can be made here; see `Output.check`."""
        if self._mount is not None and not self._mount.is_dir():
            raise SpecInvalid(
                Reason.CLAIM_NOT_MOUNTED,
                f"spec.output.uri: {self._uri} is not mounted at {self._mount}; check the claim's name",
            )
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._root) as probe:
                probe.write(b"writable")
        except OSError as error:
            raise SpecInvalid(
                Reason.OUTPUT_NOT_WRITABLE,
                f"spec.output.uri: {self._root} cannot be written to ({error.strerror}); "
                "choose another folder or change its permissions",
            ) from error

    def publish(self, folder: Path, name: str, uid8: str) -> list[Artifact]:
        """Store a folder's artifacts; see `Output.publish`. The folder may be the run's own."""
        target = self.path(name, uid8)
        try:
            manifest = Manifest.of_folder(folder, name, uid8)
            raw = manifest.to_bytes()
            target.mkdir(parents=True, exist_ok=True)
            self._forget(target / MANIFEST, raw)
            if folder.resolve() != target.resolve():
                for entry in manifest.entries:
                    _copy(folder / entry.name, target / entry.name, entry)
            _write(target / MANIFEST, raw)
            verify_folder(target)
            pointer = latest_bytes(
                name,
                uid8,
                uri=f"{self._uri}/{target.name}",
                manifest_sha256=sha256(raw).hexdigest(),
                now=datetime.now(UTC),
            )
            (self._root / name).mkdir(exist_ok=True)
            _write(self._root / name / LATEST, pointer)
        except OSError as error:
            raise RunFailed(
                Reason.UPLOAD_FAILED, f"{error.filename or target} cannot be written: {error.strerror}"
            ) from error
        return self._artifacts(target.name, manifest, raw)

    def verify(self, name: str, uid8: str) -> list[Artifact]:
        """Compare what a run published with its manifest; see `Output.verify`."""
        target = self.path(name, uid8)
        manifest = verify_folder(target)
        return self._artifacts(target.name, manifest, (target / MANIFEST).read_bytes())

    def read(self, name: str, uid8: str, artifact: Artifact) -> bytes:
        """Return a small artifact; see `Output.read`."""
        path = self.path(name, uid8) / artifact.name
        try:
            with path.open("rb") as stream:
                return checked(stream.read(MAX_DOCUMENT_BYTES + 1), artifact)
        except OSError:
            return checked(None, artifact)

    def state(self, name: str, uid8: str) -> FolderState:
        """Return the store of a run's state objects."""
        return FolderState(self.path(name, uid8) / STATE)

    @staticmethod
    def _forget(path: Path, raw: bytes) -> None:
        # While files change, no manifest may vouch for them.
        if path.is_file() and path.read_bytes() != raw:
            path.unlink()

    def _artifacts(self, folder: str, manifest: Manifest, raw: bytes) -> list[Artifact]:
        own = ManifestEntry(name=MANIFEST, size_bytes=len(raw), sha256=sha256(raw).hexdigest())
        return [
            Artifact(
                name=entry.name,
                uri=f"{self._uri}/{folder}/{entry.name}",
                sha256=entry.sha256,
                size_bytes=entry.size_bytes,
            )
            for entry in (*manifest.entries, own)
        ]


def _copy(source: Path, target: Path, entry: ManifestEntry) -> None:
    """Copy a file unless it is there already; it appears under its name only when it is complete."""
    if target.is_file() and target.stat().st_size == entry.size_bytes and sha256_of(target) == entry.sha256:
        return
    with _partial(target) as partial:
        shutil.copyfile(source, partial)


def _write(target: Path, raw: bytes) -> None:
    with _partial(target) as partial:
        partial.write_bytes(raw)


@contextmanager
def _partial(target: Path) -> Iterator[Path]:
    """Give a file its name once it is written; two runs that write the same one do not meet."""
    partial = target.with_name(f".{target.name}.{token_hex(8)}.partial")
    try:
        yield partial
        _settle(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def _settle(partial: Path, target: Path) -> None:
    """Give a complete file its name so that neither survives a power cut half-written."""
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
