"""Tasks on Dask workers, two per worker: one runs and one waits, so that no worker is ever idle.

Each task is bound to one worker. A single-threaded worker runs its tasks in the order of submission, so when
it dies the first unfinished task is the one that killed it; those behind it are healthy and are submitted
again. Dask's scheduler would blame them all.
"""

import itertools
import math
import queue
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import median
from typing import Any, Protocol

from dask.utils import funcname
from distributed import Client, Future
from distributed.client import ClosedClientError, FutureCancelledError

from trainingjob_api import Reason
from trainingjob_trainer.search.limits import describe_error
from trainingjob_trainer.search.pool import Completion, PoolLost, Task, call_packed, pack_call

DEPTH = 2
"""Most tasks per worker: one runs, one waits."""
_SHORT_SECONDS = 0.25
_LOOK_BACK = 25
_MAX_INNOCENT_DEATHS = 3
_BACKSTOP_SECONDS = 10.0
_VANISHED_SECONDS = 5.0
_GONE_SECONDS = 60.0
_SETTLE_SECONDS = 2.5
_ANSWER_SECONDS = 10.0
_FETCH_SECONDS = 5.0
_DROPPED = object()


class WorkerSource(Protocol):
    """The interface of a cluster that the pool uses."""

    @property
    def client(self) -> Client:
        """A connected client."""

    @property
    def remote(self) -> bool:
        """Whether workers have clocks of their own and may go for reasons of their own."""

    def live(self) -> Mapping[str, str]:
        """Return the workers that take tasks now: their address with a name that no other process has had."""

    def leaving(self) -> Collection[str]:
        """Return the addresses of the workers that finish what they do and take no more."""

    def check(self) -> None:
        """Raise `PoolLost` if the cluster is lost."""


@dataclass(slots=True)
class _Line:
    """The tasks of one worker, in order; the first one is running.

    A port is soon given to another process, so an address alone does not say which worker it is.
    """

    tasks: deque[Task] = field(default_factory=deque)
    worker: str | None = None
    head_since: float = 0.0
    missing_since: float | None = None
    drained: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """Value or error of a future that is done; `vanished` if its worker died before the value was fetched."""

    value: Any = None
    error: BaseException | None = None
    vanished: bool = False


def _answer_of(future: Future) -> _Answer:
    """Ask a future that is done; takes seconds where scheduler or worker have just gone."""
    if future.status == "finished":
        try:
            return _Answer(value=future.result(timeout=_FETCH_SECONDS))
        except Exception as error:  # noqa: BLE001 - whatever it is, the value did not come
            return _Answer(error=error, vanished=True)
    try:
        told = future.exception(timeout=_ANSWER_SECONDS)
    except Exception as failure:  # noqa: BLE001 - cancelled futures raise instead of returning
        return _Answer(error=failure)
    lost = FutureCancelledError(future.key, "lost")
    return _Answer(error=told if isinstance(told, BaseException) else lost)


