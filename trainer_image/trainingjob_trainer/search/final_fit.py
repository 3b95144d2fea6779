"""The end of a search: finalists scored on whole folds, and the fit of the model that ships."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from trainingjob_trainer.search.candidate import ENSEMBLE, Candidate, Outcome, rank
from trainingjob_trainer.search.costs import FinalFits
from trainingjob_trainer.search.fits import FitResult, HoldoutResult, fit_all, fit_holdout
from trainingjob_trainer.search.pool import Completion, Pool, run_tasks
from trainingjob_trainer.search.predictions import complete_predictions
from trainingjob_trainer.search.store import StoreRef, fold_rows, load_whole_folds
from trainingjob_trainer.search.tasks import mean_rounds, score_whole_fold

_MOST_ATTEMPTS = 5
_MOST_REASONS = 10
_NEXT_SHARE = 0.5
_NEXT_SAFETY = 1.5
_ALIKE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class NotFitted:
    """A candidate that could not be fitted to be shipped, and why."""

    candidate: Candidate
    reason: str


class FittingFailed(Exception):  # noqa: N818 - the name says what happened
    """A pipeline, or no candidate, could be fitted in the time that was left.

    Parameters
    ----------
    not_fitted
        The candidates, best first.
    needs_seconds
        What both fits need at least, if that is known.
    """

    def __init__(
        self, message: str, not_fitted: tuple[NotFitted, ...] = (), *, needs_seconds: float = 0.0
    ) -> None:
        super().__init__(message)
        self.not_fitted = not_fitted
        self.needs_seconds = needs_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedModel:
    """A model that can ship.

    Parameters
    ----------
    model, holdout_model
        The whole pipeline, fitted on all rows and without the hold-out rows, as ``model.joblib`` holds it.
    seconds
        Of the slower of both fits, from the table to the dump of the model.
    rows
        Rows that `model` learned from at most; None for all rows.
    """

    candidate: Candidate
    model: bytes
    holdout_model: bytes
    holdout: HoldoutResult
    seconds: float
    rows: int | None = None


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
    finalists
        The baseline first, then the best first.
    folds
        How many of the folds, the last ones: where time orders the rows they learn from the most.

    Returns
    -------
    list of Candidate
        Those that were scored on each of these folds; empty unless the baseline is among them with another
        one, since scores on different rows cannot be compared.
    """
    pipelines = [finalist.pipeline for finalist in finalists]
    total = len(load_whole_folds(ref))
    calls: dict[str, Any] = {
        f"fold {fold}": (score_whole_fold, (pipelines, ref, fold)) for fold in range(total - folds, total)
    }
    done = run_tasks(pool, calls, seconds=seconds, tick=tick)
    values = [done[name].value for name in calls]
    if not all(isinstance(value, list) for value in values):
        return []
    train_rows, test_rows = fold_rows(load_whole_folds(ref)[-folds:])
    out: list[Candidate] = []
    for position, candidate in enumerate(finalists):
        scores = [value[position] if position < len(value) else None for value in values]
        whole = [scored for scored in scores if scored is not None and np.isfinite(scored.score)]
        if len(whole) < folds:
            if position == 0:
                return []
            continue
        out.append(
            replace(
                candidate,
                score=float(np.mean([scored.score for scored in whole])),
                fold_scores=tuple(scored.score for scored in whole),
                train_rows=train_rows,
                test_rows=test_rows,
                fit_seconds=round(float(np.mean([scored.fit_seconds for scored in whole])), 4),
                score_seconds=round(float(np.mean([scored.score_seconds for scored in whole])), 4),
                rounds=mean_rounds(whole) or candidate.rounds,
                predictions=complete_predictions([scored.predicted for scored in whole], folds),
            )
        )
    return out if len(out) > 1 else []


def contenders(
    ranked: Sequence[Candidate], baseline: Candidate, finalists: Sequence[Candidate]
) -> list[Candidate]:
    """Return the candidates that beat the baseline, best first.

    Parameters
    ----------
    ranked, baseline
        With their scores on the rows that the search looked at.
    finalists
        Scored on whole folds, the baseline among them; empty if there are none. They go before the others,
        and if none of them beats the baseline no candidate does.
    """
    others = [
        candidate
        for candidate in ranked
        if candidate.key != baseline.key
        and (baseline.score is None or (candidate.score or 0.0) > baseline.score)
    ]
    if not finalists:
        return others
    order = rank(finalists)
    ahead = order[: next(i for i, finalist in enumerate(order) if finalist.key == baseline.key)]
    known = {finalist.key for finalist in finalists}
    return [*ahead, *(candidate for candidate in others if candidate.key not in known)] if ahead else []


