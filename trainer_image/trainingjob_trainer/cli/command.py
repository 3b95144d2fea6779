"""The application, the context that a command works in, and what it may show: harmless text and errors."""

import errno
import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trainingjob_api import Reason
from trainingjob_trainer.errors import TrainingError

if TYPE_CHECKING:
    from rich.console import Console

    from trainingjob_api import Problem, ResolvedRun
    from trainingjob_client import TrainingJobClient
    from trainingjob_trainer.run.state import Listener, RunOptions, RunResult
    from trainingjob_trainer.settings import TrainerSettings

    Supervise = Callable[[ResolvedRun, RunOptions, TrainerSettings, Listener], RunResult]

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
_FAILED = 1
_MUST_ACT = 2
_MAX_MESSAGE = 2000
_MIN_SECRET = 6
_SECRET_WORDS = ("SECRET", "PASSWORD", "PASSWD", "TOKEN", "ACCESS_KEY", "ACCOUNT_KEY", "PRIVATE_KEY")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependencies:
    """The functions that a command calls and a test may replace; None is the real function."""

    supervise: "Supervise | None" = None
    inspect: "Callable[[ResolvedRun, TrainerSettings], Any] | None" = None
    render: Callable[[Path], Path] | None = None
    connect: "Callable[[str | None, str | None], TrainingJobClient] | None" = None
    """Returns the client for a kubeconfig context and a namespace."""
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)


@dataclass(slots=True, kw_only=True)
class CommandContext:
    """Where a command's output goes and how it ends; the flags are the options that commands share."""

    command: str
    dependencies: Dependencies
    as_json: bool = False
    quiet: bool = False
    debug: bool = False
    log: Path | None = field(default=None, init=False)
    """File that an error points to; a command sets it as soon as it is known."""

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
        failure = explain(error).redacted(secrets)
        if self.debug:
            sys.stderr.write(redact("".join(traceback.format_exception(error)), secrets))
        lines = [*failure.lines(), *([f"log: {log}"] if log else [])]
        sys.stderr.write("\n".join(lines) + "\n")
        document = {**failure.to_json(), "log": None if log is None else str(log)}
        self.print_document({"error": document}, exit_code=failure.exit_code)
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

    The function's docstring is the help, and its first line is in the list of commands, unless it is
    `hidden`; the help shows the command lines in `examples`. The function takes a `CommandContext`, then its
    own arguments and options as typer reads them; it prints what is for people and returns the fields of the
    document for ``--json``. With `prints_document` it has ``--json`` and ``--quiet`` beside ``--debug``.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandFailure:
    """Why a command failed, as the user sees it; `hint` is the way out where the message does not name it."""

    reason: Reason
    message: str
    exit_code: int = _FAILED
    hint: str | None = None
    problems: "tuple[Problem, ...]" = ()

    def redacted(self, secrets: tuple[str, ...]) -> "CommandFailure":
        """Return the failure without any of `secrets`."""

        def clean(text: str | None) -> str | None:
            return None if text is None else redact(text, secrets)

        problems = tuple(
            replace(problem, message=redact(problem.message, secrets), hint=clean(problem.hint))
            for problem in self.problems
        )
        return replace(self, message=redact(self.message, secrets), hint=clean(self.hint), problems=problems)

    def lines(self) -> list[str]:
        """Return the block that goes to standard error."""
        lines = [f"error: {plain(self.message)[:_MAX_MESSAGE]}"]
        if len(self.problems) > 1:
            for problem in self.problems:
                lines.append(f"  - {plain(_field_and_cause(problem))[:_MAX_MESSAGE]}")
                if problem.hint:
                    lines.append(f"    hint: {plain(problem.hint)}")
        lines.append(f"reason: {self.reason}")
        if self.hint:
            lines.append(f"hint: {plain(self.hint)}")
        return lines

    def to_json(self) -> dict[str, Any]:
        """Return the failure as plain JSON values."""
        return {
            "reason": self.reason,
            "message": self.message,
            "problems": [asdict(problem) for problem in self.problems],
            "hint": self.hint,
        }


def explain(error: BaseException) -> CommandFailure:
    """Return the part of an error that a user should see."""
    # A command that succeeds need not wait for the contract's models.
    from trainingjob_api import SpecError
    from trainingjob_client import ClientError

    if isinstance(error, TrainingError | ClientError):
        return CommandFailure(reason=error.reason, message=error.message, exit_code=error.exit_code)
    if isinstance(error, SpecError):
        problems = error.problems
        message, hint = _field_and_cause(problems[0]), problems[0].hint
        if len(problems) > 1:
            message, hint = f"there are {'more than ' if error.more else ''}{len(problems)} problems", None
        return CommandFailure(
            reason=error.reason, message=message, exit_code=_MUST_ACT, hint=hint, problems=problems
        )
    if isinstance(error, KeyboardInterrupt):
        return CommandFailure(
            reason=Reason.INTERRUPTED,
            message="stopped before there was a model",
            hint="repeat the command to resume the run",
        )
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return CommandFailure(
            reason=Reason.DISK_FULL,
            message="no space is left on the device",
            hint="free some space or choose another --output, then repeat the command to resume the run",
        )
    return CommandFailure(
        reason=Reason.UNEXPECTED_ERROR,
        message=f"{type(error).__name__}: {plain(error)}".rstrip(": "),
        hint="this is a bug in trainingjob; --debug shows where it happened",
    )


def _field_and_cause(problem: "Problem") -> str:
    return f"{problem.field}: {problem.message}" if problem.field else problem.message


def plain(text: object) -> str:
    """Return text from a table, a pipeline or a spec as one line that cannot control a terminal.

    Control characters, ANSI escapes and marks that change the writing direction become spaces.
    """
    return re.sub("\0+", " ", "".join(char if char.isprintable() else "\0" for char in str(text))).strip()


def secrets_of(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the values of variables that look like credentials, longest first."""
    found = {
        value
        for name, value in environment.items()
        if len(value) >= _MIN_SECRET and any(word in name.upper() for word in _SECRET_WORDS)
    }
    return tuple(sorted(found, key=len, reverse=True))


def redact(text: str, secrets: Iterable[str]) -> str:
    """Return text with `secrets` replaced by ``***``."""
    for secret in secrets:
        text = text.replace(secret, "***")
    return text
