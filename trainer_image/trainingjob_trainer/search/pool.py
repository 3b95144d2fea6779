"""Where tasks run: what the search needs of a pool, a pool in this process, and Dask workers of this machine.

A scheduler unpickles the functions and arguments of each task. Tasks for remote workers are packed into
bytes: the scheduler imports this module alone and stays a process of a few dozen MiB that is ready at once.
"""

import importlib
import logging
import math
import pickle
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import dask
from distributed import Client, LocalCluster, Security
from distributed.utils import get_mp_context

from trainingjob_api import Reason
from trainingjob_trainer.search.limits import TaskLimit, describe_error

MODULES = (
    "catboost",
    "lightgbm",
    "pandas",
    "scipy.stats",
    "sklearn.calibration",
    "sklearn.ensemble",
    "sklearn.kernel_approximation",
    "sklearn.linear_model",
    "sklearn.metrics",
    "sklearn.neural_network",
    "sklearn.pipeline",
    "skrub",
    "trainingjob_trainer.search.tasks",
    "xgboost",
)
_START_SECONDS = 120
# Dask's own setting also lowers MALLOC_TRIM_THRESHOLD_, which makes gradient boosting take twice the time:
# each small array that is freed goes back to the kernel and is faulted in again.
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
# Dask looks at each process every 20 ms, and at the stack of each worker every 10 ms, for a dashboard that
# is never opened. In the trainer's process alone that is a twentieth of a core.
_QUIET = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "500ms",
    "distributed.admin.system-monitor.interval": "2s",
    "distributed.admin.system-monitor.gil.enabled": False,
}
_CLOSE_SECONDS = 10
_TLS_FIELDS = (
    "tls_ca_file",
    *(f"tls_{role}_{part}" for role in ("client", "scheduler", "worker") for part in ("cert", "key")),
)
_POLL_SECONDS = 0.25

Call = tuple[Callable[..., Any], tuple[Any, ...]]
BoundCall = tuple[Callable[..., Any], tuple[Any, ...], TaskLimit]


