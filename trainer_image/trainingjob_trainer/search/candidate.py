"""What is known of one evaluated pipeline."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

__all__ = ["Candidate", "Outcome", "rank"]


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
            If `data` is something else.
        """
        score = data["score"]
        complexity = data["complexity"]
        return cls(
            number=int(data["number"]),
            key=str(data["key"]),
            origin=str(data["origin"]),
            generation=int(data["generation"]),
            pipeline=dict(data["pipeline"]),
            outcome=Outcome(data["outcome"]),
            score=None if score is None else float(score),
            fold_scores=tuple(float(s) for s in data["foldScores"]),
            train_rows=data.get("trainRows"),
            test_rows=data.get("testRows"),
            fit_seconds=float(data["fitSeconds"]),
            score_seconds=float(data.get("scoreSeconds", 0.0)),
            complexity=None if complexity is None else float(complexity),
            error=None if data["error"] is None else str(data["error"]),
            elapsed_seconds=float(data["elapsedSeconds"]),
        )


def rank(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Return the candidates that have a score, best first; the earlier one of equals comes first."""
    scored = [c for c in candidates if c.outcome is Outcome.OK and c.score is not None]
    return sorted(scored, key=lambda c: (-(c.score or 0.0), c.number))
