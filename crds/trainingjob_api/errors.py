"""The error of the contract: everything that is wrong with a spec, at once."""

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Problem", "SpecError"]

MAX_PROBLEMS = 20


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Parameters
    ----------
    field
        Path as a user writes it, such as ``spec.budget.timeLeftSeconds``, the name of an environment
        variable, or empty for the file as a whole.
    message
        The cause.
    hint
        The way out, if there is an obvious one.
    """

    field: str
    message: str
    hint: str | None = None

    def __str__(self) -> str:
        """Return field, cause and way out in one line."""
        text = f"{self.field}: {self.message}" if self.field else self.message
        return f"{text}; {self.hint}" if self.hint else text


class SpecError(ValueError):
    """A TrainingJob, or the environment that it is resolved in, is wrong; the user must act.

    Parameters
    ----------
    field, message, hint
        The first problem, see :class:`Problem`.
    problems
        All of them, where there are several.

    Attributes
    ----------
    problems
        Every problem, in the order of the file.
    """

    reason = "SpecInvalid"

    def __init__(
        self,
        field: str = "",
        message: str = "",
        hint: str | None = None,
        *,
        problems: Iterable[Problem] = (),
    ) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems) or (Problem(field, message, hint),)
        first = self.problems[0]
        self.field, self.message, self.hint = first.field, first.message, first.hint
        super().__init__(self._text())

    def _text(self) -> str:
        lines = [str(problem) for problem in self.problems[:MAX_PROBLEMS]]
        if len(self.problems) > MAX_PROBLEMS:
            lines.append(f"and {len(self.problems) - MAX_PROBLEMS} more")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[object, ...]:
        """Let the error cross a process boundary whole."""
        return _rebuild, (self.problems,)


def _rebuild(problems: tuple[Problem, ...]) -> SpecError:
    return SpecError(problems=problems)
