"""Compute resources of the trainer's container, from what its workers need."""

from decimal import Decimal
from typing import Any

from trainingjob_api import ParallelMode, ResolvedRun, Resources
from trainingjob_operator.settings import Settings

__all__ = [
    "HEADROOM_MB",
    "WORK_SIZE",
    "amount",
    "build_resources",
    "scheduler_resources",
    "worker_resources",
]

HEADROOM_MB = 1536
"""For parent, search process, Dask's scheduler and the table, in MiB, on top of the workers."""
DASK_HEADROOM_MB = 768
"""For nanny and fork server of a worker's pod, in MiB, on top of the worker itself."""
WORK_SIZE = "20Gi"
"""Limit of the scratch volume: the table, the journal, the artifacts."""
_UNITS = {
    "m": Decimal("0.001"),
    **{unit: Decimal(1000) ** power for power, unit in enumerate(("k", "M", "G", "T", "P", "E"), 1)},
    **{unit: Decimal(1024) ** power for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)},
}


def build_resources(run: ResolvedRun, settings: Settings) -> dict[str, Any]:
    """Return requests and limits; what ``spec.trainer.resources`` names wins, key by key.

    One core for each worker (they are single-threaded) and one for parent and search. A worker is
    killed at ``memoryLimitMb``; the container's limit leaves headroom above all of them, so that the
    kernel never kills the wrong process. Half of both is requested: workers seldom use all they may,
    and a first job has to fit a machine of two cores beside what runs there already.
    A request that the spec names alone leaves the limit to the workers unless it is above it; a lone
    limit is the request, too, as in Kubernetes.
    """
    workers = _workers(run, settings)
    memory = workers * run.memory_limit_mb + HEADROOM_MB
    return _merged(
        run.trainer.resources,
        limits={"cpu": str(workers + 1), "memory": f"{memory}Mi"},
        requests={"cpu": f"{workers * 500}m", "memory": f"{memory // 2}Mi"},
    )


def scheduler_resources(run: ResolvedRun) -> dict[str, Any]:
    """Return those of a Dask scheduler; the table goes through it, of which one GiB is sent at most."""
    return _merged(
        run.dask.scheduler_resources,
        limits={"cpu": "1", "memory": "3Gi"},
        requests={"cpu": "250m", "memory": "512Mi"},
    )


def worker_resources(run: ResolvedRun) -> dict[str, Any]:
    """Return those of a Dask worker: one core, and a second one for a quick start; its limit and headroom."""
    memory = run.memory_limit_mb + DASK_HEADROOM_MB
    return _merged(
        run.dask.worker_resources,
        limits={"cpu": "2", "memory": f"{memory}Mi"},
        requests={"cpu": "1", "memory": f"{memory // 2}Mi"},
    )


def _merged(asked: Resources | None, *, limits: dict[str, str], requests: dict[str, str]) -> dict[str, Any]:
    """Return what the spec asks for over what is there by default, key by key."""
    limits = limits | dict((asked and asked.limits) or {})
    requests = requests | dict((asked and asked.requests) or {})
    for name in ("cpu", "memory"):
        limited = asked is not None and name in (asked.limits or {})
        requested = asked is not None and name in (asked.requests or {})
        if limited and not requested:
            requests[name] = limits[name]
        elif requested and not limited and amount(requests[name]) > amount(limits[name]):
            # The API server refuses a request above its limit.
            limits[name] = requests[name]
    return {"requests": requests, "limits": limits}


def amount(quantity: str) -> Decimal:
    """Return what a quantity such as ``500m`` or ``4Gi`` stands for, in cores or bytes."""
    number = quantity.rstrip("mkKMGTPEi")
    return Decimal(number) * _UNITS.get(quantity[len(number) :], Decimal(1))


def _workers(run: ResolvedRun, settings: Settings) -> int:
    if not run.automl_enabled or run.parallel_mode is ParallelMode.DISTRIBUTED:
        return 1
    return run.n_jobs or settings.default_workers