def fit_best(
    pool: Pool,
    ranked: Sequence[Candidate],
    ref: StoreRef,
    *,
    final: FinalFits,
    remaining: Callable[[], float],
    tick: Callable[[], None],
) -> tuple[FittedModel, tuple[NotFitted, ...]]:
    """Fit the best candidate that can be fitted in the time that is left.

    Time is kept for the next candidate that is fast enough, and what cannot be fitted in the time that is
    left is passed over. A candidate that took longer than it should shows how long the others take. If none
    can be fitted on all rows, the best pipeline is fitted on as many as there is time for.

    Parameters
    ----------
    remaining
        Returns the seconds that are left for this.

    Returns
    -------
    fitted, not_fitted
        `not_fitted` are the better ones.

    Raises
    ------
    FittingFailed
        If none could be fitted.
    """
    failed: list[NotFitted] = []
    too_slow: list[tuple[float, float]] = []
    attempts = 0
    single = next((candidate for candidate in ranked if candidate.origin != ENSEMBLE), None)
    fewer = single if single is not None and final.most_rows(single, remaining()) is not None else None
    for position, candidate in enumerate(ranked):
        left, least = remaining(), final.least(candidate.fold_seconds, candidate.train_rows)
        # What is no faster than a pipeline that has just failed is not tried in less time than that had.
        needs = [seconds for like, seconds in too_slow if candidate.fold_seconds >= _ALIKE * like]
        needed = max(least, *needs) if needs else least
        if needed > left or attempts == _MOST_ATTEMPTS:
            reason = f"the fits would take {needed:.1f} s or more, and {left:.1f} s were left"
            failed.append(NotFitted(candidate=candidate, reason=reason))
            continue
        attempts += 1
        keep = [0.0, _seconds_for_next(ranked[position + 1 :], final, left)]
        if fewer is not None:
            keep.append(final.on_fewer_rows(fewer, final.estimate.fold_rows))
        try:
            fitted = fit_model(
                pool,
                candidate,
                ref,
                remaining=remaining,
                keep_seconds=max(seconds for seconds in keep if least / final.rounds + seconds <= left),
                tick=tick,
            )
        except FittingFailed as failure:
            failed.append(NotFitted(candidate=candidate, reason=str(failure)))
            too_slow.append((candidate.fold_seconds, max(failure.needs_seconds, left - remaining())))
            continue
        return fitted, tuple(failed[:_MOST_REASONS])
    if fewer is not None:
        rows = final.most_rows(fewer, remaining()) or final.estimate.fold_rows
        try:
            fitted = fit_model(pool, fewer, ref, remaining=remaining, tick=tick, most_rows=rows)
        except FittingFailed as failure:
            failed.append(NotFitted(candidate=fewer, reason=f"on {rows:,} rows: {failure}"))
        else:
            others = [end for end in failed if end.candidate.key != fewer.key]
            return fitted, tuple(others[:_MOST_REASONS])
    told = "; ".join(
        f"number {missed.candidate.number}: {missed.reason}" for missed in failed[:_MOST_REASONS]
    )
    raise FittingFailed(told or "there is no candidate with a score", tuple(failed[:_MOST_REASONS]))


def _seconds_for_next(later: Sequence[Candidate], final: FinalFits, left: float) -> float:
    """Return the seconds to keep for the best of the later candidates that needs half of what is left."""
    needs = (_NEXT_SAFETY * final.least(candidate.fold_seconds, candidate.train_rows) for candidate in later)
    return next((need for need in needs if need <= _NEXT_SHARE * left), 0.0)


def fit_model(
    pool: Pool,
    candidate: Candidate,
    ref: StoreRef,
    *,
    remaining: Callable[[], float],
    keep_seconds: float = 0.0,
    tick: Callable[[], None],
    most_rows: int | None = None,
) -> FittedModel:
    """Fit a pipeline with and without the hold-out rows, on at most `most_rows`.

    Of the seconds that `remaining` returns, `keep_seconds` are for the next pipeline if no fit has ended.

    Raises
    ------
    FittingFailed
        If either fit fails or the time is over.
    """
    part = {"holdout": (partial(fit_holdout, most_rows=most_rows), (candidate.final_pipeline, ref))}
    whole = {"all": (partial(fit_all, most_rows=most_rows), (candidate.final_pipeline, ref))}
    seconds = remaining() - keep_seconds
    if pool.workers > 1:
        return to_fitted(run_tasks(pool, part | whole, seconds=seconds, tick=tick), candidate, most_rows)
    # One after the other: what the first one takes says whether there is time for the second.
    first = run_tasks(pool, part, seconds=seconds, tick=tick)
    took, left = _result(first, "holdout").seconds, remaining()
    if took > left:
        raise FittingFailed(
            f"the fit without the hold-out rows took {took:.1f} s, and {left:.1f} s were left for the one on "
            "all rows",
            needs_seconds=2 * took,
        )
    return to_fitted(first | run_tasks(pool, whole, seconds=left, tick=tick), candidate, most_rows)


def to_fitted(done: Mapping[str, Completion], candidate: Candidate, rows: int | None = None) -> FittedModel:
    """Join the completions named ``holdout`` and ``all`` of a candidate's fits, on at most `rows`.

    Raises
    ------
    FittingFailed
        If one of them is not a success.
    """
    part, whole = _result(done, "holdout"), _result(done, "all")
    if whole.model is None or part.model is None or part.holdout is None:
        raise FittingFailed("a fit came back without its model")
    return FittedModel(
        candidate=candidate,
        model=whole.model,
        holdout_model=part.model,
        holdout=part.holdout,
        seconds=max(part.seconds, whole.seconds),
        rows=rows,
    )


def _result(done: Mapping[str, Completion], name: str) -> FitResult:
    value = done[name].value
    if not isinstance(value, FitResult) or value.outcome is not Outcome.OK:
        raise FittingFailed(str(done[name].error or getattr(value, "error", "") or "no result"))
    return value
