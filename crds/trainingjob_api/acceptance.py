"""When a model is accepted: ``spec.acceptance``, and the one rule that compares it with the scores."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, StrictFloat

from trainingjob_api.reasons import Cause, Reason
from trainingjob_api.status import Best
from trainingjob_api.types import Bool, SpecModel, optional

__all__ = ["Acceptance", "Verdict", "judge"]


class Acceptance(SpecModel):
    """When a model is accepted, by its hold-out score."""

    min_score: Annotated[StrictFloat, Field(ge=-1e18, le=1e18)] | None = optional(
        "Minimum hold-out score, in units of the metric."
    )
    must_beat_baseline: Bool | None = optional(
        "Whether the hold-out score must exceed that of the baseline; default false."
    )


@dataclass(frozen=True, slots=True)
class Verdict(Cause):
    """Whether a model is accepted, and why."""

    @property
    def accepted(self) -> bool | None:
        """Whether it is; ``None`` if the spec does not ask."""
        return None if self.reason == Reason.ACCEPTANCE_NOT_ASKED else self.reason == Reason.ACCEPTED


def judge(acceptance: Acceptance | None, best: Best | None) -> Verdict:
    """Return whether the hold-out scores of *best* meet *acceptance*."""
    if acceptance is None or (acceptance.min_score is None and not acceptance.must_beat_baseline):
        return Verdict(Reason.ACCEPTANCE_NOT_ASKED, "spec.acceptance is not set")
    if best is None or best.holdout_score is None:
        return Verdict(Reason.NO_HOLDOUT_SCORE, "the model has no hold-out score")
    score, baseline = best.holdout_score, best.baseline_holdout_score
    if acceptance.min_score is not None and float(score) < acceptance.min_score:
        text = f"the hold-out score {score} is below acceptance.minScore {acceptance.min_score:g}"
        return Verdict(Reason.BELOW_MIN_SCORE, text)
    if acceptance.must_beat_baseline:
        if baseline is None:
            return Verdict(Reason.NO_HOLDOUT_SCORE, "the baseline has no hold-out score to compare with")
        if float(score) <= float(baseline):
            text = f"the hold-out score {score} does not exceed the baseline's {baseline}"
            return Verdict(Reason.NOT_BETTER_THAN_BASELINE, text)
    return Verdict(Reason.ACCEPTED, f"the hold-out score {score} meets spec.acceptance")
