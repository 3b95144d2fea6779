"""The tasks of a worker: encode a fold, evaluate a pipeline, score it on a whole fold.

A task is a plain function of small arguments, returns small values and is bounded by `time_limit`. Its last
argument is its `TaskLimit`.

A pipeline that can no longer reach the front of the field is stopped between folds. Its rivals are complete
evaluations that were committed at least a lag before it. So they depend on the sequence alone, and neither on
the number of workers nor on their speed.
"""

import contextlib
import io
import json
import math
import pickle
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, combinations
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import clone

from trainingjob_trainer.encodings import Encoding
from trainingjob_trainer.search.candidate import Candidate, Evaluation, Outcome, rank
from trainingjob_trainer.search.fits import PICKLE_PROTOCOL, fit_early, stops_early
from trainingjob_trainer.search.limits import (
    MIN_USEFUL_SECONDS,
    LimitExceeded,
    TaskLimit,
    describe_error,
    quiet,
    time_limit,
    wait_for_last_answer,
)
from trainingjob_trainer.search.predictions import complete_predictions, out_of_fold
from trainingjob_trainer.search.store import (
    StoreRef,
    WorkData,
    fold_paths,
    fold_rows,
    has_repeats,
    load_frame,
    load_whole_folds,
    load_work,
)
from trainingjob_trainer.search_space.parameters import MOST_ROUNDS
from trainingjob_trainer.search_space.pipeline import build, encoding_of, rounds_of, with_rounds

_MAX_BYTES = 1 << 32
_MORE_ROUNDS = 4
"""Factor on the rounds of a pipeline for early stopping on all rows, which need more rounds."""
_MOST_ROWS_AGAIN = 5_000
"""Training rows up to which a booster is fitted again on all of them once its rounds are known."""
_HOPELESS = 1.5
"""An evaluation ends after its first fold if all folds would take this many times its limit."""
_AHEAD = 3
"""Complete pipelines that must be ahead of one that is stopped."""
_ERRORS = 2.0
"""Standard errors that they must be ahead."""
_FIELD = 10
"""Best pipelines whose folds say how much paired differences vary."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldScore:
    """The result of a fold: the score, seconds of fit and scoring, early stopping's rounds, predictions."""

    score: float
    fit_seconds: float
    score_seconds: float
    rounds: int | None = None
    predicted: NDArray[Any] | None = None


@dataclass(frozen=True, slots=True)
class Rival:
    """A complete pipeline: its complexity in KiB, and the mean of its first one, two, … fold scores."""

    complexity: float
    means: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Race:
    """The scores that a pipeline must keep up with.

    Parameters
    ----------
    rivals
        Best first.
    slack
        By the number of folds that are scored: how far behind a pipeline may be.
    """

    rivals: tuple[Rival, ...]
    slack: tuple[float, ...]

    @classmethod
    def against(cls, committed: Sequence[Candidate], folds: int) -> Self | None:
        """Return the race against the complete ones of some results; None where these are too few.

        With *n* of *N* folds scored, the difference to a rival over all folds is estimated by that over the
        first *n*. Its standard error is ``s * sqrt(1 / n - 1 / N)``, as of a sample without replacement
        (Cochran, *Sampling Techniques*, 1977, section 2.6), where *s* is how much the differences between two
        of the best pipelines vary from fold to fold.
        """
        complete = [candidate for candidate in rank(committed) if len(candidate.fold_scores) == folds]
        if len(complete) < _AHEAD or folds < 2:  # noqa: PLR2004
            return None
        field = np.array([candidate.fold_scores for candidate in complete[:_FIELD]])
        pairs = [float(np.var(a - b, ddof=1)) for a, b in combinations(field, 2)]
        spread = math.sqrt(sum(pairs) / len(pairs))
        return cls(
            rivals=tuple(_rival(candidate) for candidate in _possible(complete)),
            slack=tuple(_ERRORS * spread * math.sqrt(1 / n - 1 / folds) for n in range(1, folds)),
        )

    def lost(self, scores: Sequence[float], complexity: float | None) -> bool:
        """Return whether a pipeline with these scores of its first folds can no longer reach the front.

        At least three complete pipelines that are no larger are ahead of it by more than the folds vary. One
        of unknown complexity is compared with all.
        """
        done = len(scores)
        if not 0 < done <= len(self.slack):
            return False
        least = sum(scores) / done + self.slack[done - 1]
        size = math.inf if complexity is None else complexity
        ahead = sum(rival.complexity <= size and rival.means[done - 1] > least for rival in self.rivals)
        return ahead >= _AHEAD


def _rival(candidate: Candidate) -> Rival:
    means = tuple(total / n for n, total in enumerate(accumulate(candidate.fold_scores), start=1))
    return Rival(_size(candidate), means)


def _size(candidate: Candidate) -> float:
    return math.inf if candidate.complexity is None else candidate.complexity


