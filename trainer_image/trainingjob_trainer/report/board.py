"""Ranking the evaluated pipelines: the leaderboard and the front of score against complexity."""

import math
from collections.abc import Callable, Iterable, Sequence
from statistics import pstdev
from typing import Any

from trainingjob_api import LeaderboardEntry, ParetoPoint, format_score
from trainingjob_trainer.search.candidate import Candidate, Outcome

__all__ = ["front_of", "leaderboard", "one_line", "pareto_front", "ranked", "score_std", "with_finalists"]

Summarize = Callable[[dict[str, Any]], str]
_MAX_RANK = 1_000


def one_line(pipeline: dict[str, Any]) -> str:
    """Return a pipeline as one line of at most 300 characters."""
    # The search spaces bring TPOT along, which whoever only rebuilds a report need not wait for.
    from trainingjob_trainer.search_space.pipeline import summarize  # noqa: PLC0415

    return str(summarize(pipeline))


def ranked(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Return the valid candidates, best first.

    The order is score, then the smaller complexity, then the earlier number; a pipeline that was evaluated
    twice appears once, with its better score. It does not depend on the order of `candidates`.
    """
    valid = [c for c in candidates if c.outcome is Outcome.OK and _finite(c.score)]
    seen: set[str] = set()
    order: list[Candidate] = []
    for candidate in sorted(valid, key=_rank_key):
        if candidate.key not in seen:
            seen.add(candidate.key)
            order.append(candidate)
    return order


def _rank_key(candidate: Candidate) -> tuple[float, float, int]:
    return (-_number(candidate.score), _complexity(candidate), candidate.number)


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _number(value: float | None) -> float:
    return float(value) if value is not None else math.nan


def _complexity(candidate: Candidate) -> float:
    return _number(candidate.complexity) if _finite(candidate.complexity) else math.inf


def score_std(candidate: Candidate) -> float | None:
    """Return the standard deviation over the folds (population formula), or None below two folds."""
    folds = [score for score in candidate.fold_scores if math.isfinite(score)]
    return pstdev(folds) if len(folds) > 1 else None


def with_finalists(candidates: Iterable[Candidate], finalists: Sequence[Candidate]) -> list[Candidate]:
    """Return the valid candidates, best first: those scored on all rows go before the others."""
    head = ranked(finalists)
    known = {one.key for one in head}
    return [*head, *(one for one in ranked(candidates) if one.key not in known)]


def leaderboard(
    candidates: Sequence[Candidate],
    top_k: int,
    *,
    finalists: Sequence[Candidate] = (),
    summarize: Summarize = one_line,
) -> list[LeaderboardEntry]:
    """Return the best pipelines, best first.

    Parameters
    ----------
    candidates
        What was evaluated, in any order.
    top_k
        Most rows, at least 1.
    finalists
        Those of them that were scored on all rows, too, with these scores.
    summarize
        Makes one line of a pipeline.
    """
    rows = with_finalists(candidates, finalists)[: min(top_k, _MAX_RANK)]
    return [
        LeaderboardEntry(
            rank=rank,
            pipeline=summarize(row.pipeline),
            score=format_score(_number(row.score)),
            score_std=_text(score_std(row)),
            train_rows=row.train_rows,
            test_rows=row.test_rows,
            complexity=_text(row.complexity),
            fit_seconds=_text(row.fit_seconds),
            origin=row.origin[:64],
            key=row.key,
        )
        for rank, row in enumerate(rows, start=1)
    ]


def _text(value: float | None) -> str | None:
    return format_score(_number(value)) if _finite(value) else None


def front_of(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Return the candidates that no other beats in both score and complexity, best score first.

    Of candidates that are equal in both, the first in rank stands for all. Candidates of unknown
    complexity are left out. The first one is the best-ranked candidate of known complexity.
    """
    front: list[Candidate] = []
    for candidate in ranked(candidates):
        size = _complexity(candidate)
        if math.isfinite(size) and (not front or size < _complexity(front[-1])):
            front.append(candidate)
    return front


def pareto_front(
    candidates: Sequence[Candidate], *, summarize: Summarize = one_line, limit: int | None = None
) -> list[ParetoPoint]:
    """Return the front of score (up) against complexity in KiB (down), best score first.

    Parameters
    ----------
    candidates
        What was evaluated, in any order.
    summarize
        Makes one line of a pipeline.
    limit
        Most points; the best ones are kept.
    """
    return [
        ParetoPoint(
            score=format_score(_number(point.score)),
            train_rows=point.train_rows,
            test_rows=point.test_rows,
            complexity=format_score(_number(point.complexity)),
            pipeline=summarize(point.pipeline),
            key=point.key,
        )
        for point in front_of(candidates)[:limit]
    ]
