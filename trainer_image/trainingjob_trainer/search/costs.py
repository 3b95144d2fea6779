"""Estimates of the time of fits, and so of the work at the end of a search."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from trainingjob_trainer.search.candidate import Candidate
from trainingjob_trainer.search_space.pipeline import encoding_of, estimator_of

MOST_FINALISTS = 6
"""Pipelines that are scored on all rows of a large table, beside the baseline."""
_MOST_REPEATED = 12
_REPEATS = 2
_LEAST_GROWTH = 0.4
_SAFETY = 1.5
_MEASURED_SAFETY = 1.2
_OVERHEAD_SECONDS = 1.5
_MAX_SHARE = 0.4
_ENSEMBLE_SHARE = 0.15
_SELECTION_SHARE = 0.05
_FEWEST_WHOLE_FOLDS = 2
_FINALISTS_SHARE = 0.35
_FINALISTS_SAFETY = 1.3
_MOST_OF_AN_ESTIMATOR = 3
_FEWER = 1.5
"""Times the rows of a fold, below which fewer rows than all save no time worth having."""
GROWTH: Final = 1.3
"""Between the linear growth of most estimators and the quadratic growth of kernel methods."""
_FAMILIES: Final[Mapping[str, float]] = {
    "CatBoost": 0.9,
    "DecisionTree": 1.25,
    "ElasticNet": 1.0,
    "ExtraTrees": 1.1,
    "HistGradientBoosting": 0.8,
    "Lasso": 1.0,
    "LGBM": 0.7,
    "LinearRegression": 1.0,
    "LinearSV": 1.5,
    "LogisticRegression": 1.0,
    "MLP": 1.0,
    "RandomForest": 1.25,
    "Ridge": 1.0,
    "XGB": 0.7,
}
"""Exponent of the growth by the beginning of a class's name, rounded up from what was measured."""


def growth_of(pipeline: Mapping[str, Any]) -> float:
    """Return the exponent with which the time of a pipeline's fit grows with the rows."""
    name = estimator_of(pipeline)
    return next((growth for family, growth in _FAMILIES.items() if name.startswith(family)), GROWTH)


