"""What runs on a worker: encode a fold, evaluate a pipeline on each, fit a whole pipeline."""

import gzip
import io
import json
import pickle
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import Pipeline

from trainingjob_trainer.search.candidate import Outcome
from trainingjob_trainer.search.interval import Recorder
from trainingjob_trainer.search.limits import (
    MIN_USEFUL_SECONDS,
    LimitExceeded,
    TaskLimit,
    describe_error,
    let_the_last_answer_go,
    quiet,
    time_limit,
)
from trainingjob_trainer.search.store import StoreRef, fold_paths, fold_rows, load_frame, load_work
from trainingjob_trainer.search_space.pipeline import build

__all__ = [
    "Builder",
    "Evaluation",
    "FitResult",
    "HoldoutResult",
    "dump_model",
    "encode_fold",
    "encode_rows",
    "encode_within",
    "evaluate",
    "fit_full",
    "full_pipeline",
    "pickled_kib",
]

_COMPLEXITY_CAP = 1 << 32
# Protocol 5 is read by every Python that the project supports.
_PICKLE_PROTOCOL = 5
# Forests shrink to a third at the first level; higher ones cost seconds for little.
_GZIP_LEVEL = 1
_HOPELESS = 1.5
"""An evaluation ends after its first fold if all folds would take this many times its limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What came of evaluating one pipeline.

    Parameters
    ----------
    outcome
        Ok, invalid or timeout; None if the run's own end cut the evaluation short, which says nothing
        about the pipeline.
    fold_scores
        A score a fold, as far as it came.
    train_rows, test_rows
        As in `Candidate`.
    fit_seconds, score_seconds
        Mean seconds of a fit, and of scoring it.
    complexity
        KiB of the first fold's fitted pipeline, pickled.
    error
        One line.
    """

    outcome: Outcome | None
    fold_scores: tuple[float, ...] = ()
    train_rows: int | None = None
    test_rows: int | None = None
    fit_seconds: float = 0.0
    score_seconds: float = 0.0
    complexity: float | None = None
    error: str | None = None


def encode_within(ref: StoreRef, fold: int, limit: TaskLimit) -> int:
    """Encode a fold as `encode_fold` does, under a limit.

    Raises
    ------
    TimeoutError
        When the limit has passed.
    """
    try:
        with time_limit(limit.effective()):
            return encode_fold(ref, fold)
    except LimitExceeded as late:
        raise TimeoutError(f"took longer than {limit.seconds:.0f} s") from late


def encode_fold(ref: StoreRef, fold: int) -> int:
    """Fit the encoder on a fold's training rows and write both parts encoded.

    Returns
    -------
    int
        How many columns the encoder made.
    """
    train, test = load_work(ref).folds[fold]
    encoded, encoded_test = encode_rows(ref, train, test)
    train_path, test_path, names_path = fold_paths(ref, fold)
    np.save(train_path, np.asarray(encoded, dtype=np.float64), allow_pickle=False)
    np.save(test_path, np.asarray(encoded_test, dtype=np.float64), allow_pickle=False)
    if ref.named:
        names_path.write_text(json.dumps([str(name) for name in encoded.columns]))
    return int(encoded.shape[1])


