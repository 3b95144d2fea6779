"""A remote Dask cluster for the search: finding it while other work is done, and its workers."""

import threading
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future as ThreadFuture
from concurrent.futures import wait
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from distributed import Client, Security

from trainingjob_api import Reason
from trainingjob_trainer.dask_cluster.connection import client_security, resolve_address
from trainingjob_trainer.dask_cluster.probe import Probe, loss
from trainingjob_trainer.dask_cluster.scheduler import read_settings, read_versions
from trainingjob_trainer.errors import TrainingError
from trainingjob_trainer.search.pool import PoolLost
from trainingjob_trainer.search.store import (
    StoreRef,
    TablePlugin,
    TableTooLarge,
    installed_versions,
    pack_store,
)

ADDRESS_VARIABLE = "DASK_SCHEDULER_ADDRESS"
"""Holds the scheduler's address; without it the scheduler file does."""
_CONNECT_SECONDS = 15.0
_SHIP_SECONDS = 120.0
_CLOSE_SECONDS = 5.0
_TICK_SECONDS = 0.25
_LOOK_SECONDS = 0.2
_PROBE_SECONDS = 0.5
_MOST_CHARS = 400

T = TypeVar("T")
Tick = Callable[[], None]
"""Called several times a second while something waits; what it raises ends the waiting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteWorkers:
    """A connected, synchronous client, and a started probe that knows which workers there are.

    Only `settings`, `ship` and `close` wait for the scheduler, and only for a bounded time.
    """

    client: Client
    probe: Probe
    address: str
    scheduler_id: str
    remote: bool = True  # Clocks differ, and workers are drained and evicted.

    def live(self) -> Mapping[str, str]:
        """Return the workers that take tasks now: address, and the folder of the process."""
        return self.probe.snapshot().workers

    def leaving(self) -> Collection[str]:
        """Return the addresses of the workers that finish their task and take no more."""
        return self.probe.snapshot().leaving

    def check(self) -> None:
        """Raise `PoolLost` if the cluster is lost."""
        lost = loss(self.probe.snapshot(), self.scheduler_id)
        if lost is None and self.client.status in {"closing", "closed"}:
            lost = PoolLost(Reason.SCHEDULER_LOST, "the connection to the Dask scheduler was closed")
        if lost is not None:
            raise lost

    def ship(self, ref: StoreRef, tick: Tick) -> None:
        """Send the table, its folds encoded, to every present and future worker.

        Raise ``TableTooLarge``, ``VersionMismatch`` or the reason of a loss.
        """
        try:
            plugin = TablePlugin(ref, pack_store(ref), installed_versions())
        except TableTooLarge as error:
            raise PoolLost(Reason.TABLE_TOO_LARGE, str(error)) from error
        self._bounded(lambda: self.client.register_plugin(plugin), tick, "did not take the table")

    def settings(self, tick: Tick) -> None:
        """Check that the scheduler has the trainer's versions and the settings that the search needs.

        Raise ``VersionMismatch``, ``SettingsMismatch`` or the reason of a loss.
        """
        versions = self._report(read_versions, tick, "versions")
        settings = self._report(read_settings, tick, "settings")
        other = [
            f"{name} {versions.get(name)} instead of {mine}"
            for name, mine in read_versions().items()
            if versions.get(name) != mine
        ]
        if other:
            text = f"the Dask scheduler has {', '.join(other)}; use one image for all"
            raise PoolLost(Reason.VERSION_MISMATCH, text)
        failures = settings.get("allowed-failures")
        if failures != 0:
            text = (
                f"the Dask scheduler is not configured for a search (allowed-failures is {failures}); "
                "start it with `trainingjob scheduler`"
            )
            raise PoolLost(Reason.SETTINGS_MISMATCH, text)

    def _report(self, what: Callable[..., Any], tick: Tick, name: str) -> Any:
        return self._bounded(lambda: self.client.run_on_scheduler(what), tick, f"did not report its {name}")

    def close(self, ref: StoreRef | None) -> None:
        """Remove the table from the workers and disconnect; after a loss, without waiting."""
        self.probe.close()
        ended = _in_thread(lambda: self._disconnect(ref))
        if loss(self.probe.snapshot(), self.scheduler_id) is None:
            wait([ended], timeout=_CLOSE_SECONDS)

    def _disconnect(self, ref: StoreRef | None) -> None:
        if ref is not None and self.client.status == "running":
            self.client.unregister_worker_plugin(TablePlugin(ref, b"", {}).name)
        self.client.close(timeout=_CLOSE_SECONDS)

    def _bounded(self, work: Callable[[], T], tick: Tick, failure: str) -> T:
        """Return the result of blocking work; raise `PoolLost` if it fails, or the cluster is lost first."""
        future = _in_thread(work)
        end = time.monotonic() + _SHIP_SECONDS
        while not wait([future], timeout=_TICK_SECONDS).done:
            tick()
            self.check()
            if time.monotonic() > end:
                text = f"the Dask cluster {failure} within {_SHIP_SECONDS:.0f} s"
                raise PoolLost(Reason.SCHEDULER_LOST, text)
        try:
            return future.result()
        except Exception as error:
            raise _refusal(error) from error


def _refusal(error: Exception) -> PoolLost:
    """Return the loss that an error of the scheduler or of a worker means."""
    text = " ".join(str(error).split())
    head, _, tail = text.partition("VersionMismatch: ")
    if tail or isinstance(error, (ImportError, AttributeError)):
        text = f"the Dask cluster has other packages than the trainer: {tail or text}; use one image for all"
        return PoolLost(Reason.VERSION_MISMATCH, text[:_MOST_CHARS])
    text = f"the cluster refused the search: {head or type(error).__name__}"
    return PoolLost(Reason.SCHEDULER_LOST, text[:_MOST_CHARS])


def _in_thread(work: Callable[[], T]) -> ThreadFuture[T]:
    """Start work in a thread that does not keep the process from ending."""
    future: ThreadFuture[T] = ThreadFuture()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is taken
            future.set_exception(error)

    threading.Thread(target=run, name="dask-cluster", daemon=True).start()
    return future


class ClusterLookup:
    """Looks for a cluster from its own thread, until the scheduler answers and has a worker.

    The environment names the certificates and the scheduler's address; otherwise the scheduler file holds the
    address. `source` is where it comes from, and `end` the monotonic time at which the lookup gives up.
    """

    def __init__(self, environment: Mapping[str, str], scheduler_file: str, *, ready_seconds: float) -> None:
        self.source = environment.get(ADDRESS_VARIABLE) or Path(scheduler_file)
        self._environment = environment
        self._ready_seconds = ready_seconds
        self.end = time.monotonic() + ready_seconds
        self._closed = threading.Event()
        self._found = _in_thread(self._find)

    @property
    def done(self) -> bool:
        """Whether the cluster was found or given up."""
        return self._found.done()

    def wait(self, tick: Tick) -> RemoteWorkers:
        """Return the cluster as soon as it is ready.

        Raise ``SchedulerUnavailable``, ``NoWorkers`` or ``CertificatesInvalid``.
        """
        while not wait([self._found], timeout=_LOOK_SECONDS).done:
            tick()
        return self._found.result()

    def close(self) -> None:
        """Stop looking, and stop the probe of a cluster that was found."""
        self._closed.set()
        if self._found.done() and self._found.exception() is None:
            self._found.result().probe.close()

    def _find(self) -> RemoteWorkers:
        with ExitStack() as stack:
            try:
                security = client_security(self._environment)
                locate = partial(resolve_address, self.source)
                probe = Probe(locate, security=security, interval=_PROBE_SECONDS)
                found = self._connect(stack.enter_context(probe), security)
            except PoolLost:
                raise
            except TrainingError as error:
                raise PoolLost(error.reason, str(error)) from error
            except Exception as error:
                text = f"the Dask cluster could not be used: {error}"
                raise PoolLost(Reason.SCHEDULER_UNAVAILABLE, text[:_MOST_CHARS]) from error
            stack.pop_all()
            return found

    def _connect(self, probe: Probe, security: Security | None) -> RemoteWorkers:
        error = ""
        while not self._closed.is_set():
            seen = probe.snapshot()
            if seen.reachable and seen.workers and seen.scheduler_id is not None:
                try:
                    address = resolve_address(self.source)
                    client = Client(
                        address, security=security, timeout=_CONNECT_SECONDS, set_as_default=False
                    )
                except (OSError, TrainingError) as failure:
                    error = str(failure)
                else:
                    return RemoteWorkers(
                        client=client, probe=probe, address=address, scheduler_id=seen.scheduler_id
                    )
            if time.monotonic() > self.end:
                within = f"within {self._ready_seconds:.0f} s"
                if seen.reachable:
                    text = f"the Dask scheduler answers, but had no worker {within}"
                    raise PoolLost(Reason.NO_WORKERS, text)
                text = f"no Dask cluster could be reached {within}: {seen.error or error or 'no answer'}"
                raise PoolLost(Reason.SCHEDULER_UNAVAILABLE, text)
            self._closed.wait(_LOOK_SECONDS)
        raise PoolLost(Reason.SCHEDULER_UNAVAILABLE, "the run ended before the Dask cluster was ready")
