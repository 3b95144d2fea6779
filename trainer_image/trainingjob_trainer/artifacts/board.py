"""Ranking of the evaluated pipelines: the leaderboard and the Pareto front of score and complexity."""

import math
from collections.abc import Iterable, Sequence
from statistics import pstdev
from typing import Any

from trainingjob_api import LeaderboardEntry, ParetoPoint, format_score
from trainingjob_trainer.search.candidate import Candidate, Outcome
from trainingjob_trainer.search_space.pipeline import estimator_of, summarize

_MAX_RANK = 1_000


def ranked(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Return the valid candidates, best first, whatever the order of `candidates`.

    The order is score, then the smaller complexity, then the earlier number. A pipeline that was evaluated
    twice appears once, with its better score.
    """
    best: dict[str, Candidate] = {}
    valid = (c for c in candidates if c.outcome is Outcome.OK and math.isfinite(_number(c.score)))
    for candidate in sorted(valid, key=lambda c: (-_number(c.score), _complexity(c), c.number)):
        best.setdefault(candidate.key, candidate)
    return list(best.values())


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _complexity(candidate: Candidate) -> float:
    size = _number(candidate.complexity)
    return size if math.isfinite(size) else math.inf


def _text(value: float | None) -> str | None:
    return format_score(_number(value)) if math.isfinite(_number(value)) else None


def score_std(candidate: Candidate) -> float | None:
    """Return the population standard deviation over the folds, or None below two folds."""
    folds = [score for score in candidate.fold_scores if math.isfinite(score)]
    return pstdev(folds) if len(folds) > 1 else None


def with_finalists(candidates: Iterable[Candidate], finalists: Sequence[Candidate]) -> list[Candidate]:
    """Return the valid candidates, best first; those that were scored on whole folds precede the others."""
    head = ranked(finalists)
    known = {candidate.key for candidate in head}
    return [*head, *(candidate for candidate in ranked(candidates) if candidate.key not in known)]


def fold_similar(rows: Iterable[Candidate], *, shipped: str | None = None) -> list[tuple[Candidate, int]]:
    """Return the lines of a leaderboard: the first of similar candidates, and how many more there are.

    Candidates are similar if their estimator, the number of rows and the score as it is shown are equal:
    they differ in hyperparameters or steps that have no effect on the score. The candidate whose key is
    `shipped` always has its own line.
    """
    lines: dict[tuple[Any, ...], list[Candidate]] = {}
    for row in rows:
        group: tuple[Any, ...] = (estimator_of(row.pipeline), row.train_rows, row.test_rows, _text(row.score))
        if row.key == shipped and group in lines:
            group = (*group, shipped)
        lines.setdefault(group, []).append(row)
    return [(first, len(others)) for first, *others in lines.values()]


def top_lines(
    rows: Iterable[Candidate], most: int, *, shipped: str | None = None
) -> list[tuple[int, Candidate, int]]:
    """Return the first lines of a leaderboard as `fold_similar` makes them, with their ranks.

    The candidate whose key is `shipped` takes the last place if its own is further down.
    """
    folded = enumerate(fold_similar(rows, shipped=shipped), start=1)
    lines = [(min(rank, _MAX_RANK), *line) for rank, line in folded]
    below = [line for line in lines[most:] if line[1].key == shipped]
    return [*lines[: most - len(below)], *below]


def leaderboard(
    candidates: Sequence[Candidate],
    top_k: int,
    *,
    finalists: Sequence[Candidate] = (),
    shipped: str | None = None,
) -> list[LeaderboardEntry]:
    """Return the `top_k` best lines as entries of the status; *finalists* were scored on whole folds."""
    rows = with_finalists(candidates, finalists)
    return [
        LeaderboardEntry(
            rank=rank,
            pipeline=summarize(row.final_pipeline),
            score=format_score(_number(row.score)),
            score_std=_text(score_std(row)),
            train_rows=row.train_rows,
            test_rows=row.test_rows,
            complexity=_text(row.complexity),
            fit_seconds=_text(row.fit_seconds),
            origin=row.origin[:64],
            key=row.key,
            similar=similar or None,
        )
        for rank, row, similar in top_lines(rows, min(top_k, _MAX_RANK), shipped=shipped)
    ]


def front_of(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Return the candidates that no other beats in both score and complexity, best score first.

    Of candidates that are equal in both, the first in rank represents the others. Candidates of unknown
    complexity are left out.
    """
    front: list[Candidate] = []
    for candidate in ranked(candidates):
        size = _complexity(candidate)
        if math.isfinite(size) and (not front or size < _complexity(front[-1])):
            front.append(candidate)
    return front


def pareto_front(candidates: Sequence[Candidate], *, limit: int | None = None) -> list[ParetoPoint]:
    """Return the `limit` best points of the Pareto front as entries of the status, best score first."""
    return [
        ParetoPoint(
            score=format_score(_number(point.score)),
            train_rows=point.train_rows,
            test_rows=point.test_rows,
            complexity=format_score(_number(point.complexity)),
            pipeline=summarize(point.final_pipeline),
            key=point.key,
        )
        for point in front_of(candidates)[:limit]
    ]