@dataclass(frozen=True, slots=True, kw_only=True)
class FitEstimate:
    """Expected time of a fit on all rows, estimated from earlier fits.

    Parameters
    ----------
    encode_seconds
        Seconds that the baseline's fit on all rows took, from the raw table to the dumped model: the encoder
        takes most of them.
    all_rows, fold_rows
        Rows of the table and training rows of a fold.
    """

    encode_seconds: float
    all_rows: int
    fold_rows: int

    @property
    def ratio(self) -> float:
        """Ratio of the rows of the fit to the training rows of a fold."""
        return max(1.0, self.all_rows / max(self.fold_rows, 1))

    def seconds(self, fold_seconds: float, growth: float = GROWTH) -> float:
        """Return the expected seconds of a full fit for a pipeline that took `fold_seconds` on a fold.

        Time is taken to grow with the number of rows to the power of `growth` (`costs.growth_of`).
        """
        return self.encode_seconds + fold_seconds * float(self.ratio**growth)

    def grown(self, seconds: float, train_rows: int | None, growth: float) -> float:
        """Return the expected seconds on all rows, without the encoder, of what took `seconds` on some."""
        return seconds * float(max(1.0, self.all_rows / (train_rows or self.fold_rows)) ** growth)

    def seconds_on(self, rows: int, fold_seconds: float, train_rows: int | None, growth: float) -> float:
        """Return the expected seconds of a fit on some rows, of what took `fold_seconds` on `train_rows`."""
        share = rows / (train_rows or self.fold_rows)
        return self.encode_seconds * rows / self.all_rows + fold_seconds * float(share**growth)

    def least_seconds(self, fold_seconds: float, train_rows: int | None = None) -> float:
        """Return the seconds if time grows slowly, with the number of rows to the power of 0.4.

        `train_rows` are those that took `fold_seconds`, by default those of a fold. From 8,000 to 100,000
        rows the time of boosted trees grew with a power of 0.38 (xgboost) to 0.63 (scikit-learn).
        """
        return self.encode_seconds + self.grown(fold_seconds, train_rows, _LEAST_GROWTH)


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalFits:
    """Time of the final fits: the model that ships, on all rows, and its twin without the hold-out rows.

    Parameters
    ----------
    workers
        Workers that can fit at the same time.
    """

    estimate: FitEstimate
    workers: int
    budget_seconds: float

    @property
    def rounds(self) -> int:
        """Number of fits that run one after the other."""
        return 1 if self.workers > 1 else 2

    def least(self, fold_seconds: float, train_rows: int | None = None) -> float:
        """Return the seconds that both fits need at the very least."""
        return self.rounds * self.estimate.least_seconds(fold_seconds, train_rows)

    def on_fewer_rows(self, candidate: Candidate, rows: int) -> float:
        """Return the seconds to allow both fits of a candidate on some of the rows."""
        growth = growth_of(candidate.pipeline)
        one_fit = self.estimate.seconds_on(rows, candidate.fold_seconds, candidate.train_rows, growth)
        return _SAFETY * self.rounds * one_fit + _OVERHEAD_SECONDS

    def most_rows(self, candidate: Candidate, seconds: float) -> int | None:
        """Return the most rows, halved again and again, on which both fits are expected to end in time.

        A fold's rows are the fewest. None if even they are too many, or a fold has nearly all rows.
        """
        rows = self.estimate.all_rows
        while rows > _FEWER * self.estimate.fold_rows:
            rows = max(rows // 2, self.estimate.fold_rows)
            if self.on_fewer_rows(candidate, rows) <= seconds:
                return rows
        return None

    def expected(self, fold_seconds: float, growth: float = GROWTH) -> float:
        """Return the expected seconds of both fits."""
        return self.rounds * self.estimate.seconds(fold_seconds, growth)

    def reserve(self, fold_seconds: float, growth: float = GROWTH) -> float:
        """Return the seconds to keep: 1.2 times what was measured, and 1.5 times what is expected beyond.

        That is at most 40 % of the budget, since the growth is a guess, but never less than both fits need.
        """
        measured, expected = self.expected(0.0), self.expected(fold_seconds, growth)
        kept = _MEASURED_SAFETY * measured + _SAFETY * (expected - measured)
        kept = min(kept, _MAX_SHARE * self.budget_seconds)
        return max(kept, self.least(fold_seconds)) + _OVERHEAD_SECONDS

    @property
    def selection_seconds(self) -> float:
        """The seconds that choosing the members of an ensemble may take."""
        return _SELECTION_SHARE * self.budget_seconds

    def affordable(self, seconds: float, encodings: int = 1) -> float:
        """Return the seconds that a fit of all members of an ensemble may be expected to take, in so many."""
        measured = _MEASURED_SAFETY * encodings * self.expected(0.0)
        return max(0.0, (seconds - measured - _OVERHEAD_SECONDS) / (_SAFETY * self.rounds))

    def ensemble_reserve(self, fits: Sequence[float]) -> float:
        """Return the seconds to keep for an ensemble of pipelines, given what each takes on all rows.

        The selection and the fits, without what their encoder takes, are kept 15 % of the budget at most.
        """
        kept = self.selection_seconds + _SAFETY * self.rounds * sum(fits)
        return self.reserve(0.0) + min(kept, _ENSEMBLE_SHARE * self.budget_seconds)

    def useful_evaluation(self, remaining_seconds: float, folds: int) -> float:
        """Return the seconds after which an evaluation is too slow for its pipeline to be fitted in time."""
        free = remaining_seconds - self.least(0.0) - _OVERHEAD_SECONDS
        growth = float(self.estimate.ratio**_LEAST_GROWTH)
        return max(0.0, free) * folds / (folds + self.rounds * growth)


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalistPlan:
    """Time of scoring on whole folds, and the number of finalists that fit into it.

    Parameters
    ----------
    baseline
        Is scored too, since finalists are compared with it.
    encode_seconds
        Of one encoder on all rows of the table.
    ratio
        How many times more training rows a whole fold has.
    folds, workers
        Folds, and how many of them are scored at the same time.
    budget_seconds
        The whole budget; at most 35 % of it go into this.
    repeated
        Whether the folds are those of a small table, which is cut twice again: there are more finalists, and
        none before so many candidates have been compared that luck with the folds decides among them.
    """

    baseline: Candidate
    encode_seconds: float
    ratio: float
    folds: int
    workers: int
    budget_seconds: float
    repeated: bool = False

    @property
    def most(self) -> int:
        """How many finalists there are at most."""
        return _MOST_REPEATED if self.repeated else MOST_FINALISTS

    @property
    def _fewest_folds(self) -> int:
        return self.folds // _REPEATS if self.repeated else min(_FEWEST_WHOLE_FOLDS, self.folds)

    def seconds(self, finalists: Sequence[Candidate], folds: int) -> float:
        """Return the seconds to keep for these finalists and the baseline; 0 if there are none."""
        if not finalists:
            return 0.0
        fits = sum(finalist.fold_seconds * self.ratio for finalist in (self.baseline, *finalists))
        rounds = math.ceil(folds / max(self.workers, 1))
        encodings = {encoding_of(finalist.pipeline) for finalist in (self.baseline, *finalists)}
        return _FINALISTS_SAFETY * rounds * (len(encodings) * self.encode_seconds + fits)

    def choose(self, ranked: Sequence[Candidate], seconds: float = math.inf) -> tuple[list[Candidate], int]:
        """Return as many of the best, and as many folds, as fit into `seconds` and the share of the budget.

        Six finalists on two folds are better than three on all: scores of a few thousand rows say less of all
        rows than a fold less does. At most three have the same estimator while there are others.
        """
        best = list(
            {
                candidate.key: candidate
                for candidate in reversed(ranked)
                if candidate.key != self.baseline.key
            }.values()
        )
        if self.repeated and len(best) < self.most:
            return [], 0
        best = _varied(best[::-1])[: self.most]
        limit = min(seconds, _FINALISTS_SHARE * self.budget_seconds)
        folds = range(self.folds, self._fewest_folds - 1, -1)
        for size, k in ((size, k) for size in range(len(best), 0, -1) for k in folds):
            if best and self.seconds(best[:size], k) <= limit:
                return best[:size], k
        return [], 0

    def reserve(self, ranked: Sequence[Candidate]) -> float:
        """Return the seconds to keep while the search continues."""
        return self.seconds(*self.choose(ranked))


def _varied(ranked: Sequence[Candidate]) -> list[Candidate]:
    """Return candidates with those behind three better ones of the same estimator at the end."""
    families: Counter[str] = Counter()
    ahead: list[Candidate] = []
    behind: list[Candidate] = []
    for candidate in ranked:
        family = estimator_of(candidate.pipeline)
        (ahead if families[family] < _MOST_OF_AN_ESTIMATOR else behind).append(candidate)
        families[family] += 1
    return [*ahead, *behind]
