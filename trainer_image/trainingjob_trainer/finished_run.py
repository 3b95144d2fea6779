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


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldoutPrediction:
    """Predictions of the best pipeline for the hold-out rows, fitted without them, in original labels."""

    index: npt.NDArray[np.intp]
    """Positions into ``Prepared.frame``, shape (n,)."""
    y_true: npt.NDArray[Any]
    """Targets, shape (n,)."""
    y_pred: npt.NDArray[Any]
    """Predictions, shape (n,)."""
    y_proba: npt.NDArray[np.float64] | None = None
    """Class probabilities, shape (n, n_classes), or None if the model has none."""
    classes: tuple[Any, ...] | None = None
    """The labels of the columns of `y_proba`, or None for regression."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedRun:
    """A finished run: the model and everything that is known of how it came about."""

    run: ResolvedRun
    prepared: Prepared
    candidates: tuple[Candidate, ...]
    """Every evaluated pipeline, in the order of commitment; the baseline need not be among them."""
    best: Candidate
    """The pipeline that ships."""
    baseline: Candidate
    """The same object as `best` if nothing beat it."""
    model: Any
    """The full pipeline, fitted on all rows: takes the raw table and returns original labels."""
    model_source: ModelSource
    holdout_score: float | None
    """Score on the hold-out rows, fitted without them, in the metric's unit."""
    baseline_holdout_score: float | None
    holdout_prediction: HoldoutPrediction | None
    """Predictions behind `holdout_score`, or None if it could not be taken."""
    started_at: datetime
    completed_at: datetime
    data_digest: str
    """sha256 in hexadecimal, as the other digests."""
    spec_digest: str
    journal_digest: str | None = None
    image_digest: str | None = None
    """Of the trainer's image, in a cluster."""
    fallbacks: tuple[Fallback, ...] = ()
    """The steps down the ladder, in order."""
    finalists: tuple[Candidate, ...] = ()
    """The best candidates and the baseline with their scores on all rows of the folds where the search looked
    at some of them, or on other folds of a small table; `best` and `baseline` are then among them."""
    not_fitted: tuple[NotFitted, ...] = ()
    """Candidates better than `best` that could not be fitted, best first."""
    holdout_interval: Interval | None = None
    """Of `holdout_score`, or None if it could not be taken."""
    holdout_extra: dict[str, float] = field(default_factory=dict)
    """Further hold-out scores by name, such as ``balanced_accuracy``."""
    holdout_model: Any = None
    """The fitted pipeline behind `holdout_prediction`, on which permutation importance is measured. None lets
    `model` replace it, which has seen the hold-out rows; the report then says so."""
    prediction: dict[str, Any] | None = None
    """Seconds that `model` takes to predict, as `artifacts.diagnostics.prediction_seconds` returns them."""
    budget_used: dict[str, float] = field(default_factory=dict)
    """Seconds by stage: ``baseline``, ``search``, ``final_fit``, ``holdout``, ``total``."""
    elapsed_seconds: float = 0.0
    """The run's clock at the end, over all attempts."""
    generations_done: int = 0
    """Generations that were evaluated whole."""
    stopped_by: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    """Versions by package name, ``python`` included."""
    warnings: tuple[str, ...] = ()
    """Warnings for the user, one sentence each; `prepared` has the findings about the table."""

    @property
    def evaluated(self) -> tuple[Candidate, ...]:
        """The candidates that the search evaluated, without an ensemble."""
        return tuple(candidate for candidate in self.candidates if candidate.origin != ENSEMBLE)
