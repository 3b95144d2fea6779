"""A Dask cluster of the real commands, and ways to break it."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from support.runs import COMMAND, KEPT, until
from trainingjob_trainer.dask_cluster.connection import resolve_address
from trainingjob_trainer.dask_cluster.probe import identity
from trainingjob_trainer.errors import TrainingError

_IDLE_SECONDS = 900


@dataclass(slots=True)
class Cluster:
    """A scheduler and workers that a test starts and breaks.

    Parameters
    ----------
    folder
        Where the scheduler file and the logs are.
    host
        Where the scheduler listens.
    prefix
        What each command line begins with, such as one that enters a network namespace.
    """

    folder: Path
    host: str = "127.0.0.1"
    prefix: tuple[str, ...] = ()
    scheduler: subprocess.Popen[bytes] | None = None
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def scheduler_file(self) -> Path:
        return self.folder / "scheduler.json"

    @property
    def environment(self) -> dict[str, str]:
        """What a trainer needs to find the cluster."""
        return {"TPOT__DASK_SCHEDULER_FILE": str(self.scheduler_file)}

    @property
    def _options(self) -> tuple[str, ...]:
        # Idle: the process that started them may be killed before it ends them.
        return ("--scheduler-file", str(self.scheduler_file), "--idle-timeout", str(_IDLE_SECONDS))

    def start_scheduler(self, port: int = 0) -> None:
        self.scheduler = self._start("scheduler", "--host", self.host, "--port", str(port))

    def start_worker(self) -> None:
        self.workers.append(self._start("worker", "--memory-limit-mb", "1500"))

    def works(self, workers: int) -> bool:
        """Return whether so many workers have joined."""
        log = self.folder / "worker.log"
        return log.exists() and log.read_text().count(" works for ") >= workers

    def mend(self, workers: int) -> None:
        """Undo what was done to it; return when so many workers are there."""
        if self.scheduler is None or self.scheduler.poll() is not None:
            self.start_scheduler()
        else:
            self.scheduler.send_signal(signal.SIGCONT)
        self.workers = [worker for worker in self.workers if worker.poll() is None]
        while len(self.workers) < workers:
            self.start_worker()
        until(lambda: self.connected() == workers, seconds=150, what=f"{workers} workers")

    def connected(self) -> int:
        """Return how many workers the scheduler has; none as long as it does not answer."""
        try:
            address = resolve_address(self.scheduler_file)
            return len(asyncio.run(identity(address, timeout=3)).running)
        except TrainingError:
            return 0

    def kill_scheduler(self) -> None:
        assert self.scheduler is not None
        self.scheduler.kill()
        self.scheduler.wait()

    def restart_scheduler(self) -> None:
        """Kill it and start another one at the same address, which knows nothing."""
        address = json.loads(self.scheduler_file.read_text())["address"]
        self.kill_scheduler()
        self.start_scheduler(port=int(address.rpartition(":")[2]))

    def stop_scheduler(self) -> None:
        """Freeze it: its port accepts connections but never answers."""
        assert self.scheduler is not None
        self.scheduler.send_signal(signal.SIGSTOP)

    def kill_worker_process(self) -> None:
        """Kill one process that evaluates; its nanny starts another one."""
        # The nanny's children are a server that forks and a tracker; the server's child is the worker.
        servers = psutil.Process(self.workers[0].pid).children()
        (process,) = [child for server in servers for child in server.children()]
        process.kill()

    def kill_worker(self) -> None:
        """Kill a worker, after its nanny, which would start another one."""
        _kill_tree(self.workers.pop(0))

    def kill_workers(self) -> None:
        """Kill the workers and all that they have started."""
        while self.workers:
            self.kill_worker()

    def close(self) -> None:
        if self.scheduler is not None:
            self.scheduler.send_signal(signal.SIGCONT)
            _kill_tree(self.scheduler)
        self.kill_workers()

    def _start(self, role: str, *arguments: str) -> subprocess.Popen[bytes]:
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        with (self.folder / f"{role}.log").open("ab") as log:
            return subprocess.Popen(
                [*self.prefix, *COMMAND, role, *self._options, *arguments],
                cwd=self.folder,
                env=kept,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )


@contextmanager
def cluster(workers: int, *, host: str = "127.0.0.1", prefix: tuple[str, ...] = ()) -> Iterator[Cluster]:
    """Start a scheduler and some workers; all are gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        found = Cluster(Path(folder), host=host, prefix=prefix)
        try:
            found.start_scheduler()
            for _ in range(workers):
                found.start_worker()
            yield found
        finally:
            found.close()


def _kill_tree(process: subprocess.Popen[bytes]) -> None:
    try:
        family = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        family = []
    process.kill()
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait()
    until(lambda: not any(_lives(process) for process in family), seconds=10, what="the end of a worker")


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
