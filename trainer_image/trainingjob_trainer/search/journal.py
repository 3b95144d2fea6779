"""The journal: each finished evaluation, appended as it finishes.

A resumed run breeds the same sequence of pipelines again, since breeding depends on the seed and on earlier
results alone, and takes from the journal what has been evaluated. So the journal holds results as JSON and
nothing that would have to be unpickled.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from trainingjob_trainer.search.candidate import Candidate

__all__ = ["Journal", "JournalHeader", "JournalMismatch", "read_journal"]

SCHEMA_VERSION = 1
_MAX_LINE = 1024 * 1024


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


def read_journal(path: Path) -> tuple[JournalHeader, list[Candidate], int]:
    """Read a journal as far as it is whole.

    Returns
    -------
    header, candidates, size
        `size` is the length in bytes of the whole part: a line that was cut off by a crash is not counted.

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
            raise JournalMismatch(f"the journal has schema version {first['schemaVersion']}")
        header = JournalHeader(
            search_digest=first["search_digest"],
            data_digest=first["data_digest"],
            versions=dict(first["versions"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise JournalMismatch("the journal has no readable header") from error
    size = len(lines[0]) + 1
    candidates = []
    for line in lines[1:-1]:
        try:
            candidates.append(Candidate.from_json(json.loads(line)))
        except (ValueError, KeyError, TypeError):
            break
        size += len(line) + 1
    return header, candidates, size


class Journal:
    """An append-only file of evaluations.

    Parameters
    ----------
    path
        The file; made with its header if it is not there.
    header
        What the run is about.

    Attributes
    ----------
    found_ : dict of str to Candidate
        What has been evaluated, by earlier attempts too, by fingerprint.

    Raises
    ------
    JournalMismatch
        If the file belongs to another run.
    """

    def __init__(self, path: Path, header: JournalHeader) -> None:
        self.path = path
        self.header = header
        self.found_: dict[str, Candidate] = {}
        fresh = not path.exists() or path.stat().st_size == 0
        if not fresh:
            self._adopt()
        self._file = path.open("ab")
        if fresh:
            self._write(
                {"schemaVersion": SCHEMA_VERSION, **asdict(header), "versions": dict(header.versions)}
            )

    def _adopt(self) -> None:
        found, candidates, size = read_journal(self.path)
        for name in ("search_digest", "data_digest", "versions"):
            if getattr(found, name) != getattr(self.header, name):
                raise JournalMismatch(f"the journal was written with another {name.replace('_', ' ')}")
        self.found_ = {candidate.key: candidate for candidate in candidates}
        with self.path.open("r+b") as file:
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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
