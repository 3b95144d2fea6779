"""What workers need of the table: written once into the run's scratch folder, read with its digest checked.

A task carries a `StoreRef` of a few hundred bytes instead of the table. What is read back as a pickle was
written by the same run into a folder of its own, and its digest travels with the task.
"""

import hashlib
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trainingjob_trainer.search.sampling import Folds

__all__ = [
    "StoreRef",
    "WorkData",
    "fold_paths",
    "load_frame",
    "load_whole_folds",
    "load_work",
    "relocate",
    "write_store",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkData:
    """All of a run but its table.

    Parameters
    ----------
    target
        Shape (n_rows,), original labels or numbers.
    folds
        Training and test rows of each fold, as positions in the table.
    train_index, holdout_index
        Rows outside and inside the hold-out part.
    scorer
        scikit-learn scorer, greater is better.
    encoder
        Unfitted transformer from the raw table to a dense matrix.
    """

    target: NDArray[Any]
    folds: Folds
    train_index: NDArray[np.intp]
    holdout_index: NDArray[np.intp]
    scorer: Any
    encoder: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreRef:
    """Where a worker finds the table.

    Parameters
    ----------
    folder
        The run's scratch folder.
    work_digest, frame_digest
        sha256 of the two pickles, in hex.
    folds
        How many folds there are.
    named
        Whether pipelines want the encoded matrix as a DataFrame with column names.
    whole_digest
        sha256 of the pickle of the whole folds; None where the folds are whole.
    """

    folder: str
    work_digest: str
    frame_digest: str
    folds: int
    named: bool
    whole_digest: str | None = None


_LOADED: dict[str, Any] = {}
_FOLDERS: dict[str, Path] = {}


def relocate(ref: StoreRef, folder: Path | None) -> None:
    """Say where a store is in this process: on another machine it has a folder of its own.

    Parameters
    ----------
    ref
        The store.
    folder
        Its folder here; None forgets the store.
    """
    if folder is None:
        _FOLDERS.pop(ref.work_digest, None)
        for digest in (ref.work_digest, ref.frame_digest):
            _LOADED.pop(digest, None)
    else:
        _FOLDERS[ref.work_digest] = folder


def write_store(
    folder: Path, frame: pd.DataFrame, work: WorkData, *, named: bool, whole: Folds | None = None
) -> StoreRef:
    """Write the table and all that belongs to it into `folder`.

    Parameters
    ----------
    folder
        Is made if it is not there.
    frame, work
        The table and the rest.
    named
        As in `StoreRef`.
    whole
        The folds before they were cut to fewer rows; None where they were not.

    Returns
    -------
    StoreRef
        What tasks carry.
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


def fold_paths(ref: StoreRef, fold: int) -> tuple[Path, Path, Path]:
    """Return where the encoded training rows, test rows and column names of a fold are."""
    base = _folder(ref)
    return base / f"fold-{fold}-train.npy", base / f"fold-{fold}-test.npy", base / f"fold-{fold}-names.json"


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
