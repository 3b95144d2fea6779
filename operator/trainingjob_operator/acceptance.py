"""Whether the model is good enough: ``spec.acceptance`` against the hold-out scores."""

from typing import NamedTuple

from trainingjob_api import Acceptance, Best, Reason

__all__ = ["Judgement", "judge"]


class Judgement(NamedTuple):
    """Whether it is accepted, and why."""

    accepted: bool
    reason: str
    message: str


def judge(acceptance: Acceptance | None, best: Best | None) -> Judgement:
    """Return whether *best* meets *acceptance*; a model that nothing is asked of is accepted."""
    if acceptance is None or (acceptance.min_score is None and not acceptance.must_beat_baseline):
        return Judgement(
            accepted=True, reason=Reason.ACCEPTANCE_NOT_ASKED, message="the spec asks for nothing"
        )
    if best is None or best.holdout_score is None:
        return Judgement(
            accepted=False, reason=Reason.NO_HOLDOUT_SCORE, message="the run has no hold-out score"
        )
    score, baseline = best.holdout_score, best.baseline_holdout_score
    if acceptance.min_score is not None and float(score) < acceptance.min_score:
        text = f"the hold-out score {score} is below acceptance.minScore {acceptance.min_score:g}"
        return Judgement(accepted=False, reason=Reason.BELOW_MIN_SCORE, message=text)
    if acceptance.must_beat_baseline:
        if baseline is None:
            return Judgement(
                accepted=False, reason=Reason.NO_HOLDOUT_SCORE, message="the baseline has no hold-out score"
            )
        if float(score) <= float(baseline):
            text = f"the hold-out score {score} is not above the baseline's {baseline}"
            return Judgement(accepted=False, reason=Reason.NOT_BETTER_THAN_BASELINE, message=text)
    return Judgement(accepted=True, reason=Reason.ACCEPTED, message=f"the hold-out score is {score}")
