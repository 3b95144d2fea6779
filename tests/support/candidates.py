"""Candidates of a search, with the fields that a test is about."""

from typing import Any

from trainingjob_trainer.search.candidate import Candidate, Outcome


def candidate(number: int, score: float | None, *, seconds: float = 1.0, **changes: Any) -> Candidate:
    """Return a candidate of the search space whose fit took so many *seconds*; invalid without a *score*."""
    fields: dict[str, Any] = {
        "number": number,
        "key": f"key-{number}",
        "origin": "space",
        "generation": 1,
        "pipeline": {"number": number},
        "outcome": Outcome.INVALID if score is None else Outcome.OK,
        "score": score,
        "fit_seconds": seconds,
    }
    return Candidate(**{**fields, **changes})
