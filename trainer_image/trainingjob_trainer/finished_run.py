"""A finished run, as the artifacts describe it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trainingjob_trainer.search.candidate import ENSEMBLE

if TYPE_CHECKING:
    from datetime import datetime

    import numpy as np
    import numpy.typing as npt

    from trainingjob_api import Fallback, ModelSource, ResolvedRun
    from trainingjob_trainer.data.prepare import Prepared
    from trainingjob_trainer.search.candidate import Candidate
    from trainingjob_trainer.search.final_fit import NotFitted
    from trainingjob_trainer.search.predictions import Interval

__all__ = ["FinishedRun", "HoldoutPrediction"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldoutPrediction:
    """Predictions of the best pipeline for the hold-out rows, fitted without them.

    Parameters
    ----------
    index
        Positions into ``Prepared.frame``, shape (n,).
    y_true, y_pred
        Targets and predictions, shape (n,): original labels, or float64 for regression.
    y_proba
        Class probabilities, shape (n, n_classes), or None if the model has none.
    classes
        The labels of the columns of `y_proba`, or None for regression.
    """

    index: npt.NDArray[np.intp]
    y_true: npt.NDArray[Any]
    y_pred: npt.NDArray[Any]
    y_proba: npt.NDArray[np.float64] | None = None
    classes: tuple[Any, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedRun:
    """A finished run: the model and everything that is known of how it came about.

    Parameters
    ----------
    candidates
        Every evaluated pipeline, in the order of commitment; the baseline need not be among them.
    best, baseline
        The pipeline that ships and the baseline; the same object if nothing beat it.
    model
        The full pipeline, fitted on all rows: takes the raw table and returns original labels.
    fallbacks
        The steps down the ladder, in order.
    holdout_score, baseline_holdout_score
        Scores on the hold-out rows, fitted without them, in the metric's unit.
    holdout_interval
        Of `holdout_score`, or None if it could not be taken.
    holdout_extra
        Further hold-out scores by name, such as ``balanced_accuracy``.
    holdout_prediction
        Predictions behind `holdout_score`, or None if it could not be taken.
    holdout_model
        The fitted pipeline behind `holdout_prediction`; permutation importance is measured on it. None
        lets `model` stand in, which has seen the hold-out rows; the report then says so.
    prediction
        How long `model` takes to predict, as `artifacts.diagnostics.prediction_seconds` returns it.
    finalists
        The best candidates and the baseline with their scores on all rows of the folds, where the search
        looked at some of them; `best` and `baseline` are then among them.
    not_fitted
        Candidates better than `best` that could not be fitted, best first.
    budget_used
        Seconds by stage: ``baseline``, ``search``, ``final_fit``, ``holdout``, ``total``.
    elapsed_seconds
        The run's clock at the end, over all attempts.
    generations_done
        Generations that were evaluated whole.
    versions
        Versions by package name, ``python`` included.
    started_at, completed_at
        Aware times.
    image_digest, data_digest, spec_digest, journal_digest
        sha256 in hexadecimal; the trainer's image has one only in a cluster.
    warnings
        What the user should know of the run, one sentence each; `prepared` has the findings in the table.
    """

    run: ResolvedRun
    prepared: Prepared
    candidates: tuple[Candidate, ...]
    best: Candidate
    baseline: Candidate
    model: Any
    model_source: ModelSource
    holdout_score: float | None
    baseline_holdout_score: float | None
    holdout_prediction: HoldoutPrediction | None
    started_at: datetime
    completed_at: datetime
    data_digest: str
    spec_digest: str
    journal_digest: str | None = None
    image_digest: str | None = None
    fallbacks: tuple[Fallback, ...] = ()
    finalists: tuple[Candidate, ...] = ()
    not_fitted: tuple[NotFitted, ...] = ()
    holdout_interval: Interval | None = None
    holdout_extra: dict[str, float] = field(default_factory=dict)
    holdout_model: Any = None
    prediction: dict[str, Any] | None = None
    budget_used: dict[str, float] = field(default_factory=dict)
    elapsed_seconds: float = 0.0
    generations_done: int = 0
    stopped_by: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def evaluated(self) -> tuple[Candidate, ...]:
        """What the search evaluated: the candidates but an ensemble of them."""
        return tuple(candidate for candidate in self.candidates if candidate.origin != ENSEMBLE)
