"""``trainingjob run``: a job on this machine, with live progress. ``trainingjob pod``: the same in a pod."""

import sys
from collections.abc import Mapping
from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trainingjob_trainer.cli.command import CommandContext, File, Set, command, plain, secrets_of

if TYPE_CHECKING:
    from trainingjob_api import ResolvedRun, TrainingJob
    from trainingjob_trainer.events import Event
    from trainingjob_trainer.run.state import RunResult, RunState

_DOCUMENT_FIELDS = (
    *("location", "home", "model_source", "metric", "best", "leaderboard", "pareto_front", "artifacts"),
    *("fallbacks", "findings", "warnings", "progress", "stopped_by", "resumed", "accepted"),
    *("acceptance_message", "resolved"),
)
"""The fields of a result in the document for ``--json``."""


class LogFormat(StrEnum):
    """Form of the log on standard error."""

    TEXT = "text"
    JSON = "json"


@command(
    "trainingjob run examples/breast-cancer.yaml",
    "trainingjob run job.yaml --output runs --set spec.budget.timeLeftSeconds=30",
    "trainingjob run job.yaml --output s3://models/churn --fresh",
    "trainingjob run job.yaml --json > result.json",
)
def run(
    context: CommandContext,
    file: File,
    *,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="DIR", help="Folder or URI in place of spec.output.uri."),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start a new run, even if one of the same job is unfinished.")
    ] = False,
    work_dir: Annotated[
        Path,
        typer.Option("--work-dir", metavar="DIR", help="Folder of a run whose output is not a local folder."),
    ] = Path(".trainingjob"),
    set_: Set = None,
    log_format: Annotated[
        LogFormat,
        typer.Option("--log-format", help="json: JSON log lines on standard error in place of progress."),
    ] = LogFormat.TEXT,
) -> dict[str, Any]:
    """Run a TrainingJob on this machine.

    The terminal shows the search live; an unfinished run of the same job is resumed. Ctrl-C saves the best
    model so far, a second one stops at once. The last line says where the model comes from and, if it is a
    fallback, why.
    """
    from trainingjob_api import load_job
    from trainingjob_trainer.cli.display import show_progress
    from trainingjob_trainer.cli.run_log import RunLog, run_logger
    from trainingjob_trainer.cli.summary import print_summary, verdict
    from trainingjob_trainer.events import Opened
    from trainingjob_trainer.settings import TrainerSettings

    environment = context.environment
    job = resolved(load_job(file, set_ or ()), environment, output=output)
    settings = TrainerSettings.from_environment(environment)
    # After the spec is known to be valid: these take a second.
    from trainingjob_trainer.run.state import RunOptions
    from trainingjob_trainer.run.supervisor import supervise

    options = RunOptions(work_dir=work_dir, fresh=fresh, environment=dict(environment))
    log_json = log_format is LogFormat.JSON
    log = RunLog(run_logger(sys.stderr if log_json else None, secrets_of(environment)))
    is_silent = context.quiet or log_json
    console = context.console(stderr=context.as_json)
    with nullcontext() if is_silent else show_progress(console, job) as show:

        def on_event(event: "Event", state: "RunState") -> None:
            if isinstance(event, Opened):
                context.log = event.log
                log.open(event.log.with_name("run.jsonl"))
            if show is not None:
                show(event, state)
            log.take(event, state)

        try:
            result = (context.dependencies.supervise or supervise)(job, options, settings, on_event)
        finally:
            log.finish()
    if context.as_json:
        pass
    elif context.quiet:
        if result.accepted is False:
            sys.stdout.write(f"Acceptance: NOT met, {plain(result.acceptance_message)}\n")
        sys.stdout.write(verdict(result) + "\n")
    else:
        print_summary(context.console(), result)
    return _document(job.name, result)


def local_uri(place: str) -> str:
    """Return a place for artifacts as a URI; a relative folder is taken from the working directory."""
    if "://" not in place:
        return Path(place).absolute().as_uri()
    path = place.removeprefix("file://")
    if path != place and not path.startswith("/"):
        return Path(path).absolute().as_uri()
    return place


def resolved(
    job: "TrainingJob", environment: Mapping[str, str], *, output: str | None = None
) -> "ResolvedRun":
    """Return the values in force for a job; `output` takes the place of ``spec.output.uri``."""
    from trainingjob_api import resolve

    run = resolve(job, environment)
    uri = local_uri(output or run.output.uri)
    return run.model_copy(update={"output": run.output.model_copy(update={"uri": uri})})


def _document(name: str, result: "RunResult") -> dict[str, Any]:
    from pydantic.alias_generators import to_camel
    from pydantic_core import to_jsonable_python

    def plain_value(field: str) -> Any:
        return to_jsonable_python(getattr(result, field), by_alias=True, exclude_none=True)

    fields = {to_camel(field): plain_value(field) for field in _DOCUMENT_FIELDS}
    return {"name": name, **fields, "elapsedSeconds": round(result.elapsed_seconds, 3)}


@command(prints_document=False, hidden=True)
def pod(context: CommandContext) -> dict[str, Any]:
    """Run the job of this pod: for the trainer's container, not for people."""
    from trainingjob_trainer.cli.run_log import run_in_pod

    raise typer.Exit(run_in_pod(context.environment))
