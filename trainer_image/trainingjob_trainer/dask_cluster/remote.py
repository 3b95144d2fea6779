"""The workers of a remote Dask cluster, as the search's pool sees them."""

import threading
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future as ThreadFuture
from concurrent.futures import wait
from dataclasses import dataclass
from typing import Any

from distributed import Client, Security

from trainingjob_api import Reason
from trainingjob_trainer.dask_cluster.asserting import read_settings, read_versions
from trainingjob_trainer.dask_cluster.loss import loss
from trainingjob_trainer.dask_cluster.probe import Probe
from trainingjob_trainer.search.pool import PoolLost
from trainingjob_trainer.search.store import (
    StoreRef,
    TablePlugin,
    TableTooLarge,
    installed_versions,
    pack_store,
)

__all__ = ["RemoteWorkers", "connect"]

_CONNECT_SECONDS = 15.0
_SHIP_SECONDS = 120.0
_CLOSE_SECONDS = 5.0
_TICK_SECONDS = 0.25
_WANTED = {"allowed-failures": 0}


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteWorkers:
    """A connected client, and a probe that knows which workers are there.

    Nothing here waits for the scheduler but `ship` and `close`, whose waiting is bounded.

    Parameters
    ----------
    client
        A synchronous client.
    probe
        Started.
    address
        Of the scheduler.
    scheduler_id
        Of the scheduler that the client is connected to.
    remote
        True: clocks differ, and workers are drained and evicted.
    """

    client: Client
    probe: Probe
    address: str
    scheduler_id: str
    remote: bool = True

    def live(self) -> Mapping[str, str]:
        """Return the workers that take tasks now: address, and the folder that each process made."""
        return self.probe.snapshot().workers

    def leaving(self) -> Collection[str]:
        """Return the addresses of the workers that finish what they do and take no more."""
        return self.probe.snapshot().leaving

    def check(self) -> None:
        """Raise `PoolLost` if the cluster is lost."""
        lost = loss(self.probe.snapshot(), self.scheduler_id)
        if lost is None and self.client.status in {"closing", "closed"}:
            lost = PoolLost(Reason.SCHEDULER_LOST, "the connection to the Dask scheduler was closed")
        if lost is not None:
            raise lost

    def ship(self, ref: StoreRef, tick: Callable[[], None]) -> None:
        """Send the table to every worker that is there or comes later.

        Parameters
        ----------
        ref
            The store, its folds encoded.
        tick
            Called several times a second.

        Raises
        ------
        PoolLost
            With the reason ``TableTooLarge``, ``VersionMismatch``, ``SettingsMismatch`` or that of a loss.
        """
        try:
            plugin = TablePlugin(ref, pack_store(ref), installed_versions())
        except TableTooLarge as error:
            raise PoolLost(Reason.TABLE_TOO_LARGE, str(error)) from error
        try:
            self._bounded(lambda: self.client.register_plugin(plugin), tick, "did not take the table")
        except PoolLost:
            raise
        except Exception as error:
            raise _refused(error) from error

    def settings(self, tick: Callable[[], None]) -> None:
        """Make sure that the scheduler has the trainer's versions and is set as the search needs it.

        Raises
        ------
        PoolLost
            With the reason ``VersionMismatch``, ``SettingsMismatch`` or that of a loss.
        """
        versions, settings = (
            self._ask(what, tick, f"did not tell its {name}")
            for name, what in (("versions", read_versions), ("settings", read_settings))
        )
        here = read_versions()
        other = [
            f"{name} {versions.get(name)} instead of {mine}"
            for name, mine in here.items()
            if versions.get(name) != mine
        ]
        if other:
            raise PoolLost(
                Reason.VERSION_MISMATCH, f"the Dask scheduler has {', '.join(other)}; use one image for all"
            )
        wrong = [
            f"{name} is {settings.get(name)}" for name, want in _WANTED.items() if settings.get(name) != want
        ]
        if wrong:
            raise PoolLost(
                Reason.SETTINGS_MISMATCH,
                f"the Dask scheduler is not set for a search ({', '.join(wrong)}); "
                "start it with `trainingjob scheduler`",
            )

    def _ask(self, what: Callable[..., Any], tick: Callable[[], None], otherwise: str) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = self._bounded(
                lambda: self.client.run_on_scheduler(what), tick, otherwise
            )
        except PoolLost:
            raise
        except Exception as error:
            raise _refused(error) from error
        return answer

    def close(self, ref: StoreRef | None) -> None:
        """Take the table back and disconnect; after a loss nobody is waited for."""
        self.probe.close()
        ended = _in_thread(lambda: self._disconnect(ref))
        if loss(self.probe.snapshot(), self.scheduler_id) is None:
            wait([ended], timeout=_CLOSE_SECONDS)

    def _disconnect(self, ref: StoreRef | None) -> None:
        if ref is not None and self.client.status == "running":
            self.client.unregister_worker_plugin(TablePlugin(ref, b"", {}).name)
        self.client.close(timeout=_CLOSE_SECONDS)

    def _bounded(self, work: Callable[[], Any], tick: Callable[[], None], what: str) -> Any:
        future = _in_thread(work)
        end = time.monotonic() + _SHIP_SECONDS
        while not wait([future], timeout=_TICK_SECONDS).done:
            tick()
            self.check()
            if time.monotonic() > end:
                raise PoolLost(Reason.SCHEDULER_LOST, f"the Dask cluster {what} within {_SHIP_SECONDS:.0f} s")
        return future.result()


def connect(address: str, *, security: Security | None, probe: Probe, scheduler_id: str) -> RemoteWorkers:
    """Connect to a scheduler that has answered a probe.

    Raises
    ------
    OSError
        If it does not answer within some seconds.
    """
    client = Client(address, security=security, timeout=_CONNECT_SECONDS, set_as_default=False)
    return RemoteWorkers(client=client, probe=probe, address=address, scheduler_id=scheduler_id)


def _refused(error: Exception) -> PoolLost:
    """Return the loss that an error of the scheduler or of a worker means."""
    text = " ".join(str(error).split())
    head, _, tail = text.partition("VersionMismatch: ")
    if tail or isinstance(error, (ImportError, AttributeError)):
        return PoolLost(
            Reason.VERSION_MISMATCH,
            f"the Dask cluster has other packages than the trainer: {tail or text}; use one image for all"[
                :400
            ],
        )
    return PoolLost(
        Reason.SCHEDULER_LOST, f"the cluster refused the search: {head or type(error).__name__}"[:400]
    )


def _in_thread(work: Callable[[], Any]) -> ThreadFuture[Any]:
    """Run something in a thread that nobody has to wait for, not even at the end of the process."""
    future: ThreadFuture[Any] = ThreadFuture()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is taken
            future.set_exception(error)

    threading.Thread(target=run, name="dask-cluster", daemon=True).start()
    return future
