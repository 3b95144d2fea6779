"""A Dask scheduler with the settings that the search relies on, and the file that says where it is."""

import asyncio
import contextlib
import ipaddress
import json
import logging
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dask
from distributed import Scheduler, SchedulerPlugin, Security

from trainingjob_api import Reason
from trainingjob_trainer.dask_cluster.address import read_scheduler_file
from trainingjob_trainer.dask_cluster.probe import identity
from trainingjob_trainer.dask_cluster.process import replace_file, stop_signals
from trainingjob_trainer.errors import RunFailed, SpecInvalid, TrainingError
from trainingjob_trainer.search.pool import scheduler_settings

__all__ = ["SchedulerOptions", "read_settings", "read_versions", "serve_scheduler"]

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


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerOptions:
    """How a scheduler is run.

    Parameters
    ----------
    scheduler_file
        Gets the address, for workers and clients; None: they are given it otherwise.
    host
        Address or name of the interface to listen on; ``0.0.0.0`` is all of them.
    port
        0 takes a free one.
    security
        Certificates of a scheduler; None listens without encryption.
    idle_seconds
        End after so long without a task; None: never.
    """

    scheduler_file: Path | None
    host: str = "127.0.0.1"
    port: int = 8786
    security: Security | None = None
    idle_seconds: float | None = None


def serve_scheduler(options: SchedulerOptions) -> None:
    """Run a scheduler until SIGTERM or SIGINT, or until it has been idle for too long.

    Raises
    ------
    SpecInvalid
        ``SchedulerFileUnwritable``, ``SchedulerFileInUse``: another path is needed.
    RunFailed
        ``SchedulerNotStarted``: it cannot listen there.
    """
    if options.scheduler_file is not None:
        _remove_stale_file(options.scheduler_file, options.security)
    with dask.config.set({**scheduler_settings(), **_SETTINGS}):
        asyncio.run(_serve(options))


async def _serve(options: SchedulerOptions) -> None:
    with stop_signals() as stopped:
        scheduler = await _start(options)
        try:
            with _published(options.scheduler_file, scheduler):
                ended = asyncio.ensure_future(scheduler.finished())
                told = asyncio.ensure_future(stopped.wait())
                await asyncio.wait((ended, told), return_when=asyncio.FIRST_COMPLETED)
                told.cancel()
                _log.info("the scheduler ends: %s", stopped.name if stopped.is_set() else "idle for too long")
        finally:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(scheduler.close(reason="ended"), _CLOSE_SECONDS)


async def _start(options: SchedulerOptions) -> Any:
    try:
        scheduler = Scheduler(
            host=options.host,
            port=options.port,
            protocol="tls" if options.security else "tcp",
            security=options.security or Security(require_encryption=False),
            dashboard=False,
            dashboard_address=_NOWHERE,
            idle_timeout=options.idle_seconds,
            plugins=(_WorkerLog(),),
        )
        await scheduler
    except (OSError, ValueError, RuntimeError) as error:
        cause = error.__cause__ or error
        text = f"cannot listen on {options.host}, port {options.port}: {cause}"
        raise RunFailed(Reason.SCHEDULER_NOT_STARTED, text) from error
    _log.info("the scheduler listens on %s (%s)", scheduler.address, scheduler.id)
    if options.security is None and not _is_local(scheduler):
        _log.warning(
            "without TLS, anyone who can reach %s can run code on the workers: see `trainingjob certs`",
            scheduler.address,
        )
    return scheduler


def _is_local(scheduler: Any) -> bool:
    return ipaddress.ip_address(urlsplit(scheduler.listen_address).hostname or "").is_loopback


class _WorkerLog(SchedulerPlugin):
    """Logs which workers join and leave."""

    name = "trainingjob-worker-log"

    def add_worker(self, scheduler: Any, worker: str) -> None:
        """Log a worker that has joined."""
        name = scheduler.workers[worker].name
        _log.info("worker %s joined from %s, workers: %d", name, worker, len(scheduler.workers))

    def remove_worker(self, scheduler: Any, worker: str, **_: Any) -> None:
        """Log a worker that has left."""
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
