"""What candidates predicted for rows that they had not learned from, kept for the best of them."""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier

from trainingjob_trainer.search.candidate import Candidate, rank

__all__ = ["MOST_KEPT", "PredictionStore", "Predictions", "complete_predictions", "out_of_fold"]

MOST_KEPT: Final = 40
"""Candidates whose predictions are kept, as far as they have room."""
_MOST_BYTES: Final = 256 * 1024**2

Predictions = tuple[NDArray[Any], ...]
"""One array a fold, in the order of its test rows: (n_test,), or (n_test, n_classes) probabilities."""


def out_of_fold(estimator: Any, x_test: Any) -> NDArray[Any] | None:
    """Return probabilities as float32, or predicted numbers as float64; None from a classifier without any.

    Numbers keep their precision: those of a target may differ in the last digits alone, as times do.
    """
    try:
        if not is_classifier(estimator):
            return np.asarray(estimator.predict(x_test), dtype=np.float64)
        return np.asarray(estimator.predict_proba(x_test), dtype=np.float32)
    except Exception:  # noqa: BLE001 - the metric may need no probabilities: it is no member, but valid
        return None


def complete_predictions(found: Sequence[NDArray[Any] | None], folds: int) -> Predictions | None:
    """Return the predictions of all folds, or None if those of one are missing."""
    there = tuple(fold for fold in found if fold is not None)
    return there if len(there) == folds else None


class PredictionStore:
    """Files with the predictions of the best candidates; a resumed run finds them again.

    The name of a file holds the candidate's key and the digest of its content. A file that is damaged counts
    as none, and nothing in it is unpickled.

    Parameters
    ----------
    folder
        Of this run alone, and of its search and table.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._files = {path.name.partition("-")[0]: path for path in folder.glob("*-*.npz")}
        self._kept: list[Candidate] = []

    def keep(self, candidate: Candidate, predictions: Sequence[NDArray[Any]] | None = None) -> None:
        """Keep a candidate's predictions if it is among the best; by default those of an earlier attempt."""
        if not rank([candidate]) or any(kept.key == candidate.key for kept in self._kept):
            return
        if predictions is not None:
            with suppress(OSError):  # a full disk costs a member, not the search
                self._write(candidate.key, predictions)
        if candidate.key not in self._files:
            return
        self._kept = rank([*self._kept, candidate])
        while len(self._kept) > MOST_KEPT or self._size() > _MOST_BYTES:
            self._files.pop(self._kept.pop().key).unlink(missing_ok=True)

    def load(self, key: str) -> Predictions | None:
        """Return the predictions of a candidate, or None if they are not kept."""
        path = self._files.get(key)
        if path is None:
            return None
        try:
            content = path.read_bytes()
            if _name(key, content) != path.name:
                return None
            with np.load(BytesIO(content), allow_pickle=False) as arrays:
                return tuple(arrays[f"arr_{fold}"] for fold in range(len(arrays.files)))
        except (OSError, ValueError, KeyError, EOFError):
            return None

    def _write(self, key: str, predictions: Sequence[NDArray[Any]]) -> None:
        buffer = BytesIO()
        np.savez(buffer, *predictions)
        content = buffer.getvalue()
        path = self._folder / _name(key, content)
        partial = path.with_suffix(".partial")
        try:
            partial.write_bytes(content)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        if self._files.get(key, path) != path:
            self._files[key].unlink(missing_ok=True)
        self._files[key] = path

    def _size(self) -> int:
        return sum(self._files[kept.key].stat().st_size for kept in self._kept)


def _name(key: str, content: bytes) -> str:
    return f"{key}-{hashlib.sha256(content).hexdigest()[:16]}.npz"
