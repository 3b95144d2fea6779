"""The end of a run on the clock: the finalists on all rows, then the fit of the model that ships."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from trainingjob_api import Fallback, ModelSource
from trainingjob_trainer.search.budget import FinalFits, FitEstimate, RunClock, overrun_allowance
from trainingjob_trainer.search.candidate import Candidate
from trainingjob_trainer.search.final_fit import (
    FinalistPlan,
    FittingFailed,
    NotFitted,
    contenders,
    fit_best,
    score_finalists,
)
from trainingjob_trainer.search.pool import Pool
from trainingjob_trainer.search.store import StoreRef, fold_rows, load_whole_folds, load_work
from trainingjob_trainer.search_space import summarize
from trainingjob_trainer.supervisor.outcomes import Rung, Searched, Trained

__all__ = ["Final", "FinalStage", "lost_with_their_process", "on_the_same_rows", "told_not_fitted"]

_SIGNAL_SECONDS = 30.0
_ALLOWED_OVERRUN_SHARE = 0.5
_LINE_CHARS = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Final:
    """What ships.

    Parameters
    ----------
    best
        The same object as the baseline where that ships.
    source
        Where it comes from.
    not_fitted
        Better pipelines that could not be fitted, best first.
    """

    best: Rung
    source: ModelSource
    not_fitted: tuple[NotFitted, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalStage:
    """Chooses and fits the model that ships.

    Parameters
    ----------
    pool, ref
        Where, and on which table.
    clock
        Of the run, started.
    baseline
        Fitted already.
    estimate
        What one fit is expected to take.
    tick
        Called several times a second.
    should_stop
        Whether a signal asks to save the best so far.
    warn
        Tells the user.
    """

    pool: Pool
    ref: StoreRef
    clock: RunClock
    baseline: Rung
    estimate: FitEstimate
    tick: Callable[[], None]
    should_stop: Callable[[], bool]
    warn: Callable[[str], None]

    @property
    def plan(self) -> FinalistPlan | None:
        """What scoring on all rows takes; None where the search looks at all rows."""
        baseline = self.baseline.candidate
        if self.ref.whole_digest is None or baseline.score is None:
            return None
        whole, seen = fold_rows(load_whole_folds(self.ref))[0], fold_rows(load_work(self.ref).folds)[0]
        return FinalistPlan(
            baseline=baseline,
            encode_seconds=self.estimate.encode_seconds,
            ratio=whole / seen,
            folds=self.ref.folds,
            workers=self.pool.workers,
            budget_seconds=self.clock.budget_seconds,
        )

    def reserve(self, searched: Searched) -> float:
        """Return the seconds that fitting the best of a search takes; 0 if it has none."""
        return self._fits.reserve(searched.ranked[0].fold_seconds) if searched.ranked else 0.0

    def finalists(self, searched: Searched) -> tuple[Candidate, ...]:
        """Return the baseline and the best with their scores on all rows; none if there is no time."""
        plan = self.plan
        if plan is None or self.should_stop() or not searched.ranked:
            return ()
        left = self.clock.remaining - self._fits.reserve(searched.ranked[0].fold_seconds)
        best, folds = plan.choose(searched.ranked, left)
        if not best:
            return ()
        found = score_finalists(
            self.pool, [plan.baseline, *best], self.ref, folds=folds, seconds=left, tick=self.tick
        )
        if not found:
            self.warn(
                "The finalists could not be scored on all rows of the folds; their scores are those of the "
                "rows that the search looked at."
            )
        return tuple(found)

    def fit(self, searched: Searched, finalists: tuple[Candidate, ...]) -> Final:
        """Fit the best candidate that beats the baseline; the baseline ships if none does.

        Raises
        ------
        FittingFailed
            If none of those that beat the baseline could be fitted, or the search found none at all.
        """
        if not searched.ranked:
            raise FittingFailed("no pipeline of the search was scored in the time that it had")
        baseline = self.baseline.candidate
        better = contenders(searched.ranked, baseline, finalists)
        if not better:
            found = any(one.key == baseline.key for one in searched.ranked)
            return Final(best=self.baseline, source=ModelSource.TPOT if found else ModelSource.BASELINE)
        candidate, fitted, not_fitted = fit_best(
            self.pool, better, self.ref, final=self._fits, remaining=self._remaining, tick=self.tick
        )
        if not_fitted:
            self.warn(f"{told_not_fitted(not_fitted)} The next best one ships.")
        best = Rung(candidate=candidate, fitted=fitted)
        return Final(best=best, source=ModelSource.TPOT, not_fitted=not_fitted)

    @property
    def _fits(self) -> FinalFits:
        return FinalFits(
            estimate=self.estimate, workers=self.pool.workers, budget_seconds=self.clock.budget_seconds
        )

    def _remaining(self) -> float:
        left = self.clock.remaining + _ALLOWED_OVERRUN_SHARE * overrun_allowance(self.clock.budget_seconds)
        return min(left, _SIGNAL_SECONDS) if self.should_stop() else left


def on_the_same_rows(best: Rung, baseline: Rung, finalists: Sequence[Candidate]) -> tuple[Rung, Rung]:
    """Return what ships and the baseline, both with their scores on all rows if what ships has one."""
    whole = {one.key: one for one in finalists}
    if best.candidate.key not in whole:
        return best, baseline
    known = replace(baseline, candidate=whole[baseline.candidate.key])
    if best.candidate.key == baseline.candidate.key:
        return known, known
    return replace(best, candidate=whole[best.candidate.key]), known


def lost_with_their_process(trained: Trained, fallbacks: Sequence[Fallback]) -> tuple[NotFitted, ...]:
    """Return what beat the baseline where that ships since the process that was to fit it has ended."""
    reasons = [one.message or one.reason for one in fallbacks if one.from_ == "tpot"]
    if trained.source is not ModelSource.BASELINE or not reasons:
        return ()
    better = contenders(trained.searched.ranked, trained.baseline.candidate, trained.finalists)
    return tuple(NotFitted(candidate=one, reason=reasons[-1]) for one in better)


def told_not_fitted(not_fitted: tuple[NotFitted, ...]) -> str:
    """Return in one sentence what could not be fitted, and why."""
    best = not_fitted[0]
    line = summarize(best.candidate.pipeline)
    line = line if len(line) <= _LINE_CHARS else f"{line[: _LINE_CHARS - 1]}…"
    score = "" if best.candidate.score is None else f" ({best.candidate.score:.6g})"
    more = f"; nor could {len(not_fitted) - 1} more" if len(not_fitted) > 1 else ""
    return f"The best pipeline of the search, {line}{score}, could not be fitted: {best.reason}{more}."
