"""The best of a search, scored once more on all rows of the folds where the search has seen only some."""

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from trainingjob_trainer.search.candidate import Candidate, rank
from trainingjob_trainer.search.fitting import run_tasks
from trainingjob_trainer.search.inline import Pool
from trainingjob_trainer.search.limits import LimitExceeded, time_limit
from trainingjob_trainer.search.sampling import fold_rows
from trainingjob_trainer.search.store import StoreRef, load_whole_folds, load_work
from trainingjob_trainer.search.taskkit import MIN_USEFUL_SECONDS, TaskLimit, let_the_last_answer_go, quiet
from trainingjob_trainer.search.tasks import encode_rows
from trainingjob_trainer.search_space.pipeline_spec import build

__all__ = [
    "MOST_FINALISTS",
    "FinalistPlan",
    "WholeScore",
    "contenders",
    "score_finalists",
    "score_whole_fold",
]

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
