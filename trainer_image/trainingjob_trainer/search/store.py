"""The table as workers see it: folds of capped size, files with digests, and the plugin that ships them.

Evaluating on every row of a large table would leave a short budget with a handful of pipelines, so the folds
that candidates are scored on are capped. Every candidate and the baseline see the same rows, and the model
that ships is fitted on all of them.

A task carries a `StoreRef` of a few hundred bytes instead of the table. What is read back as a pickle was
written by the same run into a folder of its own, and its digest travels with the task. A remote worker gets
the encoded folds once, from a plugin that the scheduler hands to every worker that registers.
"""

import hashlib
import io
import pickle
import shutil
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from distributed.diagnostics.plugin import WorkerPlugin
from numpy.typing import NDArray
from sklearn.base import clone

from trainingjob_trainer.encodings import Encoding

Folds = tuple[tuple[NDArray[np.intp], NDArray[np.intp]], ...]

MAX_FOLD_ROWS = 8_000
"""Most training rows of a fold."""
MIN_FOLD_ROWS = 2_000
"""A fold is never cut below this many training rows."""
_MAX_CELLS = 1_000_000
_WIDTH_ROWS = 1_000
PACKAGES = (
    "catboost", "dask", "distributed", "lightgbm", "numpy", "pandas", "scikit-learn", "scipy", "skrub",
    "trainingjob", "xgboost",
)  # fmt: skip
"""Packages whose versions decide what a pipeline scores, or whether it can be sent at all."""
_MAX_BYTES = 1024**3
_LEVEL = 1
_FOLD_FILES = ("train.npy", "test.npy", "names.json")


def fold_rows(folds: Folds) -> tuple[int, int]:
    """Return the most rows that a fold learns from, and the most that one is scored on."""
    return max(len(train) for train, _ in folds), max(len(test) for _, test in folds)


