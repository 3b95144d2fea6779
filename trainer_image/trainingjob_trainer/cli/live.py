"""The picture of a run that a terminal shows while it works."""

from typing import Self

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from trainingjob_api import ResolvedRun, Stage, format_score
from trainingjob_trainer.cli.text import change, duration, plain
from trainingjob_trainer.cli.view import OUTCOMES, RunView, Snapshot
from trainingjob_trainer.events import Evaluated, Event

__all__ = ["LiveProgress", "Picture", "score_text"]

_REFRESH_PER_SECOND = 4
_WIDE = 76
_MARKS = {"ok": ("✓", "green"), "timeout": ("◷", "yellow"), "killed": ("✗", "red"), "invalid": ("✗", "red")}
_TRACK = (
    Stage.LOADING,
    Stage.PREPARING,
    Stage.BASELINE,
    Stage.SEARCHING,
    Stage.FITTING,
    Stage.SAVING,
    Stage.UPLOADING,
)
_SEARCH_STAGES = frozenset({Stage.SEARCHING, Stage.FITTING})


def score_text(score: float | None) -> str:
    """Return a score as the contract writes it, or a dash."""
    return "-" if score is None else format_score(score)


class LiveProgress:
    """Draws a run on a terminal until it is left; then the picture is gone and the summary takes its place.

    Parameters
    ----------
    console
        The terminal.
    run
        The job.
    view
        What it has told; `take` fills it.
    """

    def __init__(self, console: Console, run: ResolvedRun, view: RunView) -> None:
        self._view = view
        picture = Picture(run, view)
        # Nothing is redirected: this process prints nothing else, and its children write into the log.
        self._live = Live(
            picture,
            console=console,
            refresh_per_second=_REFRESH_PER_SECOND,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="crop",
        )

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._live.start()
        return self

    def __exit__(self, *_details: object) -> None:
        """Clear the picture."""
        self._live.stop()

    def take(self, event: Event) -> None:
        """Show an event."""
        self._view.take(event)


class Picture:
    """Renders whatever a view holds at the moment of drawing.

    Parameters
    ----------
    run
        The job.
    view
        What it has told.
    """

    def __init__(self, run: ResolvedRun, view: RunView) -> None:
        self._run = run
        self._view = view

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the lines of the picture."""
        seen, width = self._view.now, options.max_width
        yield from self._head(seen, width)
        yield self._bars(seen)
        yield _scores(seen)
        yield _line(seen.counts_text)
        if seen.recent:
            yield _titled("last pipelines", _recent(seen))
        if seen.leaderboard:
            yield _titled("best so far", _top(seen))
        note = _note(seen)
        if note is not None:
            yield note
        yield _line("Ctrl-C saves the best so far; twice stops at once", "dim")

    def _head(self, seen: Snapshot, width: int) -> list[RenderableType]:
        about = [plain(self._run.name)]
        resolved = seen.resolved
        if resolved is not None:
            about += [
                f"{resolved.task} by {resolved.metric}",
                f"{resolved.rows} rows, {resolved.columns} columns",
            ]
        head = _line(" · ".join(about), "bold")
        return [head, _track(seen.stage, self._run.automl_enabled, wide=width >= _WIDE)]

    def _bars(self, seen: Snapshot) -> RenderableType:
        budget = self._run.budget
        elapsed, limit = seen.elapsed(self._view.clock()), budget.time_left_seconds
        asked = budget.generations * budget.population_size
        grid = Table.grid(padding=(0, 1), expand=True)
        grid.add_column(no_wrap=True)
        grid.add_column(ratio=1)
        grid.add_column(no_wrap=True, justify="right")
        grid.add_row(
            "time",
            ProgressBar(total=limit, completed=min(elapsed, limit)),
            f"{duration(elapsed)} of {duration(limit)}",
        )
        if self._run.automl_enabled:
            grid.add_row(
                "evaluations",
                ProgressBar(total=asked, completed=seen.evaluations),
                f"{seen.evaluations} of {asked}",
            )
        return grid


def _line(text: str, style: str = "") -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def _track(stage: Stage, automl: bool, *, wide: bool) -> Text:  # noqa: FBT001 - a property of the job
    """Return the stages in a row, the present one standing out."""
    stages = [one for one in _TRACK if automl or one not in _SEARCH_STAGES]
    here = stages.index(stage) if stage in stages else -1
    if not wide:
        return _line(f"● {stage} ({max(here, 0) + 1}/{len(stages)})", "bold cyan")
    text = Text(no_wrap=True, overflow="ellipsis")
    for index, one in enumerate(stages):
        style = "bold cyan" if index == here else "green" if index < here else "dim"
        text.append(f"{'● ' if index == here else ''}{one}", style)
        text.append(" → " if index < len(stages) - 1 else "", "dim")
    return text


def _scores(seen: Snapshot) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    baseline = None if seen.baseline is None else seen.baseline.score
    text.append("best ")
    text.append(score_text(seen.best_score), "bold green")
    gain = change(seen.best_score, baseline)
    text.append(f" ({gain})" if gain else "", "green" if gain.startswith("+") else "yellow")
    text.append(f" · baseline {score_text(baseline)}")
    progress = seen.progress
    if progress is not None:
        text.append(f" · generation {progress.generation}/{progress.generations}")
    if seen.awaits is not None:
        text.append(" · waiting for the Dask cluster")
    if seen.workers:
        text.append(f" · {seen.workers} worker{'s' if seen.workers > 1 else ''}")
    return text


def _titled(title: str, body: RenderableType) -> RenderableType:
    return Group(_line(title, "dim"), body)


def _rows() -> Table:
    grid = Table.grid(padding=(0, 1), expand=True)
    for justify in ("left", "right", "right"):
        grid.add_column(no_wrap=True, justify=justify)
    grid.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    return grid


def _recent(seen: Snapshot) -> Table:
    grid = _rows()
    for one in seen.recent:
        mark, style = _MARKS.get(one.outcome, ("?", "yellow"))
        grid.add_row(Text(mark, style), _result(one), f"{one.seconds:.1f} s", Text(plain(one.pipeline)))
    return grid


def _result(one: Evaluated) -> Text:
    if one.score is not None:
        return Text(format_score(one.score))
    return Text(OUTCOMES.get(one.outcome, plain(one.outcome)), "yellow")


def _top(seen: Snapshot) -> Table:
    grid = _rows()
    for row in seen.leaderboard[:3]:
        seconds = "" if row.fit_seconds is None else f"{float(row.fit_seconds):.1f} s"
        grid.add_row(str(row.rank), Text(row.score, "green"), seconds, Text(plain(row.pipeline)))
    return grid


def _note(seen: Snapshot) -> Text | None:
    """Return the last thing that went wrong, if anything did."""
    if seen.fallbacks:
        last = seen.fallbacks[-1]
        return _line(f"! {last.from_} → {last.to}: {plain(last.message or last.reason)}", "yellow")
    if seen.warnings:
        return _line(f"! {plain(seen.warnings[-1])}", "yellow")
    if seen.resumed is not None:
        return _line(f"resumed after {seen.resumed.evaluations} evaluations", "dim")
    return None
