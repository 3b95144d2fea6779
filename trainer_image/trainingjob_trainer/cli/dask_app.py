"""The commands that run a Dask cluster around a scheduler file: its options and their help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trainingjob_trainer.cli.options import Debug, Json, Quiet, desk_of

__all__ = ["certs", "register", "scheduler", "worker"]

_SCHEDULER = """Run a Dask scheduler for distributed runs, until SIGTERM or Ctrl-C.

It writes the scheduler file when it listens and removes it when it ends. Its settings are those that the
search relies on; it has no dashboard. Without TLS it listens on this machine only, unless --host says so.

\b
Examples:
  trainingjob scheduler --scheduler-file /tmp/scheduler.json
  trainingjob scheduler --host 0.0.0.0 --tls-ca-file ca.crt --tls-cert scheduler.crt --tls-key scheduler.key
  trainingjob scheduler --check
"""

_WORKER = """Run one Dask worker for distributed runs, until SIGTERM or Ctrl-C.

It waits for the scheduler, runs one task at a time, is started again within seconds when a task kills it, and
looks for the scheduler again when it loses it. Told to end, it finishes its task first (--drain-seconds).

Exit status: 0 it was told to end, retired or idle; 1 there is no scheduler (start it again).

\b
Examples:
  trainingjob worker --scheduler-file /tmp/scheduler.json
  trainingjob worker --scheduler tcp://scheduler.example:8786 --memory-limit-mb 8192 --idle-timeout 600
  trainingjob worker --check
"""

_CERTS = """Make a certificate authority, and a certificate and a key for scheduler, worker and client.

With these nobody else can talk to the cluster. The authority's own key is thrown away unless it is asked for.

\b
Examples:
  trainingjob certs tls
  trainingjob certs tls --days 30 --host scheduler.example --host 10.0.0.7
