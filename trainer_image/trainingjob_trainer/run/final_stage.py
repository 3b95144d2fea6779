"""The end of a run on the clock: the finalists on whole folds, then the fit of the model that ships."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from trainingjob_api import Best, EnsembleMember, Fallback, ModelSource, ResolvedRun, format_score
from trainingjob_api import NotFitted as NotFittedEntry
from trainingjob_trainer.artifacts.board import leaderboard, pareto_front
from trainingjob_trainer.data.prepare import Prepared
from trainingjob_trainer.events import BoardChanged
from trainingjob_trainer.run.fallback import ChildContext, Mode
from trainingjob_trainer.search.candidate import Candidate, SearchResult, rank
from trainingjob_trainer.search.costs import FinalFits, FinalistPlan, FitEstimate, growth_of
from trainingjob_trainer.search.ensemble import Ensembles
from trainingjob_trainer.search.final_fit import (
    FittedModel,
    FittingFailed,
    NotFitted,
    contenders,
    fit_best,
    score_finalists,
)
from trainingjob_trainer.search.limits import RunClock, describe_error, overrun_allowance
from trainingjob_trainer.search.pool import Pool
from trainingjob_trainer.search.predictions import Interval, bootstrap_interval, replay
from trainingjob_trainer.search.store import StoreRef, fold_rows, has_repeats, load_whole_folds, load_work
from trainingjob_trainer.search_space.pipeline import shares_of, summarize

_SIGNAL_SECONDS = 30.0
_ALLOWED_OVERRUN_SHARE = 0.5
_LINE_CHARS = 120
_MOST_NOT_FITTED = 3
_REASON_CHARS = 300
MOST_POINTS = 20
"""Of the front that the report shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """The result of the training within the budget.

    Parameters
    ----------
    best, baseline
        The model that ships and the baseline; the same object where the baseline ships.
    finalists
        The best candidates and the baseline, scored on whole folds, with the ensemble if it wins there; empty
        where there are no such folds, too few candidates or no time.
    not_fitted
        Better pipelines that could not be fitted, best first.
    seconds
        Of the clock, by stage.
    interval
        Of the best model's hold-out score, or None if it could not be taken.
    """

    best: FittedModel
    baseline: FittedModel
    source: ModelSource
    searched: SearchResult
    finalists: tuple[Candidate, ...] = ()
    not_fitted: tuple[NotFitted, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    interval: Interval | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalStage:
    """Chooses and fits the model that ships, with an ensemble unless `ensembles` is None."""

    context: ChildContext
    pool: Pool
    ref: StoreRef
    baseline: FittedModel
    estimate: FitEstimate
    ensembles: Ensembles | None = None

    @property
    def _clock(self) -> RunClock:
        return self.context.clock

    def _beat(self) -> None:
        self.context.channel.beat()

    @property
    def plan(self) -> FinalistPlan | None:
        """What scoring the finalists on whole folds takes; None where there are none but the search's."""
        baseline = self.baseline.candidate
        if self.ref.whole_digest is None or baseline.score is None:
            return None
        whole, seen = load_whole_folds(self.ref), load_work(self.ref).folds
        return FinalistPlan(
            baseline=baseline,
            encode_seconds=self.estimate.encode_seconds,
            ratio=fold_rows(whole)[0] / fold_rows(seen)[0],
            folds=len(whole),
            workers=self.pool.workers,
            budget_seconds=self._clock.budget_seconds,
            repeated=has_repeats(self.ref),
        )

    def reserve(self, searched: SearchResult) -> float:
        """Return the seconds that fitting the best of a search takes; 0 if it has none."""
        if not searched.ranked:
            return 0.0
        best = searched.ranked[0]
        return self._fits.reserve(best.fold_seconds, growth_of(best.pipeline))

    def finalists(self, searched: SearchResult) -> tuple[Candidate, ...]:
        """Return the baseline and the best with their scores on whole folds; none if there is no time."""
        plan = self.plan
        if plan is None or self.context.stop.is_set() or not searched.ranked:
            return ()
        left = self._clock.remaining - self.reserve(searched)
        best, folds = plan.choose(searched.ranked, left)
        if not best:
            return ()
        found = score_finalists(
            self.pool,
            [plan.baseline, *best],
            self.ref,
            folds=folds,
            seconds=left,
            tick=self._beat,
        )
        if not found:
            self.context.warn(
                "The finalists could not be scored on further rows or folds; their scores are those of the "
                "search."
            )
        return tuple(found)

    def fit(self, searched: SearchResult, finalists: tuple[Candidate, ...]) -> Trained:
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
        ensemble = self._ensemble(searched, finalists)
        if ensemble is not None:
            better = [ensemble, *better]
            if finalists:
                finalists = (*finalists, ensemble)
            else:
                searched = replace(searched, candidates=(*searched.candidates, ensemble))
        found = any(candidate.key == baseline.key for candidate in searched.ranked)
        source = ModelSource.TPOT if found else ModelSource.BASELINE
        unbeaten = self._trained(self.baseline, source, searched, finalists)
        if not better:
            return unbeaten
        try:
            best, not_fitted = fit_best(
                self.pool,
                better,
                self.ref,
                final=self._fits,
                remaining=self._remaining,
                tick=self._beat,
            )
        except FittingFailed as failure:
            if better != [ensemble]:
                raise
            self.context.warn(f"{describe_not_fitted(failure.not_fitted)} The baseline ships.")
            return replace(unbeaten, not_fitted=failure.not_fitted)
        if best.rows is not None:
            self.context.warn(
                f"No pipeline could be fitted on all {self.estimate.all_rows:,} rows in the time that was "
                f"left. The model that ships learned from {best.rows:,} rows; allow more time "
                "(budget.timeLeftSeconds) for all of them."
            )
        elif not_fitted:
            self.context.warn(f"{describe_not_fitted(not_fitted)} The next best one ships.")
        return replace(self._trained(best, ModelSource.TPOT, searched, finalists), not_fitted=not_fitted)

    def _ensemble(self, searched: SearchResult, finalists: Sequence[Candidate]) -> Candidate | None:
        """Return an ensemble that wins and beats the baseline.

        There is none after a signal, or where an earlier child could not fit.
        """
        if self.ensembles is None or self.context.stop.is_set() or self.context.mode is Mode.FINISH:
            return None
        baseline = self.baseline.candidate
        try:
            known = finalists or (*searched.candidates, baseline)
            ensemble = self.ensembles.build(
                rank(known),
                whole=bool(finalists),
                final=self._fits,
                remaining=self._remaining,
                elapsed_seconds=self._clock.elapsed,
                number=max(candidate.number for candidate in searched.candidates) + 1,
                tick=self._beat,
            )
        except Exception as failure:  # noqa: BLE001 - the best pipeline ships without an ensemble
            self.context.warn(f"No ensemble was built: {describe_error(failure)}")
            return None
        # A candidate that owes its score to luck may score higher; the baseline may not.
        scored = next(candidate for candidate in known if candidate.key == baseline.key)
        return ensemble if ensemble is not None and rank([scored, ensemble])[0] is ensemble else None

    def ship_baseline(self, searched: SearchResult, finalists: tuple[Candidate, ...]) -> Trained:
        """Return the baseline as what ships."""
        return self._trained(self.baseline, ModelSource.BASELINE, searched, finalists)

    def _trained(
        self,
        best: FittedModel,
        source: ModelSource,
        searched: SearchResult,
        finalists: tuple[Candidate, ...],
    ) -> Trained:
        best, baseline = on_the_same_rows(best, self.baseline, finalists)
        return Trained(best=best, baseline=baseline, source=source, searched=searched, finalists=finalists)

    @property
    def _fits(self) -> FinalFits:
        return FinalFits(
            estimate=self.estimate,
            workers=self.pool.workers,
            budget_seconds=self._clock.budget_seconds,
        )

    def _remaining(self) -> float:
        left = self._clock.remaining + _ALLOWED_OVERRUN_SHARE * overrun_allowance(self._clock.budget_seconds)
        return min(left, _SIGNAL_SECONDS) if self.context.stop.is_set() else left


def on_the_same_rows(
    best: FittedModel, baseline: FittedModel, finalists: Sequence[Candidate]
) -> tuple[FittedModel, FittedModel]:
    """Return the best model and the baseline, with scores on whole folds if the best model has one."""
    whole = {finalist.key: finalist for finalist in finalists}
    if best.candidate.key not in whole:
        return best, baseline
    known = replace(baseline, candidate=whole[baseline.candidate.key])
    if best.candidate.key == baseline.candidate.key:
        return known, known
    return replace(best, candidate=whole[best.candidate.key]), known


def lost_with_their_process(trained: Trained, fallbacks: Sequence[Fallback]) -> tuple[NotFitted, ...]:
    """Return better pipelines than the baseline, if it ships because the process of their fit has ended."""
    reasons = [fallback.message or fallback.reason for fallback in fallbacks if fallback.from_ == "tpot"]
    if trained.source is not ModelSource.BASELINE or not reasons:
        return ()
    better = contenders(trained.searched.ranked, trained.baseline.candidate, trained.finalists)
    return tuple(NotFitted(candidate=candidate, reason=reasons[-1]) for candidate in better)


def describe_not_fitted(not_fitted: tuple[NotFitted, ...]) -> str:
    """Return in one sentence what could not be fitted, and why."""
    best = not_fitted[0]
    line = summarize(best.candidate.final_pipeline)
    line = line if len(line) <= _LINE_CHARS else f"{line[: _LINE_CHARS - 1]}…"
    score = "" if best.candidate.score is None else f" ({best.candidate.score:.6g})"
    more = f"; nor could {len(not_fitted) - 1} more" if len(not_fitted) > 1 else ""
    return f"The best pipeline of the search, {line}{score}, could not be fitted: {best.reason}{more}."


def holdout_interval(prepared: Prepared, fitted: FittedModel, *, random_state: int) -> Interval | None:
    """Return the interval of a model's hold-out score, or None where it cannot be taken.

    Rows are drawn, or whole groups where `Prepared.groups` are kept together.
    """
    holdout, rows = fitted.holdout, prepared.holdout_index
    if not holdout.responses or holdout.score is None:
        return None
    return bootstrap_interval(
        replay(holdout.responses, prepared.metric.scorer, holdout.classes),
        prepared.target[rows],
        holdout.score,
        groups=None if prepared.groups is None else prepared.groups[rows],
        random_state=random_state,
    )


def score_text(score: float | None) -> str | None:
    """Return a score as the contract writes it; None if it is not a finite number."""
    return None if score is None or not math.isfinite(score) else format_score(score)


def best_of(best: Candidate, baseline: FittedModel, **more: Any) -> Best:
    """Return the best candidate beside the baseline, as the report has it, with `more` of its fields."""
    return Best(
        pipeline=summarize(best.final_pipeline),
        score=score_text(best.score),
        train_rows=best.train_rows,
        test_rows=best.test_rows,
        baseline_score=score_text(baseline.candidate.score),
        baseline_holdout_score=score_text(baseline.holdout.score),
        **more,
    )


def shipped_best(trained: Trained, *, holdout_rows: int) -> Best:
    """Return the pipeline that ships beside the baseline, with all that is known of its hold-out score."""
    interval, found = trained.interval, trained.best.candidate
    bounds = None if interval is None else (format_score(interval.low), format_score(interval.high))
    not_fitted = tuple(
        NotFittedEntry(
            pipeline=summarize(entry.candidate.final_pipeline),
            score=score_text(entry.candidate.score),
            reason=entry.reason[:_REASON_CHARS],
        )
        for entry in trained.not_fitted[:_MOST_NOT_FITTED]
    )
    members = tuple(
        EnsembleMember(pipeline=summarize(spec), weight=format_score(share), key=key)
        for key, (spec, share) in zip(found.members, shares_of(found.pipeline), strict=True)
    )
    return best_of(
        found,
        trained.baseline,
        members=members or None,
        holdout_score=score_text(trained.best.holdout.score),
        holdout_rows=holdout_rows,
        holdout_interval=bounds,
        not_fitted=not_fitted or None,
    )


def final_board(trained: Trained, run: ResolvedRun, best: Best) -> BoardChanged:
    """Return the leaderboard with the finalists at its head."""
    candidates = trained.searched.candidates
    return BoardChanged(
        best=best,
        leaderboard=tuple(
            leaderboard(
                candidates,
                run.output.leaderboard_top_k,
                finalists=trained.finalists,
                shipped=trained.best.candidate.key,
            )
        ),
        pareto_front=tuple(pareto_front(candidates, limit=MOST_POINTS)),
    )