def encode_rows(ref: StoreRef, train: NDArray[np.intp], test: NDArray[np.intp]) -> tuple[Any, Any]:
    """Return training and test rows as an encoder makes them that is fitted on the training rows."""
    work, frame = load_work(ref), load_frame(ref)
    encoder = clone(work.encoder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        encoded = encoder.fit_transform(frame.iloc[train], work.target[train])
        return encoded, encoder.transform(frame.iloc[test])


Builder = Callable[[dict[str, Any]], Any]


def evaluate(
    pipeline: dict[str, Any], ref: StoreRef, limit: TaskLimit, *, builder: Builder = build
) -> Evaluation:
    """Fit and score a pipeline on every fold.

    Parameters
    ----------
    pipeline
        As data; it takes the encoded matrix.
    ref
        Where the folds are.
    limit
        Bounds the whole evaluation. Checked between folds, then softly, then by ending the process. An
        evaluation that cannot keep it ends after its first fold.
    builder
        Makes an estimator of `pipeline`.
    """
    let_the_last_answer_go()
    seconds = limit.effective()
    if seconds < min(MIN_USEFUL_SECONDS, limit.seconds):
        return Evaluation(outcome=None, error="the run's time was up before the evaluation began")
    scores: list[float] = []
    fits: list[float] = []
    scorings: list[float] = []
    rows: tuple[int | None, int | None] = (None, None)
    complexity: float | None = None
    error: str | None = None
    began = time.monotonic()
    end = began + seconds
    try:
        with time_limit(seconds), quiet():
            rows = fold_rows(load_work(ref).folds)
            for fold in range(ref.folds):
                if time.monotonic() > end:
                    raise LimitExceeded  # noqa: TRY301 - the same end as the softer limit
                started = time.monotonic()
                score, fit_seconds, fitted = _score_fold(builder(pipeline), ref, fold)
                scores.append(score)
                fits.append(fit_seconds)
                scorings.append(time.monotonic() - started - fit_seconds)
                if not np.isfinite(score):
                    error = f"the score of fold {fold + 1} is not a finite number"
                    break
                if complexity is None:
                    complexity = pickled_kib(fitted)
                if fold == 0 and ref.folds * (time.monotonic() - began) > _HOPELESS * seconds:
                    raise LimitExceeded  # noqa: TRY301 - the other folds would not be scored in time
        outcome: Outcome | None = Outcome.OK if error is None else Outcome.INVALID
    except LimitExceeded:
        outcome = Outcome.TIMEOUT if seconds >= limit.seconds else None
        error = f"took longer than {limit.seconds:g} s"
    except Exception as failure:  # noqa: BLE001 - whatever an estimator raises makes the pipeline invalid
        outcome, error = Outcome.INVALID, describe_error(failure)
    finite = tuple(s for s in scores if np.isfinite(s))
    return Evaluation(
        outcome=outcome,
        fold_scores=finite,
        train_rows=rows[0],
        test_rows=rows[1],
        fit_seconds=float(np.mean(fits)) if fits else 0.0,
        score_seconds=float(np.mean(scorings)) if scorings else 0.0,
        complexity=complexity,
        error=error,
    )


def pickled_kib(fitted: object) -> float | None:
    """Return the size of a fitted pipeline as a pickle, in KiB, or None if it cannot be told."""

    class Counter(io.RawIOBase):
        size = 0

        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            length = len(memoryview(data).cast("B"))
            self.size += length
            if self.size > _COMPLEXITY_CAP:
                raise OverflowError
            return length

    counter = Counter()
    try:
        pickle.dump(fitted, counter, protocol=5)
    except (pickle.PicklingError, OverflowError, TypeError, AttributeError):
        return None
    return round(counter.size / 1024, 3)


def _score_fold(estimator: Any, ref: StoreRef, fold: int) -> tuple[float, float, Any]:
    work = load_work(ref)
    train, test = work.folds[fold]
    x_train, x_test = _encoded(ref, fold)
    started = time.monotonic()
    estimator.fit(x_train, work.target[train])
    seconds = time.monotonic() - started
    return float(work.scorer(estimator, x_test, work.target[test])), seconds, estimator


def _encoded(ref: StoreRef, fold: int) -> tuple[Any, Any]:
    """Return a fold's encoded parts; copy-on-write, so that workers of one host share the pages."""
    train_path, test_path, names_path = fold_paths(ref, fold)
    x_train, x_test = np.load(train_path, mmap_mode="c"), np.load(test_path, mmap_mode="c")
    if not ref.named:
        return np.asarray(x_train), np.asarray(x_test)
    names = json.loads(names_path.read_text())
    return pd.DataFrame(x_train, columns=names), pd.DataFrame(x_test, columns=names)


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
            content = dump_model(model)
            took = time.monotonic() - started
            return FitResult(outcome=Outcome.OK, seconds=took, model=content, holdout=result)
    except LimitExceeded:
        return FitResult(outcome=Outcome.TIMEOUT, error=f"the fit took longer than {seconds:.1f} s")
    except Exception as failure:  # noqa: BLE001 - the next candidate is tried, with this as the reason
        return FitResult(outcome=Outcome.INVALID, error=describe_error(failure))


def dump_model(model: Any) -> bytes:
    """Return the content of ``model.joblib``: a plain pickle under gzip, which ``joblib.load`` reads.

    joblib's own writer puts raw array blocks between the opcodes, and such a stream cannot be examined
    without being executed.
    """
    buffer = io.BytesIO()
    # Without name and time of day the same model gives the same bytes.
    with gzip.GzipFile("", "wb", _GZIP_LEVEL, buffer, mtime=0) as packed:
        pickle.dump(model, packed, protocol=_PICKLE_PROTOCOL)
    return buffer.getvalue()


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
