"""The interval of a hold-out score, and the warning if it is far from the cross-validated score."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import get_scorer

from trainingjob_trainer.run.final_stage import holdout_interval
from trainingjob_trainer.search.candidate import Candidate, Outcome
from trainingjob_trainer.search.final_fit import FittedModel
from trainingjob_trainer.search.fits import HoldoutResult
from trainingjob_trainer.search.predictions import Interval, gap_warning


def candidate(*folds: float, **changes: Any) -> Candidate:
    fields: dict[str, Any] = {
        "number": 1,
        "key": "key",
        "origin": "space",
        "generation": 1,
        "pipeline": {},
        "outcome": Outcome.OK,
        "score": sum(folds) / len(folds),
        "fold_scores": folds,
    }
    return Candidate(**{**fields, **changes})


FOLDS = candidate(0.79, 0.80, 0.81, 0.80, 0.80, train_rows=8000)


@pytest.mark.parametrize(("score", "word"), [(0.60, "below"), (0.95, "above")])
def test_a_score_far_from_the_folds_is_a_warning(score: float, word: str) -> None:
    told = gap_warning(FOLDS, score, Interval(score - 0.02, score + 0.02))
    assert told is not None
    assert f"far {word} the cross-validated score 0.8" in told
    assert f"{score - 0.02:.6g} to {score + 0.02:.6g}" in told
    assert "learned from 8,000 rows" in told


@pytest.mark.parametrize(
    ("best", "score", "interval"),
    [
        (FOLDS, 0.77, Interval(0.70, 0.84)),  # few hold-out rows: the interval reaches the folds
        (FOLDS, 0.82, Interval(0.815, 0.825)),  # one more fold could have had that score
        (candidate(0.70, 0.90, 0.85, 0.75), 0.6, Interval(0.58, 0.62)),  # the folds differ as much
        (candidate(0.79, 0.81), 0.7, Interval(0.68, 0.72)),  # two folds say little
        (candidate(0.8), 0.6, Interval(0.58, 0.62)),
        (FOLDS, 0.6, None),
        (FOLDS, float("nan"), Interval(0.58, 0.62)),
        (candidate(0.8, 0.8, score=None), 0.6, Interval(0.58, 0.62)),
    ],
)
def test_a_difference_by_chance_is_not_a_warning(
    best: Candidate, score: float, interval: Interval | None
) -> None:
    assert gap_warning(best, score, interval) is None


def fitted(**changes: Any) -> FittedModel:
    predicted = np.array(["a", "b"], dtype=object)[np.arange(40) % 2]
    fields: dict[str, Any] = {
        "score": 0.75,
        "predicted": predicted,
        "probabilities": None,
        "classes": ("a", "b"),
        "extra": {},
        "responses": {"predict": predicted},
    }
    holdout = HoldoutResult(**{**fields, **changes})
    return FittedModel(candidate=FOLDS, model=b"", holdout_model=b"", holdout=holdout, seconds=1.0)


def prepared(groups: Any = None) -> Any:
    target = np.array(["a", "b"], dtype=object)[np.arange(100) % 2]
    target[60:100:4] = "b"
    return SimpleNamespace(
        target=target,
        holdout_index=np.arange(60, 100),
        metric=SimpleNamespace(scorer=get_scorer("accuracy")),
        groups=groups,
    )


def test_the_interval_is_computed_from_the_holdout_rows() -> None:
    found = holdout_interval(prepared(), fitted(), random_state=0)
    assert found is not None
    assert 0.55 < found.low < 0.75 < found.high < 0.95


def test_groups_are_drawn_where_they_are_kept_together() -> None:
    by_row = holdout_interval(prepared(), fitted(), random_state=0)
    by_group = holdout_interval(prepared(np.arange(100) // 30), fitted(), random_state=0)
    assert by_row is not None
    assert by_group is None  # of two groups nothing can be said
    known = holdout_interval(prepared(np.arange(100) // 5), fitted(), random_state=0)
    assert known is not None
    assert known != by_row


def test_a_score_without_responses_has_no_interval() -> None:
    assert holdout_interval(prepared(), fitted(responses={}), random_state=0) is None