"""

SchedulerFile = Annotated[
    Path | None,
    typer.Option(
        "--scheduler-file",
        metavar="PATH",
        help="File that says where the scheduler is; default: TPOT__DASK_SCHEDULER_FILE or "
        "/var/run/tpot/scheduler.json.",
        show_default=False,
    ),
]
IdleTimeout = Annotated[
    float | None,
    typer.Option(
        "--idle-timeout",
        metavar="SECONDS",
        min=1,
        help="End, with status 0, after so long without a task; default: never.",
        show_default=False,
    ),
]
CaFile = Annotated[
    Path | None,
    typer.Option(
        "--tls-ca-file",
        metavar="PATH",
        help="The authority's certificate; default: DASK_DISTRIBUTED__COMM__TLS__CA_FILE.",
        show_default=False,
    ),
]
Cert = Annotated[
    Path | None,
    typer.Option(
        "--tls-cert",
        metavar="PATH",
        help="The certificate; default: DASK_DISTRIBUTED__COMM__TLS__<ROLE>__CERT.",
        show_default=False,
    ),
]
Key = Annotated[
    Path | None,
    typer.Option(
        "--tls-key",
        metavar="PATH",
        help="Its private key; default: DASK_DISTRIBUTED__COMM__TLS__<ROLE>__KEY.",
        show_default=False,
    ),
]
Check = Annotated[
    bool,
    typer.Option("--check", help="Run nothing: ask whether it is well, say so in one line, end with 0 or 1."),
]


def scheduler(
    context: typer.Context,
    *,
    scheduler_file: SchedulerFile = None,
    no_scheduler_file: Annotated[
        bool, typer.Option("--no-scheduler-file", help="Write none: everybody knows the address.")
    ] = False,
    host: Annotated[
        str, typer.Option("--host", help="Address or interface to listen on; 0.0.0.0: all of them.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 takes a free one.")] = 8786,
    idle_timeout: IdleTimeout = None,
    tls_ca_file: CaFile = None,
    tls_cert: Cert = None,
    tls_key: Key = None,
    check: Check = False,
    debug: Debug = False,
) -> None:
    """Run a scheduler."""
    desk = desk_of(context, "scheduler", as_json=False, quiet=False, debug=debug)

    def work() -> dict[str, object]:
        # Imported late: Dask takes half a second that --help need not wait for.
        from trainingjob_trainer.cli.dasking import SchedulerRequest, run_scheduler  # noqa: PLC0415

        request = SchedulerRequest(
            scheduler_file=scheduler_file,
            no_scheduler_file=no_scheduler_file,
            host=host,
            port=port,
            idle_timeout=idle_timeout,
            tls=(tls_ca_file, tls_cert, tls_key),
            check=check,
        )
        return run_scheduler(desk, request)

    desk.finish(work)


def worker(
    context: typer.Context,
    *,
    scheduler_file: SchedulerFile = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            "--scheduler",
            metavar="ADDRESS",
            help="tcp://host:8786 or tls://host:8786 in place of a file; default: DASK_SCHEDULER_ADDRESS.",
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", help="A name of its own; default: host and number.", show_default=False),
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(
            "--host",
            help="Address to listen on; default: the one that reaches the scheduler.",
            show_default=False,
        ),
    ] = None,
    memory_limit_mb: Annotated[
        int | None,
        typer.Option(
            "--memory-limit-mb",
            metavar="MIB",
            min=256,
            help="At 95 % of it the worker is started anew; default: TPOT__MEMORY_LIMIT_MB or 3072.",
            show_default=False,
        ),
    ] = None,
    local_directory: Annotated[
        Path | None,
        typer.Option(
            "--local-directory",
            metavar="DIR",
            help="For its files; default: the system's.",
            show_default=False,
        ),
    ] = None,
    idle_timeout: IdleTimeout = None,
    wait_seconds: Annotated[
        float,
        typer.Option("--wait-seconds", metavar="SECONDS", min=0, help="How long to wait for a scheduler."),
    ] = 120.0,
    death_timeout: Annotated[
        float,
        typer.Option(
            "--death-timeout", metavar="SECONDS", min=1, help="How long the worker process may take to start."
        ),
    ] = 60.0,
    drain_seconds: Annotated[
        float,
        typer.Option(
            "--drain-seconds", metavar="SECONDS", min=0, help="How long its task may take when told to end."
        ),
    ] = 20.0,
    tls_ca_file: CaFile = None,
    tls_cert: Cert = None,
    tls_key: Key = None,
    check: Check = False,
    debug: Debug = False,
) -> None:
    """Run a worker."""
    desk = desk_of(context, "worker", as_json=False, quiet=False, debug=debug)

    def work() -> dict[str, object]:
        from trainingjob_trainer.cli.dasking import WorkerRequest, run_worker  # noqa: PLC0415 - as above

        request = WorkerRequest(
            scheduler_file=scheduler_file,
            scheduler=scheduler,
            name=name,
            host=host,
            memory_limit_mb=memory_limit_mb,
            local_directory=local_directory,
            idle_timeout=idle_timeout,
            wait_seconds=wait_seconds,
            death_timeout=death_timeout,
            drain_seconds=drain_seconds,
            tls=(tls_ca_file, tls_cert, tls_key),
            check=check,
        )
        return run_worker(desk, request)

    desk.finish(work)


def certs(
    context: typer.Context,
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder for the files; made if needed.", show_default=False)
    ],
    *,
    days: Annotated[int, typer.Option("--days", min=1, max=3650, help="Days until they expire.")] = 365,
    host: Annotated[
        list[str] | None,
        typer.Option(
            "--host",
            metavar="NAME",
            help="Name or address of the scheduler or a worker, written into their certificates. Repeatable.",
            show_default=False,
        ),
    ] = None,
    keep_ca_key: Annotated[
        bool, typer.Option("--keep-ca-key", help="Keep ca.key: who has it can make certificates.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite what is there.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Make certificates."""
    desk = desk_of(context, "certs", as_json=as_json, quiet=quiet, debug=debug)

    def work() -> dict[str, object]:
        from trainingjob_trainer.cli.certifying import make_certificates  # noqa: PLC0415 - as above

        return make_certificates(
            desk, folder, days=days, hosts=tuple(host or ()), keep_ca_key=keep_ca_key, force=force
        )

    desk.finish(work)


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command(help=_SCHEDULER, short_help="Run a Dask scheduler for distributed runs.")(scheduler)
    app.command(help=_WORKER, short_help="Run a Dask worker for distributed runs.")(worker)
    app.command(help=_CERTS, short_help="Make the certificates of a Dask cluster.")(certs)
