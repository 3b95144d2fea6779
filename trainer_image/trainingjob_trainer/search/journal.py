"""The journal: each finished evaluation, appended as it finishes.

A resumed run breeds the same sequence of pipelines again, since breeding depends on the seed and on earlier
results alone, and takes the results from the journal. So the journal holds results as JSON and nothing that
would have to be unpickled. It may come from a bucket: a line counts only if its pipeline can be bred by a
search, has the fingerprint that the line gives, and has scores that the metric can give.
"""

import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from trainingjob_trainer.errors import SpecInvalid
from trainingjob_trainer.search.candidate import Candidate
from trainingjob_trainer.search_space.pipeline import (
    build,
    describe,
    encoding_of,
    fingerprint,
    with_encoding,
)

__all__ = ["Journal", "JournalHeader", "JournalMismatch", "check_bred", "read_journal"]

SCHEMA_VERSION = 1
_MAX_LINE = 1024 * 1024
_MAX_LINES = 100_000
_ROUNDING = 1e-6


class JournalMismatch(Exception):  # noqa: N818 - the name says what was found
    """The journal belongs to another spec, table or version; `str` names what differs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalHeader:
    """What a journal must share with a run that resumes it.

    Parameters
    ----------
    search_digest
        sha256 over all of the spec that decides which pipelines are evaluated and how they are scored.
    data_digest
        sha256 of the dataset's file.
    versions
        Versions of the packages that decide how pipelines are bred and scored.
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
    model = describe(build(candidate.pipeline))
    if fingerprint(with_encoding(model, encoding_of(candidate.pipeline))) != candidate.key:
        raise ValueError("the key is not the fingerprint of the pipeline")


def read_journal(
    path: Path,
    *,
    check: Callable[[Candidate], None] = check_bred,
    highest_score: float = math.inf,
) -> tuple[JournalHeader, list[Candidate], int]:
    """Return header and evaluations of a journal as far as it is whole and its own run's.

    `check` raises for a candidate that the run cannot have written; no score is over `highest_score`.

    Returns
    -------
    header, candidates, size
        `size` is the length in bytes of the part that was read: a line that was cut off by a crash is not
        counted, nor is any line from the first one on that is not an evaluation of this run.

    Raises
    ------
    JournalMismatch
        If the first line is no header of a known version.
    """
    raw = path.read_bytes()
    lines = raw.split(b"\n")
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
        Whole lines that were cut off, since the first of them is not an evaluation of this run.

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
            self._write(
                {"schemaVersion": SCHEMA_VERSION, **asdict(header), "versions": dict(header.versions)}
            )

    def _adopt(self, check: Callable[[Candidate], None], highest_score: float) -> None:
        found, candidates, size = read_journal(self.path, check=check, highest_score=highest_score)
        for name in ("search_digest", "data_digest", "versions"):
            if getattr(found, name) != getattr(self.header, name):
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
        """Return the sha256 of the file as it stands, in hex."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()
