"""``trainingjob validate``: what would run. ``trainingjob report``: what has run, shown again."""

import json
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from trainingjob_api import Reason
from trainingjob_trainer.cli.command import CommandContext, File, Set, command, plain
from trainingjob_trainer.cli.run_command import resolved
from trainingjob_trainer.errors import SpecInvalid

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from trainingjob_api import FindingNote, LeaderboardEntry, ResolvedRun, TrainingJob
    from trainingjob_trainer.settings import TrainerSettings

T = TypeVar("T")
_MAX_COLUMNS = 60
_MAX_CLASSES = 8
_MAX_LABEL = 40
_LEFT_TO_TRAINER = {
    "metric": "accuracy, or r2 for regression",
    "nJobs": "cores - 1 (2 of two cores), at most 8",
    "positiveLabel": "1 or True, else the rarer label, if there are two",
}
_BOARD = "leaderboard.json"
_LATEST = "latest.json"
_SUMMARY = "evaluation_summary.json"
_MAX_BYTES = 64 * 1024 * 1024


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
    values = _values_in_force(job, run)
    inspection = (context.dependencies.inspect or _inspect_data)(run, settings) if with_data else None
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
class _Value:
    """A value in force, as JSON and as text for people; `field` is its path below ``spec``."""

    field: str
    value: Any
    text: str
    source: str


def _values_in_force(job: "TrainingJob", run: "ResolvedRun") -> list[_Value]:
    """Return each value of `run`, which `job` was resolved to, in the order of the spec."""
    spec: dict[str, Any] = job.spec.model_dump(mode="json", by_alias=True, exclude_unset=True)
    values = []
    for name, value in run.listed().items():
        if value is None and name.startswith("validation."):
            continue
        shown: Any = value
        match name:
            case "dataset.format":
                shown = value or "auto"
            case "searchSpace":
                shown = _search_space_text(run)
            case "acceptance" | "featureTypes":
                shown = {key: item for key, item in (value or {}).items() if item is not None} or None
        text = _LEFT_TO_TRAINER.get(name, "-") if shown is None else _text(shown)
        source = run.sources.get(name) or ("spec" if _is_set(spec, name) else "default")
        values.append(_Value(name, shown, text, source))
    return values


def _search_space_text(run: "ResolvedRun") -> str:
    """Return the name of a preset, or where the tree is from."""
    space = run.search_space
    return space.preset or f"a tree from {space.source}"


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
    """The decisions of the table; `classes` and `positive_label` are None for regression."""

    task: str
    metric: str
    classes: tuple[str, ...] | None
    positive_label: str | None
    rows: int  # those with a target
    holdout_rows: int
    dropped_rows: int
    cv_folds: int  # after any reduction by small classes
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


def _inspect_data(run: "ResolvedRun", settings: "TrainerSettings") -> Inspection:
    """Load and prepare a job's table, and compile its search space for it."""
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
        search_space=_search_space_text(run),
    )


def _table(*headers: str) -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in headers:
        is_folded = name in {"value", "column"}
        table.add_column(name, overflow="fold" if is_folded else "ellipsis", no_wrap=not is_folded)
    return table


def _values_table(values: Sequence[_Value]) -> "Table":
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
    from trainingjob_trainer.cli.summary import about_column, label_text

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
    from trainingjob_api import shorten
    from trainingjob_trainer.cli.summary import label_text

    shown = ", ".join(shorten(plain(label_text(label)), _MAX_LABEL) for label in labels[:_MAX_CLASSES])
    more = len(labels) - _MAX_CLASSES
    return f"{shown} and {more} more" if more > 0 else shown


