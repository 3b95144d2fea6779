"""What a child hands from stage to stage: models that could ship, what the search found, what was trained."""

from dataclasses import dataclass

from trainingjob_api import Fallback, ModelSource
from trainingjob_trainer.search.candidate import Candidate, SearchResult
from trainingjob_trainer.search.final_fit import Fitted, NotFitted
from trainingjob_trainer.search.interval import Interval

__all__ = ["NOTHING_SEARCHED", "Rung", "Trained"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """A model that could ship, with its candidate."""

    candidate: Candidate
    fitted: Fitted


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What the time on the clock was used for.

    Parameters
    ----------
    best, baseline
        The model that ships and the baseline; the same object where the baseline ships.
    source
        Where the model comes from.
    searched
        What the search found; empty without a search.
    seconds
        Seconds of the clock by stage.
    fallbacks
        Steps down the ladder of this child.
    finalists
        The best candidates and the baseline, scored on all rows; empty where the search looked at all rows or
        there was no time.
    not_fitted
        Better pipelines that could not be fitted, best first.
    interval
        Of the best model's hold-out score, or None if it could not be taken.
    """

    best: Rung
    baseline: Rung
    source: ModelSource
    searched: SearchResult
    seconds: dict[str, float]
    fallbacks: tuple[Fallback, ...]
    finalists: tuple[Candidate, ...] = ()
    not_fitted: tuple[NotFitted, ...] = ()
    interval: Interval | None = None


NOTHING_SEARCHED = SearchResult(stopped_by="disabled")