def _possible(complete: Sequence[Candidate]) -> list[Candidate]:
    """Return those that fewer than three better and smaller ones precede; the others decide little."""
    kept: list[Candidate] = []
    for candidate in complete:
        if sum(_size(other) <= _size(candidate) for other in kept) < _AHEAD:
            kept.append(candidate)
    return kept


def encode_within(ref: StoreRef, fold: int, encoding: Encoding, limit: TaskLimit) -> int:
    """Encode a fold as `encode_fold` does, under a limit.

    Raises
    ------
    TimeoutError
        When the limit has passed.
    """
    try:
        with time_limit(limit.effective()):
            return encode_fold(ref, fold, encoding)
    except LimitExceeded as late:
        raise TimeoutError(f"took longer than {limit.seconds:.0f} s") from late


def encode_fold(ref: StoreRef, fold: int, encoding: Encoding = Encoding.DENSE) -> int:
    """Write both parts of a fold encoded, and return how many columns the encoder made."""
    train, test = load_work(ref).folds[fold]
    encoded, encoded_test = _encode(ref, encoding, train, test)
    train_path, test_path, names_path = fold_paths(ref, fold, encoding)
    np.save(train_path, np.asarray(encoded, dtype=np.float64), allow_pickle=False)
    np.save(test_path, np.asarray(encoded_test, dtype=np.float64), allow_pickle=False)
    if ref.named:
        names_path.write_text(json.dumps([str(name) for name in encoded.columns]))
    return int(encoded.shape[1])


def _encode(
    ref: StoreRef, encoding: Encoding, train: NDArray[np.intp], test: NDArray[np.intp]
) -> tuple[Any, Any]:
    """Return both parts of a fold, encoded by an encoder that is fitted on the training rows."""
    work, frame = load_work(ref), load_frame(ref)
    encoder = clone(work.encoders[encoding])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        encoded = encoder.fit_transform(frame.iloc[train], work.target[train])
        return encoded, encoder.transform(frame.iloc[test])


def evaluate(
    pipeline: dict[str, Any],
    ref: StoreRef,
    limit: TaskLimit,
    *,
    race: Race | None = None,
    builder: Callable[[Any], Any] = build,
) -> Evaluation:
    """Fit and score a pipeline, given as data, on the encoded folds, one after the other.

    The limit bounds the whole evaluation: it is checked between folds, then softly, then by ending the
    process. An evaluation that cannot keep it ends after its first fold; so does one that has lost its race.
    """
    wait_for_last_answer()
    seconds = limit.effective()
    if seconds < min(MIN_USEFUL_SECONDS, limit.seconds):
        return Evaluation(outcome=None, error="the run's time was up before the evaluation began")
    done: list[FoldScore] = []
    predictions: list[NDArray[Any] | None] = []
    rows: tuple[int | None, int | None] = (None, None)
    complexity: float | None = None
    error: str | None = None
    outcome: Outcome | None = Outcome.OK
    began = time.monotonic()
    try:
        with time_limit(seconds), quiet():
            rows, encoding = fold_rows(load_work(ref).folds), encoding_of(pipeline)
            for fold in range(ref.folds):
                if time.monotonic() > began + seconds:
                    raise LimitExceeded  # noqa: TRY301 - the same end as the softer limit
                encoded = _load_encoded(ref, fold, encoding)
                known = _known_rounds(done, load_work(ref), fold)
                fitted, result = _score(
                    pipeline, ref, encoded, load_work(ref).folds[fold], builder, known=known
                )
                done.append(result)
                if not np.isfinite(result.score):
                    outcome, error = Outcome.INVALID, f"the score of fold {fold + 1} is not a finite number"
                    break
                if complexity is None:
                    complexity = pickled_kib(fitted)
                if fold == 0 and ref.folds * (time.monotonic() - began) > _HOPELESS * seconds:
                    raise LimitExceeded  # noqa: TRY301 - the other folds would not be scored in time
                if race is not None and race.lost([scored.score for scored in done], complexity):
                    outcome = Outcome.STOPPED
                    break
                predictions.append(out_of_fold(fitted, encoded[1]))
    except LimitExceeded:
        outcome = Outcome.TIMEOUT if seconds >= limit.seconds else None
        error = f"took longer than {limit.seconds:g} s"
    except Exception as failure:  # noqa: BLE001 - whatever an estimator raises makes the pipeline invalid
        outcome, error = Outcome.INVALID, describe_error(failure)
    return Evaluation(
        outcome=outcome,
        fold_scores=tuple(scored.score for scored in done if np.isfinite(scored.score)),
        train_rows=rows[0],
        test_rows=rows[1],
        fit_seconds=float(np.mean([scored.fit_seconds for scored in done])) if done else 0.0,
        score_seconds=float(np.mean([scored.score_seconds for scored in done])) if done else 0.0,
        complexity=complexity,
        rounds=mean_rounds(done),
        error=error,
        predictions=complete_predictions(predictions, ref.folds),
    )


