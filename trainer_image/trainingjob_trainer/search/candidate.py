"""What is known of one evaluated pipeline."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any, Self, TypeVar

__all__ = ["Candidate", "Outcome", "rank"]

T = TypeVar("T")

_MOST = 10**9
_MOST_CHARS = 1000


class Outcome(StrEnum):
    """How an evaluation ended."""

    OK = "ok"
    INVALID = "invalid"
    """The pipeline could not be fitted or scored, or its score is not a finite number."""
    TIMEOUT = "timeout"
    """The pipeline took longer than ``perRunLimitSeconds``."""
    KILLED = "killed"
    """The pipeline took its worker with it: out of memory, or a crash of native code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One evaluated pipeline.

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
        How the evaluation ended.
    score
        Mean of `fold_scores`, in the metric's own unit, greater is better; None unless `outcome` is ok.
    fold_scores
        One score a fold.
    train_rows, test_rows
        Most rows that a fold learned from and was scored on; None if unknown.
    fit_seconds, score_seconds
        Mean seconds of one fit, and of scoring it.
    complexity
        Size of the fitted pipeline without the shared encoder, pickled, in KiB; None if unknown.
    error
        The cause in one line where the outcome is not ok.
    elapsed_seconds
        The run's clock when the evaluation finished.
    """

    number: int
    key: str
    origin: str
    generation: int
    pipeline: dict[str, Any]
    outcome: Outcome
    score: float | None = None
    fold_scores: tuple[float, ...] = ()
    train_rows: int | None = None
    test_rows: int | None = None
    fit_seconds: float = 0.0
    score_seconds: float = 0.0
    complexity: float | None = None
    error: str | None = None
    elapsed_seconds: float = 0.0

    @property
    def fold_seconds(self) -> float:
        """Seconds of one fit and the two predictions of a final fit, at a fold's number of rows."""
        return self.fit_seconds + 2 * self.score_seconds

    def to_json(self) -> dict[str, Any]:
        """Return the candidate as plain JSON values."""
        return {
            "number": self.number,
            "key": self.key,
            "origin": self.origin,
            "generation": self.generation,
            "pipeline": self.pipeline,
            "outcome": self.outcome.value,
            "score": self.score,
            "foldScores": list(self.fold_scores),
            "trainRows": self.train_rows,
            "testRows": self.test_rows,
            "fitSeconds": self.fit_seconds,
            "scoreSeconds": self.score_seconds,
            "complexity": self.complexity,
            "error": self.error,
            "elapsedSeconds": self.elapsed_seconds,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Read back what `to_json` wrote.

        Raises
        ------
        KeyError, ValueError, TypeError
            If `data` is something else, or holds numbers that no evaluation gives.
        """
        error = data["error"]
        candidate = cls(
            number=_whole(data["number"], least=-1),
            key=_text(data["key"]),
            origin=_text(data["origin"]),
            generation=_whole(data["generation"]),
            pipeline=dict(data["pipeline"]),
            outcome=Outcome(data["outcome"]),
            score=_maybe(_finite, data["score"]),
            fold_scores=tuple(_finite(score) for score in data["foldScores"]),
            train_rows=_maybe(_whole, data.get("trainRows")),
            test_rows=_maybe(_whole, data.get("testRows")),
            fit_seconds=_finite(data["fitSeconds"], least=0.0),
            score_seconds=_finite(data.get("scoreSeconds", 0.0), least=0.0),
            complexity=_maybe(partial(_finite, least=0.0), data["complexity"]),
            error=_maybe(_text, error),
            elapsed_seconds=_finite(data["elapsedSeconds"], least=0.0),
        )
        scores, score = candidate.fold_scores, candidate.score
        if candidate.outcome is Outcome.OK and (
            score is None or not scores or not math.isclose(score, sum(scores) / len(scores), rel_tol=1e-9)
        ):
            raise ValueError("the score is not the mean of the folds")
        return candidate


def _finite(value: Any, *, least: float = -math.inf) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("a number is wanted")
    number = float(value)
    if not (math.isfinite(number) and number >= least):
        raise ValueError("the number is out of range")
    return number


def _whole(value: Any, *, least: int = 0) -> int:
    if type(value) is not int or not least <= value <= _MOST:
        raise ValueError("the whole number is out of range")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > _MOST_CHARS:
        raise ValueError("a short text is wanted")
    return value


def _maybe(read: Callable[[Any], T], value: Any) -> T | None:
    return None if value is None else read(value)


def rank(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Return the candidates that have a score, best first; the earlier one of equals comes first."""
    scored = [c for c in candidates if c.outcome is Outcome.OK and c.score is not None]
    return sorted(scored, key=lambda c: (-(c.score or 0.0), c.number))
