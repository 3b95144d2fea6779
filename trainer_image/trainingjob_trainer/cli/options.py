"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from trainingjob_trainer.cli.desk import Desk
from trainingjob_trainer.cli.services import Services

__all__ = ["Context", "Debug", "File", "JobName", "Json", "Namespace", "Quiet", "Set", "desk_of"]

File = Annotated[
    Path, typer.Argument(metavar="FILE", help="The TrainingJob, as YAML or JSON.", show_default=False)
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="PATH=VALUE",
        help="A field of the spec, such as spec.budget.timeLeftSeconds=30; null unsets it. May be repeated.",
        show_default=False,
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on standard output, nothing else.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print the last line only.")]
Context = Annotated[
    str | None,
    typer.Option(
        "--context", help="Context of the kubeconfig; default: the current one.", show_default=False
    ),
]
Namespace = Annotated[
    str | None,
    typer.Option("--namespace", "-n", help="Namespace; default: the context's.", show_default=False),
]
JobName = Annotated[str, typer.Argument(metavar="NAME", help="The TrainingJob's name.", show_default=False)]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def desk_of(context: typer.Context, command: str, *, as_json: bool, quiet: bool, debug: bool) -> Desk:
    """Return the desk of a command."""
    services = context.find_object(Services) or Services()
    return Desk(command=command, services=services, as_json=as_json, quiet=quiet, debug=debug)
