"""The search itself: propose, evaluate, journal, commit, until a limit is reached."""

import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from trainingjob_trainer.search.candidate import Candidate, Evaluation, Journal, Outcome, SearchResult, rank
from trainingjob_trainer.search.costs import MOST_FINALISTS, FinalFits, FinalistPlan, FitEstimate, growth_of
from trainingjob_trainer.search.evolution import Evolution, Proposal
from trainingjob_trainer.search.limits import (
    MIN_USEFUL_SECONDS,
    RunClock,
    SearchBudget,
    SearchProgress,
    TaskLimit,
)
from trainingjob_trainer.search.pool import Completion, Pool, PoolLost, Task
from trainingjob_trainer.search.predictions import Predictions, PredictionStore
from trainingjob_trainer.search.store import StoreRef
from trainingjob_trainer.search.tasks import Race, evaluate

_POLL_SECONDS = 0.25
_MEMBERS = 4
"""Pipelines for whose fits time is kept, as members of an ensemble."""
_MOST_CUTS = 3
"""A pipeline that the run's clock cut off as often counts as too slow."""
_WORTH_CUTTING_SECONDS = 5.0
"""Below these an evaluation that is too slow to be of use is ended by the end of the search."""


@dataclass(slots=True, kw_only=True, eq=False)
class SearchEngine:
    """Runs an `Evolution` on a `Pool` inside a budget.

    Parameters
    ----------
    journal
        Takes each finished evaluation, and holds those of earlier attempts.
    plan
        What scoring the finalists on whole folds takes; None where there are only those of the search.
    race_lag
        How many results behind a pipeline its race looks, by its number; None evaluates all on every fold.
    predictions
        Keeps what the best candidates predict out of fold; None keeps nothing.
    evaluator
        The task, ``evaluator(pipeline, ref, limit)``; it takes ``race`` too if there is one.
    on_candidate
        Called with each finished evaluation, and whether it is from an earlier attempt.
    on_tick
        Called several times a second with the progress.
    should_stop
        Asked several times a second; True ends the search with what it has found.
    fits_on
        Where the model that ships will be fitted; by default on `pool`.
    instead
        Returns the pool that replaces a lost one, or raises.
    """

    evolution: Evolution
    pool: Pool
    ref: StoreRef
    journal: Journal
    clock: RunClock
    budget: SearchBudget
    estimate: FitEstimate
    plan: FinalistPlan | None = None
    race_lag: Callable[[int], int] | None = None
    predictions: PredictionStore | None = None
    evaluator: Callable[..., Evaluation] = evaluate
    on_candidate: Callable[[Candidate, bool], None] = lambda _candidate, _known: None
    on_tick: Callable[[SearchProgress], None] = lambda _progress: None
    should_stop: Callable[[], bool] = lambda: False
    fits_on: Pool | None = None
    instead: Callable[[PoolLost], Pool] | None = None
    _proposals: dict[int, Proposal] = field(default_factory=dict, init=False)
    _races: dict[int, Race] = field(default_factory=dict, init=False)
    _finished: dict[int, Candidate] = field(default_factory=dict, init=False)
    _cut_off: deque[Proposal] = field(default_factory=deque, init=False)
    _cuts: Counter[int] = field(default_factory=Counter, init=False)
    _best: Candidate | None = field(default=None, init=False)
    _ships: Candidate | None = field(default=None, init=False)
    _finalists: list[Candidate] = field(default_factory=list, init=False)
    _held: Proposal | None = field(default=None, init=False)
    _unplaced: dict[str, Candidate] = field(default_factory=dict, init=False)

    def run(self) -> SearchResult:
        """Search until the generations are done, the time is up, the space is exhausted or a signal came.

        Raises
        ------
        PoolLost
            If the workers are gone for good and `instead` has no others.
        """
        self._replay()
        while (stopped_by := self._stopped_by()) is None:
            try:
                if (proposal := self._next()) is not None:
                    self.pool.submit(self._task(proposal))
                for completion in self.pool.poll(0.0 if self._has_work() else _POLL_SECONDS):
                    self._take(completion)
            except PoolLost as lost:
                self._move(lost)
            self.on_tick(self.progress())
        self.pool.drop()
        self.on_tick(self.progress())
        return SearchResult(
            candidates=tuple(self._known()),
            stopped_by=stopped_by,
            generations=self.evolution.committed // self.budget.population_size,
        )

    def progress(self) -> SearchProgress:
        """Return how far the search has come."""
        outcomes = [c.outcome for c in self._known()]
        return SearchProgress(
            generation=self.evolution.committed // self.budget.population_size,
            evaluated=len(outcomes),
            failed=sum(o in (Outcome.INVALID, Outcome.KILLED) for o in outcomes),
            timed_out=sum(o is Outcome.TIMEOUT for o in outcomes),
            best_score=None if self._best is None else self._best.score,
            elapsed_seconds=self.clock.elapsed,
            remaining_seconds=self.clock.remaining,
        )

    def reserve(self) -> float:
        """Return the seconds kept for the finalists, an ensemble, and the best pipeline that can be fitted.

        A pipeline that was too slow to be fitted in the time that was left when it was found is not waited
        for.
        """
        kept = self._final.reserve(0.0)
        if self._ships is not None:
            kept = self._final.reserve(self._ships.fold_seconds, growth_of(self._ships.pipeline))
        if self.predictions is not None and self._finalists:
            # Either the ensemble is fitted or the best pipeline alone.
            members = [
                self.estimate.grown(finalist.fold_seconds, finalist.train_rows, growth_of(finalist.pipeline))
                for finalist in self._finalists[:_MEMBERS]
            ]
            kept = max(kept, self._final.ensemble_reserve(members))
        if self.plan is not None:
            kept += self.plan.reserve(self._finalists)
        return kept

    @property
    def _final(self) -> FinalFits:
        return FinalFits(
            estimate=self.estimate,
            workers=(self.fits_on or self.pool).workers,
            budget_seconds=self.clock.budget_seconds,
        )

    def _move(self, lost: PoolLost) -> None:
        """Replace a lost pool, and submit its unfinished tasks again."""
        if self.instead is None:
            raise lost
        self.pool = self.instead(lost)
        self._cut_off.clear()
        for number in sorted(self._proposals.keys() - self._finished.keys()):
            if self._proposals[number] is not self._held:
                self.pool.submit(self._task(self._proposals[number]))

    def _stopped_by(self) -> str | None:
        evolution = self.evolution
        if self.should_stop():
            return "signal"
        if evolution.committed >= self.budget.evaluations:
            return "generations"
        if evolution.exhausted_ and evolution.committed == evolution.proposed:
            return "exhausted"
        if self.clock.remaining <= self.reserve():
            return "time"
        return None

    def _replay(self) -> None:
        """Take over what earlier attempts evaluated, off the clock, and keep time to fit the best of it."""
        earlier = {key: candidate for key, candidate in self.journal.found_.items() if candidate.number >= 0}
        if not earlier:
            return
        with self.clock.paused():
            while self._held is None and self._can_propose() and not self.should_stop():
                self._propose()
                self.on_tick(self.progress())
        placed = {candidate.key for candidate in self._finished.values()}
        self._unplaced = {key: candidate for key, candidate in earlier.items() if key not in placed}
        for candidate in self._unplaced.values():
            self._note(candidate)
            if self.predictions is not None:
                self.predictions.keep(candidate)
        self.clock.leave(self.reserve())

    def _known(self) -> list[Candidate]:
        """Return every evaluation; last, those behind one that an earlier attempt did not finish."""
        return [*(self._finished[number] for number in sorted(self._finished)), *self._unplaced.values()]

    def _can_propose(self) -> bool:
        evolution = self.evolution
        if self.race_lag is not None:
            behind = evolution.proposed - evolution.committed
            if behind > self.race_lag(evolution.proposed):
                return False
        return evolution.proposed < self.budget.evaluations and evolution.can_propose()

    def _can_fill(self) -> bool:
        return (self._held is not None or self._can_propose()) and self.pool.free() > 0

    def _has_work(self) -> bool:
        return self._can_repeat() or self._can_fill()

    def _can_repeat(self) -> bool:
        """Whether there is a pipeline that was cut off, and time to evaluate it after all.

        The time kept for the final fits shrinks when a quicker pipeline takes the lead, and the clock may
        have been stopped; without this result the sequence could not continue.
        """
        left = self.clock.remaining - self.reserve()
        return bool(self._cut_off) and left >= MIN_USEFUL_SECONDS and self.pool.free() > 0

    def _next(self) -> Proposal | None:
        """Return the pipeline to evaluate now: one that was cut off, or a new one without a known result."""
        if self._can_repeat():
            return self._cut_off.popleft()
        if not self._can_fill():
            return None
        if self._held is None:
            self._propose()
        proposal, self._held = self._held, None
        return proposal

    def _propose(self) -> None:
        """Propose one pipeline; it is held for submission unless its result is in the journal."""
        proposal = self.evolution.propose()
        if proposal is None:
            return
        self._proposals[proposal.number] = proposal
        self._enter(proposal.number)
        known = self.journal.found_.get(proposal.key)
        if known is None:
            self._held = proposal
        else:
            self._record(_renumbered(known, proposal, self._generation(proposal)), known=True)

    def _enter(self, number: int) -> None:
        """Fix the race of a pipeline from the results that are committed by then at any speed."""
        if self.race_lag is not None:
            committed = [self._finished[earlier] for earlier in range(number - self.race_lag(number))]
            race = Race.against(committed, self.ref.folds)
            if race is not None:
                self._races[number] = race

    def _task(self, proposal: Proposal) -> Task:
        return Task(tag=proposal.number, call=partial(self._call, proposal))

    def _call(self, proposal: Proposal) -> tuple[Callable[..., Evaluation], tuple[object, ...], TaskLimit]:
        remaining = self.clock.remaining
        useful = self._final.useful_evaluation(remaining, self.ref.folds)
        seconds = self.budget.per_run_limit_seconds
        if useful >= _WORTH_CUTTING_SECONDS:
            seconds = min(seconds, useful)
        limit = TaskLimit(seconds, time.time() + remaining - self.reserve())
        race = self._races.get(proposal.number)
        evaluator = self.evaluator if race is None else partial(self.evaluator, race=race)
        return evaluator, (proposal.pipeline, self.ref), limit

    def _generation(self, proposal: Proposal) -> int:
        return proposal.number // self.budget.population_size + 1

    def _take(self, completion: Completion) -> None:
        proposal = self._proposals[completion.tag]
        if proposal.number in self._finished:
            return
        evaluation = _evaluation(completion)
        if evaluation.outcome is None:
            self._cuts[proposal.number] += 1
            if self._cuts[proposal.number] < _MOST_CUTS:
                self._cut_off.append(proposal)
                return
            error = "cut off by the run's clock again and again"
            evaluation = Evaluation(outcome=Outcome.TIMEOUT, error=error)
        self._races.pop(proposal.number, None)
        candidate = Candidate.of(
            evaluation,
            number=proposal.number,
            key=proposal.key,
            origin=proposal.origin,
            generation=self._generation(proposal),
            pipeline=proposal.pipeline,
            outcome=evaluation.outcome or Outcome.TIMEOUT,
            elapsed_seconds=self.clock.elapsed,
        )
        self.journal.append(candidate)
        self._record(candidate, known=False, predictions=evaluation.predictions)

    def _note(self, candidate: Candidate) -> None:
        """Remember a candidate if it is among the best, and if it is the best that can be fitted in time."""
        if not rank([candidate]):
            return
        if _better(candidate, self._best):
            self._best = candidate
        # That of its own attempt: what could be fitted then still can be.
        left = self.clock.budget_seconds - candidate.elapsed_seconds
        if _better(candidate, self._ships) and self._final.least(candidate.fold_seconds) <= left:
            self._ships = candidate
        most = MOST_FINALISTS if self.plan is None else self.plan.most
        self._finalists = rank([*self._finalists, candidate])[: most + 1]

    def _record(self, candidate: Candidate, *, known: bool, predictions: Predictions | None = None) -> None:
        self._finished[candidate.number] = candidate
        if self.predictions is not None:
            self.predictions.keep(candidate, predictions)
        if self._unplaced.pop(candidate.key, None) is None:
            self._note(candidate)
        while (due := self._finished.get(self.evolution.committed)) is not None:
            self.evolution.commit(due)
        self.on_candidate(candidate, known)


def _evaluation(completion: Completion) -> Evaluation:
    """Return the candidate of a finished task; without an outcome if the end of the run stopped it."""
    if isinstance(completion.value, Evaluation) and not completion.cut_off:
        return completion.value
    outcome: Outcome | None = Outcome.INVALID
    if completion.cut_off:
        outcome = None
    elif completion.killed:
        outcome = Outcome.TIMEOUT if completion.timed_out else Outcome.KILLED
    return Evaluation(outcome=outcome, error=completion.error)


def _better(candidate: Candidate, other: Candidate | None) -> bool:
    return other is None or rank([other, candidate])[0] is candidate


def _renumbered(known: Candidate, proposal: Proposal, generation: int) -> Candidate:
    return replace(
        known,
        number=proposal.number,
        origin=proposal.origin,
        generation=generation,
        pipeline=proposal.pipeline,
    )
