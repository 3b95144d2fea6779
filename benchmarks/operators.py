"""Operators as processes of their own, and what they take of the machine."""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

import psutil

from kit import eventually

__all__ = ["QUIET_SECONDS", "Process", "empty_operator", "operator", "rest"]

QUIET_SECONDS = 2.0
"""As long as that a process has to be idle before its memory counts."""
_QUIET_SHARE = 0.05
_PATIENCE_SECONDS = 600


@dataclass(slots=True)
class Process:
    """A process under observation: its memory as it began and at most, its processor time as it began."""

    command: subprocess.Popen[str]
    most: int = 0
    start: int = 0
    used: float = 0.0
    _busy: list[tuple[float, float]] = field(default_factory=list)

    def look(self) -> None:
        """Take a sample."""
        now = time.monotonic()
        self.most = max(self.most, self.memory)
        self._busy = [sample for sample in self._busy if now - sample[0] <= QUIET_SECONDS * 2]
        self._busy.append((now, self.processor))

    def quiet(self) -> bool:
        """Return whether it has hardly computed for a while."""
        self.look()
        now, used = self._busy[-1]
        before = [sample for sample in self._busy if now - sample[0] >= QUIET_SECONDS]
        return bool(before) and (used - before[-1][1]) / (now - before[-1][0]) < _QUIET_SHARE

    @property
    def processor(self) -> float:
        """Processor time so far, in seconds."""
        times = psutil.Process(self.command.pid).cpu_times()
        return times.user + times.system

    @property
    def memory(self) -> int:
        """Resident memory, in bytes."""
        return psutil.Process(self.command.pid).memory_info().rss


def rest(*processes: Process) -> None:
    """Wait until the processes are idle."""
    for process in processes:
        eventually(process.quiet, "the operators do not come to rest", _PATIENCE_SECONDS)


@contextlib.contextmanager
def operator(kubeconfig: Path, place: str) -> Iterator[Process]:
    """Run the operator; it is ready when the block begins."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        "TRAININGJOB_TRAINER_IMAGE": "none",
        "TRAININGJOB_NAMESPACES": place,
        "TRAININGJOB_PORT": str(port),
    }
    with running(kubeconfig, environment, "-m", "trainingjob_operator") as process:
        eventually(lambda: answers(f"http://127.0.0.1:{port}/readyz"), "the operator is not ready", 60)
        yield Process(process)


@contextlib.contextmanager
def empty_operator(kubeconfig: Path, place: str) -> Iterator[Process]:
    """Run the operator that does nothing, and prove afterwards that it has looked on."""
    script = Path(__file__).with_name("empty_operator.py")
    with running(kubeconfig, {}, str(script), place) as process:
        yield Process(process)
        process.terminate()
        text, _ = process.communicate(timeout=30)
        print(f"the empty operator has seen {int(text.split()[-1])} events")


@contextlib.contextmanager
def running(
    kubeconfig: Path, environment: dict[str, str], *arguments: str
) -> Iterator[subprocess.Popen[str]]:
    """Run Python with *arguments*; the process is gone afterwards."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        env=os.environ | environment | {"KUBECONFIG": str(kubeconfig)},
        stdout=subprocess.PIPE,
        stderr=None if os.environ.get("BENCH_LOGS") else subprocess.DEVNULL,
        text=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def answers(url: str) -> bool:
    """Return whether *url* answers 200."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310  # http, and this machine
            return answer.status == HTTPStatus.OK
    except (urllib.error.URLError, OSError):
        return False
