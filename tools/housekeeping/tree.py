"""The tracked files of the project, and what a broken rule looks like."""

import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path


@dataclass(frozen=True)
class Problem:
    """A rule broken at one place; *line* is 0 for the whole file."""

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


@dataclass(frozen=True)
class Tree:
    """The files under *root* that git tracks and that still exist.

    Raises
    ------
    subprocess.CalledProcessError
        By :attr:`paths`, if *root* is not inside a git repository.
    """

    root: Path

    @cached_property
    def paths(self) -> tuple[str, ...]:
        """Relative POSIX paths, sorted."""
        listing = subprocess.run(
            ["git", "ls-files", "-z"],
            cwd=self.root,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        return tuple(sorted(path for path in listing.split("\0") if path and (self.root / path).is_file()))

    def text(self, path: str) -> str | None:
        """Return the content of *path*, or None if it is not UTF-8 text."""
        try:
            return (self.root / path).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            return None
