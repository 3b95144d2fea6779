"""``trainingjob scheduler``, ``worker`` and ``certs``: a Dask cluster outside Kubernetes.

Neither a scheduler nor a health check loads the contract's models or anything of the search.
"""

import logging
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trainingjob_api import Reason
from trainingjob_trainer.cli.command import CommandContext, command, explain, plain
from trainingjob_trainer.errors import SpecInvalid, TrainingError

if TYPE_CHECKING:
    from distributed import Security

    from trainingjob_trainer.dask_cluster.connection import Role

_ADDRESS_VARIABLE = "DASK_SCHEDULER_ADDRESS"
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - replaced, not listened on
_TLS_VARIABLE = "DASK_DISTRIBUTED__COMM__TLS__"

_path = partial(typer.Option, metavar="PATH")

SchedulerFile = Annotated[
    Path | None,
    _path(
        help="File with the scheduler's address; default: TPOT__DASK_SCHEDULER_FILE or "
        "/var/run/tpot/scheduler.json."
    ),
]
IdleTimeout = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS", min=1, help="End with status 0 after so long without a task; default: never."
    ),
]
CaFile = Annotated[
    Path | None, _path(help="The authority's certificate; default: DASK_DISTRIBUTED__COMM__TLS__CA_FILE.")
]
Cert = Annotated[
    Path | None, _path(help="The certificate; default: DASK_DISTRIBUTED__COMM__TLS__<ROLE>__CERT.")
]
Key = Annotated[
    Path | None, _path(help="Its private key; default: DASK_DISTRIBUTED__COMM__TLS__<ROLE>__KEY.")
]
Check = Annotated[
    bool, typer.Option("--check", help="Run nothing: check its health, print one line, end with 0 or 1.")
]


