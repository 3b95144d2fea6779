"""The search's table on remote workers: each one gets the encoded folds once, late and restarted ones too.

A worker plugin carries them. The scheduler keeps it and hands it to every worker that registers, before that
worker takes a task; so no task ever waits for data, and no worker needs a way to the trainer.
"""

import hashlib
import io
import shutil
import sys
import zipfile
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from distributed.diagnostics.plugin import WorkerPlugin

from trainingjob_trainer.search.store import StoreRef, fold_paths, relocate

__all__ = ["PACKAGES", "TablePlugin", "TableTooLarge", "installed_versions", "pack_store"]

PACKAGES = (
    "dask",
    "distributed",
    "lightgbm",
    "numpy",
    "pandas",
    "scikit-learn",
    "scipy",
    "skrub",
    "trainingjob",
    "xgboost",
)
"""Packages whose versions decide what a pipeline scores, or whether it can be sent at all."""
_MAX_BYTES = 1024**3
_LEVEL = 1


class TableTooLarge(Exception):  # noqa: N818 - the name says what was found
    """The encoded folds are larger than what is sent through a scheduler."""


def installed_versions() -> dict[str, str]:
    """Return the versions of Python and `PACKAGES` here; a package that is not there has an empty one."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return {"python": python} | {name: _version(name) for name in PACKAGES}


def pack_store(ref: StoreRef) -> bytes:
    """Return what evaluations read of a store, as a ZIP archive.

    Raises
    ------
    TableTooLarge
        If that is more than 1 GiB.
    """
    paths = [path for path in _paths(ref) if path.exists()]
    size = sum(path.stat().st_size for path in paths)
    if size > _MAX_BYTES:
        raise TableTooLarge(f"the encoded folds take {size / 1024**2:.0f} MiB, over the limit of 1024 MiB")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as archive:
        for path in paths:
            archive.write(path, path.name)
    return buffer.getvalue()


class TablePlugin(WorkerPlugin):
    """Puts a store's files into a worker's own folder.

    Parameters
    ----------
    ref
        The store.
    payload
        Of `pack_store`.
    versions
        Of `installed_versions` where the search runs.
    """

    idempotent = True

    def __init__(self, ref: StoreRef, payload: bytes, versions: Mapping[str, str]) -> None:
        self.name = f"trainingjob-table-{ref.work_digest[:16]}"
        self._ref = ref
        self._payload = payload
        self._digest = hashlib.sha256(payload).hexdigest()
        self._versions = dict(versions)
        self._folder: Path | None = None

    def setup(self, worker: Any) -> None:
        """Unpack the files; called by ``distributed`` before the worker takes tasks.

        Raises
        ------
        RuntimeError
            If the worker has other versions of packages, or the archive is not what was sent.
        """
        here = installed_versions()
        other = [
            f"{name} {here[name] or 'missing'} instead of {wanted}"
            for name, wanted in self._versions.items()
            if here.get(name, "") != wanted
        ]
        if other:
            raise RuntimeError(f"VersionMismatch: this worker has {', '.join(other)}")
        if hashlib.sha256(self._payload).hexdigest() != self._digest:
            raise RuntimeError("the table did not arrive as it was sent: its digest differs")
        folder = Path(worker.local_directory) / self.name
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with zipfile.ZipFile(io.BytesIO(self._payload)) as archive:
            for path in _paths(self._ref):
                if path.name in archive.namelist():
                    (folder / path.name).write_bytes(archive.read(path.name))
        relocate(self._ref, folder)
        self._folder = folder
        self._payload = b""

    def teardown(self, worker: Any) -> None:  # noqa: ARG002 - the form of a plugin
        """Remove the files; called when the search has ended."""
        relocate(self._ref, None)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def _paths(ref: StoreRef) -> list[Path]:
    folds = [path for fold in range(ref.folds) for path in fold_paths(ref, fold)]
    return [folds[0].parent / "work.pkl", *folds]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
