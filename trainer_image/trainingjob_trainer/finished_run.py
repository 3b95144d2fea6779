"""What a finished run hands over to be saved and reported."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime

    import numpy as np
    import numpy.typing as npt

    from trainingjob_api import Fallback, ModelSource, ResolvedRun
    from trainingjob_trainer.data.prepare import Prepared
    from trainingjob_trainer.search.candidate import Candidate
    from trainingjob_trainer.search.final_fit import NotFitted
    from trainingjob_trainer.search.interval import Interval

__all__ = ["FinishedRun", "HoldoutPrediction"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldoutPrediction:
    """What the best pipeline says of the hold-out rows when it was fitted without them.

    Parameters
    ----------
    index
        Positions into ``Prepared.frame``, shape (n,).
    y_true
        The targets, shape (n,): original labels, or float64 for regression.
    y_pred
        The predictions, shape (n,), in the same unit.
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
    run
        The resolved job.
    prepared
        The table as it was trained on.
    candidates
        Every evaluated pipeline, in the order of commitment; the baseline need not be among them.
    best
        The pipeline that ships.
    baseline
        The baseline as a candidate; the same object as `best` if nothing beat it.
    model
        The full pipeline, fitted on all rows: takes the raw table and returns original labels.
    model_source
        Whether the search or the baseline made the model.
    fallbacks
        The steps down the ladder, in order.
    holdout_score
        Score of `best`, fitted without the hold-out rows, on those rows; in the metric's unit.
    baseline_holdout_score
        The same for the baseline.
    holdout_interval
        Of `holdout_score`, or None if it could not be taken.
    finalists
        The best candidates and the baseline with their scores on all rows of the folds, where the search
        looked at some of them; `best` and `baseline` are then among them.
    not_fitted
        Candidates better than `best` that could not be fitted, best first.
    holdout_extra
        Further hold-out scores by name, such as ``balanced_accuracy``.
    holdout_prediction
        Predictions behind `holdout_score`, or None if it could not be taken.
    holdout_model
        The fitted pipeline behind `holdout_prediction`; permutation importance is measured on it. None
        lets `model` stand in, which has seen the hold-out rows; the report then says so.
    budget_used
        Seconds by stage: ``baseline``, ``search``, ``final_fit``, ``holdout``, ``total``.
    elapsed_seconds
        The run's clock at the end, over all attempts.
    generations_done
        Generations that were evaluated whole.
    stopped_by
        What ended the search, in a word or a sentence.
    versions
        Versions by package name, ``python`` included.
    started_at, completed_at
        Aware times.
    image_digest
        Digest of the trainer's image, or None outside a cluster.
    data_digest, spec_digest, journal_digest
        sha256 in hexadecimal.
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
    budget_used: dict[str, float] = field(default_factory=dict)
    elapsed_seconds: float = 0.0
    generations_done: int = 0
    stopped_by: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
