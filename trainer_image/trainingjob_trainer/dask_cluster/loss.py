"""When a cluster is lost, by what a probe knows of it.

Apart from what needs the search: a run's parent asks this too, and carries neither pandas nor scikit-learn.
"""

import time

from trainingjob_api import Reason
from trainingjob_trainer.dask_cluster.probe import ProbeSnapshot
from trainingjob_trainer.search.pool import PoolLost

__all__ = ["LOST_MISSES", "NO_WORKERS_SECONDS", "loss"]

LOST_MISSES = 3
"""Questions in a row without an answer after which a scheduler is lost."""
NO_WORKERS_SECONDS = 15.0
"""Seconds without any worker after which a cluster is lost; a worker under a nanny is back after two."""


def loss(seen: ProbeSnapshot, scheduler_id: str | None) -> PoolLost | None:
    """Return why a cluster is lost, or None.

    Parameters
    ----------
    seen
        What a probe knows.
    scheduler_id
        Of the scheduler that the search began on; None if any will do.
    """
    if seen.misses >= LOST_MISSES:
        return PoolLost(Reason.SCHEDULER_LOST, f"the Dask scheduler was lost: {seen.error}")
    if scheduler_id is not None and seen.scheduler_id not in {None, scheduler_id}:
        return PoolLost(
            Reason.SCHEDULER_LOST, "the Dask scheduler was started anew: it knows nothing of the search"
        )
    since = seen.no_workers_since
    if since is not None and seen.reachable and time.monotonic() - since > NO_WORKERS_SECONDS:
        return PoolLost(Reason.WORKERS_LOST, f"the Dask cluster had no worker for {NO_WORKERS_SECONDS:.0f} s")
    return None
