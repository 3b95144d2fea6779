"""What went wrong, as a command tells it: one block, never a traceback unless it was asked for."""

import errno
from collections.abc import Iterable
from dataclasses import dataclass, replace

from trainingjob_api import Reason
from trainingjob_trainer.cli.text import plain, redact
from trainingjob_trainer.errors import TrainingError

__all__ = ["FAILED", "WRONG", "Note", "Trouble", "blanked", "explain", "lines_of"]

FAILED = 1
"""Exit status: the run failed."""
WRONG = 2
"""Exit status: the spec or the data is wrong, and the user must act."""

_MOST_NOTES = 20
_MESSAGE_CHARS = 2000


@dataclass(frozen=True, slots=True)
class Note:
    """One of several problems.

    Parameters
    ----------
    field
        The field or variable, or empty.
    message
        The cause.
    hint
        The way out, if it is known.
    """

    field: str
    message: str
    hint: str | None = None

    def __str__(self) -> str:
        """Return field and cause."""
        return f"{self.field}: {self.message}" if self.field else self.message


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """An error as the user sees it.

    Parameters
    ----------
    reason
        PascalCase word.
    message
        The cause.
    exit_code
        `FAILED` or `WRONG`.
    hint
        The way out, where the message does not hold it.
    problems
        All of them, where a spec has several.
    log
        File with more, if there is one.
    """

    reason: Reason
    message: str
    exit_code: int
    hint: str | None = None
    problems: tuple[Note, ...] = ()
    log: str | None = None


def explain(error: BaseException) -> Trouble:
    """Return what a user should see of an error."""
    if isinstance(error, TrainingError):
        return Trouble(reason=error.reason, message=error.message, exit_code=error.exit_code)
    if isinstance(error, KeyboardInterrupt):
        return Trouble(
            reason=Reason.INTERRUPTED,
            message="stopped before there was a model",
            exit_code=FAILED,
            hint="give the same command again to go on where it was",
        )
    # Imported where it is needed: a command without a spec need not wait for the contract's models.
    from trainingjob_api import SpecError  # noqa: PLC0415

    if isinstance(error, SpecError):
        return _spec(error)
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return Trouble(
            reason=Reason.DISK_FULL,
            message="no space is left on the device",
            exit_code=FAILED,
            hint="make room or choose another --output, then give the same command again",
        )
    return Trouble(
        reason=Reason.UNEXPECTED_ERROR,
        message=f"{type(error).__name__}: {plain(error)}".rstrip(": "),
        exit_code=FAILED,
        hint="this is a fault of the program; --debug shows where it happened",
    )


def _spec(error: object) -> Trouble:
    problems = tuple(Note(one.field, one.message, one.hint) for one in getattr(error, "problems", ()))
    first = problems[0]
    reason = Reason(getattr(error, "reason", Reason.SPEC_INVALID))
    if len(problems) == 1:
        return Trouble(reason=reason, message=str(first), exit_code=WRONG, hint=first.hint, problems=problems)
    more = "more than " if getattr(error, "more", False) else ""
    message = f"there are {more}{len(problems)} problems"
    return Trouble(reason=reason, message=message, exit_code=WRONG, problems=problems)


def blanked(trouble: Trouble, secrets: Iterable[str]) -> Trouble:
    """Return the trouble without any of `secrets`."""
    known = tuple(secrets)
    notes = tuple(
        Note(one.field, redact(one.message, known), None if one.hint is None else redact(one.hint, known))
        for one in trouble.problems
    )
    hint = None if trouble.hint is None else redact(trouble.hint, known)
    return replace(trouble, message=redact(trouble.message, known), hint=hint, problems=notes)


def lines_of(trouble: Trouble) -> list[str]:
    """Return the block that goes to standard error."""
    lines = [f"error: {plain(trouble.message)[:_MESSAGE_CHARS]}"]
    if len(trouble.problems) > 1:
        for one in trouble.problems[:_MOST_NOTES]:
            lines.append(f"  - {plain(one)[:_MESSAGE_CHARS]}")
            if one.hint:
                lines.append(f"    hint: {plain(one.hint)}")
        if len(trouble.problems) > _MOST_NOTES:
            lines.append(f"  and {len(trouble.problems) - _MOST_NOTES} more")
    lines.append(f"reason: {trouble.reason}")
    if trouble.hint:
        lines.append(f"hint: {plain(trouble.hint)}")
    if trouble.log:
        lines.append(f"log: {trouble.log}")
    return lines
