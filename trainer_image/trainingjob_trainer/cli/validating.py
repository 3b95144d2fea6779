"""``trainingjob validate``: what would run, and whether it could."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table
from rich.text import Text

from trainingjob_api import Severity, load_job
from trainingjob_trainer.cli.documents import success
from trainingjob_trainer.cli.jobs import resolved
from trainingjob_trainer.cli.text import about_column, label_text, plain, shorten
from trainingjob_trainer.cli.values import Value, values_in_force
from trainingjob_trainer.settings import TrainerSettings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console

    from trainingjob_trainer.cli.desk import Desk
    from trainingjob_trainer.cli.inspection import Inspection

__all__ = ["validate_job"]

_MOST_COLUMNS = 60
_MOST_CLASSES = 8


def validate_job(desk: Desk, file: Path, overrides: Sequence[str], *, with_data: bool) -> dict[str, Any]:
    """Resolve a job, look at its table if asked to, and print both.

    Returns
    -------
    dict
        The document for ``--json``.

    Raises
    ------
    SpecError, TrainingError
        If the job could not run.
    """
    job = load_job(file, overrides)
    run = resolved(job, desk.services.environment)
    settings = TrainerSettings.from_environment(desk.services.environment)
    values = values_in_force(job, run)
    inspection = desk.services.inspect(run, settings) if with_data else None
    if not desk.as_json:
        console = desk.console()
        if not desk.quiet:
            console.print(_values_table(values))
            if inspection is not None:
                _print_inspection(console, inspection)
        console.print(_last_line(run.name, inspection), soft_wrap=True)
    return success(
        "validate",
        name=run.name,
        searchDigest=run.search_digest(),
        values=[{"field": one.field, "value": one.value, "source": one.source} for one in values],
        data=None if inspection is None else inspection.to_json(),
    )


def _last_line(name: str, inspection: Inspection | None) -> Text:
    checked = "the spec is valid" if inspection is None else "the spec and the data are valid"
    hint = "; --data looks at the table too" if inspection is None else ""
    return Text.assemble((f"{plain(name)}: {checked}", "bold green"), (hint, "dim"))


def _values_table(values: Sequence[Value]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("field", no_wrap=True)
    table.add_column("value", overflow="fold")
    table.add_column("from", no_wrap=True)
    for one in values:
        style = "dim" if one.source == "default" else ""
        source = "cyan" if one.source == "environment" else style
        table.add_row(Text(one.field), Text(plain(one.text), style), Text(one.source, source))
    return table


def _print_inspection(console: Console, seen: Inspection) -> None:
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
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("column", overflow="fold")
    table.add_column("type", no_wrap=True)
    for name, kind in list(seen.feature_types.items())[:_MOST_COLUMNS]:
        table.add_row(Text(plain(name)), Text(kind))
    if len(seen.feature_types) > _MOST_COLUMNS:
        table.add_row(Text(f"and {len(seen.feature_types) - _MOST_COLUMNS} more", "dim"), "")
    console.print(table)
    for one in seen.findings:
        style = "dim" if one.severity is Severity.INFO else "yellow"
        note = Text.assemble((f"{one.severity}: ", style), about_column(one.message, one.column))
        console.print(note, soft_wrap=True)


def _few(labels: Sequence[str]) -> str:
    shown = ", ".join(shorten(label_text(label), 40) for label in labels[:_MOST_CLASSES])
    more = len(labels) - _MOST_CLASSES
    return f"{shown} and {more} more" if more > 0 else shown
