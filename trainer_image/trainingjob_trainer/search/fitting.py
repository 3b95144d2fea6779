"""Fits on raw rows: the model that ships, and the same without the hold-out rows, which is scored."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from trainingjob_trainer.search.candidate import Candidate, Outcome
from trainingjob_trainer.search.fits import FitResult, HoldoutResult, fit_full
from trainingjob_trainer.search.inline import Pool
from trainingjob_trainer.search.store import StoreRef
from trainingjob_trainer.search.task import Completion, Task
from trainingjob_trainer.search.taskkit import TaskLimit

__all__ = [
    "Fitted",
    "FittingFailed",
    "fit_all",
    "fit_best",
    "fit_holdout",
    "fit_model",
    "run_tasks",
    "to_fitted",
]

_POLL_SECONDS = 0.25
_MOST_CANDIDATES = 5
_FIRST_SHARE = 0.7

Call = tuple[Callable[..., Any], tuple[Any, ...]]


class FittingFailed(Exception):  # noqa: N818 - the name says what happened
    """No candidate could be fitted in the time that was left; `str` says why, candidate by candidate."""


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
        Of the fit on all rows.
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
    pool: Pool, pipeline: dict[str, Any], ref: StoreRef, *, seconds: float, tick: Callable[[], None]
) -> Fitted:
    """Fit a pipeline with and without the hold-out rows.

    Raises
    ------
    FittingFailed
        If either fit fails or the time is over.
    """
    calls: dict[str, Call] = {
        "holdout": (fit_holdout, (pipeline, ref)),
        "all": (fit_all, (pipeline, ref)),
    }
    return to_fitted(run_tasks(pool, calls, seconds=seconds, tick=tick))


def to_fitted(done: Mapping[str, Completion]) -> Fitted:
    """Join the completions named ``holdout`` and ``all``.

    Raises
    ------
    FittingFailed
        If one of them is no success.
    """
    results: dict[str, FitResult] = {}
    for name in ("holdout", "all"):
        value = done[name].value
        if not isinstance(value, FitResult) or value.outcome is not Outcome.OK:
            raise FittingFailed(str(done[name].error or getattr(value, "error", "") or "no result"))
        results[name] = value
    model, part = results["all"].model, results["holdout"]
    if model is None or part.model is None or part.holdout is None:
        raise FittingFailed("a fit came back without its model")
    return Fitted(model=model, holdout_model=part.model, holdout=part.holdout, seconds=results["all"].seconds)


def fit_best(
    pool: Pool,
    ranked: Sequence[Candidate],
    ref: StoreRef,
    *,
    remaining: Callable[[], float],
    tick: Callable[[], None],
) -> tuple[Candidate, Fitted]:
    """Fit the best candidate that can be fitted in the time that is left.

    Parameters
    ----------
    pool
        Where.
    ranked
        Best first.
    ref
        On which table.
    remaining
        Returns the seconds that are left for this.
    tick
        Called several times a second.

    Raises
    ------
    FittingFailed
        If none could be fitted.
    """
    reasons = []
    for position, candidate in enumerate(ranked[:_MOST_CANDIDATES]):
        seconds = remaining() * (_FIRST_SHARE if position == 0 and len(ranked) > 1 else 1.0)
        try:
            return candidate, fit_model(pool, candidate.pipeline, ref, seconds=seconds, tick=tick)
        except FittingFailed as failure:
            reasons.append(f"number {candidate.number}: {failure}")
    raise FittingFailed("; ".join(reasons) or "there is no candidate with a score")


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
