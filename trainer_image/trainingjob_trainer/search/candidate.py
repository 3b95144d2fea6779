"""Evaluated pipelines, what a search found, and the journal that keeps each evaluation as it finishes.

A resumed run breeds the same sequence of pipelines again, since breeding depends on the seed and on earlier
results alone, and takes the results from the journal. So the journal holds results as JSON and nothing that
would have to be unpickled. It may come from a bucket: a line counts only if its pipeline can be bred by a
search, has the fingerprint that the line gives, and has scores that the metric can give.
"""

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

from numpy.typing import NDArray
from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.alias_generators import to_camel

from trainingjob_trainer.errors import SpecInvalid
from trainingjob_trainer.search_space.parameters import MOST_ROUNDS
from trainingjob_trainer.search_space.pipeline import fingerprint, rebuilt, with_rounds

ENSEMBLE = "ensemble"
"""Origin of what averages other candidates; it is not evaluated itself."""
SCHEMA_VERSION = 1
_MAX_LINE = 1024 * 1024
_MAX_LINES = 100_000
_MAX_NUMBER = 10**9
_ROUNDING = 1e-6

# Bounds of what is read from a journal.
_Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
_NotNegative = Annotated[_Number, Field(ge=0)]
_Whole = Annotated[int, Field(strict=True, ge=0, le=_MAX_NUMBER)]
_Text = Annotated[str, Field(max_length=1000)]


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
    """The evaluation of a pipeline on the folds, as a worker reports it.

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

    __pydantic_config__ = ConfigDict(alias_generator=to_camel, arbitrary_types_allowed=True)

    outcome: Outcome | None
    fold_scores: tuple[_Number, ...] = ()
    train_rows: _Whole | None = None
    test_rows: _Whole | None = None
    fit_seconds: _NotNegative = 0.0
    score_seconds: _NotNegative = 0.0
    complexity: _NotNegative | None = None
    rounds: Annotated[int, Field(strict=True, ge=1, le=MOST_ROUNDS)] | None = None
    error: _Text | None = None
    predictions: tuple[NDArray[Any], ...] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate(Evaluation):
    """A pipeline with its evaluation.

    Parameters
    ----------
    number
        Position in the order of submission, from 0; the baseline is -1.
    origin
        ``space`` for pipelines of the search space, else the name of the seed it stems from.
    generation
        From 1; ``number // populationSize + 1``.
    pipeline
        The plain scikit-learn pipeline as data; it takes the encoded matrix.
    score
        Mean of `fold_scores`; None unless `outcome` is ok.
    elapsed_seconds
        The run's clock when the evaluation finished.
    members
        Keys of an ensemble's members in the order of its description; never in the journal.
    """

    number: Annotated[int, Field(strict=True, ge=-1, le=_MAX_NUMBER)]
    key: _Text
    origin: _Text
    generation: _Whole
    pipeline: dict[str, Any]
    outcome: Outcome
    score: _Number | None = None
    elapsed_seconds: _NotNegative = 0.0
    members: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, evaluation: Evaluation, *, outcome: Outcome, elapsed_seconds: float, **about: Any) -> Self:
        """Return the candidate of an evaluation; `about` holds the fields before `outcome`."""
        measured = {item.name: getattr(evaluation, item.name) for item in fields(Evaluation)}
        scores = evaluation.fold_scores
        measured |= {
            "outcome": outcome,
            "fit_seconds": round(evaluation.fit_seconds, 4),
            "score_seconds": round(evaluation.score_seconds, 4),
            "predictions": None,  # a `PredictionStore` keeps those of the best
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
        values = {to_camel(item.name): getattr(self, item.name) for item in fields(self) if item.repr}
        return values | {"outcome": self.outcome.value, "foldScores": list(self.fold_scores)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Candidate":
        """Read what `to_json` wrote.

        Raises
        ------
        KeyError, ValueError, TypeError
            If `data` is something else, or holds numbers that no evaluation gives.
        """
        # A journal of an earlier version has no rounds.
        known = {"rounds": None, **data}
        names = (to_camel(item.name) for item in fields(cls) if item.repr)
        candidate = _READER.validate_python({name: known[name] for name in names})
        scores, score = candidate.fold_scores, candidate.score
        if candidate.outcome is Outcome.OK and (
            score is None or not scores or not math.isclose(score, sum(scores) / len(scores), rel_tol=1e-9)
        ):
            raise ValueError("the score is not the mean of the fold scores")
        if candidate.outcome is Outcome.STOPPED and (score is not None or not scores):
            raise ValueError("a pipeline that was stopped has scores of folds, and no score")
        return candidate


_READER = TypeAdapter(Candidate)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """The candidates that a search found.

    Parameters
    ----------
    candidates
        Every finished evaluation: first those committed, in their order, then those that finished behind one
        that did not.
    stopped_by
        ``generations``, ``time``, ``exhausted`` or ``signal``; a replacement of a search has its own word.
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


