"""The commands, their options and their help; what they do is imported when they are called."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer

from trainingjob_trainer.cli import cluster_app, dask_app
from trainingjob_trainer.cli.options import Debug, File, Json, Quiet, Set, desk_of
from trainingjob_trainer.cli.services import Services
from trainingjob_trainer.settings import with_safe_path

__all__ = ["app", "main"]

_ABOUT = """Name a table, a target and a budget; get back a verified model, a leaderboard and a Pareto front.

Exit status: 0 a model was saved, 1 the run failed, 2 the spec or the data is wrong.
"""

_RUN = """Run a TrainingJob here and now.

The terminal shows the search live; an unfinished run of the same job is continued. Ctrl-C saves the best
model so far, a second one stops at once. The last line says what the model is, and why, if it is a fallback.

\b
Examples:
  trainingjob run examples/breast-cancer.yaml
  trainingjob run job.yaml --output runs --set spec.budget.timeLeftSeconds=30
  trainingjob run job.yaml --output s3://models/churn --fresh
  trainingjob run job.yaml --json > result.json
"""

_VALIDATE = """Say what would run: every value in force, and whether it is from spec, environment or default.

\b
Examples:
  trainingjob validate job.yaml
  TPOT__TIME_LEFT=60 trainingjob validate job.yaml --set spec.metric=f1
  trainingjob validate job.yaml --data
"""

_REPORT = """Draw the report of a finished run anew from its JSON files, and print its leaderboard.

A report that the manifest vouches for is left alone: the new one is report.redrawn.html then.

\b
Examples:
  trainingjob report runs/breast-cancer-1a2b3c4d
  trainingjob report runs/breast-cancer
"""

app = typer.Typer(
    name="trainingjob",
    help=_ABOUT,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class LogFormat(StrEnum):
    """Form of the log on standard error."""

    TEXT = "text"
    JSON = "json"


@app.command(help=_RUN, short_help="Run a TrainingJob here and now.")
def run(
    context: typer.Context,
    file: File,
    *,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="Folder or URI in place of spec.output.uri.",
            show_default=False,
        ),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Begin anew, even if a run of the same job is unfinished.")
    ] = False,
    work_dir: Annotated[
        Path,
        typer.Option("--work-dir", metavar="DIR", help="Where a run works if its output is no folder here."),
    ] = Path(".trainingjob"),
    set_: Set = None,
    as_json: Json = False,
    quiet: Quiet = False,
    log_format: Annotated[
        LogFormat,
        typer.Option(
            "--log-format", help="json: structured log lines on standard error in place of progress."
        ),
    ] = LogFormat.TEXT,
    debug: Debug = False,
) -> None:
    """Run a job."""
    desk = desk_of(context, "run", as_json=as_json, quiet=quiet, debug=debug)

    def work() -> dict[str, object]:
        # Imported late: the contract's models take half a second that --help need not wait for.
        from trainingjob_trainer.cli.running import RunRequest, run_job  # noqa: PLC0415

        request = RunRequest(
            file=file,
            overrides=set_ or (),
            output=output,
            fresh=fresh,
            work_dir=work_dir,
            log_json=log_format is LogFormat.JSON,
        )
        return run_job(desk, request)

    desk.finish(work)


@app.command(help=_VALIDATE, short_help="Say what would run, and whether it could.")
def validate(
    context: typer.Context,
    file: File,
    *,
    set_: Set = None,
    with_data: Annotated[
        bool,
        typer.Option(
            "--data", help="Load the table too: task, metric, column types, findings, search space."
        ),
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Validate a job."""
    desk = desk_of(context, "validate", as_json=as_json, quiet=quiet, debug=debug)

    def work() -> dict[str, object]:
        from trainingjob_trainer.cli.validating import validate_job  # noqa: PLC0415 - as in `run`

        return validate_job(desk, file, set_ or (), with_data=with_data)

    desk.finish(work)


@app.command(help=_REPORT, short_help="Write the report of a finished run anew.")
def report(
    context: typer.Context,
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="Folder of a run, or <output>/<name> for the newest one.", show_default=False
        ),
    ],
    *,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Rebuild a report."""
    desk = desk_of(context, "report", as_json=as_json, quiet=quiet, debug=debug)

    def work() -> dict[str, object]:
        from trainingjob_trainer.cli.reporting import report_run  # noqa: PLC0415 - as in `run`

        return report_run(desk, folder)

    desk.finish(work)


cluster_app.register(app)
dask_app.register(app)


@app.command(hidden=True, help="Run the job of this pod: for the trainer's container, not for people.")
def pod(context: typer.Context) -> None:
    """Run a pod's job."""
    from trainingjob_trainer.cli.podding import pod as run  # noqa: PLC0415 - as in `run`

    services = context.find_object(Services) or Services()
    raise typer.Exit(run(services.environment))


@app.command(help="Print the version.", short_help="Print the version.")
def version() -> None:
    """Print the version."""
    typer.echo(metadata.version("trainingjob"))


def main() -> None:
    """Run the command line; the console script ``trainingjob``."""
    _forgive_encodings()
    # Workers are started from this process too, by libraries that pass its environment on.
    safe = with_safe_path(os.environ)
    os.environ.clear()
    os.environ.update(safe)
    sys.path[:] = [entry for entry in sys.path if entry and entry != "."]
    app(prog_name="trainingjob")


def _forgive_encodings() -> None:
    """Let a terminal that cannot show a character show a question mark."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            with contextlib.suppress(OSError, ValueError):
                stream.reconfigure(errors="replace")
