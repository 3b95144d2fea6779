"""Dask workers: those of a local run, and what every worker and scheduler of a search needs.

A scheduler unpickles the functions and arguments of each task. Tasks for remote workers are packed into
bytes: the scheduler imports this module alone and stays a process of a few dozen MiB that is ready at once.
"""

import importlib
import logging
import pickle
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask
from distributed import Client, LocalCluster, Security
from distributed.utils import get_mp_context

__all__ = [
    "MODULES",
    "Workers",
    "call_packed",
    "dask_setup",
    "local_workers",
    "pack_call",
    "scheduler_settings",
]

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