class JournalMismatch(Exception):  # noqa: N818 - the name says what was found
    """The journal belongs to another spec, table or version; `str` names what differs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalHeader:
    """The values that a journal must share with a run that resumes it.

    Parameters
    ----------
    search_digest, data_digest
        sha256 over all of the spec that decides which pipelines are evaluated and how they are scored, and
        of the dataset's file.
    versions
        Of the packages that decide how pipelines are bred and scored.
    """

    search_digest: str
    data_digest: str
    versions: Mapping[str, str]

    @property
    def name(self) -> str:
        """A short name of the content, for the folder of what belongs to the same run."""
        content = json.dumps([self.search_digest, self.data_digest, dict(self.versions)], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]


def check_bred(candidate: Candidate) -> None:
    """Reject a candidate whose pipeline no search breeds, or whose key is not its pipeline's.

    Raises
    ------
    SpecInvalid, ValueError
        The candidate is rejected.
    """
    if fingerprint(rebuilt(candidate.pipeline)) != candidate.key:
        raise ValueError("the key is not the fingerprint of the pipeline")


def read_journal(
    path: Path,
    *,
    check: Callable[[Candidate], None] = check_bred,
    highest_score: float = math.inf,
) -> tuple[JournalHeader, list[Candidate], int]:
    """Return header and evaluations of a journal as far as it is whole and its own run's.

    `check` raises for a candidate that the run cannot have written; no score is over `highest_score`. The
    third value is the length in bytes of the part that was read: a line that was cut off by a crash is not
    counted, nor is any line from the first one on that is not an evaluation of this run.

    Raises
    ------
    JournalMismatch
        If the first line is not a header of a known version.
    """
    lines = path.read_bytes().split(b"\n")
    try:
        first = json.loads(lines[0])
        if first["schemaVersion"] != SCHEMA_VERSION:
            raise JournalMismatch(f"the journal has schema version {first['schemaVersion']!s:.20}")
        header = JournalHeader(
            search_digest=first["search_digest"],
            data_digest=first["data_digest"],
            versions=dict(first["versions"]),
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise JournalMismatch("the journal has no readable header") from error
    size = len(lines[0]) + 1
    candidates = []
    for line in lines[1:-1][:_MAX_LINES]:
        try:
            candidate = _candidate(line)
            check(candidate)
            if max((*candidate.fold_scores, candidate.score or -math.inf)) > highest_score + _ROUNDING:
                break
        except (SpecInvalid, ValueError, KeyError, TypeError, RecursionError, OverflowError):
            break
        candidates.append(candidate)
        size += len(line) + 1
    return header, candidates, size


def _candidate(line: bytes) -> Candidate:
    if len(line) > _MAX_LINE:
        raise ValueError("the line is too long")
    data = json.loads(line)
    json.dumps(data, ensure_ascii=False).encode()  # a lone surrogate could not be written anywhere else
    return Candidate.from_json(data)


class Journal:
    """An append-only file of evaluations, made with its header if it is not there.

    `check` and `highest_score` are those of `read_journal`.

    Attributes
    ----------
    found_ : dict of str to Candidate
        Evaluations by fingerprint, those of earlier attempts included.
    dropped_ : int
        Whole lines that were cut off, the first of which is not an evaluation of this run.

    Raises
    ------
    JournalMismatch
        If the file belongs to another run.
    """

    def __init__(
        self,
        path: Path,
        header: JournalHeader,
        *,
        check: Callable[[Candidate], None] = check_bred,
        highest_score: float = math.inf,
    ) -> None:
        self.path = path
        self.header = header
        self.dropped_ = 0
        self.found_: dict[str, Candidate] = {}
        fresh = not path.exists() or path.stat().st_size == 0
        if not fresh:
            self._adopt(check, highest_score)
        self._file = path.open("ab")
        if fresh:
            self._write({"schemaVersion": SCHEMA_VERSION, **asdict(header)})

    def _adopt(self, check: Callable[[Candidate], None], highest_score: float) -> None:
        found, candidates, size = read_journal(self.path, check=check, highest_score=highest_score)
        for name, value in asdict(found).items():
            if value != getattr(self.header, name):
                raise JournalMismatch(f"the journal was written with another {name.replace('_', ' ')}")
        self.found_ = {candidate.key: candidate for candidate in candidates}
        with self.path.open("r+b") as file:
            file.seek(size)
            self.dropped_ = file.read().count(b"\n")
            file.truncate(size)

    def append(self, candidate: Candidate) -> None:
        """Add one evaluation; it is on disk when this returns."""
        self._write(candidate.to_json())
        self.found_[candidate.key] = candidate

    def _write(self, data: Mapping[str, object]) -> None:
        line = json.dumps(data, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        if len(line) > _MAX_LINE:
            raise ValueError(f"a journal line of {len(line)} bytes is over the limit of {_MAX_LINE}")
        self._file.write(line)
        self._file.flush()
        os.fsync(self._file.fileno())

    def digest(self) -> str:
        """Return the sha256 of the present file, in hex."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()
