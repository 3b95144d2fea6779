"""One question to a scheduler, for health checks: does it answer, does it know a worker."""

import asyncio
from collections.abc import Callable

from distributed import Security

from trainingjob_api import Reason
from trainingjob_trainer.dask_cluster.probe import SchedulerIdentity, WorkerIdentity, identity
from trainingjob_trainer.dask_cluster.security import Role
from trainingjob_trainer.errors import RunFailed

__all__ = ["check_scheduler", "check_worker"]

ANSWER_SECONDS = 3.0


def check_scheduler(address: str, security: Security | None) -> str:
    """Return one line about a scheduler that answers.

    Parameters
    ----------
    address
        Its address.
    security
        Certificates of a scheduler.

    Raises
    ------
    RunFailed
        ``SchedulerUnavailable``: it does not answer.
    """
    seen = _ask(address, security, "scheduler")
    return f"the scheduler at {address} answers, workers: {len(seen.running)}"


def check_worker(address: str, security: Security | None, *, known: Callable[[str], bool], who: str) -> str:
    """Return one line about a worker that its scheduler gives tasks to.

    Parameters
    ----------
    address
        The scheduler's.
    security
        Certificates of a worker.
    known
        Whether a name is that of the worker.
    who
        The worker, in words.

    Raises
    ------
    RunFailed
        ``SchedulerUnavailable``, ``WorkerUnavailable``.
    """
    mine = [one for one in _ask(address, security, "worker").workers if known(one.name)]
    running = [one for one in mine if one.status == "running"]
    if running:
        return f"worker {running[0].name} works for the scheduler at {address}"
    state = _states(mine) or "not connected"
    raise RunFailed(Reason.WORKER_UNAVAILABLE, f"{who} takes no tasks of the scheduler at {address}: {state}")


def _ask(address: str, security: Security | None, role: Role) -> SchedulerIdentity:
    return asyncio.run(identity(address, security=security, timeout=ANSWER_SECONDS, role=role))


def _states(workers: list[WorkerIdentity]) -> str:
    return ", ".join(f"{one.name} is {one.status}" for one in workers)
