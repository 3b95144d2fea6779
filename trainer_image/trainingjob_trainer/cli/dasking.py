"""``trainingjob scheduler`` and ``worker``: from options and environment to a process, or a check."""

from __future__ import annotations

import logging
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from trainingjob_api import Reason
from trainingjob_trainer.cli.text import plain
from trainingjob_trainer.dask_cluster.address import resolve_address, valid_address
from trainingjob_trainer.dask_cluster.health import check_scheduler, check_worker
from trainingjob_trainer.dask_cluster.security import CertificateFiles, role_security
from trainingjob_trainer.errors import SpecInvalid, TrainingError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from distributed import Security

    from trainingjob_trainer.cli.desk import Desk
    from trainingjob_trainer.dask_cluster.security import Role

__all__ = ["SchedulerRequest", "WorkerRequest", "run_scheduler", "run_worker"]

_ADDRESS_VARIABLE = "DASK_SCHEDULER_ADDRESS"
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - replaced, not listened on

Tls = tuple[Path | None, Path | None, Path | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerRequest:
    """The options of ``trainingjob scheduler``; None is what was not given."""

    scheduler_file: Path | None
    no_scheduler_file: bool
    host: str
    port: int
    idle_timeout: float | None
    tls: Tls
    check: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRequest:
    """The options of ``trainingjob worker``; None is what was not given."""

    scheduler_file: Path | None
    scheduler: str | None
    name: str | None
    host: str | None
    memory_limit_mb: int | None
    local_directory: Path | None
    idle_timeout: float | None
    wait_seconds: float
    death_timeout: float
    drain_seconds: float
    tls: Tls
    check: bool


def run_scheduler(desk: Desk, request: SchedulerRequest) -> dict[str, object]:
    """Run a scheduler, or ask one whether it is well.

    Raises
    ------
    TrainingError
        If it cannot run.
    """
    environment = desk.services.environment
    if request.no_scheduler_file and request.scheduler_file is not None:
        raise _contradiction("--scheduler-file", "--no-scheduler-file")
    path = None if request.no_scheduler_file else request.scheduler_file or _default_file(environment)
    if request.check:
        return _check(
            lambda: _check_scheduler(request, path, _security("scheduler", request.tls, environment))
        )
    from trainingjob_trainer.dask_cluster.scheduling import (  # noqa: PLC0415 - a check need not wait for it
        SchedulerOptions,
        serve_scheduler,
    )

    _log_to_stderr()
    serve_scheduler(
        SchedulerOptions(
            scheduler_file=path,
            host=request.host,
            port=request.port,
            security=_security("scheduler", request.tls, environment),
            idle_seconds=request.idle_timeout,
        )
    )
    return {}


def run_worker(desk: Desk, request: WorkerRequest) -> dict[str, object]:
    """Run a worker, or ask its scheduler whether it is well.

    Raises
    ------
    TrainingError
        If it cannot run.
    """
    environment = desk.services.environment
    if request.scheduler_file is not None and request.scheduler is not None:
        raise _contradiction("--scheduler-file", "--scheduler")
    source = _source(request, environment)
    if request.check:
        return _check(
            lambda: _check_worker(source, request.name, _security("worker", request.tls, environment))
        )
    from trainingjob_trainer.dask_cluster.working import (  # noqa: PLC0415 - as above
        WorkerOptions,
        default_name,
        serve_worker,
    )

    _log_to_stderr()
    serve_worker(
        WorkerOptions(
            locate=lambda: resolve_address(source),
            name=request.name or default_name(),
            memory_limit_mb=request.memory_limit_mb or _memory_limit(environment),
            host=request.host,
            local_directory=request.local_directory,
            security=_security("worker", request.tls, environment),
            idle_seconds=request.idle_timeout,
            wait_seconds=request.wait_seconds,
            death_seconds=request.death_timeout,
            drain_seconds=request.drain_seconds,
        )
    )
    return {}


def _check(ask: Callable[[], str]) -> dict[str, object]:
    """Say in one line how it is; whoever reads health checks sees no more, and knows 0 and 1 only."""
    try:
        line = ask()
    except TrainingError as error:
        sys.stderr.write(plain(error.message) + "\n")
        raise typer.Exit(1) from None
    sys.stdout.write(plain(line) + "\n")
    return {}


def _check_scheduler(request: SchedulerRequest, path: Path | None, security: Security | None) -> str:
    if path is not None:
        return check_scheduler(resolve_address(path), security)
    host = _EVERYWHERE.get(request.host, request.host)
    scheme = "tls" if security else "tcp"
    host = f"[{host}]" if ":" in host else host
    return check_scheduler(resolve_address(f"{scheme}://{host}:{request.port}"), security)


def _check_worker(source: str | Path, name: str | None, security: Security | None) -> str:
    address = resolve_address(source)
    if name is not None:
        return check_worker(address, security, known=lambda one: one == name, who=f"worker {name}")
    host = socket.gethostname()
    return check_worker(
        address, security, known=lambda one: one.startswith(f"{host}-"), who=f"the worker of {host}"
    )


def _security(role: Role, tls: Tls, environment: Mapping[str, str]) -> Security | None:
    ca_file, cert, key = tls
    return role_security(role, CertificateFiles(ca_file=ca_file, cert=cert, key=key), environment)


def _default_file(environment: Mapping[str, str]) -> Path:
    # The contract's models take a quarter of a second that a check with a path of its own need not wait for.
    from trainingjob_api.environment import (  # noqa: PLC0415
        DASK_SCHEDULER_FILE,
        DEFAULT_SCHEDULER_FILE,
        read_variable,
    )

    return Path(read_variable(environment, DASK_SCHEDULER_FILE) or DEFAULT_SCHEDULER_FILE)


def _source(request: WorkerRequest, environment: Mapping[str, str]) -> str | Path:
    """Return an address, or the file that has it."""
    address = request.scheduler
    if address is None and request.scheduler_file is None:
        address = environment.get(_ADDRESS_VARIABLE, "").strip() or None
    if address is None:
        return request.scheduler_file or _default_file(environment)
    try:
        return valid_address(address)
    except ValueError as error:
        text = f"the scheduler's address (--scheduler, {_ADDRESS_VARIABLE}) {error}"
        raise SpecInvalid(Reason.SCHEDULER_ADDRESS_INVALID, text) from None


def _memory_limit(environment: Mapping[str, str]) -> int:
    from trainingjob_api.environment import TABLE  # noqa: PLC0415 - as above

    row = next(one for one in TABLE if one.field == "memoryLimitMb")
    value: Any = row.from_environment(environment) or row.default
    return int(value)


def _contradiction(one: str, other: str) -> SpecInvalid:
    return SpecInvalid(
        Reason.OPTIONS_CONTRADICT, f"{one} and {other} contradict each other: give one of them"
    )


def _log_to_stderr() -> None:
    """Log facts of this project, and of Dask what is amiss, each as one line."""
    formatter = logging.Formatter("%(asctime)s %(levelname)s %(message)s", datefmt="%Y-%m-%dT%H:%M:%SZ")
    formatter.converter = time.gmtime
    for name, level in (("trainingjob_trainer", logging.INFO), ("distributed", logging.WARNING)):
        # One for each: Dask turns its own down.
        handler = logging.StreamHandler()
        handler.setFormatter(formatter)
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(level)
        logger.propagate = False