@command(
    "trainingjob scheduler --scheduler-file /tmp/scheduler.json",
    "trainingjob scheduler --host 0.0.0.0 --tls-ca-file ca.crt --tls-cert scheduler.crt "
    "--tls-key scheduler.key",
    "trainingjob scheduler --check",
    prints_document=False,
)
def scheduler(
    context: CommandContext,
    *,
    scheduler_file: SchedulerFile = None,
    no_scheduler_file: Annotated[
        bool, typer.Option("--no-scheduler-file", help="Write none: workers and trainer get the address.")
    ] = False,
    host: Annotated[
        str, typer.Option(help="Address or interface to listen on; 0.0.0.0: all of them.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8786,
    idle_timeout: IdleTimeout = None,
    tls_ca_file: CaFile = None,
    tls_cert: Cert = None,
    tls_key: Key = None,
    check: Check = False,
) -> dict[str, Any]:
    """Run a Dask scheduler for distributed runs.

    It runs until SIGTERM or Ctrl-C, writes the scheduler file when it listens and removes it when it ends.
    Its settings are those that the search relies on; it has no dashboard. Without TLS it listens on this
    machine only, unless --host names another address.
    """
    if no_scheduler_file and scheduler_file is not None:
        raise _contradiction("--scheduler-file", "--no-scheduler-file")
    path = None if no_scheduler_file else scheduler_file or _default_file(context.environment)
    security = partial(_security, "scheduler", context.environment, tls_ca_file, tls_cert, tls_key)
    if check:
        return _print_health(lambda: _check_scheduler(path, host, port, security()))
    from trainingjob_trainer.dask_cluster.scheduler import serve_scheduler

    return _serve(
        "scheduler",
        context.environment,
        lambda: serve_scheduler(path, host=host, port=port, security=security(), idle_seconds=idle_timeout),
    )


@command(
    "trainingjob worker --scheduler-file /tmp/scheduler.json",
    "trainingjob worker --scheduler tcp://scheduler.example:8786 --memory-limit-mb 8192 --idle-timeout 600",
    "trainingjob worker --check",
    prints_document=False,
)
def worker(
    context: CommandContext,
    *,
    scheduler_file: SchedulerFile = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="tcp://host:8786 or tls://host:8786 in place of a file; default: DASK_SCHEDULER_ADDRESS.",
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name that no other worker has; default: host and number.")
    ] = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; default: the one that reaches the scheduler.")
    ] = None,
    memory_limit_mb: Annotated[
        int | None,
        typer.Option(
            metavar="MIB",
            min=256,
            help="At 95 % of it the worker is restarted; default: TPOT__MEMORY_LIMIT_MB or 3072.",
        ),
    ] = None,
    local_directory: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for its files; default: the system's.")
    ] = None,
    idle_timeout: IdleTimeout = None,
    wait_seconds: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="How long to wait for a scheduler.")
    ] = 120.0,
    death_timeout: Annotated[
        float, typer.Option(metavar="SECONDS", min=1, help="How long the worker process may take to start.")
    ] = 60.0,
    drain_seconds: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="How long its task may take after a signal.")
    ] = 20.0,
    tls_ca_file: CaFile = None,
    tls_cert: Cert = None,
    tls_key: Key = None,
    check: Check = False,
) -> dict[str, Any]:
    """Run a Dask worker for distributed runs.

    It runs until SIGTERM or Ctrl-C. It waits for the scheduler, runs one task at a time, is restarted within
    seconds when a task kills it, and waits again when it loses the scheduler. After a signal it finishes its
    task first (--drain-seconds).

    Exit status: 0 it got a signal, was retired or idle; 1 there is no scheduler (restart it).
    """
    if scheduler_file is not None and scheduler is not None:
        raise _contradiction("--scheduler-file", "--scheduler")
    source = _scheduler_source(scheduler, scheduler_file, context.environment)
    security = partial(_security, "worker", context.environment, tls_ca_file, tls_cert, tls_key)
    from trainingjob_trainer.dask_cluster.connection import resolve_address

    if check:
        from trainingjob_trainer.dask_cluster.probe import check_worker

        return _print_health(lambda: check_worker(resolve_address(source), security(), name))
    from trainingjob_trainer.dask_cluster.worker import WorkerOptions, default_name, serve_worker

    return _serve(
        "worker",
        context.environment,
        lambda: serve_worker(
            WorkerOptions(
                locate=lambda: resolve_address(source),
                name=name or default_name(),
                memory_limit_mb=memory_limit_mb or _memory_limit(context.environment),
                host=host,
                local_directory=local_directory,
                security=security(),
                idle_seconds=idle_timeout,
                wait_seconds=wait_seconds,
                death_seconds=death_timeout,
                drain_seconds=drain_seconds,
            )
        ),
    )


@command("trainingjob certs tls", "trainingjob certs tls --days 30 --host scheduler.example --host 10.0.0.7")
def certs(
    context: CommandContext,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder for the files; made if needed.")],
    *,
    days: Annotated[int, typer.Option(min=1, max=3650, help="Days until they expire.")] = 365,
    host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Name or address of the scheduler or a worker, written into their certificates. Repeatable.",
        ),
    ] = None,
    keep_ca_key: Annotated[
        bool, typer.Option("--keep-ca-key", help="Keep ca.key, which can sign more certificates.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing files.")] = False,
) -> dict[str, Any]:
    """Make the certificates of a Dask cluster.

    Makes a certificate authority, and a certificate and a key for scheduler, worker and client. With these,
    nothing else can connect to the cluster. The authority's own key is deleted unless --keep-ca-key is given.
    """
    from rich.text import Text

    from trainingjob_trainer.dask_cluster.connection import write_certificates

    files, end = write_certificates(
        folder, days=days, hosts=tuple(host or ()), keep_ca_key=keep_ca_key, force=force
    )
    expires = end.isoformat(timespec="seconds").replace("+00:00", "Z")
    if not context.as_json:
        console, where = context.console(), plain(folder)
        if not context.quiet:
            for line in _usage(where):
                console.print(Text(line), soft_wrap=True)
        deleted = "" if keep_ca_key else "; the authority's key was deleted"
        line = f"{len(files)} files in {where}, valid until {expires}{deleted}"
        console.print(Text(line, "bold green"), soft_wrap=True)
    return {"folder": str(folder), "files": [str(path) for path in files], "expires": expires}


