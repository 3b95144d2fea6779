"""The application, the context that a command works in, and the options that commands share."""

import inspect
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trainingjob_trainer.cli.failure import explain
from trainingjob_trainer.cli.text import redact, secrets_of

if TYPE_CHECKING:
    from rich.console import Console

    from trainingjob_api import ResolvedRun
    from trainingjob_client import TrainingJobClient
    from trainingjob_trainer.run.state import Listener, RunOptions, RunResult
    from trainingjob_trainer.settings import TrainerSettings

    Supervise = Callable[[ResolvedRun, RunOptions, TrainerSettings, Listener], RunResult]

__all__ = ["CommandContext", "Dependencies", "File", "Set", "app", "command"]

SCHEMA_VERSION = 1
"""Of the document that ``--json`` prints; docs/cli.md describes it."""

_ABOUT = """Name a table, a target and a budget; get a verified model, a leaderboard and a Pareto front.

Exit status: 0 a model was saved, 1 the run failed, 2 the spec or the data is wrong.
"""

app = typer.Typer(
    name="trainingjob",
    help=_ABOUT,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

File = Annotated[Path, typer.Argument(metavar="FILE", help="The TrainingJob, as YAML or JSON.")]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="PATH=VALUE",
        help="Set a field, such as spec.budget.timeLeftSeconds=30; null unsets it. May be repeated.",
    ),
]
_OUTPUT = {
    "as_json": Annotated[
        bool, typer.Option("--json", help="Print one JSON document on standard output, nothing else.")
    ],
    "quiet": Annotated[bool, typer.Option("--quiet", "-q", help="Print the last line only.")],
}
_DEBUG = {"debug": Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependencies:
    """What a command calls, where a test replaces it; None is the real thing.

    Parameters
    ----------
    supervise
        Runs a job to its end.
    inspect
        Loads and prepares a job's table, as `inspect_data` does.
    render
        Writes a run's report again and returns its path.
    connect
        Returns the client for a kubeconfig context and a namespace.
    environment
        Environment variables.
    """

    supervise: "Supervise | None" = None
    inspect: "Callable[[ResolvedRun, TrainerSettings], Any] | None" = None
    render: Callable[[Path], Path] | None = None
    connect: "Callable[[str | None, str | None], TrainingJobClient] | None" = None
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)


@dataclass(slots=True, kw_only=True)
class CommandContext:
    """Where a command's output goes and how it ends.

    Parameters
    ----------
    command
        Its name.
    dependencies
        What it calls.
    as_json
        Whether standard output holds nothing but one JSON document.
    quiet
        Whether only the last line is printed.
    debug
        Whether an error comes with its traceback.

    Attributes
    ----------
    log : Path or None
        File that an error points to; a command sets it as soon as it is known.
    """

    command: str
    dependencies: Dependencies
    as_json: bool = False
    quiet: bool = False
    debug: bool = False
    log: Path | None = field(default=None, init=False)

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment variables."""
        return self.dependencies.environment

    def console(self, *, stderr: bool = False) -> "Console":
        """Return a console that prints text as it is: no markup, no emoji, no highlighting."""
        from rich.console import Console

        file = sys.stderr if stderr else sys.stdout
        return Console(file=file, markup=False, emoji=False, highlight=False)

    def fail(self, error: BaseException) -> int:
        """Print an error and return the exit status."""
        secrets = secrets_of(self.environment)
        # A run that could not begin removes its folder.
        log = self.log if self.log is not None and self.log.is_file() else None
        failure = replace(explain(error).redacted(secrets), log=log)
        if self.debug:
            sys.stderr.write(redact("".join(traceback.format_exception(error)), secrets))
        sys.stderr.write("\n".join(failure.lines()) + "\n")
        self.print_document({"error": failure.to_json()}, exit_code=failure.exit_code)
        return failure.exit_code

    def print_document(self, fields: Mapping[str, Any], *, exit_code: int = 0) -> None:
        """Print the document for ``--json``, if it was asked for."""
        if not self.as_json:
            return
        import json

        head = {"schemaVersion": SCHEMA_VERSION, "command": self.command, "ok": exit_code == 0}
        document = {**head, "exitCode": exit_code, **fields}
        # A number that JSON does not know is an error here, not at the reader's.
        sys.stdout.write(json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False) + "\n")
        sys.stdout.flush()


def command(
    *examples: str, prints_document: bool = True, hidden: bool = False
) -> Callable[[Callable[..., dict[str, Any]]], Callable[..., dict[str, Any]]]:
    """Return a decorator that adds a function to the application, under the function's name.

    The function's docstring is the help, and its first line stands in the list of commands. The function
    takes a `CommandContext`, then its own arguments and options as typer reads them; it prints what is for
    people and returns the fields of the document for ``--json``.

    Parameters
    ----------
    examples
        Command lines that the help shows.
    prints_document
        Whether the command has ``--json`` and ``--quiet`` beside ``--debug``.
    hidden
        Whether the list of commands leaves it out.
    """
    shared = {**_OUTPUT, **_DEBUG} if prints_document else _DEBUG

    def register(function: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
        name = function.__name__

        def call(typer_context: typer.Context, **options: Any) -> None:
            flags = {flag: options.pop(flag) for flag in shared}
            dependencies = typer_context.find_object(Dependencies) or Dependencies()
            context = CommandContext(command=name, dependencies=dependencies, **flags)
            try:
                context.print_document(function(context, **options))
            except (typer.Exit, BrokenPipeError):
                raise
            except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - users see no traceback
                raise typer.Exit(context.fail(error)) from None

        own = list(inspect.signature(function).parameters.values())[1:]
        keyword = inspect.Parameter.KEYWORD_ONLY
        parameters = [
            inspect.Parameter("typer_context", keyword, annotation=typer.Context),
            *(parameter.replace(kind=keyword) for parameter in own),
            *(inspect.Parameter(flag, keyword, default=False, annotation=shared[flag]) for flag in shared),
        ]
        call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        text = inspect.cleandoc(function.__doc__ or "")
        if examples:
            text += "\n\n\b\nExamples:\n" + "\n".join(f"  {line}" for line in examples)
        app.command(name, help=text, short_help=text.partition("\n")[0], hidden=hidden)(call)
        return function

    return register
