"""Schedulers and workers as the command line starts them: real processes with captured output."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from typer.testing import CliRunner

from trainingjob_trainer.cli import app

TRAININGJOB = str(Path(sys.executable).with_name("trainingjob"))
PATIENCE = 240.0


def wait_until(condition: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {seconds:g} s"
        time.sleep(0.05)


class Process:
    """A `trainingjob` command at work, and its log."""

    def __init__(self, command: list[str], log: Path, environment: dict[str, str]) -> None:
        self.log = log
        with log.open("w") as file:
            self.popen = subprocess.Popen(command, stdout=file, stderr=file, env=environment)

    @property
    def text(self) -> str:
        return self.log.read_text()

    def wait_for(self, words: str, seconds: float = PATIENCE, times: int = 1) -> None:
        def there() -> bool:
            assert self.popen.poll() is None or self.text.count(words) >= times, self.text
            return self.text.count(words) >= times

        wait_until(there, f"{words!r} in {self.log}", seconds)

    def send(self, number: signal.Signals) -> None:
        self.popen.send_signal(number)

    def ended(self, seconds: float = PATIENCE) -> int:
        return self.popen.wait(timeout=seconds)


class Stage:
    """Starts processes in one folder, and ends them all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.scheduler_file = folder / "scheduler.json"
        self.processes: list[Process] = []

    def start(self, *arguments: str, environment: dict[str, str] | None = None) -> Process:
        log = self.folder / f"{arguments[0]}-{len(self.processes)}.log"
        process = Process([TRAININGJOB, *arguments], log, clean_environment() | (environment or {}))
        self.processes.append(process)
        return process

    def scheduler(self, *options: str, **more: dict[str, str]) -> Process:
        file = ("--scheduler-file", str(self.scheduler_file))
        scheduler = self.start("scheduler", *file, "--port", "0", *options, **more)
        scheduler.wait_for("the scheduler file is")
        return scheduler

    def worker(self, *options: str, **more: dict[str, str]) -> Process:
        file = ("--scheduler-file", str(self.scheduler_file))
        return self.start("worker", *file, "--local-directory", str(self.folder), *options, **more)

    def close(self) -> None:
        for process in reversed(self.processes):
            if process.popen.poll() is None:
                process.send(signal.SIGCONT)
                process.send(signal.SIGTERM)
        for process in self.processes:
            try:
                process.popen.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.popen.kill()
                process.popen.wait()


def clean_environment() -> dict[str, str]:
    foreign = ("DASK_", "TPOT", "OMP_", "OPENBLAS_", "MKL_")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)}


def call(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Call the command line in this process, which has imported already what a new one would import first."""
    foreign = dict.fromkeys(os.environ.keys() - clean_environment().keys())
    result = CliRunner().invoke(app, arguments, env=foreign | (environment or {}))
    return subprocess.CompletedProcess(arguments, result.exit_code, result.stdout, result.stderr)


def check(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return call(*arguments, "--check", environment=environment)


def check_as_a_process(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [TRAININGJOB, *arguments, "--check"],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
