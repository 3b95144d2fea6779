"""When a model is accepted: ``spec.acceptance``, and the one rule that compares it with the scores."""

from typing import Annotated

from pydantic import Field, StrictFloat

from trainingjob_api.types import Bool, SpecModel

__all__ = ["Acceptance"]


class Acceptance(SpecModel):
    """When a model is accepted, by its hold-out score."""

    min_score: Annotated[StrictFloat, Field(ge=-1e18, le=1e18)] | None = Field(
        default=None, description="Minimum hold-out score, in units of the metric."
    )
    must_beat_baseline: Bool | None = Field(
        default=None,
        description="Whether the hold-out score must exceed that of the baseline; default false.",
    )
