"""The trainer judges a model as the operator does: the table is the same."""

from support.acceptance import each_row
from trainingjob_api import Acceptance, Best
from trainingjob_trainer.run.result import accepted


@each_row
def test_the_trainers_judgement(asked: Acceptance | None, best: Best, met: bool | None, reason: str) -> None:
    found, why = accepted(asked, best)
    assert found is met
    assert bool(why) == (met is not None), "a judgement says why, and silence none"
