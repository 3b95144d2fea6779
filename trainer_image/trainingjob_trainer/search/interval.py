"""How far a hold-out score could have come out otherwise: a bootstrap over the rows, or over whole groups."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from trainingjob_trainer.search.limits import quiet

__all__ = ["CONFIDENCE", "Interval", "Recorder", "bootstrap_interval", "replay"]

CONFIDENCE = 0.95
"""Of every interval."""

_RESAMPLES = 300
_MOST_ROWS = 2_000
_SECONDS = 4.0
_FEWEST_RESAMPLES = 100
_FEWEST_UNITS = 5
_SEED = 0x0B0075

Score = Callable[[NDArray[np.intp], NDArray[Any]], float]


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
    truth
        Shape (n_rows,).
    point
        The score of all rows.
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


_METHODS = ("predict", "predict_proba", "decision_function")

Responses = dict[str, NDArray[Any]]


class Recorder:
    """Stands in for a fitted model and keeps what its methods answer.

    Parameters
    ----------
    model
        A fitted estimator.

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
    """Return a function under a name that scikit-learn looks at."""

    def method(x: Any) -> Any:
        return function(x)

    method.__name__ = name
    return method
