"""Whether a scheduler answers and which workers it has, asked over its own protocol with a time-out.

A client in the same process can block for good when its scheduler dies. A probe opens its own connection each
time, so a stopped process, a cut cable and a port without a listener all look the same: no answer in time.
"""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from distributed import Security
from distributed.core import rpc

from trainingjob_api import Reason
from trainingjob_trainer.dask_cluster.connection import Role
from trainingjob_trainer.errors import RunFailed, TrainingError
from trainingjob_trainer.search.pool import PoolLost

LOST_MISSES = 3
"""Consecutive questions without an answer after which a scheduler is lost."""
NO_WORKERS_SECONDS = 15.0
"""Seconds without any worker after which a cluster is lost; a nanny brings one back after two."""
_CHECK_SECONDS = 3.0
_MOST_ERROR_CHARS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerIdentity:
    """One worker as its scheduler knows it; `name` is its address if it was started without one."""

    address: str
    name: str
    status: str  # Dask's word, such as running, paused or closing_gracefully
    directory: str  # Each process makes another one, while ports come back.


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerIdentity:
    """A scheduler that answered: its id, drawn at each start, and all connected workers."""

    id: str
    workers: tuple[WorkerIdentity, ...]

    @property
    def running(self) -> Mapping[str, str]:
        """Addresses of the workers that take tasks, and their folders."""
        return {worker.address: worker.directory for worker in self.workers if worker.status == "running"}

    @property
    def leaving(self) -> tuple[str, ...]:
        """Addresses of the workers that finish a task and take no other."""
        return tuple(worker.address for worker in self.workers if worker.status == "closing_gracefully")


async def identity(
    address: str,
    *,
    security: Security | None = None,
    timeout: float,  # noqa: ASYNC109 - it is told in the error, and the connection is given less
    role: Role = "client",
) -> SchedulerIdentity:
    """Ask a scheduler for its identity and its workers, showing the certificate of `role`.

    Raise ``SchedulerUnavailable`` if no scheduler answers within `timeout` seconds; the message says why.
    """
    arguments = (security or Security()).get_connection_args(role)
    if address.startswith("tls://") and not arguments.get("ssl_context"):
        raise _unavailable(address, "it uses TLS, and no certificates are configured here")
    if not address.startswith("tls://") and arguments["require_encryption"]:
        raise _unavailable(address, "certificates are configured here, and the address is without TLS")
    # The connection gets less than all of the time, so that its own error is reported and not "no answer".
    remote = rpc(address, timeout=0.8 * timeout, connection_args=arguments)
    try:
        async with asyncio.timeout(timeout):
            answer = await remote.identity(n_workers=-1)
    except TimeoutError:
        for comm in list(remote.comms):
            comm.abort()
        raise _unavailable(address, f"no answer within {timeout:g} s") from None
    except TypeError:
        raise _unavailable(address, "another Dask process, such as a worker, answers there") from None
    # RuntimeError: only one side uses TLS. ValueError and others come from an answer that is not Dask's.
    except Exception as error:  # noqa: BLE001
        raise _unavailable(address, _innermost(error)) from None
    finally:
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(timeout):
                await remote.close_rpc()
    try:
        workers = tuple(
            WorkerIdentity(
                address=str(where),
                name=str(worker["name"]),
                status=str(worker["status"]),
                directory=str(worker["local_directory"]),
            )
            for where, worker in answer["workers"].items()
        )
        return SchedulerIdentity(id=str(answer["id"]), workers=workers)
    except (KeyError, TypeError, AttributeError) as error:
        raise _unavailable(address, f"its answer is not a scheduler's: {_innermost(error)}") from None


def _unavailable(address: str, problem: str) -> RunFailed:
    return RunFailed(Reason.SCHEDULER_UNAVAILABLE, f"the scheduler at {address} does not answer: {problem}")


def _innermost(error: BaseException) -> str:
    """Return the innermost cause that has a message; Dask's own says only what was called."""
    text = type(error).__name__
    link: BaseException | None = error
    while link is not None:
        text = " ".join(str(link).split()) or text
        link = link.__cause__
    return text[:_MOST_ERROR_CHARS]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSnapshot:
    """The state of a cluster as a probe knows it: the last answer, and the misses since.

    `workers` and `leaving` are the running and leaving ones of `SchedulerIdentity`. `no_workers_since` is the
    ``time.monotonic()`` of the first answer without a worker, or of the probe's start; None if the last
    answer had one. A miss does not change it.
    """

    misses: int = 0
    scheduler_id: str | None = None  # Another id means another scheduler, which knows none of the tasks.
    workers: Mapping[str, str] = field(default_factory=dict)
    leaving: tuple[str, ...] = ()
    no_workers_since: float | None = None
    error: str | None = None

    @property
    def reachable(self) -> bool:
        """Whether the last question was answered; False before the first."""
        return self.scheduler_id is not None and not self.misses


