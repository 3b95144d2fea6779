"""Starts a child, reads its events, and ends it when it hangs, overruns or stays on a lost Dask cluster.

A child notices a lost cluster itself and continues at once. If its client is stuck, it reports nothing, and
the parent ends it: the next child searches locally, on the same journal.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from trainingjob_api import Backend, Stage
from trainingjob_trainer import with_safe_path
from trainingjob_trainer.events import (
    EVENT_FD_VARIABLE,
    BackendReady,
    Event,
    Failed,
    FellBack,
    Heartbeat,
    Saved,
    StageChanged,
    decode_event,
)

_CHILD = "trainingjob_trainer.run.child"
_POLL_SECONDS = 0.5
_END_SECONDS = 10.0
_MAX_BUFFER = 8 * 1024 * 1024
_GRACE_SECONDS = 5.0
_MIB = 1024**2
_NO_LIMIT = 2**60
"""Version 1 of control groups writes a number of this size where there is no limit."""


class Ended(StrEnum):
    """How a child ended."""

    SAVED = "saved"
    FAILED = "failed"
    """It reported why."""
    CRASHED = "crashed"
    OUT_OF_MEMORY = "out of memory"
    """The kernel killed it for its memory."""
    HUNG = "hung"
    OVERRAN = "overran"
    STRANDED = "stranded"
    """Its Dask cluster was lost, and it did not leave it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a child may be silent or slow, in seconds.

    Parameters
    ----------
    silence
        Without any message; its heartbeat comes each second.
    still
        Without progress of its main thread while it searches.
    before, after
        For loading and preparing; for saving.
    """

    silence: float = 60.0
    still: float = 90.0
    before: float = 1800.0
    after: float = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildEnd:
    """The end of a child, in words for a warning or an error; `failure` is what it reported."""

    ended: Ended
    message: str
    failure: Failed | None = None


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
        from trainingjob_trainer.dask_cluster.connection import client_security  # noqa: PLC0415
        from trainingjob_trainer.dask_cluster.probe import Probe  # noqa: PLC0415

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
"""The group that this process is in."""


class _Watch:
    """The state of a living child."""

    def __init__(self, patience: Patience, limit_seconds: float, *, inline: bool) -> None:
        self._patience = patience
        self._limit = limit_seconds
        self._inline = inline
        now = time.monotonic()
        self._heard = self._moved = self._stage_since = now
        self._beat = -1
        self._stage = Stage.STARTING
        self.elapsed = 0.0
        self.failure: Failed | None = None
        self.saved = False

    def take(self, event: Event) -> None:
        now = self._heard = time.monotonic()
        match event:
            case Heartbeat(beat=beat, elapsed_seconds=elapsed):
                self.elapsed = elapsed
                if beat != self._beat:
                    self._beat, self._moved = beat, now
            case StageChanged(stage=stage):
                self._stage, self._stage_since, self._moved = stage, now, now
            case Failed():
                self.failure = event
            case Saved():
                self.saved = True
            case _:
                pass

    def complaint(self) -> tuple[Ended, str] | None:
        """Return why the child must be ended, or None."""
        now, patience = time.monotonic(), self._patience
        if now - self._heard > patience.silence:
            return Ended.HUNG, f"the search process has not responded for {patience.silence:.0f} s"
        if self._stage in {Stage.STARTING, Stage.LOADING, Stage.PREPARING}:
            late = now - self._stage_since > patience.before
            return (Ended.HUNG, f"{self._stage} took longer than {patience.before:.0f} s") if late else None
        if self._stage is Stage.SAVING:
            late = now - self._stage_since > patience.after
            return (Ended.HUNG, f"saving took longer than {patience.after:.0f} s") if late else None
        if not self._inline and now - self._moved > patience.still:
            return Ended.HUNG, f"the search process made no progress for {patience.still:.0f} s"
        if self.elapsed > self._limit:
            return Ended.OVERRAN, f"the search process was not done after {self._limit:.0f} s"
        return None


def watch_child(
    arguments: list[str],
    *,
    environment: Mapping[str, str],
    log: Path,
    limit_seconds: float,
    inline: bool,
    patience: Patience,
    on_event: Callable[[Event], None],
    on_start: Callable[[int], None],
    stranded: Callable[[], str | None] = lambda: None,
    module: str = _CHILD,
    memory: MemoryGroup = CONTAINER,
) -> ChildEnd:
    """Run a child to its end.

    Parameters
    ----------
    limit_seconds
        Reading of the run's clock at which the child is ended.
    inline
        Whether it works without workers, so that its main thread may be busy for long.
    on_start
        Called with the child's process id, which is also its process group's.
    stranded
        Asked several times a second; returns why the child must be ended for the loss of its cluster.
    module, memory
        The child's entry point, and where the kernel counts the processes it kills.
    """
    kills = memory.kills()
    reader, writer = os.pipe()
    command = [sys.executable, "-m", module, *arguments]
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={
                **with_safe_path(environment),
                EVENT_FD_VARIABLE: str(writer),
                "PYTHONHASHSEED": "0",
                "PYTHONUNBUFFERED": "1",
                "OMP_NUM_THREADS": "1",
                "OPENBLAS_NUM_THREADS": "1",
            },
            pass_fds=(writer,),
            start_new_session=True,
        )
    os.close(writer)
    on_start(process.pid)
    watch = _Watch(patience, limit_seconds, inline=inline)
    try:
        complaint = _read(reader, process, watch, on_event, stranded)
        _end(process, patient=complaint is None)
    finally:
        os.close(reader)
        _end(process, patient=False)
    end = _verdict(process, watch, complaint)
    killed = end.ended is Ended.CRASHED and process.returncode == -signal.SIGKILL
    if killed and complaint is None and memory.kills() > kills:
        text = (
            f"the search process was killed for its memory{memory.limit_text()}; raise spec.memoryLimitMb or "
            "spec.trainer.resources.limits.memory, or lower spec.nJobs"
        )
        return replace(end, ended=Ended.OUT_OF_MEMORY, message=text)
    return end


def _read(
    reader: int,
    process: subprocess.Popen[bytes],
    watch: _Watch,
    on_event: Callable[[Event], None],
    stranded: Callable[[], str | None],
) -> tuple[Ended, str] | None:
    """Pass events on until the child has ended, has reported its end or must be ended."""
    buffer = b""
    while True:
        ready, _, _ = select.select([reader], [], [], _POLL_SECONDS)
        if ready:
            data = os.read(reader, 65536)
            if not data:
                return None
            buffer += data
            *lines, buffer = buffer.split(b"\n")
            for line in lines:
                try:
                    event = decode_event(line)
                except ValueError:
                    return Ended.CRASHED, "the search process sent data that is not an event"
                watch.take(event)
                on_event(event)
            if len(buffer) > _MAX_BUFFER:
                return Ended.CRASHED, "the search process sent a message that is too large"
        elif process.poll() is not None:
            return None
        if watch.saved or watch.failure is not None:
            return None
        if (lost := stranded()) is not None:
            return Ended.STRANDED, lost
        if (complaint := watch.complaint()) is not None and not (
            complaint[0] is Ended.HUNG and _holds_more(reader)
        ):
            return complaint


def _holds_more(reader: int) -> bool:
    """Whether the child has sent what is not read yet: then this process was slow."""
    ready, _, _ = select.select([reader], [], [], 0.0)
    return bool(ready)


def _end(process: subprocess.Popen[bytes], *, patient: bool) -> None:
    """Let a child that has reported its end exit by itself for a while; then kill its whole group."""
    if patient:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_END_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _verdict(
    process: subprocess.Popen[bytes], watch: _Watch, complaint: tuple[Ended, str] | None
) -> ChildEnd:
    if watch.saved:
        ended, message = Ended.SAVED, ""
    elif watch.failure is not None:
        ended, message = Ended.FAILED, watch.failure.message
    elif complaint is not None:
        ended, message = complaint
    else:
        code = process.returncode
        how = f"was ended by signal {-code}" if code < 0 else f"ended with status {code}"
        ended, message = Ended.CRASHED, f"the search process {how}"
    failure = watch.failure if ended is Ended.FAILED else None
    return ChildEnd(ended=ended, message=message, failure=failure)