@command("trainingjob report runs/breast-cancer-1a2b3c4d", "trainingjob report runs/breast-cancer")
def report(
    context: CommandContext,
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder of a run, or <output>/<name> for the newest one.")
    ],
) -> dict[str, Any]:
    """Write the report of a finished run again.

    Draws it from the run's JSON files and prints the leaderboard. A report that the manifest lists is never
    overwritten with a different one: the new one is report.redrawn.html then.
    """
    from rich.text import Text

    from trainingjob_trainer.cli.summary import leaderboard_table

    home = _run_folder(folder)
    metric, rows = _read(home / _BOARD, _leaderboard)
    lines = [] if context.as_json or context.quiet else _scores(home)
    page = (context.dependencies.render or _render)(home)
    if not context.as_json:
        console = context.console()
        for line in lines:
            console.print(Text(line), soft_wrap=True)
        if not context.quiet:
            console.print(leaderboard_table(console, rows, title=f"Leaderboard by {metric}"))
        console.print(Text(f"Report: {page}"), soft_wrap=True)
    entries = [row.model_dump(mode="json", by_alias=True, exclude_none=True) for row in rows]
    return {"folder": str(home), "report": str(page), "leaderboard": entries}


def _render(home: Path) -> Path:
    from trainingjob_trainer.artifacts.registry import render_from_folder

    return render_from_folder(home)


def _run_folder(folder: Path) -> Path:
    """Return the folder of a finished run: `folder`, or the one that its ``latest.json`` names."""
    if (folder / _BOARD).is_file():
        return folder
    if (folder / _LATEST).is_file():
        name = _read(folder / _LATEST, lambda latest: latest.get("folder"))
        # The pointer names a neighbour; anything else in it is not followed.
        if isinstance(name, str) and Path(name).name == name and (folder.parent / name / _BOARD).is_file():
            return folder.parent / name
    found = f"folder {folder} has no {_BOARD}" if folder.is_dir() else f"folder {folder} does not exist"
    raise SpecInvalid(
        Reason.RUN_FOLDER_NOT_FOUND,
        f"{found}; name the folder of a finished run, such as runs/churn-1a2b3c4d",
    )


def _read(path: Path, parse: Callable[[dict[str, Any]], T]) -> T:
    """Return the result of `parse` on a JSON file of a run."""

    def invalid(problem: str) -> SpecInvalid:
        return SpecInvalid(Reason.ARTIFACT_INVALID, f"{path} {problem}; run the job again")

    try:
        if path.stat().st_size > _MAX_BYTES:
            raise invalid("is too large for a file that a run writes")
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise invalid("cannot be read as JSON") from error
    try:
        return parse({**data})
    except (KeyError, TypeError, ValueError) as error:
        raise invalid("is not a file that a run writes") from error


def _leaderboard(board: Mapping[str, Any]) -> "tuple[str, list[LeaderboardEntry]]":
    from trainingjob_api import LeaderboardEntry, format_score

    rows = [
        LeaderboardEntry(
            rank=entry["rank"],
            pipeline=str(entry["pipeline"])[:300],
            score=format_score(entry["score"]),
            score_std=_score(entry.get("scoreStd")),
            train_rows=entry.get("trainRows"),
            test_rows=entry.get("testRows"),
            complexity=_score(entry.get("complexityKiB")),
            fit_seconds=_score(entry.get("fitSeconds")),
            origin=str(entry.get("origin", ""))[:64],
            key=str(entry.get("key", ""))[:64],
            similar=entry.get("similar"),
        )
        for entry in board["entries"]
    ]
    return board.get("metric", "score"), rows


def _scores(home: Path) -> list[str]:
    """Return the lines of the summary about the model's scores, if there is a summary."""
    path = home / _SUMMARY
    return _read(path, _measurements) if path.is_file() else []


def _measurements(summary: Mapping[str, Any]) -> list[str]:
    from trainingjob_api import Best, format_score
    from trainingjob_trainer.cli.summary import measured

    best, holdout = summary["best"], summary["holdout"]
    interval = holdout.get("interval")
    known = Best(
        pipeline=str(best["pipeline"])[:300],
        train_rows=best.get("trainRows"),
        test_rows=best.get("testRows"),
        holdout_rows=holdout["rows"],
        holdout_interval=interval and tuple(format_score(interval[end]) for end in ("low", "high")),
    )
    scores = {"cross-validated": best["score"], "on hold-out rows": holdout["score"]}
    listed = ", ".join(f"{name} {_score(value) or '-'}" for name, value in scores.items())
    return [f"{summary.get('metric', 'score')}: {listed}", *measured(known)]


def _score(value: float | None) -> str | None:
    from trainingjob_api import format_score

    return None if value is None else format_score(value)
