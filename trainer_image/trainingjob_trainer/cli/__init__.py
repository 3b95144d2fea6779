"""The command line ``trainingjob``, from options to exit status.

A command is one function with the decorator of ``command``, in a module that the list below names; the
function imports what it needs when it is called, so that ``--help`` waits for nothing.
"""

import contextlib
import io
import os
import sys
from importlib import metadata
from typing import Any

import typer

# isort: off
from trainingjob_trainer.cli import (  # noqa: F401 - importing them adds their commands, in this order
    run_command,
    inspect_commands,
    cluster_commands,
    dask_commands,
)

# isort: on
from trainingjob_trainer import with_safe_path
from trainingjob_trainer.cli.command import CommandContext, app, command

__all__ = ["app", "main"]


@command(prints_document=False)
def version(context: CommandContext) -> dict[str, Any]:  # noqa: ARG001 - every command has one
    """Print the version."""
    typer.echo(metadata.version("trainingjob"))
    return {}


def main() -> None:
    """Run the command line; the console script ``trainingjob``."""
    # A terminal that cannot show a character shows a question mark.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            with contextlib.suppress(OSError, ValueError):
                stream.reconfigure(errors="replace")
    # Workers are started from this process too, by libraries that pass its environment on.
    safe = with_safe_path(os.environ)
    os.environ.clear()
    os.environ.update(safe)
    sys.path[:] = [entry for entry in sys.path if entry and entry != "."]
    app(prog_name="trainingjob")
