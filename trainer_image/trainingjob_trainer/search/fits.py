"""Fits of whole pipelines on a worker, encoder included: the model that ships, and its hold-out twin."""

import io
import time
from dataclasses import dataclass, field
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import Pipeline

from trainingjob_trainer.search.candidate import Outcome
from trainingjob_trainer.search.limits import LimitExceeded, time_limit
from trainingjob_trainer.search.replay import Recorder
from trainingjob_trainer.search.store import StoreRef, load_frame, load_work
from trainingjob_trainer.search.taskkit import (
    MIN_USEFUL_SECONDS,
    TaskLimit,
    describe_error,
    let_the_last_answer_go,
    quiet,
)
from trainingjob_trainer.search_space.pipeline_spec import build

__all__ = ["FitResult", "HoldoutResult", "fit_full", "full_pipeline"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldoutResult:
    """Predictions for the hold-out rows by a model that has not seen them.

    Parameters
    ----------
    score
        In the run's metric; None if that is no finite number.
    predicted
        Shape (n_holdout,).
    probabilities
        Shape (n_holdout, n_classes) in the order of `classes`, or None.
    classes
        The model's classes, or None.
    extra
        Further scores by name.
    responses
        What the scorer asked of the model, by the name of the method, for `search.replay`.
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
        The joblib dump of the fitted pipeline.
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


def fit_full(pipeline: dict[str, Any], ref: StoreRef, limit: TaskLimit, *, holdout: bool) -> FitResult:
    """Fit encoder and pipeline on raw rows.

    Parameters
    ----------
    pipeline
        As data; it takes the encoded matrix.
    ref
        Where the table is.
    limit
        Bounds the fit.
    holdout
        True: fit on the training rows and predict the hold-out rows. False: fit on all rows.
    """
    let_the_last_answer_go()
    seconds = limit.effective()
    if seconds < MIN_USEFUL_SECONDS:
        return FitResult(outcome=None, error="no time was left for the fit")
    started = time.monotonic()
    try:
        with time_limit(seconds), quiet():
            work, frame = load_work(ref), load_frame(ref)
            model = full_pipeline(pipeline, work.encoder)
            rows = work.train_index if holdout else np.arange(len(frame))
            model.fit(frame.iloc[rows], work.target[rows])
            result = _predict_holdout(model, ref) if holdout else None
            buffer = io.BytesIO()
            joblib.dump(model, buffer, compress=3)
            took = time.monotonic() - started
            return FitResult(outcome=Outcome.OK, seconds=took, model=buffer.getvalue(), holdout=result)
    except LimitExceeded:
        return FitResult(outcome=Outcome.TIMEOUT, error=f"the fit took longer than {seconds:.1f} s")
    except Exception as failure:  # noqa: BLE001 - the next candidate is tried, with this as the reason
        return FitResult(outcome=Outcome.INVALID, error=describe_error(failure))


def full_pipeline(pipeline: dict[str, Any], encoder: Any) -> Pipeline:
    """Return the unfitted pipeline that takes the raw table."""
    return Pipeline([("encode", clone(encoder)), ("model", build(pipeline))])


def _predict_holdout(model: Pipeline, ref: StoreRef) -> HoldoutResult:
    work, frame = load_work(ref), load_frame(ref)
    rows, truth = work.holdout_index, work.target[work.holdout_index]
    x = frame.iloc[rows]
    asked = Recorder(model)
    score = float(work.scorer(asked, x, truth))
    responses = dict(asked.responses_)
    predicted = asked.predict(x)
    classes = getattr(model, "classes_", None)
    probabilities = None
    if classes is not None and hasattr(model, "predict_proba"):
        probabilities = np.asarray(asked.predict_proba(x), dtype=np.float64)
    extra = {}
    if classes is not None:
        extra["balanced_accuracy"] = float(balanced_accuracy_score(truth, predicted))
    score = float(work.scorer(model, x, truth))
    return HoldoutResult(
        score=score if np.isfinite(score) else None,
        predicted=predicted,
        probabilities=probabilities,
        classes=None if classes is None else tuple(np.asarray(classes).tolist()),
        extra=extra,
        responses=responses,
    )