class DaskPool:
    """Submits tasks to the workers of a cluster and collects their results."""

    def __init__(self, source: WorkerSource) -> None:
        self._source = source
        self._lines: dict[str, _Line] = {}
        self._waiting: deque[Task] = deque()
        self._gone: dict[str, str] = {}
        self._done: queue.SimpleQueue[tuple[str, Task, Future, _Answer]] = queue.SimpleQueue()
        self._empty_since: float | None = None
        self._lost: PoolLost | None = None
        self._took: deque[float] = deque(maxlen=_LOOK_BACK)
        self._serial = itertools.count()
        self._nonce = secrets.token_hex(4)

    @property
    def in_flight(self) -> int:
        """Tasks that are running or waiting."""
        return len(self._waiting) + sum(len(line.tasks) for line in self._lines.values())

    @property
    def workers(self) -> int:
        """Workers that take tasks now."""
        return len(self._source.live())

    def free(self) -> int:
        """Return how many more tasks can be submitted without waiting."""
        self._place()
        if self._waiting:
            return 0
        depth = self._depth()
        return sum(max(0, depth - len(self._line(address).tasks)) for address in self._takers())

    def submit(self, task: Task) -> None:
        """Take a task; it goes to the worker with the shortest line, or waits for a place."""
        self._waiting.append(task)
        self._place()

    def poll(self, timeout: float) -> list[Completion]:
        """Return the tasks that have ended, waiting at most `timeout` seconds for the first.

        Raises
        ------
        PoolLost
            If the cluster is lost, or no worker has been there for a minute.
        """
        if self._lost is not None:
            raise self._lost
        self._source.check()
        out: list[Completion] = []
        try:
            self._collect(out, timeout)
            out.extend(self._look_after())
            self._place()
        except PoolLost as lost:
            # What has come before the loss is not lost with it.
            self._lost = lost
            if not out:
                raise
        return [completion for completion in out if completion.tag is not _DROPPED]

    def _collect(self, out: list[Completion], timeout: float) -> None:
        block = True
        while True:
            try:
                address, task, future, answer = self._done.get(
                    block=block, timeout=timeout if block else None
                )
            except queue.Empty:
                break
            block = False
            if task.future is future:
                out.extend(self._settle(address, task, answer))

    def drop(self) -> None:
        """Forget every task.

        What runs cannot be stopped: it ends at its limit, and keeps its place in its worker's line until
        then, so that a task behind it is not blamed for what it does.
        """
        self._waiting.clear()
        for line in self._lines.values():
            for task in list(line.tasks)[1:]:
                self._release(task)
                line.tasks.remove(task)
            for task in line.tasks:
                task.tag = _DROPPED

    def _line(self, address: str) -> _Line:
        return self._lines.setdefault(address, _Line())

    def _place(self) -> None:
        """Send tasks that wait to workers with a free place in their line."""
        now, live = time.monotonic(), self._takers()
        for task in [waiting for waiting in self._waiting if waiting.not_before <= now] if live else ():
            address = min(live, key=lambda worker: len(self._line(worker).tasks))
            line = self._line(address)
            if len(line.tasks) >= self._depth():
                return
            self._waiting.remove(task)
            if line.worker != live[address]:
                line = self._lines[address] = _Line(worker=live[address])
            name, function, arguments = self._call(task)
            if not line.tasks:
                line.head_since = time.monotonic()
            line.tasks.append(task)
            try:
                task.future = self._source.client.submit(
                    function,
                    *arguments,
                    key=f"{name}-{next(self._serial)}-{self._nonce}",
                    workers=[address],
                    allow_other_workers=False,
                    pure=False,
                    retries=0,
                )
            except ClosedClientError as error:
                message = "the connection to the Dask scheduler was closed"
                raise PoolLost(Reason.SCHEDULER_LOST, message) from error
            # Callbacks have a thread of their own, so that a value which does not come delays nothing else.
            task.future.add_done_callback(partial(self._keep_answer, address, task))

    def _call(self, task: Task) -> tuple[str, Callable[..., Any], tuple[Any, ...]]:
        """Return the name of a task's function, and the call that is sent to a worker."""
        function, arguments, limit = task.call()
        if self._source.remote:
            limit = replace(limit, deadline=math.inf)  # a time of this machine's clock
        task.limit_seconds, task.deadline = limit.seconds, limit.deadline
        name, arguments = funcname(function), (*arguments, limit)
        if self._source.remote:
            return name, call_packed, (pack_call(function, arguments),)
        return name, function, arguments

    def _keep_answer(self, address: str, task: Task, future: Future) -> None:
        self._done.put((address, task, future, _answer_of(future)))

    def _depth(self) -> int:
        """Return how many tasks a worker's line may have.

        A second one saves the round trip between two tasks, which is nothing beside a long one; and behind
        a very long one it would wait while other workers have nothing to do.
        """
        return DEPTH if not self._took or median(self._took) < _SHORT_SECONDS else 1

    def _takers(self) -> Mapping[str, str]:
        """Return the workers that take tasks; a remote one that died may be listed for a while longer."""
        live = self._source.live()
        self._gone = {
            address: worker for address, worker in self._gone.items() if live.get(address) == worker
        }
        return {
            address: worker
            for address, worker in live.items()
            if address not in self._gone and not self._replaced(address, live)
        }

    def _replaced(self, address: str, live: Mapping[str, str]) -> bool:
        """Whether tasks were sent to another worker than the one that is at its address now."""
        line = self._lines.get(address)
        return line is not None and bool(line.tasks) and live.get(address, line.worker) != line.worker

    def _settle(self, address: str, task: Task, answer: _Answer) -> list[Completion]:
        line, error = self._line(address), answer.error
        if answer.vanished:
            if task in line.tasks:
                line.tasks.remove(task)
            return self._again(task)
        if error is None:
            return [self._end(line, task, value=answer.value)]
        if self._source.remote and isinstance(error, FutureCancelledError):
            # A client that loses its scheduler cancels every future, although no worker died.
            raise PoolLost(Reason.SCHEDULER_LOST, "the connection to the Dask scheduler was lost")
        if type(error).__name__ == "KilledWorker" or isinstance(error, FutureCancelledError):
            return self._bury(address, "the worker died")
        return [self._end(line, task, error=describe_error(error))]

    def _end(self, line: _Line, task: Task, **outcome: Any) -> Completion:
        self._took.append(time.monotonic() - line.head_since)
        if task in line.tasks:
            line.tasks.remove(task)
        line.head_since = time.monotonic()
        self._release(task)
        return Completion(tag=task.tag, **outcome)

    def _bury(self, address: str, why: str) -> list[Completion]:
        """End the task that its worker died of, and let those behind it wait for another worker."""
        line = self._lines.pop(address, None)
        if line is not None and line.worker is not None and self._source.remote:
            self._gone[address] = line.worker
        # A task that is done was not running, even if its value has not been fetched yet.
        undone = [] if line is None else [task for task in line.tasks if not task.done]
        if line is None or not undone:
            return []
        guilty, *innocent = undone
        ran = time.monotonic() - line.head_since
        out: list[Completion] = []
        if line.drained:
            innocent = [guilty, *innocent]
        elif self._source.remote and not guilty.suspected and ran < guilty.limit_seconds:
            # Remote workers are evicted too; a pipeline that kills its worker does it again.
            guilty.suspected = True
            innocent = [guilty, *innocent]
        else:
            out.append(self._dead(guilty, ran, why))
        for task in reversed(innocent):
            out.extend(self._again(task))
        return out

    def _again(self, task: Task) -> list[Completion]:
        """Let a task whose worker died of another one wait for a place, a bounded number of times."""
        self._release(task)
        if self._source.remote:
            # Where many workers go at once, the next one is sent to a worker that is still there after it.
            task.not_before = time.monotonic() + _SETTLE_SECONDS
        task.deaths += 1
        if task.deaths > _MAX_INNOCENT_DEATHS:
            return [Completion(tag=task.tag, killed=True, error="its workers died again and again")]
        self._waiting.appendleft(task)
        return []

    def _dead(self, task: Task, ran: float, why: str) -> Completion:
        self._release(task)
        timed_out = ran >= task.limit_seconds
        cut_off = not timed_out and time.time() >= task.deadline
        error = (
            f"took longer than {task.limit_seconds:g} s and had to be killed"
            if timed_out
            else f"{why} after {ran:.1f} s: out of memory or a crash of native code"
        )
        return Completion(tag=task.tag, killed=True, timed_out=timed_out, cut_off=cut_off, error=error)

    def _look_after(self) -> list[Completion]:
        """Find workers that vanished without a word and tasks that outlive every limit."""
        now = time.monotonic()
        live, leaving = self._source.live(), set(self._source.leaving())
        self._empty_since = None if live else self._empty_since or now
        if self._empty_since is not None and now - self._empty_since > _GONE_SECONDS:
            raise PoolLost(Reason.WORKERS_LOST, f"no worker for {_GONE_SECONDS:.0f} s")
        out: list[Completion] = []
        for address, line in list(self._lines.items()):
            line.drained = line.drained or address in leaving
            there = address in live or address in leaving
            line.missing_since = None if there else line.missing_since or now
            missing = line.missing_since is not None and now - line.missing_since > _VANISHED_SECONDS
            vanished = missing or self._replaced(address, live)
            if not line.tasks:
                if vanished:
                    del self._lines[address]
                continue
            if vanished:
                out.extend(self._bury(address, "the worker vanished"))
            elif now - line.head_since > line.tasks[0].limit_seconds + _BACKSTOP_SECONDS:
                out.extend(self._bury(address, "the worker did not answer"))
                self._restart(address)
        return out

    def _restart(self, address: str) -> None:
        """Ask for a worker's restart without waiting for it: the scheduler itself may not answer."""
        threading.Thread(
            target=self._source.client.restart_workers,
            args=([address],),
            kwargs={"timeout": _BACKSTOP_SECONDS, "raise_for_error": False},
            daemon=True,
        ).start()

    @staticmethod
    def _release(task: Task) -> None:
        future, task.future = task.future, None
        if future is not None:
            future.cancel()
