"""``trainingjob validate``: what would run, and whether it could."""

import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trainingjob_trainer.cli.command import CommandContext, File, Set, command
from trainingjob_trainer.cli.run_command import resolved
from trainingjob_trainer.cli.text import about_column, label_text, plain

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from trainingjob_api import FindingNote, ResolvedRun, TrainingJob
    from trainingjob_trainer.settings import TrainerSettings

__all__ = ["Inspection", "Value", "inspect_data", "validate", "values_in_force"]

_MAX_COLUMNS = 60
_MAX_CLASSES = 8
_MAX_LABEL = 40
_LEFT_TO_TRAINER = {
    "metric": "accuracy, or r2 for regression",
    "nJobs": "cores - 1 (2 of two cores), at most 8",
    "positiveLabel": "1 or True, else the rarer label, if there are two",
}


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


@dataclass(frozen=True, slots=True)
class Value:
    """One value in force: path below ``spec``, plain JSON value, text for people, and its source."""

    field: str
    value: Any
    text: str
    source: str


def values_in_force(job: "TrainingJob", run: "ResolvedRun") -> list[Value]:
    """Return each value of `run`, which `job` was resolved to, in the order of the spec."""
    spec: dict[str, Any] = job.spec.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return [
        Value(
            name,
            value,
            text=_LEFT_TO_TRAINER.get(name, "-") if value is None else _text(value),
            source=run.sources.get(name) or ("spec" if _is_set(spec, name) else "default"),
        )
        for name, value in _listed(run)
    ]


def search_space_text(run: "ResolvedRun") -> str:
    """Return the name of a preset, or where the tree is from."""
    space = run.search_space
    return space.preset or f"a tree from {space.source}"


def _listed(run: "ResolvedRun") -> Iterator[tuple[str, Any]]:
    """Yield the listed values as people write them; unset parts of the validation are left out."""
    for name, value in run.listed().items():
        match name:
            case "dataset.format":
                yield name, value or "auto"
            case "searchSpace":
                yield name, search_space_text(run)
            case "acceptance" | "featureTypes":
                yield name, _present(value or {}) or None
            case _ if value is not None or not name.startswith("validation."):
                yield name, value


def _present(data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if value is not None}


def _is_set(spec: Mapping[str, Any], path: str) -> bool:
    here: Any = spec
    for part in path.split("."):
        if not isinstance(here, Mapping) or part not in here:
            return False
        here = here[part]
    return True


def _text(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case dict():
            return ", ".join(f"{name}: {_text(item)}" for name, item in value.items())
        case _:
            return str(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What the table decides.

    `classes` and `positive_label` are None for regression. `rows` have a target, and `holdout_rows` of them
    are held out; `dropped_rows` have none. `cv_folds` is after any reduction by small classes.
    """

    task: str
    metric: str
    classes: tuple[str, ...] | None
    positive_label: str | None
    rows: int
    holdout_rows: int
    dropped_rows: int
    cv_folds: int
    feature_types: dict[str, str]
    findings: "tuple[FindingNote, ...]"
    sha256: str
    size_bytes: int
    search_space: str

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, camelCase."""
        from pydantic.alias_generators import to_camel

        values = {to_camel(field.name): getattr(self, field.name) for field in fields(self)}
        findings = [finding.model_dump(mode="json", exclude_none=True) for finding in self.findings]
        return {**values, "findings": findings}


def inspect_data(run: "ResolvedRun", settings: "TrainerSettings") -> Inspection:
    """Load and prepare a job's table, and compile its search space for it.

    Raises
    ------
    DataError
        If the table cannot be trained on.
    SpecInvalid
        If the dataset cannot be read, or the search space is wrong.
    """
    from trainingjob_trainer.data.load import load_table
    from trainingjob_trainer.data.prepare import prepare

    with tempfile.TemporaryDirectory(prefix="trainingjob-") as scratch:
        table = load_table(run.dataset, settings=settings, scratch=Path(scratch))
        prepared = prepare(table, run)
    with warnings.catch_warnings():
        # stopit, which tpot imports, still uses pkg_resources; no user can do anything about it.
        warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
        from trainingjob_trainer.run.search_stage import wants_names

        wants_names(run, prepared)  # compiles the space, which rejects what is not on the allow-list
    positive = prepared.positive_label
    return Inspection(
        task=str(prepared.task),
        metric=prepared.metric.name,
        classes=None if prepared.classes is None else tuple(str(label) for label in prepared.classes),
        positive_label=None if positive is None else str(positive),
        rows=len(prepared.frame),
        holdout_rows=len(prepared.holdout_index),
        dropped_rows=prepared.dropped_rows,
        cv_folds=prepared.cv_folds,
        feature_types={name: str(kind) for name, kind in prepared.feature_types.items()},
        findings=tuple(finding.to_note() for finding in prepared.findings),
        sha256=prepared.dataset_sha256,
        size_bytes=table.size_bytes,
        search_space=search_space_text(run),
    )


def _table(*headers: str) -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in headers:
        is_folded = name in {"value", "column"}
        table.add_column(name, overflow="fold" if is_folded else "ellipsis", no_wrap=not is_folded)
    return table


def _values_table(values: Sequence[Value]) -> "Table":
    from rich.text import Text

    table = _table("field", "value", "from")
    for each in values:
        style = "dim" if each.source == "default" else ""
        source = "cyan" if each.source == "environment" else style
        table.add_row(Text(each.field), Text(plain(each.text), style), Text(each.source, source))
    return table


def _print_inspection(console: "Console", seen: Inspection) -> None:
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
