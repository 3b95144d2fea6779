"""A worker: a nanny, and the single-threaded process that it restarts whenever it dies."""

import asyncio
import contextlib
import logging
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from enum import Enum
from os import environ, getpid
from pathlib import Path
from typing import Any

import dask
from distributed import Nanny, Security, Worker, WorkerPlugin
from distributed.core import Status
from distributed.utils import get_mp_context
from tornado.ioloop import PeriodicCallback

from trainingjob_api import Reason
from trainingjob_trainer.dask_cluster.connection import own_host
from trainingjob_trainer.dask_cluster.probe import identity
from trainingjob_trainer.dask_cluster.scheduler import StopSignal, log_to_stderr, stop_signals
from trainingjob_trainer.errors import RunFailed, TrainingError
from trainingjob_trainer.search.pool import MODULES, scheduler_settings

_log = logging.getLogger(__name__)
_SETTINGS = {
    # Tasks may have processes of their own.
    "distributed.worker.daemon": False,
    "distributed.worker.http.routes": [],
    "distributed.nanny.preload": [],
    "distributed.worker.lifetime.duration": None,
}
_NOWHERE = "127.0.0.1:0"
_PAUSE_SECONDS = 1.0
_ASK_SECONDS = 3.0
_LOG_SECONDS = 15.0
_CLOSE_SECONDS = 4.0
_FAREWELL_SECONDS = 1.0
_DRAINED = "trainingjob-drained"
_IDLE = "trainingjob-idle"
_LOOK_MILLISECONDS = 500
_LOOK_SECONDS = 0.1
# What the scheduler sends to a worker that was retired.
_RETIRED = ("scheduler-close-worker", "scheduler-remove-worker")


class _Ending(Enum):
    STOPPED = "stopped"
    IDLE = "idle for too long"
    RETIRED = "retired"
    LOST = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """How a worker is run.

    `locate` returns the scheduler's address, or raises a `TrainingError` while it is unknown.
    """

    locate: Callable[[], str]
    name: str  # No two workers of a scheduler may have the same.
    memory_limit_mb: int = 3072  # At 95 % of it the worker process is killed and restarted.
    host: str | None = None  # None: the address by which this machine reaches the scheduler
    local_directory: Path | None = None  # None: the system's folder for temporary files
    security: Security | None = None
    idle_seconds: float | None = None  # None: never end for idling
    wait_seconds: float = 120.0  # for a scheduler, at the start and whenever it is gone
    death_seconds: float = 60.0  # for the worker process to start and to register
    drain_seconds: float = 20.0  # for the running task after a stop signal


def default_name() -> str:
    """Return a unique name: the host's, which in a container is its own, and the process id."""
    return f"{socket.gethostname()}-{getpid()}"


def serve_worker(options: WorkerOptions) -> None:
    """Run a worker until it gets a stop signal, is retired or has been idle for too long.

    Raise ``SchedulerUnavailable`` if for `wait_seconds` there was none, or it did not take the worker.
    """
    with dask.config.set({**scheduler_settings(), **_SETTINGS}):
        # Workers are forked from a process that has done their imports: a killed one is back within two
        # seconds.
        get_mp_context().set_forkserver_preload(list(MODULES))
        asyncio.run(_serve(options))


async def _serve(options: WorkerOptions) -> None:
    with stop_signals() as stopped:
        patience = _Patience(options.wait_seconds)
        while not stopped.is_set():
            ending = await _once(options, stopped, patience)
            if ending is not _Ending.LOST:
                cause = stopped.name if ending is _Ending.STOPPED else ending.value
                _log.info("worker %s ends: %s", options.name, cause)
                return


