"""The last page of a run: scores, leaderboard, front, where things are, and what the model is.

Its words for durations, labels and counts are those of the other commands, too.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from trainingjob_api import Best, Fallback, LeaderboardEntry, ModelSource, ParetoPoint, Severity
from trainingjob_trainer.cli.command import plain
from trainingjob_trainer.run.state import RunResult

OUTCOME_WORDS = {
    "ok": "ok",
    "stopped": "stopped",
    "invalid": "failed",
    "killed": "killed",
    "timeout": "timed out",
}
"""Outcomes of an evaluation, and how a terminal names them."""

_MINUTE = 60
_HOUR = 3600
_MAX_WARNINGS = 12
_MAX_POINTS = 10
_NARROW = 70


def print_summary(console: Console, result: RunResult) -> None:
    """Print the last page; on a terminal each pipeline takes one line, elsewhere none is cut."""
    _print_warnings(console, result)
    _print_scores(console, result)
    if result.leaderboard:
        console.print()
        console.print(leaderboard_table(console, result.leaderboard, title="Leaderboard"))
    if result.pareto_front:
        console.print()
        console.print(_front_table(console, result.pareto_front))
    console.print()
    _print_course(console, result)
    _print_places(console, result)
    style = (
        "bold green" if result.model_source is ModelSource.TPOT and not result.fallbacks else "bold yellow"
    )
    _print_line(console, verdict(result), style)


def verdict(result: RunResult) -> str:
    """Return the sentence that says where the model comes from, and which fallbacks led there."""
    disabled = result.resolved is not None and result.resolved.automl_enabled is False
    missed = result.best.not_fitted or ()
    if any(step.to == "dummy" for step in result.fallbacks):
        source = "a dummy model that ignores the features"
    elif result.model_source is ModelSource.TPOT:
        score, baseline = result.best.score, result.best.baseline_score
        better = score is None or baseline is None or float(score) > float(baseline)
        source = (
            "tpot, found by the search" if better else "tpot, which found nothing better than the baseline"
        )
        if missed:
            source += f" ({len(missed)} better could not be fitted)"
    elif disabled:
        source = "baseline, since automl is disabled"
    elif missed:
        source = "baseline, since what the search found better could not be fitted"
    elif not result.fallbacks and result.leaderboard:
        source = "baseline, since the search found nothing better"
    else:
        source = "baseline"
    if not result.fallbacks:
        return f"Model source: {source}; no fallback."
    return f"Model source: {source}; fallback: {', then '.join(_step(step) for step in result.fallbacks)}."


def _step(step: Fallback) -> str:
    why = f"{step.reason}: {plain(step.message).rstrip('.')}" if step.message else step.reason
    return f"{step.from_} → {step.to} ({why})"


def leaderboard_table(console: Console, rows: Sequence[LeaderboardEntry], *, title: str) -> Table:
    """Return the leaderboard, without the less important columns where the terminal is narrow."""
    columns = {"#": [str(row.rank) for row in rows], "score": [row.score for row in rows], **_rows(rows)}
    if console.width >= _NARROW:
        columns["± std"] = [_round(row.score_std) for row in rows]
        columns["KiB"] = [_round(row.complexity) for row in rows]
        columns["fit s"] = [_round(row.fit_seconds) for row in rows]
    if any(row.similar for row in rows):
        columns["similar"] = [f"+{row.similar}" if row.similar else "" for row in rows]
    return _pipelines_table(console, title, columns, rows)


def _front_table(console: Console, points: Sequence[ParetoPoint]) -> Table:
    shown = points[:_MAX_POINTS]
    columns = {"score": [point.score for point in shown], **_rows(shown)}
    columns["KiB"] = [_round(point.complexity) for point in shown]
    table = _pipelines_table(console, "Pareto front (score against size)", columns, shown)
    if len(points) > _MAX_POINTS:
        rest = f"and {len(points) - _MAX_POINTS} more in tp_pareto_front.json"
        table.add_row(*("" for _ in columns), rest)
    return table


def _pipelines_table(
    console: Console,
    title: str,
    columns: Mapping[str, Sequence[str]],
    rows: Sequence[LeaderboardEntry | ParetoPoint],
) -> Table:
    """Return a table with `columns` of numbers and the pipelines of `rows`."""
    table = Table(
        title=Text(title, "bold"), title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False
    )
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True, style="green" if name == "score" else "")
    table.add_column("pipeline")
    # A log keeps the whole pipeline; on a terminal one line each is easier to read, and files hold the rest.
    cut = console.is_terminal
    for *numbers, row in zip(*columns.values(), rows, strict=True):
        pipeline = Text(plain(row.pipeline), no_wrap=cut, overflow="ellipsis" if cut else "fold")
        table.add_row(*numbers, pipeline)
    return table


def _rows(entries: Sequence[LeaderboardEntry | ParetoPoint]) -> dict[str, list[str]]:
    """Return the column of rows that each pipeline learnt from, if that is known."""
    if all(entry.train_rows is None for entry in entries):
        return {}
    return {"rows": ["" if entry.train_rows is None else f"{entry.train_rows:,}" for entry in entries]}


def _round(score: str | None) -> str:
    return "" if score is None else format(float(score), ".3g")


def _print_line(console: Console, text: str | Text, style: str = "", *, whole: bool = False) -> None:
    """Print a line without wrapping it where `whole` is set or the output is not a terminal."""
    console.print(
        Text(text, style) if isinstance(text, str) else text, soft_wrap=whole or not console.is_terminal
    )


def _print_warnings(console: Console, result: RunResult) -> None:
    findings = [
        (finding.severity, about_column(finding.message, finding.column)) for finding in result.findings
    ]
    notes = [*findings, *((Severity.WARNING, plain(message)) for message in result.warnings)]
    for severity, text in notes[:_MAX_WARNINGS]:
        label = ("note: ", "dim") if severity is Severity.INFO else ("warning: ", "yellow")
        _print_line(console, Text.assemble(label, text))
    if len(notes) > _MAX_WARNINGS:
        _print_line(console, f"and {len(notes) - _MAX_WARNINGS} more in report.html")
    if notes:
        console.print()


def _print_scores(console: Console, result: RunResult) -> None:
    best = result.best
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column(result.metric or "score", no_wrap=True)
    for name in ("model", "baseline", "gain"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, new, old in (
        ("cross-validated", best.score, best.baseline_score),
        ("on hold-out rows", best.holdout_score, best.baseline_holdout_score),
    ):
        gain = change(new, old)
        style = "green" if gain.startswith("+") else "yellow" if gain.startswith("-") else ""
        table.add_row(name, Text(new or "-", "bold"), old or "-", Text(gain, style))
    console.print(table)
    for text in measured(best):
        _print_line(console, text, "dim")
    _print_line(console, Text.assemble(("Best pipeline: ", "bold"), plain(best.pipeline)))
    if result.resolved is not None and result.resolved.positive_label is not None:
        label = label_text(result.resolved.positive_label)
        _print_line(console, Text.assemble(("Positive label: ", "bold"), label))
    if result.accepted is not None:
        word, style = ("met", "green") if result.accepted else ("NOT met", "bold red")
        line = Text.assemble(("Acceptance: ", "bold"), (word, style), f", {plain(result.acceptance_message)}")
        _print_line(console, line)


def measured(best: Best) -> list[str]:
    """Return on how many rows the scores of the best pipeline were measured, and the interval."""
    lines = []
    if best.train_rows is not None and best.test_rows is not None:
        lines.append(f"Folds: each learns from {best.train_rows:,} rows and is scored on {best.test_rows:,}")
    if best.holdout_rows is not None:
        text = f"Hold-out: {best.holdout_rows:,} rows"
        if best.holdout_interval is not None:
            text += f"; 95 % interval of the score: {' to '.join(best.holdout_interval)}"
        lines.append(text)
    return lines


def _print_course(console: Console, result: RunResult) -> None:
    parts = [f"{duration(result.elapsed_seconds)} of the budget used"]
    if result.evaluations:
        parts.append(f"{result.evaluations} evaluations ({counts_text(result.counts)})")
    if result.progress is not None and result.progress.generations:
        parts.append(f"generation {result.progress.generation} of {result.progress.generations}")
    if result.stopped_by:
        parts.append(f"stopped by: {plain(result.stopped_by)}")
    if result.resumed:
        parts.append("resumed from an earlier attempt")
    _print_line(console, " · ".join(parts), "dim")


def _print_places(console: Console, result: RunResult) -> None:
    folder = _shown_folder(result.location)
    for name, place in (
        ("Folder", folder),
        ("Model", f"{folder}/model.joblib"),
        ("Report", f"{folder}/report.html"),
    ):
        _print_line(console, Text.assemble((f"{name + ':':<8}", "bold"), plain(place)), whole=True)
    local = "://" not in folder
    where = f"{folder}/model.joblib" if local else "model.joblib"
    _print_line(console, Text("Use it:" if local else "Download it, then use it:", "bold"))
    _print_line(console, "    import joblib")
    _print_line(console, "    import pandas as pd")
    _print_line(console, f"    model = joblib.load({plain(where)!r})", whole=True)
    _print_line(console, f"    model.predict({plain(result.read_with)})", whole=True)


def _shown_folder(location: str) -> str:
    """Return a folder of this machine as a path, as short as it can be written from here; else the URI."""
    if not location.startswith("file://"):
        return location
    path = Path(unquote(urlsplit(location).path))
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def about_column(message: str, column: str | None) -> str:
    """Return a finding as one line that names its column."""
    return plain(message if column is None else f"column {column!r}: {message}")


def label_text(label: str) -> str:
    """Return a label, in quotes if its start, end or characters would be ambiguous without them."""
    ambiguous = not label or not label.isprintable() or label != " ".join(label.split())
    return repr(label) if ambiguous or any(mark in label for mark in ",'\"") else label


def duration(seconds: float) -> str:
    """Return seconds as ``7 s``, ``1:05 min`` or ``2:03:04 h``."""
    whole = max(0, int(seconds))
    if whole < _MINUTE:
        return f"{whole} s"
    minutes, rest = divmod(whole, _MINUTE)
    if whole < _HOUR:
        return f"{minutes}:{rest:02d} min"
    hours, minutes = divmod(minutes, _MINUTE)
    return f"{hours}:{minutes:02d}:{rest:02d} h"


def change(new: float | str | None, old: float | str | None) -> str:
    """Return the difference of two scores with its sign, or "" if one of them is missing."""
    return "" if new is None or old is None else f"{float(new) - float(old):+.3g}"


def counts_text(counts: Mapping[str, int]) -> str:
    """Return evaluations by outcome, such as ``96 ok · 2 failed``, without zeros except that of ``ok``."""
    shown = {OUTCOME_WORDS.get(outcome, outcome): count for outcome, count in counts.items()}
    return " · ".join(f"{count} {word}" for word, count in shown.items() if count or word == "ok")