def fold_row_cap(encoded_columns: int) -> int:
    """Return the most training rows of a fold for a table with that many encoded columns."""
    return int(np.clip(_MAX_CELLS // max(encoded_columns, 1), MIN_FOLD_ROWS, MAX_FOLD_ROWS))


def encoded_width(
    encoder: Any, frame: pd.DataFrame, target: NDArray[np.generic], rows: NDArray[np.intp]
) -> int:
    """Return about how many columns an encoder makes, from its fit on some of the rows."""
    some = rows[:: max(1, len(rows) // _WIDTH_ROWS)]
    return int(clone(encoder).fit_transform(frame.iloc[some], target[some]).shape[1])


def sample_folds(
    folds: Folds, target: NDArray[np.generic], *, cap: int, stratify: bool, latest: bool, random_state: int
) -> Folds:
    """Return the folds with at most `cap` training rows and as many test rows each, in ascending order.

    Parameters
    ----------
    stratify
        Whether each class keeps its share, with at least two rows where it has them.
    latest
        Whether the last rows of a training part are kept, as validation by time needs it.
    """
    rng = np.random.default_rng([random_state, 0x0F01D5])
    out = []
    for train, test in folds:
        kept = (
            train[-cap:]
            if latest and len(train) > cap
            else draw_rows(train, target, cap, rng, stratify=stratify)
        )
        out.append((kept, draw_rows(test, target, cap, rng, stratify=stratify)))
    return tuple(out)


def draw_rows(
    rows: NDArray[np.intp], target: NDArray[np.generic], cap: int, rng: np.random.Generator, *, stratify: bool
) -> NDArray[np.intp]:
    """Return at most `cap` of the rows in ascending order, with `stratify` as `sample_folds` does."""
    if len(rows) <= cap:
        return rows
    if not stratify:
        return np.sort(rng.choice(rows, cap, replace=False))
    _, codes = np.unique(target[rows], return_inverse=True)
    picked = []
    for code in range(int(codes.max()) + 1):
        members = rows[codes == code]
        size = min(len(members), max(2, round(cap * len(members) / len(rows))))
        picked.append(rng.choice(members, size, replace=False))
    return np.sort(np.concatenate(picked))


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkData:
    """All of a run but its table.

    Parameters
    ----------
    target
        Shape (n_rows,), original labels or numbers.
    folds
        Training and test rows of each fold, as positions in the table.
    encoders
        Unfitted transformers from the raw table to a matrix, by the encoding.
    groups
        Group of each row where groups are kept together, else None.
    ordered
        Whether the rows of a fold's training part are in the order of time.
    """

    target: NDArray[Any]
    folds: Folds
    train_index: NDArray[np.intp]
    holdout_index: NDArray[np.intp]
    scorer: Any
    encoders: Mapping[Encoding, Any]
    groups: NDArray[Any] | None = None
    ordered: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreRef:
    """Where a worker finds the table.

    Parameters
    ----------
    work_digest, frame_digest, whole_digest
        sha256 of the pickles, in hex; the last one, of the folds for finalists, is None where those are the
        others.
    named
        Whether pipelines want the encoded matrix as a DataFrame with column names.
    encodings
        Those in which the folds are encoded, the more important ones first.
    """

    folder: str
    work_digest: str
    frame_digest: str
    folds: int
    named: bool
    whole_digest: str | None = None
    encodings: tuple[Encoding, ...] = (Encoding.DENSE,)


_LOADED: dict[str, Any] = {}
_FOLDERS: dict[str, Path] = {}


def relocate(ref: StoreRef, folder: Path | None) -> None:
    """Set the folder that a store has in this process, as on a remote worker; None forgets the store."""
    if folder is None:
        _FOLDERS.pop(ref.work_digest, None)
        for digest in (ref.work_digest, ref.frame_digest):
            _LOADED.pop(digest, None)
    else:
        _FOLDERS[ref.work_digest] = folder


def write_store(
    folder: Path, frame: pd.DataFrame, work: WorkData, *, named: bool, whole: Folds | None = None
) -> StoreRef:
    """Write the table and all that belongs to it into `folder`, and return what tasks carry.

    `whole` are those that finalists are scored on: the folds before they were cut to fewer rows, or those of
    a small table that is cut again. None if there are no others.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for old in folder.glob("fold-*"):
        old.unlink()
    return StoreRef(
        folder=str(folder),
        work_digest=_dump(folder / "work.pkl", work),
        frame_digest=_dump(folder / "frame.pkl", frame),
        folds=len(work.folds),
        named=named,
        whole_digest=None if whole is None else _dump(folder / "whole.pkl", whole),
    )


def has_repeats(ref: StoreRef) -> bool:
    """Return whether the whole folds are of the same rows, cut again, and not of more rows."""
    return len(load_whole_folds(ref)) > ref.folds


def load_whole_folds(ref: StoreRef) -> Folds:
    """Return the folds with all their rows; read once in a process."""
    if ref.whole_digest is None:
        return load_work(ref).folds
    folds: Folds = _load(_folder(ref) / "whole.pkl", ref.whole_digest)
    return folds


def load_work(ref: StoreRef) -> WorkData:
    """Return the run's data but the table; read once in a process."""
    work: WorkData = _load(_folder(ref) / "work.pkl", ref.work_digest)
    return work


def load_frame(ref: StoreRef) -> pd.DataFrame:
    """Return the raw table; read once in a process."""
    frame: pd.DataFrame = _load(_folder(ref) / "frame.pkl", ref.frame_digest)
    return frame


def fold_paths(ref: StoreRef, fold: int, encoding: Encoding = Encoding.DENSE) -> tuple[Path, Path, Path]:
    """Return where the encoded training rows, test rows and column names of a fold are."""
    base = _folder(ref) / f"fold-{fold}-{encoding}"
    train, test, names = (base.with_name(f"{base.name}-{part}") for part in _FOLD_FILES)
    return train, test, names


def _folder(ref: StoreRef) -> Path:
    return _FOLDERS.get(ref.work_digest) or Path(ref.folder)


def _dump(path: Path, data: object) -> str:
    raw = pickle.dumps(data, protocol=pickle.HIGHEST_PROTOCOL)
    path.write_bytes(raw)
    path.chmod(0o600)
    return hashlib.sha256(raw).hexdigest()


def _load(path: Path, digest: str) -> Any:
    if digest not in _LOADED:
        raw = path.read_bytes()
        if hashlib.sha256(raw).hexdigest() != digest:
            raise ValueError(f"{path.name} is not the file that the run wrote: its digest differs")
        _LOADED[digest] = pickle.loads(raw)
    return _LOADED[digest]


class TableTooLarge(Exception):  # noqa: N818 - the name says what was found
    """The encoded folds are larger than what is sent through a scheduler."""


def installed_versions() -> dict[str, str]:
    """Return the versions of Python and `PACKAGES` here; a package that is not there has an empty one."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return {"python": python} | {name: _version(name) for name in PACKAGES}


def that_can_be_sent(ref: StoreRef) -> tuple[Encoding, ...]:
    """Return the encodings of `ref` whose files can be sent together; the first one always.

    A local search keeps to them too, so that it breeds the same pipelines.
    """
    kept: list[Encoding] = []
    for encoding in ref.encodings:
        if not kept or _size(replace(ref, encodings=(*kept, encoding))) <= _MAX_BYTES:
            kept.append(encoding)
    return tuple(kept)


def _size(ref: StoreRef) -> int:
    return sum(path.stat().st_size for path in _paths(ref) if path.exists())


def pack_store(ref: StoreRef) -> bytes:
    """Return the files of a store that evaluations read, as a ZIP archive.

    Raises
    ------
    TableTooLarge
        If that is more than 1 GiB.
    """
    size = _size(ref)
    if size > _MAX_BYTES:
        raise TableTooLarge(f"the encoded folds take {size / 1024**2:.0f} MiB, over the limit of 1024 MiB")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as archive:
        for path in filter(Path.exists, _paths(ref)):
            archive.write(path, path.name)
    return buffer.getvalue()


class TablePlugin(WorkerPlugin):
    """Puts a store's files, as `pack_store` packs them, into a worker's own folder.

    `versions` are the `installed_versions` where the search runs.
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
    folds = [
        path for name in ref.encodings for fold in range(ref.folds) for path in fold_paths(ref, fold, name)
    ]
    return [folds[0].parent / "work.pkl", *folds]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
