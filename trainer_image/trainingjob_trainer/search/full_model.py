"""Fits of the whole pipeline, encoder included: the model that ships, and its twin without the hold-out rows.

A fit is a task, as those in `search.tasks` are.
"""

import gzip
import io
import pickle
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier
from sklearn.metrics import balanced_accuracy_score

from trainingjob_trainer.search.candidate import Outcome
from trainingjob_trainer.search.interval import Recorder
from trainingjob_trainer.search.limits import (
    MIN_USEFUL_SECONDS,
    LimitExceeded,
    TaskLimit,
    describe_error,
    quiet,
    time_limit,
    wait_for_last_answer,
)
from trainingjob_trainer.search.store import StoreRef, draw_rows, load_frame, load_whole_folds, load_work
from trainingjob_trainer.search_space.voters import full_pipeline

__all__ = [
    "PICKLE_PROTOCOL",
    "FitResult",
    "HoldoutResult",
    "dump_model",
    "fit_all",
    "fit_full",
    "fit_holdout",
]

PICKLE_PROTOCOL = 5
"""Is read by every Python that the project supports."""
# Forests shrink to a third at the first level; higher ones cost seconds for little.
_GZIP_LEVEL = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldoutResult:
    """Predictions for the hold-out rows by a model that has not seen them.

    Parameters
    ----------
    score
        In the run's metric; None if that is not a finite number.
    predicted
        Shape (n_holdout,).
    probabilities
        Shape (n_holdout, n_classes) in the order of `classes`, or None.
    classes
        The model's classes, or None.
    extra
        Further scores by name.
    responses
        What the scorer asked of the model, by the name of the method, for `search.interval.replay`.
    """

    score: float | None
    predicted: NDArray[Any]
    probabilities: NDArray[np.float64] | None
    classes: tuple[Any, ...] | None
    extra: dict[str, float]
    responses: dict[str, NDArray[Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class FitResult:
    """A fit of the whole pipeline, encoder included.

    Parameters
    ----------
    outcome
        As in `Evaluation`.
    seconds
        From reading the table to the dump of the model, predictions included.
    model
        The fitted pipeline as `dump_model` writes it.
    holdout
        Where the fit was on the training rows alone.
    error
        One line.
    """

    outcome: Outcome | None
    seconds: float = 0.0
    model: bytes | None = None
    holdout: HoldoutResult | None = None
    error: str | None = None


def fit_holdout(
    pipeline: dict[str, Any], ref: StoreRef, limit: TaskLimit, *, most_rows: int | None = None
) -> FitResult:
    """Fit on the training rows and predict the hold-out rows."""
    return fit_full(pipeline, ref, limit, holdout=True, most_rows=most_rows)


def fit_all(
    pipeline: dict[str, Any], ref: StoreRef, limit: TaskLimit, *, most_rows: int | None = None
) -> FitResult:
    """Fit on all rows."""
    return fit_full(pipeline, ref, limit, holdout=False, most_rows=most_rows)


def fit_full(
    pipeline: dict[str, Any],
    ref: StoreRef,
    limit: TaskLimit,
    *,
    holdout: bool,
    most_rows: int | None = None,
) -> FitResult:
    """Fit encoder and pipeline on raw rows: the training rows with `holdout`, else all rows.

    With `most_rows` it learns from at most as many: the last ones where time orders them, else drawn ones.
    """
    wait_for_last_answer()
    seconds = limit.effective()
    if seconds < MIN_USEFUL_SECONDS:
        return FitResult(outcome=None, error="no time was left for the fit")
    started = time.monotonic()
    try:
        with time_limit(seconds), quiet():
            work, frame = load_work(ref), load_frame(ref)
            model = full_pipeline(pipeline, work.encoders)
            rows = work.train_index if holdout else np.arange(len(frame))
            if most_rows is not None:
                rows = _fewer_rows(rows, ref, most_rows, stratify=is_classifier(model))
            model.fit(frame.iloc[rows], work.target[rows])
            result = _predict_holdout(model, ref) if holdout else None
            content = dump_model(model)
            took = time.monotonic() - started
            return FitResult(outcome=Outcome.OK, seconds=took, model=content, holdout=result)
    except LimitExceeded:
        return FitResult(outcome=Outcome.TIMEOUT, error=f"the fit took longer than {seconds:.1f} s")
    except Exception as failure:  # noqa: BLE001 - the next candidate is tried, with this as the reason
        return FitResult(outcome=Outcome.INVALID, error=describe_error(failure))


def _fewer_rows(rows: NDArray[np.intp], ref: StoreRef, most_rows: int, *, stratify: bool) -> NDArray[np.intp]:
    work = load_work(ref)
    if work.ordered:
        # The table may be in any order, the rows of a fold are in that of time, and the last fold has all.
        learned, scored = load_whole_folds(ref)[-1]
        latest = np.concatenate([learned, scored, work.holdout_index])
        return latest[np.isin(latest, rows)][-most_rows:]
    return draw_rows(rows, work.target, most_rows, np.random.default_rng(most_rows), stratify=stratify)


def dump_model(model: Any) -> bytes:
    """Return the content of ``model.joblib``: a plain pickle under gzip, which ``joblib.load`` reads.

    joblib's own writer puts raw array blocks between the opcodes, and such a stream cannot be examined
    without being executed.
    """
    buffer = io.BytesIO()
    # Without name and time of day the same model gives the same bytes.
    with gzip.GzipFile("", "wb", _GZIP_LEVEL, buffer, mtime=0) as packed:
        pickle.dump(model, packed, protocol=PICKLE_PROTOCOL)
    return buffer.getvalue()


def _predict_holdout(model: Any, ref: StoreRef) -> HoldoutResult:
    work, frame = load_work(ref), load_frame(ref)
    x, truth = frame.iloc[work.holdout_index], work.target[work.holdout_index]
    asked = Recorder(model)
    work.scorer(asked, x, truth)
    responses = dict(asked.responses_)
    predicted = asked.predict(x)
    # CatBoost's regressor has classes, too: none.
    classes = model.classes_ if is_classifier(model) else None
    probabilities = None
    if classes is not None and hasattr(model, "predict_proba"):
        probabilities = np.asarray(asked.predict_proba(x), dtype=np.float64)
    score = float(work.scorer(model, x, truth))
    return HoldoutResult(
        score=score if np.isfinite(score) else None,
        predicted=predicted,
        probabilities=probabilities,
        classes=None if classes is None else tuple(np.asarray(classes).tolist()),
        extra={}
        if classes is None
        else {"balanced_accuracy": float(balanced_accuracy_score(truth, predicted))},
        responses=responses,
    )
