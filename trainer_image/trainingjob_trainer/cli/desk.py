"""Where a command's output goes, and how it ends: with an exit status, and an error as one block."""

from __future__ import annotations

import sys
import traceback
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from trainingjob_trainer.cli.text import redact, secrets_of
from trainingjob_trainer.cli.trouble import blanked, explain, lines_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from trainingjob_trainer.cli.services import Services

__all__ = ["Desk"]


@dataclass(slots=True, kw_only=True)
class Desk:
    """One command at work.

    Parameters
    ----------
    command
        Its name.
    services
        What it works with.
    as_json
        Whether standard output holds nothing but one JSON document.
    quiet
        Whether only the last line is printed.
    debug
        Whether an error comes with its traceback.

    Attributes
    ----------
    log : str or None
        File that an error points to; a command sets it as soon as it knows.
    """

    command: str
    services: Services
    as_json: bool = False
    quiet: bool = False
    debug: bool = False
    log: str | None = field(default=None, init=False)

    def console(self, *, stderr: bool = False) -> Console:
        """Return a console that takes text as it is: no markup, no emoji, no highlighting."""
        from rich.console import Console  # noqa: PLC0415 - a quarter of the time that --help takes

        file = sys.stderr if stderr else sys.stdout
        return Console(file=file, markup=False, emoji=False, highlight=False)

    def finish(self, work: Callable[[], dict[str, Any]]) -> None:
        """Do the command's work and end it.

        Parameters
        ----------
        work
            Prints what is for people and returns the document for ``--json``.

        Raises
        ------
        typer.Exit
            If it failed.
        """
        try:
            document = work()
        except (typer.Exit, BrokenPipeError):
            raise
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - a user is never shown a traceback
            raise typer.Exit(self._fail(error)) from None
        if self.as_json:
            self._print_document(document)

    def _fail(self, error: BaseException) -> int:
        secrets = secrets_of(self.services.environment)
        # A run that could not begin takes its folder away with it.
        log = self.log if self.log is not None and Path(self.log).is_file() else None
        trouble = replace(blanked(explain(error), secrets), log=log)
        if self.debug:
            sys.stderr.write(redact("".join(traceback.format_exception(error)), secrets))
        sys.stderr.write("\n".join(lines_of(trouble)) + "\n")
        if self.as_json:
            from trainingjob_trainer.cli.documents import failure_document  # noqa: PLC0415 - see `console`

            self._print_document(failure_document(self.command, trouble))
        return trouble.exit_code

    def _print_document(self, document: dict[str, Any]) -> None:
        from trainingjob_trainer.cli.documents import dump  # noqa: PLC0415 - see `console`

        sys.stdout.write(dump(document) + "\n")
        sys.stdout.flush()
