"""Fits on a worker: of a fold with early stopping, and of the whole pipeline, encoder included.

Early stopping finds how many boosting rounds pay, on a part of the rows that a fold learns from; it is never
of the rows that the fold is scored on. The model that ships is fitted on all rows with the rounds that were
found, and stops at nothing. Its twin is fitted without the hold-out rows.
"""

import gzip
import io
import pickle
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier
from sklearn.ensemble import VotingClassifier
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import ShuffleSplit, StratifiedShuffleSplit
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import LabelEncoder
from sklearn.utils import Bunch

from trainingjob_trainer.search.candidate import Outcome
from trainingjob_trainer.search.limits import (
    MIN_USEFUL_SECONDS,
    LimitExceeded,
    TaskLimit,
    describe_error,
    quiet,
    time_limit,
    wait_for_last_answer,
)
from trainingjob_trainer.search.predictions import Recorder
from trainingjob_trainer.search.store import StoreRef, draw_rows, load_frame, load_whole_folds, load_work
from trainingjob_trainer.search_space.pipeline import ROUNDS, full_pipeline

PICKLE_PROTOCOL = 5
"""Is read by every Python that the project supports."""
# Forests shrink to a third at the first level; higher ones cost seconds for little.
_GZIP_LEVEL = 1
_FEW_ROUNDS = 200
"""A booster with no more rounds is fitted on all rows with all of them."""
_SHARE = 0.15
_LEAST_ROWS = 300
"""Of fewer rows the loss says too little: with 60 it stopped after 7 rounds where 300 were better."""
_MOST_OF_GROUPS = 2
"""Times its rows that a validation part of whole groups may have."""
_PATIENCE = 40
_OWN_PATIENCE = 15
"""Of scikit-learn's boosting, whose model keeps the rounds that it waited for."""
_PLAIN_BOOSTING: Final = {None, "gbdt", "goss", "gbtree"}

Split = tuple[NDArray[np.intp], NDArray[np.intp]]
Part = tuple[Any, NDArray[Any]]


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
    responses
        What the scorer asked of the model, by the name of the method, for `search.predictions.replay`.
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
    seconds
        From reading the table to the dump of the model, predictions included.
    model
        The fitted pipeline as `dump_model` writes it.
    holdout
        Where the fit was on the training rows alone.
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


def fit_early(
    estimator: Any, x: Any, y: NDArray[Any], *, groups: NDArray[Any] | None = None, ordered: bool = False
) -> int | None:
    """Fit an estimator whose last step is a booster with early stopping, and return the rounds of that.

    Parameters
    ----------
    estimator
        A pipeline or a bare estimator.
    groups, ordered
        As in `validation_rows`.

    Returns
    -------
    int or None
        None where nothing can stop early, and nothing was fitted: no booster, few rounds, or rows that cannot
        be split.
    """
    if (booster := _booster(estimator)) is None:
        return None
    split = validation_rows(y, classified=is_classifier(booster), groups=groups, ordered=ordered)
    if split is None:
        return None
    fit, valid = split
    x_fit, x_valid = _rows(x, fit), _rows(x, valid)
    if isinstance(estimator, Pipeline) and len(estimator.steps) > 1:
        head = estimator[:-1]
        x_fit = head.fit_transform(x_fit, y[fit])
        x_valid = head.transform(x_valid)
    last = estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator
    if isinstance(last, VotingClassifier):
        return _fit_voting(last, booster, (x_fit, y[fit]), (x_valid, y[valid]))
    return _FITS[_library(booster)](booster, (x_fit, y[fit]), (x_valid, y[valid]))


def validation_rows(
    y: NDArray[Any], *, classified: bool, groups: NDArray[Any] | None = None, ordered: bool = False
) -> Split | None:
    """Return positions to learn from and to validate on, 15 % of the rows; None where there are too few.

    Parameters
    ----------
    classified
        Whether each class keeps its share; every class stays among those that are learned.
    groups
        Group of each row: a group is on one side.
    ordered
        Whether the rows are in the order of time: the last ones validate.
    """
    size = round(_SHARE * len(y))
    if size < _LEAST_ROWS:
        return None
    rows, share = np.arange(len(y)), {"test_size": _SHARE, "random_state": 0}
    try:
        if ordered:
            fit, valid = rows[:-size], rows[-size:]
        elif groups is not None:
            drawn = _some_groups(groups, size)
            fit, valid = rows[~drawn], rows[drawn]
        else:
            splitter = StratifiedShuffleSplit if classified else ShuffleSplit
            fit, valid = next(splitter(1, **share).split(rows, y))
    except ValueError:  # a class with one row
        return None
    fit, valid = np.sort(fit), np.sort(valid)
    if classified and len(np.unique(y[fit])) < len(np.unique(y)):
        return None
    if len(valid) < _LEAST_ROWS:  # as where most rows are of the same group
        return None
    return fit, valid


