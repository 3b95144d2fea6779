"""How a worker leaves without taking a task with it. Runs in the worker process."""

import asyncio
import contextlib
import signal
import time
from typing import Any

from distributed import WorkerPlugin
from distributed.core import Status
from tornado.ioloop import PeriodicCallback

__all__ = ["DRAINED", "IDLE", "Departure"]

DRAINED = "trainingjob-drained"
IDLE = "trainingjob-idle"
_LOOK_MILLISECONDS = 500
_LOOK_SECONDS = 0.1


class Departure(WorkerPlugin):
    """Lets a worker end when it has been idle for too long, and finish its task when it is told to leave.

    Parameters
    ----------
    idle_seconds
        Leave after so long without a task; None: never.
    """

    name = "trainingjob-departure"

    def __init__(self, idle_seconds: float | None) -> None:
        self.idle_seconds = idle_seconds

    def setup(self, worker: Any) -> None:
        """Get ready; ``distributed`` calls it before the worker registers."""
        # Ctrl-C reaches the whole group of a terminal; the nanny alone decides what it means.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._worker = worker
        self._last_task = time.monotonic()
        worker.handlers["trainingjob_drain"] = self._drain
        if self.idle_seconds is not None:
            callback = PeriodicCallback(self._look, _LOOK_MILLISECONDS)
            worker.periodic_callbacks["trainingjob-idle"] = callback

    def transition(self, *_: Any, **__: Any) -> None:
        """Note that something happened to a task; ``distributed`` calls it."""
        self._last_task = time.monotonic()

    async def _look(self) -> None:
        worker = self._worker
        if worker.state.executing_count or worker.state.ready or worker.status != Status.running:
            self._last_task = time.monotonic()
        elif time.monotonic() - self._last_task >= (self.idle_seconds or 0.0):
            await self._leave(IDLE)

    async def _drain(self, seconds: float) -> int:
        """Take no more tasks, finish the one that runs, and wait until its result has been fetched."""
        worker = self._worker
        if worker.status != Status.running:
            return 0
        worker.status = Status.closing_gracefully
        deadline = time.monotonic() + seconds
        # Nobody tells when a result has been fetched and released.
        while (worker.state.executing_count or worker.data) and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_SECONDS)
        unfinished = worker.state.executing_count
        worker.loop.add_callback(self._leave, DRAINED)
        return int(unfinished)

    async def _leave(self, reason: str) -> None:
        worker = self._worker
        # An expected departure: the scheduler blames no task for it.
        with contextlib.suppress(OSError):
            await worker.scheduler.unregister(
                address=worker.contact_address, expected=True, close=False, stimulus_id=reason
            )
        await worker.close(timeout=1, executor_wait=False, reason=reason)
