"""What the hold-out score is worth: its interval, and whether it is far from the cross-validated one."""

import math
from statistics import stdev

from scipy import stats

from trainingjob_trainer.data.prepare import Prepared
from trainingjob_trainer.search.candidate import Candidate
from trainingjob_trainer.search.final_fit import Fitted
from trainingjob_trainer.search.interval import CONFIDENCE, Interval, bootstrap_interval, replay

__all__ = ["gap_warning", "holdout_interval"]


def holdout_interval(prepared: Prepared, fitted: Fitted, *, random_state: int) -> Interval | None:
    """Return the interval of a model's hold-out score, or None where it cannot be taken.

    Rows are drawn, or whole groups where `Prepared.groups` are kept together.
    """
    holdout, rows = fitted.holdout, prepared.holdout_index
    if not holdout.responses or holdout.score is None:
        return None
    return bootstrap_interval(
        replay(holdout.responses, prepared.metric.scorer, holdout.classes),
        prepared.target[rows],
        holdout.score,
        groups=None if prepared.groups is None else prepared.groups[rows],
        random_state=random_state,
    )


def gap_warning(candidate: Candidate, holdout_score: float | None, interval: Interval | None) -> str | None:
    """Return a warning if the hold-out score is far from the cross-validated one, else None.

    It is far if the cross-validated score is outside the interval, and the hold-out score is outside the
    range in which 95 % of the scores of one more fold are expected: the mean of the folds, give or take
    their standard deviation times the 97.5 % quantile of Student's t times sqrt(1 + 1 / folds). Two folds
    make that range wide, ten make it narrow.
    """
    folds = candidate.fold_scores
    if interval is None or holdout_score is None or candidate.score is None or len(folds) < 2:  # noqa: PLR2004
        return None
    spread = stats.t.ppf((1 + CONFIDENCE) / 2, len(folds) - 1) * stdev(folds) * math.sqrt(1 + 1 / len(folds))
    inside = interval.low <= candidate.score <= interval.high
    if inside or not math.isfinite(holdout_score) or abs(holdout_score - candidate.score) <= spread:
        return None
    below = holdout_score < candidate.score
    return (
        f"The hold-out score {holdout_score:.6g} (95 % interval {interval.low:.6g} to {interval.high:.6g}) "
        f"is far {'below' if below else 'above'} the cross-validated score {candidate.score:.6g}, whose "
        f"folds differ by {stdev(folds):.2g}{_learned_from(candidate)}. {_cause(below=below)}"
    )


def _learned_from(candidate: Candidate) -> str:
    return "" if candidate.train_rows is None else f" and learned from {candidate.train_rows:,} rows at most"


def _cause(*, below: bool) -> str:
    if below:
        return (
            "The search may have adapted to its folds, rows that belong together may be on both sides of a "
            "fold, or the hold-out rows are of another kind (later, other groups): go by the hold-out score, "
            "and see spec.validation."
        )
    return (
        "The folds may have learned from too few rows to say what the model can do, or the hold-out rows may "
        "be easier or copies of others: see spec.validation, or allow more time so that the finalists are "
        "scored on all rows."
    )
