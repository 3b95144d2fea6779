"""The ensemble of a run: built of its best candidates, if it scores better than the best of them."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainingjob_trainer.search.candidate import ENSEMBLE, Candidate, Outcome
from trainingjob_trainer.search.costs import FinalFits, growth_of
from trainingjob_trainer.search.ensemble import Blend, blend, score_of_average, wins
from trainingjob_trainer.search.predictions import Predictions, PredictionStore
from trainingjob_trainer.search.store import StoreRef, load_whole_folds, load_work
from trainingjob_trainer.search_space.pipeline import encoding_of, estimator_of, fingerprint
from trainingjob_trainer.search_space.voters import ensemble_of

__all__ = ["Ensembles"]

_MOST_CANDIDATES = 20
_MOST_OF_A_FAMILY = 5
"""Of the same estimator: members that err in other rows gain the most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ensembles:
    """Builds an ensemble from kept predictions.

    Parameters
    ----------
    store
        Predictions of the best candidates.
    ref
        The table.
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
            earlier attempt on another machine, are no members.
        whole
            Whether they were scored on the last of the whole folds, and carry what they predicted there.
        final
            What fits are expected to take.
        remaining
            Returns the seconds that are left for the selection and the fits.
        elapsed_seconds, number
            Of the candidate.
        tick
            Called many times a second.

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
        if found is None or not wins(found.fold_scores, ranked[0].fold_scores):
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
