"""``trainingjob validate``: what would run, and whether it could."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trainingjob_trainer.cli.command import CommandContext, File, Set, command
from trainingjob_trainer.cli.text import about_column, label_text, plain

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from trainingjob_trainer.cli.inspection import Inspection
    from trainingjob_trainer.cli.values import Value

__all__ = ["validate"]

_MAX_COLUMNS = 60
_MAX_CLASSES = 8
_MAX_LABEL = 40


@command(
    "trainingjob validate job.yaml",
    "TPOT__TIME_LEFT=60 trainingjob validate job.yaml --set spec.metric=f1",
    "trainingjob validate job.yaml --data",
)
def validate(
    context: CommandContext,
    file: File,
    *,
    set_: Set = None,
    with_data: Annotated[
        bool,
        typer.Option(
            "--data", help="Load the table too: task, metric, column types, findings, search space."
        ),
    ] = False,
) -> dict[str, Any]:
    """Show what would run, and whether it could.

    Prints every value in force and whether it is from the spec, the environment or a default.
    """
    from rich.text import Text

    from trainingjob_api import load_job
    from trainingjob_trainer.cli.inspection import inspect_data
    from trainingjob_trainer.cli.values import resolved, values_in_force
    from trainingjob_trainer.settings import TrainerSettings

    job = load_job(file, set_ or ())
    run = resolved(job, context.environment)
    settings = TrainerSettings.from_environment(context.environment)
    values = values_in_force(job, run)
    inspection = (context.dependencies.inspect or inspect_data)(run, settings) if with_data else None
    if not context.as_json:
        console = context.console()
        if not context.quiet:
            console.print(_values_table(values))
            if inspection is not None:
                _print_inspection(console, inspection)
        valid = "the spec is valid" if inspection is None else "the spec and the data are valid"
        hint = "; --data checks the table too" if inspection is None else ""
        line = Text.assemble((f"{plain(run.name)}: {valid}", "bold green"), (hint, "dim"))
        console.print(line, soft_wrap=True)
    return {
        "name": run.name,
        "searchDigest": run.search_digest(),
        "values": [{"field": each.field, "value": each.value, "source": each.source} for each in values],
        "data": None if inspection is None else inspection.to_json(),
    }


def _table(*headers: str) -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in headers:
        is_folded = name in {"value", "column"}
        table.add_column(name, overflow="fold" if is_folded else "ellipsis", no_wrap=not is_folded)
    return table


def _values_table(values: "Sequence[Value]") -> "Table":
    from rich.text import Text

    table = _table("field", "value", "from")
    for each in values:
        style = "dim" if each.source == "default" else ""
        source = "cyan" if each.source == "environment" else style
        table.add_row(Text(each.field), Text(plain(each.text), style), Text(each.source, source))
    return table


def _print_inspection(console: "Console", seen: "Inspection") -> None:
    from rich.text import Text

    from trainingjob_api import Severity

    classes = "" if seen.classes is None else f", classes {_few(seen.classes)}"
    positive = "" if seen.positive_label is None else f", positive {label_text(seen.positive_label)}"
    dropped = f", {seen.dropped_rows} without a target left out" if seen.dropped_rows else ""
    for line in (
        f"Task: {seen.task} by {seen.metric}{classes}{positive}",
        f"Rows: {seen.rows} ({seen.holdout_rows} held out, {seen.cv_folds} folds{dropped})",
        f"File: {seen.size_bytes} bytes, sha256 {seen.sha256}",
        f"Search space: {plain(seen.search_space)}, compiled for this table",
    ):
        console.print(Text(line), soft_wrap=True)
    table = _table("column", "type")
    for name, kind in list(seen.feature_types.items())[:_MAX_COLUMNS]:
        table.add_row(Text(plain(name)), Text(kind))
    if len(seen.feature_types) > _MAX_COLUMNS:
        table.add_row(Text(f"and {len(seen.feature_types) - _MAX_COLUMNS} more", "dim"), "")
    console.print(table)
    for finding in seen.findings:
        style = "dim" if finding.severity is Severity.INFO else "yellow"
        note = Text.assemble((f"{finding.severity}: ", style), about_column(finding.message, finding.column))
        console.print(note, soft_wrap=True)


def _few(labels: Sequence[str]) -> str:
    from trainingjob_api.text import shorten

    shown = ", ".join(shorten(plain(label_text(label)), _MAX_LABEL) for label in labels[:_MAX_CLASSES])
    more = len(labels) - _MAX_CLASSES
    return f"{shown} and {more} more" if more > 0 else shown