def _usage(folder: str) -> list[str]:
    """Return how each role is started with the certificates."""
    options = f"--tls-ca-file {folder}/ca.crt --tls-cert {folder}/{{0}}.crt --tls-key {folder}/{{0}}.key"
    return [
        *(f"trainingjob {role} {options.format(role)}" for role in ("scheduler", "worker")),
        "For `trainingjob run`, set in its environment:",
        f"  {_TLS_VARIABLE}CA_FILE={folder}/ca.crt",
        f"  {_TLS_VARIABLE}CLIENT__CERT={folder}/client.crt",
        f"  {_TLS_VARIABLE}CLIENT__KEY={folder}/client.key",
    ]


def _print_health(check: Callable[[], str]) -> dict[str, Any]:
    """Print one line; readers of health checks see no more, and know 0 and 1 only."""
    try:
        line = check()
    except TrainingError as error:
        sys.stderr.write(plain(error.message) + "\n")
        raise typer.Exit(1) from None
    sys.stdout.write(plain(line) + "\n")
    return {}


def _check_scheduler(path: Path | None, host: str, port: int, security: "Security | None") -> str:
    from trainingjob_trainer.dask_cluster.connection import resolve_address
    from trainingjob_trainer.dask_cluster.probe import check_scheduler

    host = _EVERYWHERE.get(host, host)
    host = f"[{host}]" if ":" in host else host
    source = path or f"{'tls' if security else 'tcp'}://{host}:{port}"
    return check_scheduler(resolve_address(source), security)


def _security(
    role: "Role", environment: Mapping[str, str], ca_file: Path | None, cert: Path | None, key: Path | None
) -> "Security | None":
    from trainingjob_trainer.dask_cluster.connection import role_security

    return role_security(role, environment, ca_file=ca_file, cert=cert, key=key)


def _default_file(environment: Mapping[str, str]) -> Path:
    from trainingjob_api import DASK_SCHEDULER_FILE, DEFAULT_SCHEDULER_FILE, read_variable

    return Path(read_variable(environment, DASK_SCHEDULER_FILE) or DEFAULT_SCHEDULER_FILE)


def _scheduler_source(
    address: str | None, scheduler_file: Path | None, environment: Mapping[str, str]
) -> str | Path:
    """Return the scheduler's address, or the file that has it."""
    if address is None and scheduler_file is None:
        address = environment.get(_ADDRESS_VARIABLE, "").strip() or None
    if address is None:
        return scheduler_file or _default_file(environment)
    from trainingjob_trainer.dask_cluster.connection import valid_address

    try:
        return valid_address(address)
    except ValueError as error:
        text = f"the scheduler's address (--scheduler, {_ADDRESS_VARIABLE}) {error}"
        raise SpecInvalid(Reason.SCHEDULER_ADDRESS_INVALID, text) from None


def _memory_limit(environment: Mapping[str, str]) -> int:
    # A check need not wait for the contract's models, which take a quarter of a second.
    from trainingjob_api import TABLE

    row = next(row for row in TABLE if row.field == "memoryLimitMb")
    value: Any = row.from_environment(environment) or row.default
    return int(value)


def _contradiction(first: str, second: str) -> Exception:
    return SpecInvalid(
        Reason.OPTIONS_CONTRADICT, f"{first} and {second} contradict each other; give one of them"
    )


def _serve(role: str, environment: Mapping[str, str], serve: Callable[[], None]) -> dict[str, Any]:
    """Run a scheduler or worker; in a pod of a job, its last line says in JSON why it cannot run."""
    from trainingjob_trainer.dask_cluster.scheduler import log_to_stderr

    as_json = log_to_stderr(environment)
    try:
        serve()
    except Exception as error:
        if not as_json:
            raise
        log, failure = logging.getLogger(__name__), explain(error)
        if not isinstance(error, TrainingError):
            log.exception("unexpected error")
        # The operator quotes the last line: it has no traceback, as all messages for users.
        fields = {"reason": str(failure.reason), "message": plain(failure.message)}
        log.log(logging.ERROR, "the Dask %s failed", role, extra={"fields": fields})
        raise typer.Exit(failure.exit_code) from None
    return {}
