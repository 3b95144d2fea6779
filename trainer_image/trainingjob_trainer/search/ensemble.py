"""Chooses the weights of an ensemble by what its members predicted for rows that they had not learned from.

The greedy selection with replacement is that of Caruana, Niculescu-Mizil, Crew and Ksikes, "Ensemble
selection from libraries of models" (ICML 2004), with sorted initialisation.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainingjob_trainer.search.interval import replay

__all__ = ["Blend", "blend", "score_of_average"]

_MOST_ROUNDS = 40
_PATIENCE = 3
"""Additions in a row without a better score that end the selection."""
_MOST_ROWS = 4_000
_FEWEST_FOLDS = 2

Array = NDArray[Any]
ScoreOf = Callable[[Array, Array], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Blend:
    """A weighted average of predictions.

    Parameters
    ----------
    weights
        One a candidate, positive for members and 0 for all others; their sum is 1.
    fold_scores
        The score of each fold with weights that were chosen on all other folds.
    """

    weights: tuple[float, ...]
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
            responses = {"predict": labels[average.argmax(axis=1)], "predict_proba": average}
        return replay(responses, scorer, classes)(np.arange(len(truth)), truth)

    return score


def blend(
    predictions: Sequence[Sequence[Array]],
    truth: Sequence[Array],
    score: ScoreOf,
    *,
    most_members: int,
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
    most_members
        Candidates with a weight at most.
    tick
        Called before each score is taken; what it raises ends the selection.
    """
    folds = range(len(truth))
    if len(folds) < _FEWEST_FOLDS or len(predictions) < 2 or most_members < 2:  # noqa: PLR2004
        return None

    def select(chosen: Iterable[int]) -> NDArray[np.float64]:
        rows = {fold: _some_rows(len(truth[fold]), truth) for fold in chosen}
        some = [np.concatenate([one[f][r] for f, r in rows.items()]) for one in predictions]
        known = np.concatenate([truth[f][r] for f, r in rows.items()])

        def scored(average: Array) -> float:
            tick()
            value = score(average, known)
            return value if np.isfinite(value) else -np.inf

        return _weights([one.astype(np.float64) for one in some], scored, most_members)

    final = select(folds)
    if np.count_nonzero(final) < 2:  # noqa: PLR2004
        return None
    fold_scores = []
    for fold in folds:
        weights = select(other for other in folds if other != fold)
        average = sum(w * one[fold].astype(np.float64) for w, one in zip(weights, predictions, strict=True))
        fold_scores.append(float(score(np.asarray(average), truth[fold])))
    return Blend(weights=tuple(map(float, final)), fold_scores=tuple(fold_scores))


def _some_rows(rows: int, truth: Sequence[Array]) -> slice:
    """Return every row of a fold, or evenly spaced ones where the folds have too many."""
    total = sum(len(one) for one in truth)
    return slice(0, rows, -(-total // _MOST_ROWS))


def _weights(
    predictions: Sequence[Array], score: Callable[[Array], float], most_members: int
) -> NDArray[np.float64]:
    """Return the share of each candidate in the best bag that the greedy selection fills."""
    counts = np.zeros(len(predictions), dtype=np.intp)
    total = np.zeros_like(predictions[0])
    best, best_counts = -np.inf, counts
    # Sorted initialisation: as many of the best candidates as score best together.
    order = sorted(range(len(predictions)), key=lambda p: -score(predictions[p]))
    for size, position in enumerate(order[:most_members], 1):
        total = total + predictions[position]
        counts = counts.copy()
        counts[position] = 1
        if (value := score(total / size)) > best:
            best, best_counts = value, counts
    counts = best_counts.copy()
    total = np.sum([one for one, times in zip(predictions, counts, strict=True) if times], axis=0)
    since = 0
    while counts.sum() < _MOST_ROUNDS and since < _PATIENCE:
        full = np.count_nonzero(counts) >= most_members
        allowed = [p for p in order if counts[p] or not full]
        size = counts.sum() + 1
        values = [score((total + predictions[position]) / size) for position in allowed]
        counts = counts.copy()
        position = allowed[int(np.argmax(values))]
        counts[position] += 1
        total = total + predictions[position]
        since += 1
        if max(values) > best:
            best, best_counts, since = max(values), counts, 0
    return np.asarray(best_counts / best_counts.sum(), dtype=np.float64)