def _some_groups(groups: NDArray[Any], size: int) -> NDArray[np.bool_]:
    """Return which rows are of groups that are drawn until they have `size` rows, or up to twice as many."""
    # A share of the groups could have any share of the rows.
    _, codes, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    drawn, taken = np.zeros(len(sizes), dtype=bool), 0
    for group in np.random.default_rng(0).permutation(len(sizes)):
        if taken < size and taken + sizes[group] <= _MOST_OF_GROUPS * size:
            drawn[group], taken = True, taken + sizes[group]
    return np.asarray(drawn[codes])


def stops_early(estimator: Any) -> bool:
    """Return whether `fit_early` stops an estimator early, if there are rows enough."""
    return _booster(estimator) is not None


def _booster(estimator: Any) -> Any:
    """Return the booster that an estimator ends in, if it has so many rounds that stopping early pays."""
    last = estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator
    if isinstance(last, VotingClassifier) and len(last.estimators) == 1:
        last = last.estimators[0][1]
    name = type(last).__name__
    if name not in ROUNDS:
        return None
    params = last.get_params(deep=False)
    rounds = params.get(ROUNDS[name])
    kind = params.get("boosting_type") if _library(last) == "lightgbm" else params.get("booster")
    stops_itself = params.get("early_stopping") is True
    plain = kind in _PLAIN_BOOSTING or _library(last) == "catboost"
    return last if plain and not stops_itself and (rounds or 0) > _FEW_ROUNDS else None


def _library(booster: Any) -> str:
    return type(booster).__module__.partition(".")[0]


def _rows(x: Any, rows: NDArray[np.intp]) -> Any:
    return x.iloc[rows] if hasattr(x, "iloc") else x[rows]


def _fit_lightgbm(booster: Any, fit: Part, valid: Part) -> int:
    from lightgbm import early_stopping  # noqa: PLC0415 - a worker imports a library when a pipeline needs it

    stop = early_stopping(_PATIENCE, first_metric_only=True, verbose=False)
    with quiet():  # LightGBM 4.7 deprecates eval_set, but does not translate the class labels of eval_y
        booster.fit(*fit, eval_set=[valid], callbacks=[stop])
    return int(booster.best_iteration_)


def _fit_xgboost(booster: Any, fit: Part, valid: Part) -> int:
    booster.set_params(early_stopping_rounds=_PATIENCE)
    booster.fit(*fit, eval_set=[valid], verbose=False)
    return int(booster.best_iteration) + 1


def _fit_catboost(booster: Any, fit: Part, valid: Part) -> int:
    booster.fit(*fit, eval_set=valid, early_stopping_rounds=_PATIENCE, use_best_model=True, verbose=False)
    return int(booster.tree_count_)


def _fit_histogram(booster: Any, fit: Part, valid: Part) -> int:
    booster.set_params(early_stopping=True, scoring="loss", n_iter_no_change=_OWN_PATIENCE)
    booster.fit(*fit, X_val=valid[0], y_val=valid[1])
    return int(booster.n_iter_)


_FITS: Final[Mapping[str, Callable[[Any, Part, Part], int]]] = {
    "lightgbm": _fit_lightgbm,
    "xgboost": _fit_xgboost,
    "catboost": _fit_catboost,
    "sklearn": _fit_histogram,
}


def _fit_voting(voting: VotingClassifier, booster: Any, fit: Part, valid: Part) -> int:
    """Fit the only member of a vote, which gives XGBoost the numbers of the classes, as the vote would."""
    labels = LabelEncoder().fit(fit[1])
    rounds = _FITS[_library(booster)](
        booster, (fit[0], labels.transform(fit[1])), (valid[0], labels.transform(valid[1]))
    )
    voting.le_, voting.classes_ = labels, labels.classes_
    voting.estimators_ = [booster]
    voting.named_estimators_ = Bunch(**{voting.estimators[0][0]: booster})
    return rounds
