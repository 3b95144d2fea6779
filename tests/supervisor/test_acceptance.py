"""What ``spec.acceptance`` is held against: the hold-out score, and the baseline's on the same rows."""

from typing import Any

import pytest

from support.jobs import job
from trainingjob_api import Best
from trainingjob_trainer.supervisor.result import accepted


def best(holdout: str | None, *, score: str = "0.95", baseline: str | None = "0.7") -> Best:
    return Best(
        pipeline="PCA → Ridge",
        score=score,
        holdout_score=holdout,
        baseline_score="0.1",
        baseline_holdout_score=baseline,
    )


@pytest.mark.parametrize(
    ("asked", "found", "met"),
    [
        ({"minScore": 0.8}, best("0.8"), True),
        ({"minScore": 0.8}, best("0.81", score="0.1"), True),
        ({"minScore": 0.8}, best("0.79"), False),
        ({"minScore": -2.5}, best("-2.6"), False),
        ({"minScore": 0.8}, best(None), False),
        ({"mustBeatBaseline": True}, best("0.71"), True),
        ({"mustBeatBaseline": True}, best("0.7"), False),
        ({"mustBeatBaseline": True}, best("0.69"), False),
        ({"mustBeatBaseline": True}, best("0.9", baseline=None), False),
        ({"minScore": 0.8, "mustBeatBaseline": True}, best("0.75"), False),
        ({"minScore": 0.6, "mustBeatBaseline": True}, best("0.65"), False),
        ({"minScore": 0.6, "mustBeatBaseline": True}, best("0.75"), True),
        ({"mustBeatBaseline": False}, best("0.1"), None),
    ],
)
def test_a_model_is_accepted_by_its_hold_out_score(
    asked: dict[str, Any], found: Best, met: bool | None
) -> None:
    verdict, why = accepted(job(acceptance=asked).spec.acceptance, found)
    assert verdict is met
    assert bool(why) is (met is not None)


def test_nothing_is_accepted_or_refused_where_nothing_is_asked() -> None:
    assert accepted(None, best("0.1")) == (None, "")
