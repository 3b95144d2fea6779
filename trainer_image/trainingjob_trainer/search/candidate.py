"""What is known of an evaluated pipeline, and what a search found."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from functools import partial
from typing import Any, Final, Self, TypeVar

from numpy.typing import NDArray

from trainingjob_trainer.search_space.rounds import MOST_ROUNDS, with_rounds

__all__ = ["ENSEMBLE", "Candidate", "Evaluation", "Outcome", "SearchResult", "rank"]

T = TypeVar("T")

ENSEMBLE = "ensemble"
"""Origin of what averages other candidates; it is not evaluated itself."""
_MAX_NUMBER = 10**9
_MAX_CHARS = 1000


class Outcome(StrEnum):
    """How an evaluation ended."""

    OK = "ok"
    STOPPED = "stopped"
    """The pipeline fell behind in the race: it has scores of its first folds, and none of its own."""
    INVALID = "invalid"
    """The pipeline could not be fitted or scored, or its score is not a finite number."""
    TIMEOUT = "timeout"
    """The pipeline took longer than ``perRunLimitSeconds``."""
    KILLED = "killed"
    """The pipeline took its worker with it: out of memory, or a crash of native code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """How a pipeline did on the folds, as a worker reports it.

    Parameters
    ----------
    outcome
        None if the end of the run cut the evaluation short, which says nothing about the pipeline.
    fold_scores
        One score per fold, as far as the evaluation came; in the metric's own unit, greater is better.
    train_rows, test_rows
        Most rows that a fold learned from and was scored on; None if unknown.
    fit_seconds, score_seconds
        Mean seconds of one fit, and of scoring it.
    complexity
        Size of the first fold's fitted pipeline without the encoder, pickled, in KiB; None if unknown.
    rounds
        Boosting rounds that early stopping found, the mean of the folds; None where it was not used.
    error
        The cause in one line where the outcome is not ok.
    predictions
        For the test rows of each fold, of a complete evaluation; never in the journal.
    """

    outcome: Outcome | None
    fold_scores: tuple[float, ...] = ()
    train_rows: int | None = None
    test_rows: int | None = None
    fit_seconds: float = 0.0
    score_seconds: float = 0.0
    complexity: float | None = None
    rounds: int | None = None
    error: str | None = None
    predictions: tuple[NDArray[Any], ...] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate(Evaluation):
    """A pipeline with its evaluation.

    Parameters
    ----------
    number
        Position in the order of submission, from 0; the baseline is -1.
    key
        Fingerprint of `pipeline`.
    origin
        ``space`` for pipelines of the search space, else the name of the seed it stems from.
    generation
        From 1; ``number // populationSize + 1``.
    pipeline
        The plain scikit-learn pipeline as data; it takes the encoded matrix.
    outcome
        As in `Evaluation`, and never None.
    score
        Mean of `fold_scores`; None unless `outcome` is ok.
    elapsed_seconds
        The run's clock when the evaluation finished.
    members
        Keys of an ensemble's members in the order of its description; never in the journal.
    """

    number: int
    key: str
    origin: str
    generation: int
    pipeline: dict[str, Any]
    outcome: Outcome
    score: float | None = None
    elapsed_seconds: float = 0.0
    members: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, evaluation: Evaluation, *, outcome: Outcome, elapsed_seconds: float, **about: Any) -> Self:
        """Return what an evaluation says of a pipeline; `about` holds the fields before `outcome`."""
        measured = {item.name: getattr(evaluation, item.name) for item in fields(Evaluation)}
        scores = evaluation.fold_scores
        measured |= {
            "outcome": outcome,
            "fit_seconds": round(evaluation.fit_seconds, 4),
            "score_seconds": round(evaluation.score_seconds, 4),
            "predictions": None,  # they are kept for the best alone: search.predictions
        }
        return cls(
            **measured,
            **about,
            score=sum(scores) / len(scores) if outcome is Outcome.OK and scores else None,
            elapsed_seconds=round(elapsed_seconds, 3),
        )

    @property
    def fold_seconds(self) -> float:
        """Seconds of one fit and the two predictions of a final fit, at a fold's number of rows."""
        return self.fit_seconds + 2 * self.score_seconds

    @property
    def final_pipeline(self) -> dict[str, Any]:
        """The pipeline as it is fitted on all rows: with the rounds that early stopping found."""
        return with_rounds(self.pipeline, self.rounds)

    def to_json(self) -> dict[str, Any]:
        """Return the candidate as plain JSON values."""
        values = {_camel(item.name): getattr(self, item.name) for item in fields(self) if item.repr}
        return values | {"outcome": self.outcome.value, "foldScores": list(self.fold_scores)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote.

        Raises
        ------
        KeyError, ValueError, TypeError
            If `data` is something else, or holds numbers that no evaluation gives.
        """
        # A journal of an earlier version has no rounds.
        known = {"rounds": None, **data}
        candidate = cls(**{name: read(known[_camel(name)]) for name, read in _READERS.items()})
        scores, score = candidate.fold_scores, candidate.score
        if candidate.outcome is Outcome.OK and (
            score is None or not scores or not math.isclose(score, sum(scores) / len(scores), rel_tol=1e-9)
        ):
            raise ValueError("the score is not the mean of the fold scores")
        if candidate.outcome is Outcome.STOPPED and (score is not None or not scores):
            raise ValueError("a pipeline that was stopped has scores of folds, and no score")
        return candidate


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """What a search found.

    Parameters
    ----------
    candidates
        Every finished evaluation: first those committed, in their order, then those that finished behind one
        that did not.
    stopped_by
        ``generations``, ``time``, ``exhausted`` or ``signal``; what stands in for a search has its own word.
    generations
        Whole generations that were committed.
    """

    candidates: tuple[Candidate, ...] = ()
    stopped_by: str
    generations: int = 0

    @property
    def ranked(self) -> list[Candidate]:
        """The candidates that have a score, best first."""
        return rank(self.candidates)


def rank(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Return the candidates that have a score, best first; the earlier one of equals comes first."""
    scored = [c for c in candidates if c.outcome is Outcome.OK and c.score is not None]
    return sorted(scored, key=lambda c: (-(c.score or 0.0), c.number))


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.title() for part in rest)


def _finite(value: Any, *, least: float = -math.inf) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("expected a number")
    number = float(value)
    if not (math.isfinite(number) and number >= least):
        raise ValueError("the number is out of range")
    return number


def _whole(value: Any, *, least: int = 0, most: int = _MAX_NUMBER) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ValueError("the whole number is out of range")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > _MAX_CHARS:
        raise ValueError("expected a short text")
    return value


def _optional(read: Callable[[Any], T]) -> Callable[[Any], T | None]:
    return lambda value: None if value is None else read(value)


_not_negative = partial(_finite, least=0.0)
_READERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "number": partial(_whole, least=-1),
    "key": _text,
    "origin": _text,
    "generation": _whole,
    "pipeline": dict,
    "outcome": Outcome,
    "score": _optional(_finite),
    "fold_scores": lambda value: tuple(_finite(score) for score in value),
    "train_rows": _optional(_whole),
    "test_rows": _optional(_whole),
    "fit_seconds": _not_negative,
    "score_seconds": _not_negative,
    "complexity": _optional(_not_negative),
    "rounds": _optional(partial(_whole, least=1, most=MOST_ROUNDS)),
    "error": _optional(_text),
    "elapsed_seconds": _not_negative,
}
"""How each field of a candidate is read from a journal, which may come from a bucket."""