class Probe:
    """Asks a scheduler again and again from its own thread.

    A function may return the address before each question. A `TrainingError` that it raises, such as for a
    missing scheduler file, counts as a miss. `interval` is the seconds from an answer to the next question.
    """

    def __init__(
        self,
        address: str | Callable[[], str],
        *,
        security: Security | None = None,
        interval: float = 1.0,
        timeout: float = 3.0,
    ) -> None:
        self._locate = (lambda: address) if isinstance(address, str) else address
        self._security = security
        self._interval = interval
        self._timeout = timeout
        self._seen = ProbeSnapshot()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scheduler-probe", daemon=True)

    def start(self) -> Self:
        """Begin to ask; returns at once."""
        self._seen = replace(self._seen, no_workers_since=time.monotonic())
        self._thread.start()
        return self

    def snapshot(self) -> ProbeSnapshot:
        """Return the present state without waiting."""
        return self._seen

    def close(self) -> None:
        """Stop asking; returns at once, although a last question may still wait for its time-out."""
        self._closed.set()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        with asyncio.Runner() as runner:
            while not self._closed.is_set():
                runner.run(self._ask())
                self._closed.wait(self._interval)

    async def _ask(self) -> None:
        seen = self._seen
        try:
            answer = await identity(self._locate(), security=self._security, timeout=self._timeout)
        except Exception as error:  # noqa: BLE001 - a probe that died would call a dead scheduler reachable
            message = error.message if isinstance(error, TrainingError) else _innermost(error)
            self._seen = replace(seen, misses=seen.misses + 1, error=message)
            return
        self._seen = ProbeSnapshot(
            scheduler_id=answer.id,
            workers=answer.running,
            leaving=answer.leaving,
            no_workers_since=None if answer.running else seen.no_workers_since or time.monotonic(),
        )


def loss(seen: ProbeSnapshot, scheduler_id: str | None) -> PoolLost | None:
    """Return why a cluster is lost, or None; `scheduler_id` is the search's own, None accepts any."""
    if seen.misses >= LOST_MISSES:
        return PoolLost(Reason.SCHEDULER_LOST, f"the Dask scheduler was lost: {seen.error}")
    if scheduler_id is not None and seen.scheduler_id not in {None, scheduler_id}:
        text = "the Dask scheduler was restarted and knows nothing of the search"
        return PoolLost(Reason.SCHEDULER_LOST, text)
    since = seen.no_workers_since
    if since is not None and seen.reachable and time.monotonic() - since > NO_WORKERS_SECONDS:
        text = f"the Dask cluster had no worker for {NO_WORKERS_SECONDS:.0f} s"
        return PoolLost(Reason.WORKERS_LOST, text)
    return None


def check_scheduler(address: str, security: Security | None) -> str:
    """Return a line about a healthy scheduler, or raise as `identity`."""
    seen = asyncio.run(identity(address, security=security, timeout=_CHECK_SECONDS, role="scheduler"))
    return f"the scheduler at {address} answers, workers: {len(seen.running)}"


def check_worker(address: str, security: Security | None, name: str | None) -> str:
    """Return a line about a worker that takes tasks of the scheduler at `address`.

    Without a name that is any worker of this host. Raise ``WorkerUnavailable``, or as `identity`.
    """
    seen = asyncio.run(identity(address, security=security, timeout=_CHECK_SECONDS, role="worker"))
    if name is not None:
        who = f"worker {name}"
        mine = [worker for worker in seen.workers if worker.name == name]
    else:
        host = socket.gethostname()
        who = f"the worker of {host}"
        mine = [worker for worker in seen.workers if worker.name.startswith(f"{host}-")]
    for worker in mine:
        if worker.status == "running":
            return f"worker {worker.name} takes tasks of the scheduler at {address}"
    state = ", ".join(f"{worker.name} is {worker.status}" for worker in mine) or "not connected"
    text = f"{who} takes no tasks of the scheduler at {address}: {state}"
    raise RunFailed(Reason.WORKER_UNAVAILABLE, text)
