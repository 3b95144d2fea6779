"""The parent's own look at a child's Dask cluster.

A child notices a lost cluster itself and continues at once. If its client is stuck, it reports nothing, and
the parent ends it: the next child searches locally, on the same journal.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainingjob_api import Backend, Stage
from trainingjob_trainer.events import BackendReady, Event, FellBack, StageChanged

__all__ = ["CONTAINER", "ClusterGuard", "MemoryGroup"]

_GRACE_SECONDS = 5.0
_MIB = 1024**2
_NO_LIMIT = 2**60
"""Version 1 of control groups writes a number of this size where there is no limit."""


class ClusterGuard:
    """Watches the scheduler that a child searches on.

    Parameters
    ----------
    environment
        Names the certificates.
    grace_seconds
        How long a child may take to report that it has left a lost cluster.
    """

    def __init__(self, environment: Mapping[str, str], *, grace_seconds: float = _GRACE_SECONDS) -> None:
        self._environment = environment
        self._grace_seconds = grace_seconds
        self._probe: Any = None
        self._lost_since: float | None = None

    def hear(self, event: Event) -> None:
        """Begin to watch when a child has a cluster, end when it has none any more or needs none."""
        match event:
            case BackendReady(backend=Backend.DASK, scheduler=str() as address):
                self._watch(address)
            case BackendReady() | FellBack() | StageChanged(stage=Stage.FITTING | Stage.SAVING):
                self.close()
            case _:
                pass

    def complaint(self) -> str | None:
        """Return why a child that has not left its cluster must be ended, or None."""
        if self._probe is None:
            return None
        from trainingjob_trainer.dask_cluster.probe import loss  # noqa: PLC0415 - as in _watch

        lost = loss(self._probe.snapshot(), None)
        if lost is None:
            self._lost_since = None
            return None
        now = time.monotonic()
        self._lost_since = self._lost_since or now
        return str(lost) if now - self._lost_since > self._grace_seconds else None

    def close(self) -> None:
        """Watch no more."""
        if self._probe is not None:
            self._probe.close()
        self._probe, self._lost_since = None, None

    def _watch(self, address: str) -> None:
        # A run without a cluster needs nothing of Dask in this process.
        from trainingjob_trainer.dask_cluster.probe import Probe  # noqa: PLC0415
        from trainingjob_trainer.dask_cluster.security import client_security  # noqa: PLC0415

        self.close()
        self._probe = Probe(address, security=client_security(self._environment)).start()


@dataclass(frozen=True, slots=True)
class MemoryGroup:
    """The control group of the container, version 2 or 1, mounted at `root`."""

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