class _Patience:
    """Limits how long there may be no scheduler, and logs the problem now and then."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.renew()

    def renew(self) -> None:
        """Start from zero: there was a scheduler a moment ago."""
        self._since = time.monotonic()
        self._logged_at = float("-inf")

    def spend(self, problem: str) -> None:
        """Note that there is still no scheduler; raise ``SchedulerUnavailable`` if that takes too long."""
        now = time.monotonic()
        if now - self._since >= self._seconds:
            text = f"no scheduler was available within {self._seconds:g} s (--wait-seconds): {problem}"
            raise RunFailed(Reason.SCHEDULER_UNAVAILABLE, text)
        if now - self._logged_at >= _LOG_SECONDS:
            self._logged_at = now
            _log.info("waiting for the scheduler: %s", problem)


async def _once(options: WorkerOptions, stopped: StopSignal, patience: _Patience) -> _Ending:
    """Find a scheduler and take its tasks until one of the two ends."""
    try:
        address = options.locate()
        seen = await identity(address, security=options.security, timeout=_ASK_SECONDS, role="worker")
        if any(worker.name == options.name for worker in seen.workers):
            text = (
                f"the scheduler already has a worker {options.name}: give this one another --name, or wait "
                "until the scheduler has given up the earlier process of this one"
            )
            raise RunFailed(Reason.WORKER_NAME_TAKEN, text)
        nanny = await _unless(stopped, _start(options, address))
    except TrainingError as error:
        patience.spend(error.message)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopped.wait(), _PAUSE_SECONDS)
        return _Ending.STOPPED if stopped.is_set() else _Ending.LOST
    if nanny is None:
        return _Ending.STOPPED
    _log.info("worker %s at %s works for %s", options.name, nanny.worker_address, address)
    try:
        ending = await _until_it_ends(nanny, stopped, options.drain_seconds)
    finally:
        with contextlib.suppress(TimeoutError):
            await nanny.close(timeout=_CLOSE_SECONDS)
    if ending is _Ending.LOST:
        _log.warning("worker %s has lost its scheduler (%s)", options.name, nanny.ending)
        patience.renew()
    return ending


async def _unless(stopped: StopSignal, starting: Coroutine[Any, Any, "_Nanny"]) -> "_Nanny | None":
    """Return the started nanny, or None as soon as a stop signal arrives."""
    task = asyncio.ensure_future(starting)
    await stopped.wait_or(task)
    if task.done():
        return await task
    # Its process is ended with this one.
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return None


async def _start(options: WorkerOptions, address: str) -> "_Nanny":
    nanny = _Nanny(
        address,
        name=options.name,
        nthreads=1,
        memory_limit=options.memory_limit_mb * 1024 * 1024,
        host=options.host or own_host(address),
        local_directory=str(options.local_directory or tempfile.gettempdir()),
        security=options.security or Security(require_encryption=False),
        death_timeout=options.death_seconds,
        worker_class=_worker,
        silence_logs=logging.WARNING,
        dashboard=False,
        dashboard_address=_NOWHERE,
        plugins=(Departure(options.idle_seconds),),
    )
    try:
        await nanny
    except Exception as error:
        with contextlib.suppress(Exception):
            await nanny.close(timeout=_CLOSE_SECONDS)
        cause = error.__cause__ or error
        text = f"the scheduler at {address} did not take the worker: {cause}"
        raise RunFailed(Reason.SCHEDULER_UNAVAILABLE, text) from error
    return nanny


async def _until_it_ends(nanny: "_Nanny", stopped: StopSignal, drain_seconds: float) -> _Ending:
    await stopped.wait_or(asyncio.ensure_future(nanny.finished()))
    if stopped.is_set():
        await _drain(nanny, stopped, drain_seconds)
        return _Ending.STOPPED
    if nanny.ending == _IDLE:
        return _Ending.IDLE
    return _Ending.RETIRED if nanny.ending in _RETIRED else _Ending.LOST


async def _drain(nanny: "_Nanny", stopped: StopSignal, seconds: float) -> None:
    """Let the worker finish its task, unless it takes too long or the signal comes again."""
    address = nanny.worker_address
    if address is None:
        return
    asked = asyncio.ensure_future(nanny.rpc(address).trainingjob_drain(seconds=seconds))
    again = asyncio.ensure_future(stopped.again.wait())
    await asyncio.wait((asked, again), timeout=seconds + 1, return_when=asyncio.FIRST_COMPLETED)
    again.cancel()
    if asked.done() and not asked.cancelled() and asked.exception() is None:
        if asked.result():
            _log.warning("the running task did not end within %g s and is left to other workers", seconds)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(nanny.finished(), _CLOSE_SECONDS)
        return
    asked.cancel()
    # Its task ends with it; the scheduler must not count that against the task.
    gone = nanny.scheduler.unregister(address=address, expected=True, close=False, stimulus_id=_DRAINED)
    with contextlib.suppress(TimeoutError, OSError):
        await asyncio.wait_for(gone, _FAREWELL_SECONDS)


def _worker(**options: Any) -> Worker:
    """Return the worker of a process that logs as its nanny does, whatever fails from here on."""
    log_to_stderr(environ)
    return Worker(**options)


class _Nanny(Nanny):
    """A nanny that remembers why it ends: the first reason given, by the worker before it closes."""

    ending: str | None = None

    def close_gracefully(self, reason: str = "nanny-close-gracefully") -> None:
        self.ending = self.ending or reason
        super().close_gracefully(reason=reason)

    async def kill(self, timeout: float = 5, reason: str = "nanny-kill") -> None:  # noqa: ASYNC109 - inherited
        """End the process, even while it is starting: it would register later and block its name."""
        process = self.process.process if self.process is not None else None
        try:
            await super().kill(timeout=timeout, reason=reason)
        finally:
            if process is not None and process.is_alive():
                await process.kill()

    async def close(self, timeout: float = 5, reason: str = "") -> Any:  # noqa: ASYNC109 - inherited
        self.ending = self.ending or reason
        return await super().close(timeout=timeout, reason=reason)


class Departure(WorkerPlugin):
    """Lets a worker leave without losing a task: after idling for too long, or when it is drained.

    It runs in the worker process. `idle_seconds` None: never leave for idling.
    """

    name = "trainingjob-departure"

    def __init__(self, idle_seconds: float | None) -> None:
        self.idle_seconds = idle_seconds

    def setup(self, worker: Any) -> None:
        """Install handlers; ``distributed`` calls it before the worker registers."""
        # Ctrl-C reaches the whole process group of a terminal; only the nanny decides what it means.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._worker = worker
        logging.getLogger("distributed.nanny").addFilter(self.is_news)
        self._last_task = time.monotonic()
        worker.handlers["trainingjob_drain"] = self._drain
        if self.idle_seconds is not None:
            callback = PeriodicCallback(self._look, _LOOK_MILLISECONDS)
            worker.periodic_callbacks["trainingjob-idle"] = callback

    def is_news(self, record: logging.LogRecord) -> bool:
        """Return whether a line of ``distributed.nanny`` is worth logging.

        A nanny may close its queue before the worker that it ends has read it; ``distributed`` logs that as
        an unexpected death, with a traceback.
        """
        return self._worker.status == Status.running or "died unexpectedly" not in record.getMessage()

    def transition(self, *_: Any, **__: Any) -> None:
        """Note that a task has changed its state; ``distributed`` calls it."""
        self._last_task = time.monotonic()

    async def _look(self) -> None:
        worker = self._worker
        if worker.state.executing_count or worker.state.ready or worker.status != Status.running:
            self._last_task = time.monotonic()
        elif time.monotonic() - self._last_task >= (self.idle_seconds or 0.0):
            await self._leave(_IDLE)

    async def _drain(self, seconds: float) -> int:
        """Take no more tasks, finish the running one, and wait until its result has been fetched."""
        worker = self._worker
        if worker.status != Status.running:
            return 0
        worker.status = Status.closing_gracefully
        deadline = time.monotonic() + seconds
        # No event shows when a result has been fetched and released.
        while (worker.state.executing_count or worker.data) and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_SECONDS)
        unfinished = worker.state.executing_count
        worker.loop.add_callback(self._leave, _DRAINED)
        return int(unfinished)

    async def _leave(self, reason: str) -> None:
        worker = self._worker
        # An expected departure: the scheduler counts it against no task.
        with contextlib.suppress(OSError):
            await worker.scheduler.unregister(
                address=worker.contact_address, expected=True, close=False, stimulus_id=reason
            )
        await worker.close(timeout=1, executor_wait=False, reason=reason)
