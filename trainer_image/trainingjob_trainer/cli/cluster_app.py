"""The commands that talk to a cluster."""

from __future__ import annotations

from typing import Annotated

import typer

from trainingjob_trainer.cli.options import (
    Context,
    Debug,
    File,
    JobName,
    Json,
    Namespace,
    Quiet,
    Set,
    desk_of,
)

__all__ = ["logs", "register", "submit", "watch"]

_SUBMIT = """Create a TrainingJob in the cluster of the current kubeconfig.

\b
Examples:
  trainingjob submit job.yaml
  trainingjob submit job.yaml --namespace ml --watch
"""

_WATCH = """Follow a job in the cluster until it has ended: phase, progress, best score, artifacts.

\b
Examples:
  trainingjob watch churn
  trainingjob watch churn --namespace ml --json
"""

_LOGS = """Print the log of a job's newest trainer pod.

\b
Examples:
  trainingjob logs churn
  trainingjob logs churn --follow
"""


def submit(
    context: typer.Context,
    file: File,
    *,
    follow: Annotated[bool, typer.Option("--watch", "-w", help="Follow it until it has ended.")] = False,
    set_: Set = None,
    kube_context: Context = None,
    namespace: Namespace = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Submit a job."""
    desk = desk_of(context, "submit", as_json=as_json, quiet=quiet, debug=debug)

    def work() -> dict[str, object]:
        from trainingjob_trainer.cli.following import submit as create  # noqa: PLC0415 - as in `run`

        cluster = desk.services.connect(kube_context, namespace)
        return create(desk, cluster, file, set_ or (), follow=follow)

    desk.finish(work)


def watch(
    context: typer.Context,
    name: JobName,
    *,
    kube_context: Context = None,
    namespace: Namespace = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Watch a job."""
    desk = desk_of(context, "watch", as_json=as_json, quiet=quiet, debug=debug)

    def work() -> dict[str, object]:
        from trainingjob_trainer.cli.following import watch as follow  # noqa: PLC0415 - as in `run`

        return follow(desk, desk.services.connect(kube_context, namespace), name)

    desk.finish(work)


def logs(
    context: typer.Context,
    name: JobName,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as the log grows.")] = False,
    kube_context: Context = None,
    namespace: Namespace = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Print a log."""
    desk = desk_of(context, "logs", as_json=as_json, quiet=quiet, debug=debug)

    def work() -> dict[str, object]:
        from trainingjob_trainer.cli.following import logs as show  # noqa: PLC0415 - as in `run`

        return show(desk, desk.services.connect(kube_context, namespace), name, follow=follow)

    desk.finish(work)


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command(help=_SUBMIT, short_help="Create a TrainingJob in a cluster.")(submit)
    app.command(help=_WATCH, short_help="Follow a job in a cluster.")(watch)
    app.command(help=_LOGS, short_help="Print the log of a job in a cluster.")(logs)
