"""A Dask scheduler with the settings that the search relies on, and its file.

The signals that end a process and its log are those of a worker, too.
"""

import asyncio
import contextlib
import ipaddress
import json
import logging
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dask
from distributed import Scheduler, SchedulerPlugin, Security

from trainingjob_api import JsonLines, Reason, install_log
from trainingjob_trainer.dask_cluster.connection import read_scheduler_file, replace_file
from trainingjob_trainer.dask_cluster.probe import identity
from trainingjob_trainer.errors import RunFailed, SpecInvalid, TrainingError
from trainingjob_trainer.search.pool import scheduler_settings

_log = logging.getLogger(__name__)
_SETTINGS = {
    # Even without a dashboard the scheduler serves HTTP: without routes, and on this host only (_NOWHERE).
    "distributed.scheduler.http.routes": [],
    "distributed.scheduler.dashboard.tls": {"ca-file": None, "key": None, "cert": None},
    "distributed.scheduler.preload": [],
}
_NOWHERE = "127.0.0.1:0"
_CLOSE_SECONDS = 5.0
_PREDECESSOR_SECONDS = 2.0
_PUBLISHED = ("type", "id", "address", "started")
_UID_VARIABLE = "TRAININGJOB_JOB_UID"
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopSignal(asyncio.Event):
    """Set by the first signal; each further one sets `again`: its sender does not want to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.name = ""
        self.again = asyncio.Event()

    def take(self, number: signal.Signals) -> None:
        """Note a signal."""
        if self.is_set():
            self.again.set()
        self.name = number.name
        self.set()

    async def wait_or(self, task: "asyncio.Future[Any]") -> None:
        """Wait for the first signal or the end of a task, whichever comes first."""
        signalled = asyncio.ensure_future(self.wait())
        await asyncio.wait((task, signalled), return_when=asyncio.FIRST_COMPLETED)
        signalled.cancel()


@contextlib.contextmanager
def stop_signals() -> Iterator[StopSignal]:
    """Turn SIGTERM and SIGINT into an event of the running loop."""
    loop = asyncio.get_running_loop()
    stop = StopSignal()
    for number in _SIGNALS:
        loop.add_signal_handler(number, stop.take, number)
    try:
        yield stop
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


def log_to_stderr(environment: Mapping[str, str]) -> bool:
    """Log this project's messages and the warnings of others to standard error, one line each.

    In a pod of a job, by its environment, they are JSON lines with the keys of operator and trainer; return
    whether they are. Dask must have been imported: it sets up loggers.
    """
    uid = environment.get(_UID_VARIABLE, "")
    job = f"{environment.get('POD_NAMESPACE', '')}/{environment.get('TRAININGJOB_JOB_NAME', '')}"
    formatter: logging.Formatter
    if uid:
        formatter = JsonLines(lambda _record: {"job": job, "uid": uid})
    else:
        formatter = logging.Formatter("%(asctime)s %(levelname)s %(message)s", datefmt="%Y-%m-%dT%H:%M:%SZ")
        formatter.converter = time.gmtime
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    install_log(handler, logging.WARNING)
    logging.getLogger("trainingjob_trainer").setLevel(logging.INFO)
    logging.getLogger("distributed").setLevel(logging.WARNING)
    return bool(uid)


def serve_scheduler(
    path: Path | None, *, host: str, port: int, security: Security | None, idle_seconds: float | None
) -> None:
    """Run a scheduler until SIGTERM or SIGINT, or until it had no task for `idle_seconds`.

    The file at `path` gets the address, for workers and clients. Port 0 takes a free one.

    Raises
    ------
    SpecInvalid
        ``SchedulerFileUnwritable``, ``SchedulerFileInUse``: another path is needed.
    RunFailed
        ``SchedulerNotStarted``: it cannot listen there.
    """

    async def serve() -> None:
        with stop_signals() as stopped:
            scheduler = await _start(host, port, security, idle_seconds)
            try:
                with _published(path, scheduler):
                    await stopped.wait_or(asyncio.ensure_future(scheduler.finished()))
                    cause = stopped.name if stopped.is_set() else "idle for too long"
                    _log.info("the scheduler ends: %s", cause)
            finally:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(scheduler.close(reason="ended"), _CLOSE_SECONDS)

    if path is not None:
        _remove_stale_file(path, security)
    with dask.config.set({**scheduler_settings(), **_SETTINGS}):
        asyncio.run(serve())


async def _start(host: str, port: int, security: Security | None, idle_seconds: float | None) -> Any:
    try:
        scheduler = Scheduler(
            host=host,
            port=port,
            protocol="tls" if security else "tcp",
            security=security or Security(require_encryption=False),
            dashboard=False,
            dashboard_address=_NOWHERE,
            idle_timeout=idle_seconds,
            plugins=(_WorkerLog(),),
        )
        await scheduler
    except (OSError, ValueError, RuntimeError) as error:
        text = f"cannot listen on {host}, port {port}: {error.__cause__ or error}"
        raise RunFailed(Reason.SCHEDULER_NOT_STARTED, text) from error
    _log.info("the scheduler listens on %s (%s)", scheduler.address, scheduler.id)
    listens_on = ipaddress.ip_address(urlsplit(scheduler.listen_address).hostname or "")
    if security is None and not listens_on.is_loopback:
        _log.warning(
            "without TLS, anyone who can reach %s can run code on the workers: see `trainingjob certs`",
            scheduler.address,
        )
    return scheduler


class _WorkerLog(SchedulerPlugin):
    """Logs which workers join and leave."""

    name = "trainingjob-worker-log"

    def add_worker(self, scheduler: Any, worker: str) -> None:
        name = scheduler.workers[worker].name
        _log.info("worker %s joined from %s, workers: %d", name, worker, len(scheduler.workers))

    def remove_worker(self, scheduler: Any, worker: str, **_: Any) -> None:
        _log.info("worker at %s left, workers: %d", worker, len(scheduler.workers))


def _remove_stale_file(path: Path, security: Security | None) -> None:
    """Remove the file of a scheduler that is gone; otherwise a worker would wait for that one."""
    if not path.exists():
        return
    try:
        address = read_scheduler_file(path)["address"]
        asyncio.run(identity(address, security=security, timeout=_PREDECESSOR_SECONDS, role="scheduler"))
    except TrainingError:
        with _writable(path):
            path.unlink(missing_ok=True)
        _log.info("removed %s, left by a scheduler that is gone", path)
    else:
        text = f"{path} is in use by the running scheduler at {address}: end it or name another file"
        raise SpecInvalid(Reason.SCHEDULER_FILE_IN_USE, text)


@contextlib.contextmanager
def _published(path: Path | None, scheduler: Any) -> Iterator[None]:
    """Keep a scheduler file as long as the scheduler runs."""
    if path is None:
        yield
        return
    with _writable(path):
        known = scheduler.identity()
        # Workers may run as other users.
        replace_file(path, json.dumps({name: known[name] for name in _PUBLISHED}, indent=2).encode(), 0o644)
    _log.info("the scheduler file is %s", path)
    try:
        yield
    finally:
        with contextlib.suppress(TrainingError, OSError):
            if read_scheduler_file(path).get("id") == scheduler.id:
                path.unlink()


@contextlib.contextmanager
def _writable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        text = (
            f"the scheduler file {path} cannot be written: {error.strerror}; --scheduler-file names another"
        )
        raise SpecInvalid(Reason.SCHEDULER_FILE_UNWRITABLE, text) from error


def read_settings(dask_scheduler: Any) -> dict[str, Any]:
    """Return the settings that the search relies on; a trainer runs this inside a scheduler."""
    return {"allowed-failures": dask_scheduler.allowed_failures}


def read_versions() -> dict[str, str]:
    """Return the versions that scheduler and trainer must have in common to talk to each other."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return {"python": python, "dask": version("dask"), "distributed": version("distributed")}
