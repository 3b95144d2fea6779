"""The end of a search: finalists scored on all rows, and the fit of the model that ships."""

import contextlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from trainingjob_trainer.search.budget import FinalFits
from trainingjob_trainer.search.candidate import Candidate, Outcome, rank
from trainingjob_trainer.search.limits import (
    MIN_USEFUL_SECONDS,
    LimitExceeded,
    TaskLimit,
    let_the_last_answer_go,
    quiet,
    time_limit,
)
from trainingjob_trainer.search.pool import Completion, Pool, Task
from trainingjob_trainer.search.store import StoreRef, fold_rows, load_whole_folds, load_work
from trainingjob_trainer.search.tasks import FitResult, HoldoutResult, encode_rows, fit_full
from trainingjob_trainer.search_space.pipeline import build

__all__ = [
    "MOST_FINALISTS",
    "FinalistPlan",
    "Fitted",
    "FittingFailed",
    "NotFitted",
    "WholeScore",
    "contenders",
    "fit_all",
    "fit_best",
    "fit_holdout",
    "fit_model",
    "run_tasks",
    "score_finalists",
    "score_whole_fold",
    "to_fitted",
]

_POLL_SECONDS = 0.25
_MOST_ATTEMPTS = 5
_MOST_REASONS = 10
_NEXT_SHARE = 0.5
_NEXT_SAFETY = 1.5
_ALIKE = 0.5

Call = tuple[Callable[..., Any], tuple[Any, ...]]


