"""Predictions for rows that a model had not learned from: kept for an ensemble, and scored with an interval.

The interval is a bootstrap over the rows, or over whole groups, of how far a hold-out score could have come
out otherwise.
"""

import hashlib
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from statistics import stdev
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, is_classifier

from trainingjob_trainer.search.candidate import Candidate, rank
from trainingjob_trainer.search.limits import quiet

CONFIDENCE = 0.95
"""Of every interval."""
MOST_KEPT: Final = 40
"""Candidates whose predictions are kept, as far as they have room."""
_MOST_BYTES: Final = 256 * 1024**2
_RESAMPLES = 300
_MOST_ROWS = 2_000
_SECONDS = 4.0
_FEWEST_RESAMPLES = 100
_FEWEST_UNITS = 5
_SEED = 0x0B0075
_METHODS = ("predict", "predict_proba", "decision_function")

Score = Callable[[NDArray[np.intp], NDArray[Any]], float]
Responses = dict[str, NDArray[Any]]
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
    except Exception:  # noqa: BLE001 - the metric may need no probabilities: it is not a member, but valid
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


@dataclass(frozen=True, slots=True)
class Interval:
    """Bounds of a score, `low` <= `high`."""

    low: float
    high: float


def bootstrap_interval(
    score: Score,
    truth: NDArray[Any],
    point: float,
    *,
    groups: NDArray[Any] | None = None,
    random_state: int = 0,
    resamples: int = _RESAMPLES,
    seconds_limit: float = _SECONDS,
) -> Interval | None:
    """Return the percentile interval of a score, or None where it cannot be taken.

    Rows, or whole groups, are drawn with replacement. Of more than 2,000 rows as many are drawn, and the
    distances to `point` are scaled by the root of the share (the *m out of n* bootstrap), so that the time
    does not grow with the table. Draws of a single class, and those that cannot be scored, are left out.

    It cannot be taken for fewer than five rows or groups, for a `point` that is not finite, or if fewer than
    100 draws or half of them could be scored.

    Parameters
    ----------
    score
        ``score(rows, truth of these rows)``; rows are positions, which may repeat.
    groups
        Group of each row; None draws rows.
    """
    members = None if groups is None else _members(groups)
    units = len(truth) if members is None else len(members)
    if units < _FEWEST_UNITS or not np.isfinite(point):
        return None
    several = bool((truth != truth[0]).any())
    drawn = max(_FEWEST_UNITS, round(units * min(1.0, _MOST_ROWS / len(truth))))
    rng = np.random.default_rng([random_state, _SEED])
    end = time.monotonic() + seconds_limit
    draws: list[float | None] = []
    while len(draws) < resamples and (not draws or time.monotonic() < end):
        picked = rng.integers(0, units, drawn)
        rows = picked if members is None else np.concatenate([members[i] for i in picked])
        some = truth[rows]
        alike = several and bool((some == some[0]).all())
        draws.append(None if alike else _scored(score, rows, some))
    scores = [value for value in draws if value is not None]
    if len(scores) < _FEWEST_RESAMPLES or len(scores) < len(draws) / 2:
        return None
    tail = (1 - CONFIDENCE) / 2
    bounds = np.quantile(scores, [tail, 1 - tail])
    low, high = point + (bounds - point) * np.sqrt(drawn / units)
    return Interval(float(low), float(high))


def gap_warning(candidate: Candidate, holdout_score: float | None, interval: Interval | None) -> str | None:
    """Return a warning if the hold-out score is far from the cross-validated one, else None.

    It is far if the cross-validated score is outside the interval, and the hold-out score is outside the
    range in which 95 % of the scores of one more fold are expected: the mean of the folds, give or take
    their standard deviation times the 97.5 % quantile of Student's t times sqrt(1 + 1 / folds). Two folds
    make that range wide, ten make it narrow.
    """
    folds = candidate.fold_scores
    if interval is None or holdout_score is None or candidate.score is None or len(folds) < 2:  # noqa: PLR2004
        return None
    spread = stats.t.ppf((1 + CONFIDENCE) / 2, len(folds) - 1) * stdev(folds) * math.sqrt(1 + 1 / len(folds))
    inside = interval.low <= candidate.score <= interval.high
    if inside or not math.isfinite(holdout_score) or abs(holdout_score - candidate.score) <= spread:
        return None
    below = holdout_score < candidate.score
    return (
        f"The hold-out score {holdout_score:.6g} (95 % interval {interval.low:.6g} to {interval.high:.6g}) "
        f"is far {'below' if below else 'above'} the cross-validated score {candidate.score:.6g}, whose "
        f"folds differ by {stdev(folds):.2g}{_learned_from(candidate)}. {_cause(below=below)}"
    )


def _learned_from(candidate: Candidate) -> str:
    return "" if candidate.train_rows is None else f" and learned from {candidate.train_rows:,} rows at most"


def _cause(*, below: bool) -> str:
    if below:
        return (
            "The search may have adapted to its folds, rows that belong together may be on both sides of a "
            "fold, or the hold-out rows are of another kind (later, other groups): go by the hold-out score, "
            "and see spec.validation."
        )
    return (
        "The folds may have learned from too few rows to say what the model can do, or the hold-out rows may "
        "be easier or copies of others: see spec.validation. On a large table, more time allows the "
        "finalists to be scored on all rows."
    )


def _members(groups: NDArray[Any]) -> list[NDArray[np.intp]]:
    """Return the rows of each group."""
    _, codes = np.unique(groups, return_inverse=True)
    order = np.argsort(codes, kind="stable")
    return np.split(order, np.cumsum(np.bincount(codes))[:-1])


def _scored(score: Score, rows: NDArray[np.intp], truth: NDArray[Any]) -> float | None:
    """Return the score of a draw, or None if it is not defined there."""
    try:
        with quiet():
            value = score(rows, truth)
    except Exception:  # noqa: BLE001 - whatever a scorer raises, this draw has no score
        return None
    return value if np.isfinite(value) else None


class Recorder:
    """Stands in for a fitted model and keeps what its methods answer.

    Attributes
    ----------
    responses_ : dict of str to ndarray
        By the name of the method; each has one entry a row.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self.responses_: Responses = {}

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._model, name)
        if name not in _METHODS:
            return value

        def ask(x: Any) -> Any:
            if name not in self.responses_:
                self.responses_[name] = np.asarray(value(x))
            return self.responses_[name]

        return _named(ask, name)


class _Classifier(ClassifierMixin, BaseEstimator):
    """A fitted classifier whose rows are positions in what was recorded."""


class _Regressor(RegressorMixin, BaseEstimator):
    """A fitted regressor whose rows are positions in what was recorded."""


def replay(
    responses: Responses, scorer: Any, classes: Sequence[Any] | None
) -> Callable[[NDArray[np.intp], NDArray[Any]], float]:
    """Return ``score(rows, truth)``, the score of some recorded rows; `classes` is None for a regressor."""
    stand_in: Any = _Regressor() if classes is None else _Classifier()
    if classes is not None:
        stand_in.classes_ = np.asarray(classes)
    for name, recorded in responses.items():
        setattr(stand_in, name, _named(recorded.__getitem__, name))
    return lambda rows, truth: float(scorer(stand_in, rows, truth))


def _named(function: Callable[[Any], Any], name: str) -> Callable[[Any], Any]:
    """Return a function with the name that scikit-learn reads."""

    def method(x: Any) -> Any:
        return function(x)

    method.__name__ = name
    return method
