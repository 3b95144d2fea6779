"""Workers of a pool, simulated by futures that a test completes."""

import threading
import time
from collections.abc import Callable
from typing import Any

from distributed.client import ClosedClientError

from trainingjob_trainer.search.dask_pool import DaskPool
from trainingjob_trainer.search.limits import TaskLimit
from trainingjob_trainer.search.pool import Completion, PoolLost, Task, call_packed, pack_call

LIMIT = 30.0


def double(number: int, limit: TaskLimit) -> tuple[int, float]:
    return 2 * number, limit.deadline


class KilledWorker(Exception):  # noqa: N818 - stands for the one of distributed
    pass


class FakeFuture:
    def __init__(self, key: str, packed: bytes) -> None:
        self.key = key
        self.packed = packed
        self.status = "pending"
        self.error: BaseException | None = None
        self.callback: Callable[[Any], None] = lambda _future: None

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        self.callback = callback

    def finish(self) -> None:
        self.status = "finished"
        self.callback(self)

    def fail(self, error: BaseException, status: str = "error") -> None:
        self.error, self.status = error, status
        self.callback(self)

    def result(self, timeout: float) -> Any:
        return call_packed(self.packed)

    def exception(self, timeout: float) -> BaseException | None:
        if self.status == "cancelled" and self.error is not None:
            raise self.error
        return self.error

    def cancel(self) -> None:
        pass


class Cluster:
    """Workers by name, and the futures that were sent to each."""

    remote = True

    def __init__(self, *workers: str) -> None:
        self.workers = list(workers)
        self.processes: dict[str, str] = {}
        self.sent: dict[str, list[FakeFuture]] = {}
        self.drained: list[str] = []
        self.lost: PoolLost | None = None
        self.closed = False
        self.restarted: list[str] = []
        self.asked = threading.Event()

    @property
    def client(self) -> Any:
        return self

    def live(self) -> dict[str, str]:
        return {worker: self.processes.get(worker, "first") for worker in self.workers}

    def leaving(self) -> list[str]:
        return self.drained

    def check(self) -> None:
        if self.lost is not None:
            raise self.lost

    def submit(self, call: Any, *arguments: Any, key: str, workers: list[str], **_how: Any) -> FakeFuture:
        if self.closed:
            raise ClosedClientError("closed")
        packed = arguments[0] if self.remote else pack_call(call, arguments)
        future = FakeFuture(key, packed)
        self.sent.setdefault(workers[0], []).append(future)
        return future

    def restart_workers(self, workers: list[str], **_how: Any) -> None:
        self.restarted.extend(workers)
        self.asked.set()

    def kill(self, worker: str) -> None:
        """End a worker as a scheduler reports it: each of its tasks fails."""
        self.workers.remove(worker)
        for future in self.sent.pop(worker):
            if future.status == "pending":
                future.fail(KilledWorker(worker))


class Clock:
    def __init__(self) -> None:
        self.now = time.monotonic()

    def __call__(self) -> float:
        return self.now


def task(number: int) -> Task:
    return Task(tag=number, call=lambda: (double, (number,), TaskLimit(LIMIT, time.time() + 5)))


def started(cluster: Cluster, *numbers: int) -> DaskPool:
    pool = DaskPool(cluster)
    for number in numbers:
        pool.submit(task(number))
    return pool


def results(completions: list[Completion]) -> dict[Any, Any]:
    return {completion.tag: completion.value for completion in completions}
