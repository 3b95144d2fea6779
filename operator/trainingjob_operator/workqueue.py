"""A queue of keys to reconcile: each once, by one worker at a time, with back-off after a fault."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable

from trainingjob_operator.children import JobKey
from trainingjob_operator.telemetry import Metrics
from trainingjob_operator.transport import ApiFault

_log = logging.getLogger(__name__)

FIRST_DELAY = 0.2
LAST_DELAY = 60.0
SETTLE_DELAY = 0.05
"""Events come in bursts: one pass serves all that arrive within this many seconds."""


class WorkQueue:
    """Keys to reconcile, and the workers that do.

    A key that is added while a worker has it is processed again afterwards; no two workers ever have the same
    key. *work* returns the seconds to its next call, if any; it raises :class:`ApiFault` to be retried.
    """

    def __init__(
        self, work: Callable[[JobKey], Awaitable[float | None]], *, workers: int, metrics: Metrics
    ) -> None:
        self._work = work
        self._workers = workers
        self._metrics = metrics
        self._ready: asyncio.Queue[JobKey] = asyncio.Queue()
        self._queued: set[JobKey] = set()
        self._running: dict[JobKey, float] = {}
        self._again: set[JobKey] = set()
        self._timers: dict[JobKey, asyncio.TimerHandle] = {}
        self._faults: dict[JobKey, int] = {}
        # Two operators in conflict must not retry in step.
        self._random = random.Random()  # noqa: S311  # no secret depends on it

    def add(self, key: JobKey, delay: float = SETTLE_DELAY) -> None:
        """Process *key* after *delay* seconds at the latest."""
        if key in self._queued:
            return
        if key in self._running and delay <= SETTLE_DELAY:
            self._again.add(key)
            return
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if timer is not None:
            if timer.when() <= loop.time() + delay:
                return
            timer.cancel()
        self._timers[key] = loop.call_later(delay, self._due, key)

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._workers):
                group.create_task(self._worker())

    def longest_seconds(self) -> float:
        """Return how long the longest pass that is under way has taken."""
        now = time.monotonic()
        return max((now - start for start in self._running.values()), default=0.0)

    def _due(self, key: JobKey) -> None:
        self._timers.pop(key, None)
        if key in self._running:
            self._again.add(key)
        elif key not in self._queued:
            self._queued.add(key)
            self._ready.put_nowait(key)

    async def _worker(self) -> None:
        while True:
            key = await self._ready.get()
            self._queued.discard(key)
            self._running[key] = time.monotonic()
            try:
                delay = await self._pass(key)
            finally:
                started = self._running.pop(key)
                self._metrics.reconciles.observe(time.monotonic() - started)
            if key in self._again:
                self._again.discard(key)
                delay = delay if key in self._faults else SETTLE_DELAY
            if delay is not None:
                self.add(key, delay)

    async def _pass(self, key: JobKey) -> float | None:
        """Process *key*; return when it is due again."""
        try:
            delay = await self._work(key)
        except ApiFault as fault:
            self._metrics.errors.labels(status=str(fault.status)).inc()
            level = logging.DEBUG if fault.conflict else logging.WARNING
            _log.log(level, "pass failed", extra={"job": str(key), **fault.fields})
            return self._back_off(key, fault.retry_after or 0.0)
        except Exception:  # noqa: BLE001  # whatever it is
            # A defect in one job's pass must not stop the others; log and metrics show it.
            self._metrics.errors.labels(status="defect").inc()
            _log.exception("pass failed", extra={"job": str(key)})
            return self._back_off(key, FIRST_DELAY)
        self._faults.pop(key, None)
        return delay

    def _back_off(self, key: JobKey, at_least: float) -> float:
        count = self._faults[key] = self._faults.get(key, 0) + 1
        delay = min(LAST_DELAY, FIRST_DELAY * 2.0 ** min(count - 1, 16))
        return max(at_least, delay * self._random.uniform(0.5, 1.0))