class FittingFailed(Exception):  # noqa: N818 - the name says what happened
    """A pipeline, or no candidate, could be fitted in the time that was left.

    Parameters
    ----------
    message
        Why.
    not_fitted
        The candidates, best first.
    needs_seconds
        What both fits take at least, if that is known.
    """

    def __init__(
        self, message: str, not_fitted: tuple["NotFitted", ...] = (), *, needs_seconds: float = 0.0
    ) -> None:
        super().__init__(message)
        self.not_fitted = not_fitted
        self.needs_seconds = needs_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class NotFitted:
    """A candidate that could not be fitted to be shipped, and why."""

    candidate: Candidate
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A model that can ship.

    Parameters
    ----------
    model
        The whole pipeline, fitted on all rows, as ``model.joblib`` holds it.
    holdout_model
        The same for the fit without the hold-out rows.
    holdout
        Scores and predictions of `holdout_model` on the hold-out rows.
    seconds
        Of the slower of both fits, from the table to the dump of the model.
    """

    model: bytes
    holdout_model: bytes
    holdout: HoldoutResult
    seconds: float


def run_tasks(
    pool: Pool, calls: Mapping[str, Call], *, seconds: float, tick: Callable[[], None]
) -> dict[str, Completion]:
    """Run some functions on the pool at the same time, and give up on what takes too long.

    Parameters
    ----------
    pool
        Where.
    calls
        Functions and their arguments, the last one (a `TaskLimit`) left out, by a name.
    seconds
        For all together.
    tick
        Called several times a second.

    Returns
    -------
    dict of str to Completion
        Of all calls; those that were given up have an error.
    """
    end = time.monotonic() + seconds
    deadline = time.time() + seconds
    for name, (function, arguments) in calls.items():
        call = partial(_bound, function, arguments, TaskLimit(seconds, deadline))
        pool.submit(Task(tag=name, call=call))
    done: dict[str, Completion] = {}
    while len(done) < len(calls) and time.monotonic() < end:
        for completion in pool.poll(_POLL_SECONDS):
            done[completion.tag] = completion
        tick()
    if len(done) < len(calls):
        pool.drop()
    given_up = {
        name: Completion(tag=name, error=f"was given up after {seconds:.1f} s")
        for name in calls
        if name not in done
    }
    return done | given_up


def fit_model(
    pool: Pool,
    pipeline: dict[str, Any],
    ref: StoreRef,
    *,
    remaining: Callable[[], float],
    keep_seconds: float = 0.0,
    tick: Callable[[], None],
) -> Fitted:
    """Fit a pipeline with and without the hold-out rows.

    Parameters
    ----------
    pool
        Where; one worker fits one after the other.
    pipeline, ref
        What, and on which table.
    remaining
        Returns the seconds that are left.
    keep_seconds
        Of these, for the next pipeline if one fit has not ended before.
    tick
        Called several times a second.

    Raises
    ------
    FittingFailed
        If either fit fails or the time is over.
    """
    calls: dict[str, Call] = {
        "holdout": (fit_holdout, (pipeline, ref)),
        "all": (fit_all, (pipeline, ref)),
    }
    if pool.workers > 1:
        return to_fitted(run_tasks(pool, calls, seconds=remaining() - keep_seconds, tick=tick))
    # One after the other: what the first one takes says whether there is time for the second.
    seconds = remaining() - keep_seconds
    first = run_tasks(pool, {"holdout": calls["holdout"]}, seconds=seconds, tick=tick)
    took, left = _result(first, "holdout").seconds, remaining()
    if took > left:
        raise FittingFailed(
            f"the fit without the hold-out rows took {took:.1f} s, and {left:.1f} s were left for the one on "
            "all rows",
            needs_seconds=2 * took,
        )
    return to_fitted(first | run_tasks(pool, {"all": calls["all"]}, seconds=left, tick=tick))


def to_fitted(done: Mapping[str, Completion]) -> Fitted:
    """Join the completions named ``holdout`` and ``all``.

    Raises
    ------
    FittingFailed
        If one of them is no success.
    """
    part, whole = _result(done, "holdout"), _result(done, "all")
    if whole.model is None or part.model is None or part.holdout is None:
        raise FittingFailed("a fit came back without its model")
    return Fitted(
        model=whole.model,
        holdout_model=part.model,
        holdout=part.holdout,
        seconds=max(part.seconds, whole.seconds),
    )


def _result(done: Mapping[str, Completion], name: str) -> FitResult:
    value = done[name].value
    if not isinstance(value, FitResult) or value.outcome is not Outcome.OK:
        raise FittingFailed(str(done[name].error or getattr(value, "error", "") or "no result"))
    return value


def fit_best(
    pool: Pool,
    ranked: Sequence[Candidate],
    ref: StoreRef,
    *,
    final: FinalFits,
    remaining: Callable[[], float],
    tick: Callable[[], None],
) -> tuple[Candidate, Fitted, tuple[NotFitted, ...]]:
    """Fit the best candidate that can be fitted in the time that is left.

    Time is kept for the next candidate that is fast enough, and what cannot be fitted in the time that is
    left is passed over. A candidate that took longer than it should teaches how long the others take.

    Parameters
    ----------
    pool
        Where.
    ranked
        Best first.
    ref
        On which table.
    final
        What fits are expected to take.
    remaining
        Returns the seconds that are left for this.
    tick
        Called several times a second.

    Returns
    -------
    candidate, fitted, not_fitted
        `not_fitted` are the better ones.

    Raises
    ------
    FittingFailed
        If none could be fitted.
    """
    failed: list[NotFitted] = []
    too_slow: list[tuple[float, float]] = []
    attempts = 0
    for position, candidate in enumerate(ranked):
        left, least = remaining(), final.least(candidate.fold_seconds)
        # What is no faster than a pipeline that has just failed is not tried in less time than that had.
        needs = [seconds for like, seconds in too_slow if candidate.fold_seconds >= _ALIKE * like]
        needed = max(least, *needs) if needs else least
        if needed > left or attempts == _MOST_ATTEMPTS:
            reason = f"the fits would take {needed:.1f} s or more, and {left:.1f} s were left"
            failed.append(NotFitted(candidate=candidate, reason=reason))
            continue
        attempts += 1
        keep = _time_for_the_next(ranked[position + 1 :], final, left)
        try:
            fitted = fit_model(
                pool,
                candidate.pipeline,
                ref,
                remaining=remaining,
                keep_seconds=keep if least / final.rounds + keep <= left else 0.0,
                tick=tick,
            )
        except FittingFailed as failure:
            failed.append(NotFitted(candidate=candidate, reason=str(failure)))
            too_slow.append((candidate.fold_seconds, max(failure.needs_seconds, left - remaining())))
            continue
        return candidate, fitted, tuple(failed[:_MOST_REASONS])
    told = "; ".join(f"number {one.candidate.number}: {one.reason}" for one in failed[:_MOST_REASONS])
    raise FittingFailed(told or "there is no candidate with a score", tuple(failed[:_MOST_REASONS]))


def _time_for_the_next(later: Sequence[Candidate], final: FinalFits, left: float) -> float:
    """Return the seconds to keep for the best of the later candidates that needs half of what is left."""
    needs = (_NEXT_SAFETY * final.least(one.fold_seconds) for one in later)
    return next((need for need in needs if need <= _NEXT_SHARE * left), 0.0)


def fit_holdout(pipeline: dict[str, Any], ref: StoreRef, limit: TaskLimit) -> FitResult:
    """Fit on the training rows and predict the hold-out rows."""
    return fit_full(pipeline, ref, limit, holdout=True)


def fit_all(pipeline: dict[str, Any], ref: StoreRef, limit: TaskLimit) -> FitResult:
    """Fit on all rows."""
    return fit_full(pipeline, ref, limit, holdout=False)


def _bound(
    function: Callable[..., Any], arguments: tuple[Any, ...], limit: TaskLimit
) -> tuple[Callable[..., Any], tuple[Any, ...], TaskLimit]:
    return function, arguments, limit


MOST_FINALISTS = 3
"""Pipelines that are scored on all rows, beside the baseline."""
_FEWEST_FOLDS = 2
_SHARE = 0.25
_SAFETY = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeScore:
    """Score of a pipeline on one whole fold, and the seconds of its fit and its scoring."""

    score: float
    fit_seconds: float
    score_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalistPlan:
    """What scoring on all rows takes, and how many finalists that allows.

    Parameters
    ----------
    baseline
        Is scored too, since finalists are compared with it.
    encode_seconds
        Of the encoder on all rows of the table.
    ratio
        How many times more training rows a whole fold has.
    folds, workers
        Folds, and how many of them are scored at the same time.
    budget_seconds
        The whole budget; at most a quarter of it goes into this.
    """

    baseline: Candidate
    encode_seconds: float
    ratio: float
    folds: int
    workers: int
    budget_seconds: float

    def seconds(self, finalists: Sequence[Candidate], folds: int) -> float:
        """Return the seconds to keep for these finalists and the baseline; 0 if there are none."""
        if not finalists:
            return 0.0
        fits = sum(one.fold_seconds * self.ratio for one in (self.baseline, *finalists))
        return _SAFETY * math.ceil(folds / max(self.workers, 1)) * (self.encode_seconds + fits)

    def choose(self, ranked: Sequence[Candidate], seconds: float = math.inf) -> tuple[list[Candidate], int]:
        """Return as many of the best, and as many folds, as there is time and share of the budget for.

        Two finalists on two folds are better than one on all: with one there is nothing to choose.

        Parameters
        ----------
        ranked
            Best first.
        seconds
            That are left.
        """
        best = list({one.key: one for one in reversed(ranked) if one.key != self.baseline.key}.values())
        best = best[: -MOST_FINALISTS - 1 : -1]
        limit = min(seconds, _SHARE * self.budget_seconds)
        folds = range(self.folds, min(_FEWEST_FOLDS, self.folds) - 1, -1)
        sizes = [(size, k) for k in folds for size in range(len(best), 1, -1)] + [(1, k) for k in folds]
        for size, k in sizes:
            if best and self.seconds(best[:size], k) <= limit:
                return best[:size], k
        return [], 0

    def reserve(self, ranked: Sequence[Candidate]) -> float:
        """Return the seconds to keep while the search goes on."""
        return self.seconds(*self.choose(ranked))


def score_whole_fold(
    pipelines: Sequence[dict[str, Any]], ref: StoreRef, fold: int, limit: TaskLimit
) -> list[WholeScore | None]:
    """Encode a whole fold, then fit and score pipelines on it, as many as there is time for.

    Parameters
    ----------
    pipelines
        As data; the first ones are the more important.
    ref, fold
        Where the table is, and the number of the fold.
    limit
        Bounds it all.

    Returns
    -------
    list of WholeScore or None
        As far as it came; None where a pipeline failed.
    """
    let_the_last_answer_go()
    out: list[WholeScore | None] = []
    seconds = limit.effective()
    if seconds < MIN_USEFUL_SECONDS:
        return out
    with contextlib.suppress(LimitExceeded), time_limit(seconds), quiet():
        train, test = load_whole_folds(ref)[fold]
        encoded = [_matrix(part, ref) for part in encode_rows(ref, train, test)]
        out.extend(_score(pipeline, ref, encoded, (train, test)) for pipeline in pipelines)
    return out


def score_finalists(
    pool: Pool,
    finalists: Sequence[Candidate],
    ref: StoreRef,
    *,
    folds: int,
    seconds: float,
    tick: Callable[[], None],
) -> list[Candidate]:
    """Return the finalists with their scores on whole folds.

    Parameters
    ----------
    pool
        Where.
    finalists
        The baseline first, then the best first.
    ref
        On which table.
    folds
        How many of the folds, the last ones: where time orders the rows they learn from the most.
    seconds
        For all of it.
    tick
        Called several times a second.

    Returns
    -------
    list of Candidate
        Those that were scored on each of these folds; empty unless the baseline is among them with another
        one, since scores on different rows cannot be compared.
    """
    pipelines = [one.pipeline for one in finalists]
    calls: dict[str, Any] = {
        f"fold {fold}": (score_whole_fold, (pipelines, ref, fold))
        for fold in range(ref.folds - folds, ref.folds)
    }
    done = run_tasks(pool, calls, seconds=seconds, tick=tick)
    values = [done[name].value for name in calls]
    if not all(isinstance(value, list) for value in values):
        return []
    train_rows, test_rows = fold_rows(load_whole_folds(ref)[-folds:])
    out: list[Candidate] = []
    for position, candidate in enumerate(finalists):
        scores = [value[position] if position < len(value) else None for value in values]
        whole = [one for one in scores if one is not None and np.isfinite(one.score)]
        if len(whole) < folds:
            if position == 0:
                return []
            continue
        out.append(
            replace(
                candidate,
                score=float(np.mean([one.score for one in whole])),
                fold_scores=tuple(one.score for one in whole),
                train_rows=train_rows,
                test_rows=test_rows,
                fit_seconds=round(float(np.mean([one.fit_seconds for one in whole])), 4),
                score_seconds=round(float(np.mean([one.score_seconds for one in whole])), 4),
            )
        )
    return out if len(out) > 1 else []


def contenders(
    ranked: Sequence[Candidate], baseline: Candidate, finalists: Sequence[Candidate]
) -> list[Candidate]:
    """Return the candidates that beat the baseline, best first.

    Parameters
    ----------
    ranked
        By the rows that the search looked at, best first.
    baseline
        Scored on the same rows.
    finalists
        Scored on all rows, the baseline among them; empty if there are none. They go before the others, and
        if none of them beats the baseline no candidate does.
    """
    others = [
        one
        for one in ranked
        if one.key != baseline.key and (baseline.score is None or (one.score or 0.0) > baseline.score)
    ]
    if not finalists:
        return others
    order = rank(finalists)
    ahead = order[: next(i for i, one in enumerate(order) if one.key == baseline.key)]
    known = {one.key for one in finalists}
    return [*ahead, *(one for one in others if one.key not in known)] if ahead else []


def _matrix(part: Any, ref: StoreRef) -> Any:
    values = np.asarray(part, dtype=np.float64)
    if not ref.named:
        return values
    return pd.DataFrame(values, columns=[str(name) for name in part.columns])


def _score(pipeline: dict[str, Any], ref: StoreRef, encoded: Sequence[Any], rows: Any) -> WholeScore | None:
    work = load_work(ref)
    train, test = rows
    try:
        estimator = build(pipeline)
        started = time.monotonic()
        estimator.fit(encoded[0], work.target[train])
        fitted = time.monotonic()
        score = float(work.scorer(estimator, encoded[1], work.target[test]))
    except Exception:  # noqa: BLE001 - a finalist that fails on all rows is none
        return None
    return WholeScore(score=score, fit_seconds=fitted - started, score_seconds=time.monotonic() - fitted)
