"""Finding a cluster while other work is done: the scheduler answers, and at least one worker is there."""

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from distributed import Security

from trainingjob_api import Reason
from trainingjob_trainer.dask_cluster.address import resolve_address
from trainingjob_trainer.dask_cluster.probe import Probe
from trainingjob_trainer.dask_cluster.remote import RemoteWorkers, connect
from trainingjob_trainer.dask_cluster.security import client_security
from trainingjob_trainer.errors import TrainingError
from trainingjob_trainer.search.pool import PoolLost

__all__ = ["ADDRESS_VARIABLE", "Joining", "scheduler_source"]

ADDRESS_VARIABLE = "DASK_SCHEDULER_ADDRESS"
"""Names the scheduler's address; without it the scheduler file does."""
_LOOK_SECONDS = 0.2
_PROBE_SECONDS = 0.5


def scheduler_source(environment: Mapping[str, str], scheduler_file: str) -> str | Path:
    """Return where the scheduler's address comes from: the environment, or a scheduler file."""
    return environment.get(ADDRESS_VARIABLE) or Path(scheduler_file)


class Joining:
    """Looks for a cluster from a thread of its own.

    Parameters
    ----------
    environment
        Names the scheduler's address and the certificates.
    scheduler_file
        Where the address is if the environment does not name it.
    ready_seconds
        How long a cluster may take to be there.

    Attributes
    ----------
    source : str or Path
        Where the scheduler's address comes from.
    end : float
        Monotonic time at which the looking ends.
    """

    def __init__(self, environment: Mapping[str, str], scheduler_file: str, *, ready_seconds: float) -> None:
        self.source = scheduler_source(environment, scheduler_file)
        self._environment = environment
        self._ready_seconds = ready_seconds
        self.end = time.monotonic() + ready_seconds
        self._closed = threading.Event()
        self._done = threading.Event()
        self._found: RemoteWorkers | None = None
        self._lost: PoolLost | None = None
        self._thread = threading.Thread(target=self._run, name="cluster-joining", daemon=True)
        self._thread.start()

    @property
    def done(self) -> bool:
        """Whether there is a cluster, or none will be."""
        return self._done.is_set()

    def wait(self, tick: Callable[[], None]) -> RemoteWorkers:
        """Return the cluster as soon as it is there.

        Parameters
        ----------
        tick
            Called several times a second; what it raises ends the waiting.

        Raises
        ------
        PoolLost
            With the reason ``SchedulerUnavailable``, ``NoWorkers`` or ``CertificatesInvalid``.
        """
        while not self._done.wait(_LOOK_SECONDS):
            tick()
        if self._found is None:
            raise self._lost or PoolLost(Reason.SCHEDULER_UNAVAILABLE, "the Dask cluster was not waited for")
        return self._found

    def close(self) -> None:
        """Look no further."""
        self._closed.set()
        if self._done.is_set() and self._found is not None:
            self._found.probe.close()

    def _run(self) -> None:
        try:
            security = client_security(self._environment)
        except TrainingError as error:
            self._lost = PoolLost(error.reason, error.message)
            self._done.set()
            return
        probe = Probe(
            lambda: resolve_address(self.source), security=security, interval=_PROBE_SECONDS
        ).start()
        try:
            self._found = self._look(probe, security)
        except PoolLost as lost:
            self._lost = lost
        except Exception as error:  # noqa: BLE001 - whatever it is, there is no cluster
            self._lost = PoolLost(
                Reason.SCHEDULER_UNAVAILABLE, f"the Dask cluster could not be used: {error}"[:400]
            )
        finally:
            if self._found is None:
                probe.close()
            self._done.set()

    def _look(self, probe: Probe, security: Security | None) -> RemoteWorkers:
        error = ""
        while not self._closed.is_set():
            seen = probe.snapshot()
            if seen.reachable and seen.workers and seen.scheduler_id is not None:
                try:
                    return connect(
                        resolve_address(self.source),
                        security=security,
                        probe=probe,
                        scheduler_id=seen.scheduler_id,
                    )
                except (OSError, TrainingError) as failure:
                    error = str(failure)
            if time.monotonic() > self.end:
                within = f"within {self._ready_seconds:.0f} s"
                if seen.reachable:
                    raise PoolLost(
                        Reason.NO_WORKERS, f"the Dask scheduler answers, but had no worker {within}"
                    )
                why = seen.error or error or "it did not answer"
                raise PoolLost(
                    Reason.SCHEDULER_UNAVAILABLE, f"no Dask cluster could be reached {within}: {why}"
                )
            self._closed.wait(_LOOK_SECONDS)
        raise PoolLost(Reason.SCHEDULER_UNAVAILABLE, "the run ended before the Dask cluster was there")
