"""Compute resources of the trainer's container, from what its workers need."""

from typing import Any

from trainingjob_api import ParallelMode, ResolvedRun
from trainingjob_operator.settings import Settings

__all__ = ["HEADROOM_MB", "WORK_SIZE", "build_resources"]

HEADROOM_MB = 1536
"""For parent, search process, Dask's scheduler and the table, in MiB, on top of the workers."""
WORK_SIZE = "20Gi"
"""Limit of the scratch volume: the table, the journal, the artifacts."""


def build_resources(run: ResolvedRun, settings: Settings) -> dict[str, Any]:
    """Return requests and limits; what ``spec.trainer.resources`` names wins, key by key.

    One core for each worker (they are single-threaded) and one for parent and search. A worker is
    killed at ``memoryLimitMb``; the container's limit leaves headroom above all of them, so that the
    kernel never kills the wrong process. Half of it is requested: workers seldom use all they may.
    """
    workers = _workers(run, settings)
    memory = workers * run.memory_limit_mb + HEADROOM_MB
    asked = run.trainer.resources
    limits = {"cpu": str(workers + 1), "memory": f"{memory}Mi"} | dict((asked and asked.limits) or {})
    requests = {"cpu": str(workers), "memory": f"{memory // 2}Mi"} | dict((asked and asked.requests) or {})
    for name in ("cpu", "memory"):
        given = (
            asked is not None and name in (asked.limits or {}),
            asked is not None and name in (asked.requests or {}),
        )
        # A request above its limit is refused by the API server, so a lone one stands for both.
        if given == (True, False):
            requests[name] = limits[name]
        elif given == (False, True):
            limits[name] = requests[name]
    return {"requests": requests, "limits": limits}


def _workers(run: ResolvedRun, settings: Settings) -> int:
    if not run.automl_enabled or run.parallel_mode is ParallelMode.DISTRIBUTED:
        return 1
    return run.n_jobs or settings.default_workers
