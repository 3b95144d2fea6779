"""The remote part of a distributed run: wait for the cluster, search on it, leave it when it is lost."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from trainingjob_api import Backend
from trainingjob_trainer.dask_cluster.remote import ClusterLookup, RemoteWorkers
from trainingjob_trainer.events import BackendReady, WaitingForCluster
from trainingjob_trainer.run.context import ChildContext
from trainingjob_trainer.search.dask_pool import DaskPool
from trainingjob_trainer.search.pool import Pool, PoolLost
from trainingjob_trainer.search.store import StoreRef

__all__ = ["ClusterLookup", "Instead", "cluster_workers"]

Instead = Callable[[PoolLost], Pool]
"""Returns the pool to go on with when one is lost; raises `RunFailed` if the job does not allow it."""


class _Stopped(Exception):  # noqa: N818 - no error: a signal ended the waiting
    """A signal asks to save what there is."""


@contextmanager
def cluster_workers(
    context: ChildContext, joining: ClusterLookup, home: Pool, ref: StoreRef
) -> Iterator[tuple[Pool, Instead]]:
    """Yield the workers of a remote cluster, or `home` in their place, and what to do when they are lost.

    Parameters
    ----------
    joining
        Looks for the cluster since the child began.
    home
        The workers of this process.
    ref
        The table, its folds encoded.

    Raises
    ------
    RunFailed
        If there is no cluster and the job does not allow a local search.
    """

    def instead(lost: PoolLost) -> Pool:
        context.step_down("dask", "local", lost.reason, str(lost))
        context.tell(BackendReady(backend=Backend.LOCAL, workers=home.workers))
        return home

    def tick() -> None:
        context.channel.beat()
        if context.stop.is_set():
            raise _Stopped

    remote: RemoteWorkers | None = None
    try:
        try:
            remote = _join(context, joining, tick)
            remote.settings(tick)
            remote.ship(ref, tick)
            remote.check()
            pool: Pool = DaskPool(remote)
        except _Stopped:
            pool = home
        except PoolLost as lost:
            pool = instead(lost)
        else:
            context.tell(BackendReady(backend=Backend.DASK, workers=pool.workers, scheduler=remote.address))
        yield pool, instead
    finally:
        joining.close()
        if remote is not None:
            remote.close(ref)


def _join(context: ChildContext, joining: ClusterLookup, tick: Callable[[], None]) -> RemoteWorkers:
    if not joining.done:
        left = max(0.0, joining.end - time.monotonic())
        context.tell(WaitingForCluster(source=str(joining.source), seconds=round(left, 1)))
    with context.clock.paused():
        return joining.wait(tick)
