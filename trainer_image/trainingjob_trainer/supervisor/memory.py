"""The container's memory limit and its count of out-of-memory kills, from the control group."""

from dataclasses import dataclass
from pathlib import Path

__all__ = ["CONTAINER", "MemoryGroup"]

_MIB = 1024**2
_NO_LIMIT = 2**60
"""Version 1 of control groups writes a number of this size where there is no limit."""


@dataclass(frozen=True, slots=True)
class MemoryGroup:
    """The control group of the container, version 2 or 1.

    Parameters
    ----------
    root
        Where control groups are mounted.
    """

    root: Path = Path("/sys/fs/cgroup")

    def kills(self) -> int:
        """Return how many processes the kernel has killed for their memory; 0 where it does not say."""
        for name in ("memory.events", "memory/memory.oom_control"):
            for line in self._read(name).splitlines():
                word, _, number = line.partition(" ")
                if word == "oom_kill" and number.isdecimal():
                    return int(number)
        return 0

    def limit_text(self) -> str:
        """Return the limit in words, empty if there is none."""
        for name in ("memory.max", "memory/memory.limit_in_bytes"):
            text = self._read(name).strip()
            if text.isdecimal() and int(text) < _NO_LIMIT:
                return f" (limit {int(text) // _MIB} MiB)"
        return ""

    def _read(self, name: str) -> str:
        try:
            return (self.root / name).read_text()
        except OSError:
            return ""


CONTAINER = MemoryGroup()
"""The one that this process is in."""
