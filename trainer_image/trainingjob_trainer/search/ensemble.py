"""Chooses the weights of an ensemble by what its members predicted for rows that they had not learned from.

The greedy selection with replacement is that of Caruana, Niculescu-Mizil, Crew and Ksikes, "Ensemble
selection from libraries of models" (ICML 2004), with sorted initialisation.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainingjob_trainer.search.interval import replay
from trainingjob_trainer.search.limits import quiet
from trainingjob_trainer.search.store import draw_rows

__all__ = ["MOST_MEMBERS", "Blend", "blend", "score_of_average", "wins"]

MOST_MEMBERS = 8
_MOST_ROUNDS = 40
_SHORT_LIST = 8
"""Candidates that are looked at again: those that were the best additions a round before."""
_PATIENCE = 2
"""Additions in a row without a better score that end the selection."""
_MOST_ROWS = 2_000
"""Of all folds together, on which weights are chosen: a score takes milliseconds, and many are taken."""
_FEWEST_FOLDS = 2
_ERRORS = 0.25
"""Standard errors by which an ensemble must be ahead; docs/design/0010 has the rules that were compared."""

Array = NDArray[Any]
Counts = NDArray[np.intp]
ScoreOf = Callable[[Array, Array], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Blend:
    """A weighted average of predictions.

    Parameters
    ----------
    weights
        How often each candidate is in the bag; 0 for those that are no members.
    fold_scores
        The score of each fold with weights that were chosen on all other folds.
    """

    weights: tuple[int, ...]
    fold_scores: tuple[float, ...]

    @property
    def members(self) -> tuple[int, ...]:
        """Positions of the members, the largest weight first."""
        found = (position for position, weight in enumerate(self.weights) if weight > 0)
        return tuple(sorted(found, key=lambda position: (-self.weights[position], position)))


def score_of_average(scorer: Any, classes: Sequence[Any] | None) -> ScoreOf:
    """Return ``score(average, truth)``: what a voting ensemble scores that answers with `average`.

    Parameters
    ----------
    classes
        Labels in the order of the columns of `average`; None where it holds predicted numbers.
    """
    labels = None if classes is None else np.asarray(classes)

    def score(average: Array, truth: Array) -> float:
        responses = {"predict": average}
        if labels is not None:
            # Probabilities that were kept as float32 sum to 1 in its precision alone.
            shares = average / average.sum(axis=1, keepdims=True)
            responses = {"predict": labels[shares.argmax(axis=1)], "predict_proba": shares}
        with quiet():
            return replay(responses, scorer, classes)(np.arange(len(truth)), truth)

    return score


def blend(
    predictions: Sequence[Sequence[Array]],
    truth: Sequence[Array],
    score: ScoreOf,
    *,
    costs: Sequence[float],
    most_cost: float,
    most_members: int = MOST_MEMBERS,
    tick: Callable[[], None] = lambda: None,
) -> Blend | None:
    """Return the best average of some candidates, or None if that is a single candidate.

    The fold scores compare with those of the candidates, since no fold has part in the weights that it is
    scored with. The weights that are returned are chosen on all folds.

    Parameters
    ----------
    predictions
        Of each candidate, the best one first: for each fold an array of shape (n_test,) or
        (n_test, n_classes) of predictions for its test rows.
    truth
        Target of each fold's test rows.
    score
        ``score(average, truth)``, greater is better.
    costs, most_cost
        What each candidate costs as a member, and what all members may cost together.
    most_members
        Candidates with a weight at most.
    tick
        Called before each score is taken; what it raises ends the selection.
    """
    folds = range(len(truth))
    if len(folds) < _FEWEST_FOLDS or len(predictions) < 2 or most_members < 2:  # noqa: PLR2004
        return None

    def affordable(members: NDArray[np.bool_]) -> bool:
        return int(members.sum()) <= most_members and float(np.dot(members, costs)) <= most_cost

    some_rows = _some_rows(truth, classified=predictions[0][0].ndim > 1)

    def select(chosen: Iterable[int]) -> Counts:
        rows = {fold: some_rows[fold] for fold in chosen}
        some = [np.concatenate([predicted[f][r] for f, r in rows.items()]) for predicted in predictions]
        known = np.concatenate([truth[f][r] for f, r in rows.items()])

        def scored(average: Array) -> float:
            tick()
            value = score(average, known)
            return value if np.isfinite(value) else -np.inf

        return _fill([predicted.astype(np.float64) for predicted in some], scored, affordable)

    final = select(folds)
    if np.count_nonzero(final) < 2:  # noqa: PLR2004
        return None
    fold_scores = []
    for fold in folds:
        counts = select(other for other in folds if other != fold)
        average = np.average([predicted[fold] for predicted in predictions], axis=0, weights=counts)
        fold_scores.append(float(score(average, truth[fold])))
    return Blend(weights=tuple(final.tolist()), fold_scores=tuple(fold_scores))


def wins(fold_scores: Sequence[float], best: Sequence[float]) -> bool:
    """Return whether an ensemble scores better than the best candidate by more than the folds vary."""
    ahead = np.subtract(fold_scores, best)
    error = float(ahead.std(ddof=1)) / np.sqrt(len(ahead))
    return bool(ahead.mean() > max(0.0, _ERRORS * error))


def _some_rows(truth: Sequence[Array], *, classified: bool) -> list[NDArray[np.intp]]:
    """Return rows of each fold: all, or drawn ones of each class, without which some scores are undefined."""
    share = min(1.0, _MOST_ROWS / sum(map(len, truth)))
    rng = np.random.default_rng(0)
    return [
        draw_rows(np.arange(len(known)), known, math.ceil(share * len(known)), rng, stratify=classified)
        for known in truth
    ]


def _fill(
    predictions: Sequence[Array],
    score: Callable[[Array], float],
    affordable: Callable[[NDArray[np.bool_]], bool],
) -> Counts:
    """Return how often each candidate is in the best bag that the greedy selection fills."""
    everyone = np.arange(len(predictions))
    counts = np.zeros(len(predictions), dtype=np.intp)
    total = np.zeros_like(predictions[0])
    best, best_counts = -np.inf, counts
    # Sorted initialisation: as many of the best candidates as score best together.
    order = sorted(range(len(predictions)), key=lambda p: -score(predictions[p]))
    for position in order:
        if not affordable((counts > 0) | (everyone == position)):
            continue
        total = total + predictions[position]
        counts = counts + (everyone == position)
        if (value := score(total / counts.sum())) > best:
            best, best_counts = value, counts
    counts = best_counts
    total = np.sum([predicted for predicted, times in zip(predictions, counts, strict=True) if times], axis=0)
    since, near = 0, order
    while 0 < counts.sum() < _MOST_ROUNDS and since < _PATIENCE:
        near = [p for p in near if affordable((counts > 0) | (everyone == p))]
        values = {p: score((total + predictions[p]) / (counts.sum() + 1)) for p in near}
        near = sorted(near, key=lambda p: -values[p])[:_SHORT_LIST]
        counts = counts + (everyone == near[0])
        total = total + predictions[near[0]]
        since += 1
        if values[near[0]] > best:
            best, best_counts, since = values[near[0]], counts, 0
    return best_counts
