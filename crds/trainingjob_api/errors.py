"""The error of the contract: everything that is wrong with a spec, at once."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from trainingjob_api.reasons import Reason

__all__ = ["Problem", "SpecError"]

MAX_PROBLEMS = 20
"""Problems in one error; whoever corrects these sees the next ones."""


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
        The problems, where there are several; equal ones count once, and none is asked for beyond the bound.
    more
        Whether there are more than *problems* holds.

    Attributes
    ----------
    problems
        The problems in the order of the file, at most 20.
    more
        Whether there are more than these.
    """

    reason = Reason.SPEC_INVALID

    def __init__(
        self,
        field: str = "",
        message: str = "",
        hint: str | None = None,
        *,
        problems: Iterable[Problem] = (),
        more: bool = False,
    ) -> None:
        found = tuple(islice(_unique(problems), MAX_PROBLEMS + 1)) or (Problem(field, message, hint),)
        self.problems: tuple[Problem, ...] = found[:MAX_PROBLEMS]
        self.more = more or len(found) > MAX_PROBLEMS
        first = self.problems[0]
        self.field, self.message, self.hint = first.field, first.message, first.hint
        super().__init__(self._text())

    def _text(self) -> str:
        lines = [str(problem) for problem in self.problems]
        return "\n".join([*lines, "and more"] if self.more else lines)

    def __reduce__(self) -> tuple[object, ...]:
        """Let the error cross a process boundary whole."""
        return _rebuild, (self.problems, self.more)


def _rebuild(problems: tuple[Problem, ...], more: bool) -> SpecError:  # noqa: FBT001
    return SpecError(problems=problems, more=more)


def _unique(problems: Iterable[Problem]) -> Iterator[Problem]:
    seen: set[Problem] = set()
    for problem in problems:
        if problem not in seen:
            seen.add(problem)
            yield problem
