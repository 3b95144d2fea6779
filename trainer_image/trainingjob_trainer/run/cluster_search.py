"""The remote part of a distributed run: wait for the cluster, search on it, leave it when it is lost."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from trainingjob_api import Backend, Reason
from trainingjob_trainer.dask_cluster.joining import Joining
from trainingjob_trainer.dask_cluster.remote import RemoteWorkers
from trainingjob_trainer.events import BackendReady, Channel, WaitingForCluster
from trainingjob_trainer.search.budget import RunClock
from trainingjob_trainer.search.dask_pool import DaskPool
from trainingjob_trainer.search.pool import Pool, PoolLost
from trainingjob_trainer.search.store import StoreRef

__all__ = ["ClusterSearch", "Instead", "Joining"]

Instead = Callable[[PoolLost], Pool]
"""Returns the pool to go on with when one is lost; raises `RunFailed` if the job does not allow it."""


class _Stopped(Exception):  # noqa: N818 - no error: a signal ended the waiting
    """A signal asks to save what there is."""


class ClusterSearch:
    """Offers the workers of a remote cluster, or in their place one that is here.

    Parameters
    ----------
    joining
        Looks for the cluster since the child began.
    clock
        Of the run; it stands while the cluster is waited for.
    channel
        To the parent.
    step_down
        Records a fallback to local search, or raises `RunFailed` if the job does not allow it.
    should_stop
        Whether a signal asks to save the best so far.
    """

    def __init__(
        self,
        joining: Joining,
        *,
        clock: RunClock,
        channel: Channel,
        step_down: Callable[[Reason, str], None],
        should_stop: Callable[[], bool],
    ) -> None:
        self._joining = joining
        self._clock = clock
        self._channel = channel
        self._step_down = step_down
        self._should_stop = should_stop

    @contextmanager
    def workers(self, home: Pool, ref: StoreRef) -> Iterator[tuple[Pool, Instead]]:
        """Yield where to search, and what to do when that is lost.

        Parameters
        ----------
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
            self._step_down(lost.reason, str(lost))
            self._channel.send(BackendReady(backend=Backend.LOCAL, workers=home.workers))
            return home

        remote: RemoteWorkers | None = None
        try:
            try:
                remote = self._join()
                remote.settings(self._tick)
                remote.ship(ref, self._tick)
                remote.check()
                pool: Pool = DaskPool(remote)
            except _Stopped:
                pool = home
            except PoolLost as lost:
                pool = instead(lost)
            else:
                self._channel.send(
                    BackendReady(backend=Backend.DASK, workers=pool.workers, scheduler=remote.address)
                )
            yield pool, instead
        finally:
            self._joining.close()
            if remote is not None:
                remote.close(ref)

    def _join(self) -> RemoteWorkers:
        if not self._joining.done:
            left = max(0.0, self._joining.end - time.monotonic())
            self._channel.send(WaitingForCluster(source=str(self._joining.source), seconds=round(left, 1)))
        with self._clock.paused():
            return self._joining.wait(self._tick)

    def _tick(self) -> None:
        self._channel.beat()
        if self._should_stop():
            raise _Stopped
