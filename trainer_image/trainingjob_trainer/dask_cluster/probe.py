"""Whether a scheduler answers and which workers it has, asked over its own protocol with a time-out.

A client in the same process can block for good when its scheduler dies. A probe opens a connection of its own
each time, so that a process that has stopped, a cable that is cut and a port that nobody listens on all look
the same: no answer in time.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from distributed import Security
from distributed.core import rpc

from trainingjob_api import Reason
from trainingjob_trainer.dask_cluster.security import Role
from trainingjob_trainer.errors import RunFailed, TrainingError

__all__ = ["Probe", "ProbeSnapshot", "SchedulerIdentity", "WorkerIdentity", "identity"]

_MOST_ERROR_CHARS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerIdentity:
    """One worker as its scheduler knows it.

    Parameters
    ----------
    address
        Of the worker process.
    name
        As it was started with; the scheduler gives its address if it was not.
    nanny
        Address of the process that starts it again; None if there is none.
    status
        Dask's word: ``running``, ``paused``, ``closing_gracefully`` and others.
    directory
        The folder that the process made for itself. Each makes another one, while ports come back.
    """

    address: str
    name: str
    nanny: str | None
    status: str
    directory: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerIdentity:
    """A scheduler that answered.

    Parameters
    ----------
    id
        Drawn anew at each start.
    workers
        All that are connected, whatever their status.
    """

    id: str
    workers: tuple[WorkerIdentity, ...]

    @property
    def running(self) -> Mapping[str, str]:
        """Addresses of the workers that take tasks, and their folders."""
        return {one.address: one.directory for one in self.workers if one.status == "running"}

    @property
    def leaving(self) -> tuple[str, ...]:
        """Addresses of the workers that finish a task and take no other."""
        return tuple(one.address for one in self.workers if one.status == "closing_gracefully")


async def identity(
    address: str,
    *,
    security: Security | None = None,
    timeout: float,  # noqa: ASYNC109 - it is told in the error, and the connection is given less
    role: Role = "client",
) -> SchedulerIdentity:
    """Ask a scheduler who it is and who its workers are.

    Parameters
    ----------
    address
        ``tcp://host:port`` or ``tls://host:port``.
    security
        Certificates; None: Dask's own configuration.
    timeout
        Seconds that all of it may take.
    role
        Whose certificate is shown.

    Raises
    ------
    RunFailed
        ``SchedulerUnavailable``: no scheduler answered in time; the message says why.
    """
    arguments = (security or Security()).get_connection_args(role)
    _check_encryption(address, arguments)
    # A connection is tried for less than all of the time, so that its own error is told and not "no answer".
    remote = rpc(address, timeout=0.8 * timeout, connection_args=arguments)
    try:
        async with asyncio.timeout(timeout):
            answer = await remote.identity(n_workers=-1)
    except TimeoutError:
        for comm in list(remote.comms):
            comm.abort()
        raise _unavailable(address, f"no answer within {timeout:g} s") from None
    except TypeError:
        raise _unavailable(address, "another Dask process answers there, such as a worker") from None
    # RuntimeError: TLS where there is none, or the other way round. ValueError and what else comes out of an
    # answer that is not Dask's means the same to whoever asks.
    except Exception as error:  # noqa: BLE001
        raise _unavailable(address, _one_line(error)) from None
    finally:
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(timeout):
                await remote.close_rpc()
    return _understand(address, answer)


def _check_encryption(address: str, arguments: dict[str, Any]) -> None:
    if address.startswith("tls://") and not arguments.get("ssl_context"):
        raise _unavailable(address, "it speaks TLS, and no certificates are configured here")
    if not address.startswith("tls://") and arguments["require_encryption"]:
        raise _unavailable(address, "the address is one without TLS, which certificates are configured for")


def _understand(address: str, answer: Any) -> SchedulerIdentity:
    try:
        workers = tuple(
            WorkerIdentity(
                address=str(where),
                name=str(one["name"]),
                nanny=one["nanny"],
                status=str(one["status"]),
                directory=str(one["local_directory"]),
            )
            for where, one in answer["workers"].items()
        )
        return SchedulerIdentity(id=str(answer["id"]), workers=workers)
    except (KeyError, TypeError, AttributeError) as error:
        raise _unavailable(address, f"its answer is no scheduler's: {_one_line(error)}") from None


def _unavailable(address: str, problem: str) -> RunFailed:
    return RunFailed(Reason.SCHEDULER_UNAVAILABLE, f"the scheduler at {address} does not answer: {problem}")


def _one_line(error: BaseException) -> str:
    """Return the innermost cause that has words; what Dask wraps around it says only what was called."""
    text = type(error).__name__
    link: BaseException | None = error
    while link is not None:
        text = " ".join(str(link).split()) or text
        link = link.__cause__
    return text[:_MOST_ERROR_CHARS]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSnapshot:
    """What a probe knows at one moment; times are of ``time.monotonic()``.

    Parameters
    ----------
    reachable
        Whether the last question was answered; False before the first.
    misses
        Questions in a row that were not.
    asked
        Questions so far.
    scheduler_id
        Of the last answer; another one means another scheduler, which knows nothing of the tasks of the
        first. None before the first answer.
    workers
        Addresses of the running workers and their folders, by the last answer.
    leaving
        Addresses of those that have been told to end and finish a task first, by the last answer.
    no_workers_since
        Since when no worker has been running: the time of the first answer without one, or the probe's
        start; None if there is one by the last answer. A miss does not change it.
    last_ok
        Time of the last answer.
    error
        Why the last question had none; None if it had.
    """

    reachable: bool = False
    misses: int = 0
    asked: int = 0
    scheduler_id: str | None = None
    workers: Mapping[str, str] = field(default_factory=dict)
    leaving: tuple[str, ...] = ()
    no_workers_since: float | None = None
    last_ok: float | None = None
    error: str | None = None


class Probe:
    """Asks again and again from a thread of its own.

    Parameters
    ----------
    address
        Of the scheduler, or what returns it: it is called before each question, and if it raises a
        `TrainingError` (the scheduler file is not there yet), the question is a miss.
    security
        Certificates of a client; None: Dask's own configuration.
    interval
        Seconds from an answer to the next question.
    timeout
        Seconds that an answer may take.
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
        """Return what is known now; never waits."""
        return self._seen

    def close(self) -> None:
        """Ask no more; returns at once, while a last question may still be under way for its time-out."""
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
        try:
            answer = await identity(self._locate(), security=self._security, timeout=self._timeout)
        except TrainingError as error:
            self._note_miss(error.message)
        except Exception as error:  # noqa: BLE001 - a probe that died would call a dead scheduler reachable
            self._note_miss(_one_line(error))
        else:
            self._note(answer)

    def _note_miss(self, message: str) -> None:
        seen = self._seen
        self._seen = replace(
            seen, reachable=False, misses=seen.misses + 1, asked=seen.asked + 1, error=message
        )

    def _note(self, answer: SchedulerIdentity) -> None:
        now, seen = time.monotonic(), self._seen
        self._seen = ProbeSnapshot(
            reachable=True,
            asked=seen.asked + 1,
            scheduler_id=answer.id,
            workers=answer.running,
            leaving=answer.leaving,
            no_workers_since=None if answer.running else seen.no_workers_since or now,
            last_ok=now,
        )
