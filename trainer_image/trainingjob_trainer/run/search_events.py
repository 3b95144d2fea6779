"""Events of a search: evaluations, progress and the leaderboard."""

import math
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from trainingjob_api import Best, EnsembleMember, NotFitted, Progress, ResolvedRun, format_score
from trainingjob_trainer.artifacts.board import leaderboard, pareto_front
from trainingjob_trainer.events import BoardChanged, Evaluated, Progressed
from trainingjob_trainer.run.context import ChildContext
from trainingjob_trainer.run.final_stage import Trained
from trainingjob_trainer.search.candidate import Candidate
from trainingjob_trainer.search.final_fit import FittedModel
from trainingjob_trainer.search.limits import SearchProgress
from trainingjob_trainer.search_space.pipeline import shares_of, summarize

__all__ = ["Board", "best_of", "final_board", "score_text", "shipped_best"]

_PROGRESS_SECONDS = 1.0
_BOARD_SECONDS = 3.0
_MOST_POINTS = 20
_MOST_NOT_FITTED = 3
_REASON_CHARS = 300


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
        NotFitted(
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
        pareto_front=tuple(pareto_front(candidates, limit=_MOST_POINTS)),
    )


class Board:
    """Reports evaluations as they come, and progress and leaderboard at a bounded rate.

    Parameters
    ----------
    context
        The child.
    baseline
        Fitted already.
    """

    def __init__(self, context: ChildContext, baseline: FittedModel) -> None:
        self._context = context
        self._run = context.run
        self._baseline = baseline
        self._candidates: list[Candidate] = []
        self._shown = 0
        self._progress_at = self._board_at = float("-inf")

    def evaluated(self, candidate: Candidate, known: bool) -> None:  # noqa: FBT001 - a callback's form
        """Report one evaluation."""
        self._candidates.append(candidate)
        self._context.send(
            Evaluated(
                number=candidate.number,
                generation=candidate.generation,
                outcome=candidate.outcome.value,
                score=candidate.score,
                pipeline=summarize(candidate.final_pipeline),
                seconds=candidate.fit_seconds,
                error=candidate.error,
                known=known,
            )
        )

    def tick(self, progress: SearchProgress, *, last: bool = False) -> None:
        """Report progress and leaderboard, if it is time or the last time."""
        self._context.channel.beat()
        now = time.monotonic()
        if last or now - self._progress_at >= _PROGRESS_SECONDS:
            self._progress_at = now
            self._context.send(Progressed(progress=self._progress(progress)))
        if now - self._board_at >= _BOARD_SECONDS and len(self._candidates) > self._shown:
            self._board_at = now
            self._shown = len(self._candidates)
            self.show(self._candidates)

    def show(self, candidates: Sequence[Candidate]) -> None:
        """Report the leaderboard and the front."""
        board = leaderboard(candidates, self._run.output.leaderboard_top_k)
        if not board:
            return
        best = max((c for c in candidates if c.score is not None), key=lambda c: (c.score, -c.number))
        self._context.send(
            BoardChanged(
                best=best_of(best, self._baseline),
                leaderboard=tuple(board),
                pareto_front=tuple(pareto_front(candidates, limit=_MOST_POINTS)),
            )
        )

    def _progress(self, progress: SearchProgress) -> Progress:
        return Progress(
            generation=progress.generation,
            generations=self._run.budget.generations,
            population_size=self._run.budget.population_size,
            evaluated=progress.evaluated,
            failed=progress.failed,
            timed_out=progress.timed_out,
            best_score=score_text(progress.best_score),
            elapsed_seconds=int(progress.elapsed_seconds),
            remaining_seconds=int(progress.remaining_seconds),
            updated_at=datetime.now(UTC),
        )
