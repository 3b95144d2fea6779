"""The one rule of acceptance, which operator and trainer share."""

import pytest

from support.acceptance import each_row
from trainingjob_api import Acceptance, judge


@each_row
def test_the_verdict(asked, best, met, reason):
    found = judge(asked, best)
    assert (found.accepted, found.reason) == (met, reason)
    assert found.message


@pytest.mark.parametrize("asked", [Acceptance(min_score=0.0), Acceptance(must_beat_baseline=True)])
def test_no_model_meets_nothing(asked):
    found = judge(asked, None)
    assert (found.accepted, found.reason) == (False, "NoHoldoutScore")
