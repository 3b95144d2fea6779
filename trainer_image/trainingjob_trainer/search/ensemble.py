"""The ensemble of a run: the best candidates, weighted, if they score better together than the best of them.

Weights are chosen by what the candidates predicted for rows that they had not learned from.
The greedy selection with replacement is that of Caruana, Niculescu-Mizil, Crew and Ksikes, "Ensemble
selection from libraries of models" (ICML 2004), with sorted initialisation.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainingjob_trainer.search.candidate import ENSEMBLE, Candidate, Outcome
from trainingjob_trainer.search.costs import FinalFits, growth_of
from trainingjob_trainer.search.limits import quiet
from trainingjob_trainer.search.predictions import Predictions, PredictionStore, replay
from trainingjob_trainer.search.store import StoreRef, draw_rows, load_whole_folds, load_work
from trainingjob_trainer.search_space.pipeline import encoding_of, ensemble_of, estimator_of, fingerprint

MOST_MEMBERS = 8
_MOST_CANDIDATES = 20
_MOST_OF_A_FAMILY = 5
"""Of the same estimator: members that err in other rows gain the most."""
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
        How often each candidate is in the bag; 0 for those that are not members.
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
    tick
        Called before each score is taken; what it raises ends the selection.
    """
    folds = range(len(truth))
    if len(folds) < _FEWEST_FOLDS or len(predictions) < 2:  # noqa: PLR2004
        return None

    def affordable(members: NDArray[np.bool_]) -> bool:
        return int(members.sum()) <= MOST_MEMBERS and float(np.dot(members, costs)) <= most_cost

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


def wins(fold_scores: Sequence[float], candidates: Sequence[Sequence[float]]) -> bool:
    """Return whether an ensemble scores better than the best candidate by more than the folds vary.

    No fold has part in the weights that the ensemble is scored with there, so none may have part in the
    choice of its rival either: the best of many candidates owes a part of its score to luck with the folds.

    Parameters
    ----------
    fold_scores
        Of the ensemble.
    candidates
        Fold scores of each candidate.
    """
    scores = np.asarray(candidates)
    ahead = np.subtract(fold_scores, _rival(scores))
    error = float(ahead.std(ddof=1)) / np.sqrt(len(ahead))
    return bool(ahead.mean() > max(0.0, _ERRORS * error))


def _rival(scores: Array) -> Array:
    """Return for each fold the score of the candidate that is the best on all other folds."""
    elsewhere = scores.sum(axis=1, keepdims=True) - scores
    return np.asarray(scores[elsewhere.argmax(axis=0), np.arange(scores.shape[1])])


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Ensembles:
    """Builds an ensemble from kept predictions.

    Parameters
    ----------
    classes
        Labels in sorted order; None where numbers are predicted.
    """

    store: PredictionStore
    ref: StoreRef
    classes: Sequence[Any] | None

    def build(
        self,
        ranked: Sequence[Candidate],
        *,
        whole: bool,
        final: FinalFits,
        remaining: Callable[[], float],
        elapsed_seconds: float,
        number: int,
        tick: Callable[[], None],
    ) -> Candidate | None:
        """Return the ensemble as a candidate, or None if it does not win or there is no time for it.

        Parameters
        ----------
        ranked
            Candidates that were scored on the same rows, best first. Those without predictions, as of an
            earlier attempt on another machine, are not members.
        whole
            Whether they were scored on the last of the whole folds, and carry what they predicted there.
        remaining
            Returns the seconds that are left for the selection and the fits.

        Raises
        ------
        TimeoutError
            If the selection takes too long.
        """
        work = load_work(self.ref)
        folds = load_whole_folds(self.ref) if whole else work.folds
        truth = [work.target[test] for _, test in folds[-len(ranked[0].fold_scores) :]]
        chosen, predictions = self._candidates(ranked, truth, whole=whole)
        end = time.monotonic() + final.selection_seconds
        costs = [
            final.estimate.grown(candidate.fold_seconds, candidate.train_rows, growth_of(candidate.pipeline))
            for candidate in chosen
        ]

        def watch() -> None:
            tick()
            if time.monotonic() > end:
                raise TimeoutError(f"the selection took longer than {final.selection_seconds:.1f} s")

        found = blend(
            predictions,
            truth,
            score_of_average(work.scorer, self.classes),
            costs=costs,
            most_cost=final.affordable(
                remaining() - final.selection_seconds,
                len({encoding_of(candidate.pipeline) for candidate in chosen}),
            ),
            tick=watch,
        )
        if found is None or not wins(found.fold_scores, [candidate.fold_scores for candidate in ranked]):
            return None
        return self._candidate(chosen, found, elapsed_seconds=elapsed_seconds, number=number)

    def _candidates(
        self, ranked: Sequence[Candidate], truth: Sequence[NDArray[Any]], *, whole: bool
    ) -> tuple[list[Candidate], list[Predictions]]:
        """Return the best candidates that have predictions and differ in them, a few of each estimator."""
        chosen: list[Candidate] = []
        found: list[Predictions] = []
        families: Counter[str] = Counter()
        for candidate in ranked:
            family = estimator_of(candidate.pipeline)
            if families[family] == _MOST_OF_A_FAMILY or len(chosen) == _MOST_CANDIDATES:
                continue
            predictions = candidate.predictions if whole else self.store.load(candidate.key)
            if predictions is None or not self._fit(predictions, truth):
                continue
            if any(all(map(np.array_equal, predictions, other)) for other in found):
                continue
            families[family] += 1
            chosen.append(candidate)
            found.append(predictions)
        return chosen, found

    def _fit(self, predictions: Predictions, truth: Sequence[NDArray[Any]]) -> bool:
        """Whether there is a finite prediction for each row and each class."""
        columns = () if self.classes is None else (len(self.classes),)
        return [fold.shape for fold in predictions] == [(len(labels), *columns) for labels in truth] and all(
            np.isfinite(fold).all() for fold in predictions
        )

    def _candidate(
        self, chosen: Sequence[Candidate], found: Blend, *, elapsed_seconds: float, number: int
    ) -> Candidate:
        members = [chosen[position] for position in found.members]
        weights = [found.weights[position] for position in found.members]
        pipeline = ensemble_of(
            [member.final_pipeline for member in members], weights, classification=self.classes is not None
        )
        sizes = [member.complexity for member in members if member.complexity is not None]
        return Candidate(
            number=number,
            key=fingerprint(pipeline),
            origin=ENSEMBLE,
            generation=max(member.generation for member in members),
            pipeline=pipeline,
            outcome=Outcome.OK,
            score=float(np.mean(found.fold_scores)),
            fold_scores=found.fold_scores,
            train_rows=members[0].train_rows,
            test_rows=members[0].test_rows,
            fit_seconds=round(sum(member.fit_seconds for member in members), 4),
            score_seconds=round(sum(member.score_seconds for member in members), 4),
            complexity=round(sum(sizes), 3) if len(sizes) == len(members) else None,
            elapsed_seconds=round(elapsed_seconds, 3),
            members=tuple(member.key for member in members),
        )