def _known_rounds(done: Sequence[FoldScore], work: WorkData, fold: int) -> int | None:
    """Return the rounds of the first fold, which few rows take over: finding them costs a second fit.

    They are a hyperparameter like the others then. Folds in the order of time learn from ever more rows, and
    find their own.
    """
    few = len(work.folds[fold][0]) <= _MOST_ROWS_AGAIN
    return done[0].rounds if done and few and not work.ordered else None


def mean_rounds(folds: Sequence[FoldScore]) -> int | None:
    """Return the mean of the boosting rounds that were found, or None if none were."""
    found = [scored.rounds for scored in folds if scored.rounds is not None]
    return round(float(np.mean(found))) if found else None


def _load_encoded(ref: StoreRef, fold: int, encoding: Encoding) -> tuple[Any, Any]:
    """Return a fold's encoded parts; copy-on-write, so that workers of one host share the pages."""
    train_path, test_path, names_path = fold_paths(ref, fold, encoding)
    x_train, x_test = np.load(train_path, mmap_mode="c"), np.load(test_path, mmap_mode="c")
    if not ref.named:
        return np.asarray(x_train), np.asarray(x_test)
    names = json.loads(names_path.read_text())
    return pd.DataFrame(x_train, columns=names), pd.DataFrame(x_test, columns=names)


def _score(
    pipeline: dict[str, Any],
    ref: StoreRef,
    encoded: tuple[Any, ...],
    rows: Any,
    builder: Callable[[Any], Any],
    *,
    known: int | None = None,
    more_rounds: int = 1,
) -> tuple[Any, FoldScore]:
    """Fit on the first of two encoded parts and score on the second; return the fitted estimator too.

    Of many rows, what early stopping has left out of the fit is little; of few, the pipeline is fitted on all
    of them with the rounds that were found. Early stopping may take `more_rounds` times its own; with `known`
    rounds there is none.
    """
    work = load_work(ref)
    (x_train, x_test), (train, test) = encoded, rows
    target = work.target[train]
    most = pipeline
    if more_rounds > 1 and stops_early(builder(pipeline)):
        most = with_rounds(pipeline, min(more_rounds * (rounds_of(pipeline) or 1), MOST_ROUNDS))
    rounds = known
    if known is None:
        estimator, started = builder(most), time.monotonic()
        groups = None if work.groups is None else work.groups[train]
        rounds = fit_early(estimator, x_train, target, groups=groups, ordered=work.ordered)
    if known is not None or rounds is None or len(train) <= _MOST_ROWS_AGAIN:
        estimator, started = builder(with_rounds(pipeline, rounds)), time.monotonic()
        estimator.fit(x_train, target)
    fitted = time.monotonic()
    score = float(work.scorer(estimator, x_test, work.target[test]))
    return estimator, FoldScore(
        score=score,
        fit_seconds=fitted - started,
        score_seconds=time.monotonic() - fitted,
        rounds=rounds,
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
            if self.size > _MAX_BYTES:
                raise OverflowError
            return length

    counter = Counter()
    try:
        pickle.dump(fitted, counter, protocol=PICKLE_PROTOCOL)
    except (pickle.PicklingError, OverflowError, TypeError, AttributeError):
        return None
    return round(counter.size / 1024, 3)


def score_whole_fold(
    pipelines: Sequence[dict[str, Any]], ref: StoreRef, fold: int, limit: TaskLimit
) -> list[FoldScore | None]:
    """Fit and score pipelines on a whole fold, encoded for each encoding, as many as there is time for.

    Returns
    -------
    list of FoldScore or None
        In the order of `pipelines`, as far as the time was enough; None where a pipeline failed.
    """
    wait_for_last_answer()
    out: list[FoldScore | None] = []
    seconds = limit.effective()
    if seconds < MIN_USEFUL_SECONDS:
        return out
    with contextlib.suppress(LimitExceeded), time_limit(seconds), quiet():
        rows, more_rounds = load_whole_folds(ref)[fold], 1 if has_repeats(ref) else _MORE_ROUNDS
        encoded: dict[Encoding, tuple[Any, ...]] = {}
        for pipeline in pipelines:
            try:
                encoding = encoding_of(pipeline)
                if encoding not in encoded:
                    encoded[encoding] = tuple(_matrix(part, ref) for part in _encode(ref, encoding, *rows))
                fitted, result = _score(
                    pipeline, ref, encoded[encoding], rows, build, more_rounds=more_rounds
                )
                predicted = out_of_fold(fitted, encoded[encoding][1])
            except Exception:  # noqa: BLE001 - a finalist that fails there is none
                out.append(None)
            else:
                out.append(replace(result, predicted=predicted))
    return out


def _matrix(part: Any, ref: StoreRef) -> Any:
    values = np.asarray(part, dtype=np.float64)
    return pd.DataFrame(values, columns=[str(name) for name in part.columns]) if ref.named else values
