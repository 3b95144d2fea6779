"""An error as a command shows it: a block of lines, and a traceback only on request."""

import errno
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainingjob_trainer.cli.text import plain, redact
from trainingjob_trainer.errors import TrainingError

if TYPE_CHECKING:
    from trainingjob_api import Problem, Reason

__all__ = ["CommandFailure", "explain"]

_FAILED = 1
_MUST_ACT = 2
_MAX_MESSAGE = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandFailure:
    """Why a command failed, as the user sees it.

    Parameters
    ----------
    reason
        Word that programs can compare.
    message
        The cause.
    exit_code
        1 if the run failed, 2 if the user must act.
    hint
        The way out, where the message does not name it.
    problems
        All of them, where a spec has several.
    log
        File with more.
    """

    reason: "Reason"
    message: str
    exit_code: int = _FAILED
    hint: str | None = None
    problems: "tuple[Problem, ...]" = ()
    log: Path | None = None

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
        if self.log:
            lines.append(f"log: {self.log}")
        return lines

    def to_json(self) -> dict[str, Any]:
        """Return the failure as plain JSON values."""
        return {
            "reason": self.reason,
            "message": self.message,
            "problems": [
                {"field": problem.field, "message": problem.message, "hint": problem.hint}
                for problem in self.problems
            ],
            "hint": self.hint,
            "log": None if self.log is None else str(self.log),
        }


def explain(error: BaseException) -> CommandFailure:
    """Return what a user should see of an error."""
    # A command that succeeds need not wait for the contract's models.
    from trainingjob_api import Reason, SpecError
    from trainingjob_client import ClientError

    if isinstance(error, TrainingError | ClientError):
        return CommandFailure(reason=error.reason, message=error.message, exit_code=error.exit_code)
    if isinstance(error, SpecError):
        return _spec(error)
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


def _spec(error: Any) -> CommandFailure:
    problems: tuple[Problem, ...] = error.problems
    first, reason = problems[0], error.reason
    if len(problems) == 1:
        message, hint = _field_and_cause(first), first.hint
    else:
        message, hint = f"there are {'more than ' if error.more else ''}{len(problems)} problems", None
    return CommandFailure(reason=reason, message=message, exit_code=_MUST_ACT, hint=hint, problems=problems)


def _field_and_cause(problem: "Problem") -> str:
    return f"{problem.field}: {problem.message}" if problem.field else problem.message