class PoolLost(Exception):  # noqa: N818 - the name says what happened
    """The workers are gone for good; `reason` is that of the fallback."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(slots=True, kw_only=True, eq=False)
class Task:
    """A function to call on a worker.

    Parameters
    ----------
    call
        Returns the function, its arguments and its limit, at the time of submission.
    """

    tag: Any
    call: Callable[[], BoundCall]
    deaths: int = 0
    suspected: bool = False
    not_before: float = 0.0
    limit_seconds: float = 0.0
    deadline: float = math.inf
    future: Any = None

    @property
    def done(self) -> bool:
        """Whether the function has returned, though its value may not be here yet."""
        return self.future is not None and self.future.status == "finished"


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """How a task ended.

    Parameters
    ----------
    killed
        Whether the task took its worker with it.
    timed_out
        With `killed`: whether it had run for as long as its limit.
    cut_off
        With `killed`: whether it was ended at its deadline, before its own limit.
    error
        One line, where there is no value.
    """

    tag: Any
    value: Any = None
    killed: bool = False
    timed_out: bool = False
    cut_off: bool = False
    error: str | None = None


class Pool(Protocol):
    """Where tasks run."""

    @property
    def workers(self) -> int:
        """Workers that take tasks now."""

    def free(self) -> int:
        """Return how many more tasks can be submitted without waiting."""

    def submit(self, task: Task) -> None:
        """Take a task."""

    def poll(self, timeout: float) -> list[Completion]:
        """Return the tasks that have ended, waiting at most `timeout` seconds for the first."""

    def drop(self) -> None:
        """Forget every task."""


class InlinePool:
    """Runs each task in this process when it is submitted, and calls `beat` before and after.

    A task that outlives its limit takes this process with it; the parent then continues with a simpler model.
    """

    workers = 1

    def __init__(self, beat: Callable[[], None] = lambda: None) -> None:
        self._beat = beat
        self._done: list[Completion] = []

    def free(self) -> int:
        """Return 1 unless a result waits to be taken."""
        return 0 if self._done else 1

    def submit(self, task: Task) -> None:
        """Run a task to its end."""
        function, arguments, limit = task.call()
        self._beat()
        try:
            completion = Completion(tag=task.tag, value=function(*arguments, limit))
        except Exception as error:  # noqa: BLE001 - as on a worker: the caller sees the error of the task
            completion = Completion(tag=task.tag, error=describe_error(error))
        self._beat()
        self._done.append(completion)

    def poll(self, timeout: float) -> list[Completion]:  # noqa: ARG002 - nothing is ever under way
        """Return the tasks that have run since the last call."""
        done, self._done = self._done, []
        return done

    def drop(self) -> None:
        """Forget what has been run."""
        self._done = []


def run_tasks(
    pool: Pool, calls: Mapping[str, Call], *, seconds: float, tick: Callable[[], None]
) -> dict[str, Completion]:
    """Run functions on the pool at the same time, and give up those that are not done after `seconds`.

    Parameters
    ----------
    calls
        Functions and their arguments by a name; the last argument, a `TaskLimit`, is added.

    Returns
    -------
    dict of str to Completion
        Of all calls; those that were given up have an error.
    """
    end = time.monotonic() + seconds
    limit = TaskLimit(seconds, time.time() + seconds)
    for name, (function, arguments) in calls.items():
        pool.submit(Task(tag=name, call=partial(_bound, function, arguments, limit)))
    done: dict[str, Completion] = {}
    while len(done) < len(calls) and time.monotonic() < end:
        for completion in pool.poll(_POLL_SECONDS):
            done[completion.tag] = completion
        tick()
    if len(done) < len(calls):
        pool.drop()
    error = f"was given up after {seconds:.1f} s"
    return done | {name: Completion(tag=name, error=error) for name in calls if name not in done}


def _bound(function: Callable[..., Any], arguments: tuple[Any, ...], limit: TaskLimit) -> BoundCall:
    return function, arguments, limit


def scheduler_settings() -> dict[str, Any]:
    """Return the settings that the search relies on.

    A task that killed its worker is not retried by the scheduler (the search separates the guilty task from
    its neighbours and submits those again), and workers end at their memory limit instead of spilling.
    """
    return {
        "distributed.scheduler.allowed-failures": 0,
        "distributed.scheduler.work-stealing": False,
        "distributed.scheduler.worker-ttl": None,
        # A cluster gives a worker up if it is away this long after it was lost, even if that is another time.
        "distributed.deploy.lost-worker-timeout": "365 days",
        "distributed.worker.preload": [__name__],
        "distributed.nanny.pre-spawn-environ": _ENVIRONMENT,
        "distributed.worker.memory.target": False,
        "distributed.worker.memory.spill": False,
        "distributed.worker.memory.pause": False,
        "distributed.worker.memory.terminate": 0.95,
        "distributed.worker.multiprocessing-method": "forkserver",
        "distributed.admin.tick.limit": "30s",
        **_QUIET,
    }


@dataclass(frozen=True, slots=True)
class Workers:
    """A connected Dask client, its scheduler in this process, and the workers that are there now.

    With `remote` False, workers have this machine's clock, and go only if something kills them.
    """

    client: Client
    scheduler: Any
    remote: bool = False

    def leaving(self) -> Collection[str]:
        """Return no worker: nothing drains local workers."""
        return ()

    def check(self) -> None:
        """Do nothing: the scheduler lives in this process."""

    def live(self) -> Mapping[str, str]:
        """Return the workers that take tasks now: address, and the id of the process."""
        return {
            address: state.server_id
            for address, state in list(self.scheduler.workers.items())
            if state.status.name == "running"
        }


@contextmanager
def local_workers(count: int, *, memory_limit_mb: int, scratch: Path) -> Iterator[Workers]:
    """Start worker processes on this machine and wait until all have their imports done.

    Raises
    ------
    TimeoutError
        If the workers are not there within two minutes.
    """
    logging.getLogger("distributed").setLevel(logging.ERROR)
    with dask.config.set(scheduler_settings()):
        # Workers are forked from a process that has done their imports: a worker that was killed is back
        # within a second or two instead of after ten.
        get_mp_context().set_forkserver_preload(list(MODULES))
        cluster = LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            processes=True,
            memory_limit=memory_limit_mb * 1024 * 1024,
            dashboard_address=None,
            # Even without a dashboard the scheduler serves HTTP, on 8787 of every interface unless told.
            scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
            local_directory=str(scratch),
            host="127.0.0.1",
            # What the environment names is for a remote cluster, and may be missing.
            security=Security(require_encryption=False, **dict.fromkeys(_TLS_FIELDS)),
            silence_logs=logging.ERROR,
        )
        try:
            client = Client(cluster, timeout=_START_SECONDS, set_as_default=False)
            try:
                client.wait_for_workers(count, timeout=_START_SECONDS)
                yield Workers(client=client, scheduler=cluster.scheduler)
            finally:
                client.close(timeout=_CLOSE_SECONDS)
        finally:
            cluster.close(timeout=_CLOSE_SECONDS)


def dask_setup(_worker: object) -> None:
    """Import what tasks need, so that no limit is spent on it; ``distributed`` calls this in each worker."""
    for name in MODULES:
        importlib.import_module(name)


def pack_call(function: Callable[..., Any], arguments: tuple[Any, ...]) -> bytes:
    """Return a call as bytes; the function is named by its module."""
    return pickle.dumps((function, arguments), protocol=5)


def call_packed(packed: bytes) -> Any:
    """Make the call; runs on a worker, which takes code from its scheduler in any case."""
    function, arguments = pickle.loads(packed)
    return function(*arguments)
