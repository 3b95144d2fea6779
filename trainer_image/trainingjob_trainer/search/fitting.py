"""Fits on raw rows: the model that ships, and the same without the hold-out rows, which is scored."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from trainingjob_trainer.search.candidate import Candidate, Outcome
from trainingjob_trainer.search.fits import FitResult, HoldoutResult, fit_full
from trainingjob_trainer.search.inline import Pool
from trainingjob_trainer.search.progress import FinalFits
from trainingjob_trainer.search.store import StoreRef
from trainingjob_trainer.search.task import Completion, Task
from trainingjob_trainer.search.taskkit import TaskLimit

__all__ = [
    "Fitted",
    "FittingFailed",
    "NotFitted",
    "fit_all",
    "fit_best",
    "fit_holdout",
    "fit_model",
    "run_tasks",
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
        joblib dump of the whole pipeline, fitted on all rows.
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
