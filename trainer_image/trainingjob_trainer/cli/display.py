"""A run while it works: a live picture on a terminal, plain lines in logs, pipes and dumb terminals."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from trainingjob_api import ResolvedRun, Stage, format_score
from trainingjob_trainer.cli.command import plain
from trainingjob_trainer.cli.summary import OUTCOME_WORDS, about_column, change, counts_text, duration
from trainingjob_trainer.events import (
    BackendReady,
    BaselineReady,
    DataReady,
    Evaluated,
    Event,
    FellBack,
    ModelReady,
    Progressed,
    Resumed,
    StageChanged,
    WaitingForCluster,
    Warned,
)
from trainingjob_trainer.run.state import Listener, RunState

_REFRESH_PER_SECOND = 4
_WIDE = 76
_MARKS = {
    "ok": ("✓", "green"),
    "stopped": ("-", "dim"),
    "timeout": ("◷", "yellow"),
    "killed": ("✗", "red"),
    "invalid": ("✗", "red"),
}
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
_LINE_SECONDS = 15.0
_MAX_FINDINGS = 10


@contextmanager
def show_progress(
    console: Console, run: ResolvedRun, *, clock: Callable[[], float] = time.monotonic
) -> Iterator[Listener]:
    """Show a run until the context is left; a live picture is cleared then, lines stay.

    Yields what takes each event and the state after it. `clock` returns monotonic seconds, as in the states.
    """
    if not console.is_terminal or console.is_dumb_terminal:
        yield Lines(console, run, clock).show
        return
    # Nothing is redirected: this process prints nothing else, and its children write into the log.
    picture = Picture(run, clock)
    with Live(
        picture,
        console=console,
        refresh_per_second=_REFRESH_PER_SECOND,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
        vertical_overflow="crop",
    ):
        yield picture.show


class Picture:
    """Renders the newest state of a run, drawn by a thread of its own."""

    def __init__(self, run: ResolvedRun, clock: Callable[[], float]) -> None:
        self._run = run
        self._clock = clock
        self._state = RunState()

    def show(self, _event: Event, state: RunState) -> None:
        """Draw *state* from now on."""
        self._state = state

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the lines of the picture."""
        state, width = self._state, options.max_width
        yield from self._head(state, width)
        yield self._bars(state)
        yield _scores(state)
        yield _one_line(counts_text(state.counts))
        if state.recent:
            yield _one_line("last pipelines", "dim")
            yield _recent(state)
        if state.leaderboard:
            yield _one_line("best so far", "dim")
            yield _top(state)
        note = _note(state)
        if note is not None:
            yield note
        yield _one_line("Ctrl-C saves the best so far; twice stops at once", "dim")

    def _head(self, state: RunState, width: int) -> list[RenderableType]:
        about = [plain(self._run.name)]
        known = state.resolved
        if known is not None and known.rows is not None:  # known before, but for the table
            about += [f"{known.task} by {known.metric}", f"{known.rows} rows, {known.columns} columns"]
        head = _one_line(" · ".join(about), "bold")
        return [head, _track(state.stage, self._run.automl_enabled, wide=width >= _WIDE)]

    def _bars(self, state: RunState) -> RenderableType:
        budget = self._run.budget
        elapsed, limit = state.elapsed(self._clock()), budget.time_left_seconds
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
                ProgressBar(total=asked, completed=state.evaluations),
                f"{state.evaluations} of {asked}",
            )
        return grid


def _one_line(text: str, style: str = "") -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def _track(stage: Stage, automl: bool, *, wide: bool) -> Text:  # noqa: FBT001 - a property of the job
    """Return the stages in a row, the current stage highlighted."""
    stages = [each for each in _TRACK if automl or each not in _SEARCH_STAGES]
    here = stages.index(stage) if stage in stages else -1
    if not wide:
        return _one_line(f"● {stage} ({max(here, 0) + 1}/{len(stages)})", "bold cyan")
    text = Text(no_wrap=True, overflow="ellipsis")
    for index, each in enumerate(stages):
        style = "bold cyan" if index == here else "green" if index < here else "dim"
        text.append(f"{'● ' if index == here else ''}{each}", style)
        text.append(" → " if index < len(stages) - 1 else "", "dim")
    return text


def _scores(state: RunState) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    baseline = None if state.baseline is None else state.baseline.score
    text.append("best ")
    text.append(_score(state.best_score), "bold green")
    gain = change(state.best_score, baseline)
    text.append(f" ({gain})" if gain else "", "green" if gain.startswith("+") else "yellow")
    text.append(f" · baseline {_score(baseline)}")
    progress = state.progress
    if progress is not None:
        text.append(f" · generation {progress.generation}/{progress.generations}")
    if state.awaits is not None:
        text.append(" · waiting for the Dask cluster")
    if state.workers:
        text.append(f" · {state.workers} worker{'s' if state.workers > 1 else ''}")
    return text


def _rows() -> Table:
    grid = Table.grid(padding=(0, 1), expand=True)
    for justify in ("left", "right", "right"):
        grid.add_column(no_wrap=True, justify=justify)
    grid.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    return grid


def _recent(state: RunState) -> Table:
    grid = _rows()
    for evaluation in state.recent:
        outcome = evaluation.outcome
        mark, style = _MARKS.get(outcome, ("?", "yellow"))
        result = Text(OUTCOME_WORDS.get(outcome, plain(outcome)), "yellow")
        if evaluation.score is not None:
            result = Text(format_score(evaluation.score))
        seconds, pipeline = f"{evaluation.seconds:.1f} s", Text(plain(evaluation.pipeline))
        grid.add_row(Text(mark, style), result, seconds, pipeline)
    return grid


def _top(state: RunState) -> Table:
    grid = _rows()
    for row in state.leaderboard[:3]:
        seconds = "" if row.fit_seconds is None else f"{float(row.fit_seconds):.1f} s"
        similar = f" (+{row.similar} similar)" if row.similar else ""
        grid.add_row(str(row.rank), Text(row.score, "green"), seconds, Text(plain(row.pipeline) + similar))
    return grid


def _note(state: RunState) -> Text | None:
    """Return the last thing that went wrong, if anything did."""
    if state.fallbacks:
        last = state.fallbacks[-1]
        return _one_line(f"! {last.from_} → {last.to}: {plain(last.message or last.reason)}", "yellow")
    if state.warnings:
        return _one_line(f"! {plain(state.warnings[-1])}", "yellow")
    if state.resumed_from is not None:
        return _one_line(f"resumed after {state.resumed_from.evaluations} evaluations", "dim")
    return None


class Lines:
    """Prints a line for each stage, the baseline and each new best, and progress every 15 seconds."""

    def __init__(self, console: Console, run: ResolvedRun, clock: Callable[[], float]) -> None:
        self._console = console
        self._run = run
        self._clock = clock
        self._best: float | None = None
        self._started = self._progress_at = clock()

    def show(self, event: Event, state: RunState) -> None:
        """Print the lines of an event."""
        for line in self._lines(event, state):
            stamp = duration(self._clock() - self._started)
            self._console.file.write(f"[{stamp:>9}] {line}\n")
            self._console.file.flush()
        self._best = state.best_score

    def _lines(self, event: Event, state: RunState) -> list[str]:
        match event:
            case StageChanged(stage=stage):
                return [f"stage: {stage}"]
            case DataReady():
                return _data(event)
            case BackendReady(backend=backend, workers=workers):
                return [f"workers: {workers} ({backend})"]
            case WaitingForCluster(source=source, seconds=seconds):
                return [f"waiting up to {duration(seconds)} for a Dask cluster ({plain(source)})"]
            case Resumed(evaluations=count, elapsed_seconds=elapsed):
                return [f"resumed: {count} evaluations are known, {duration(elapsed)} of the budget are used"]
            case BaselineReady(score=score, holdout_score=holdout):
                return [f"baseline: {_score(score)}, on hold-out rows {_score(holdout)}"]
            case Evaluated() if state.best_score != self._best and not event.known:
                return [f"new best: {_score(event.score)} {plain(event.pipeline)}"]
            case Progressed():
                return self._progress(state)
            case FellBack(fallback=step):
                return [f"fallback: {step.from_} → {step.to} ({step.reason}) {plain(step.message)}".rstrip()]
            case Warned(message=message):
                return [f"warning: {plain(message)}"]
            case ModelReady(model_source=source, best=best):
                where = "hold-out rows" if best.holdout_rows is None else f"{best.holdout_rows} hold-out rows"
                return [f"model: {source}, {best.score or '-'}, on {where} {best.holdout_score or '-'}"]
            case _:
                return []

    def _progress(self, state: RunState) -> list[str]:
        now = self._clock()
        if now - self._progress_at < _LINE_SECONDS or state.progress is None:
            return []
        self._progress_at = now
        used = f"{duration(state.elapsed(now))} of {duration(self._run.budget.time_left_seconds)}"
        generation = f"generation {state.progress.generation}/{self._run.budget.generations}"
        best = f"best {_score(state.best_score)}"
        return [f"progress: {generation}, {counts_text(state.counts)}, {best}, {used}"]


def _data(event: DataReady) -> list[str]:
    known = event.resolved
    size = f"{known.rows} rows, {known.columns} columns"
    split = f"{known.cv_folds} folds, {event.holdout_rows} hold-out rows"
    lines = [f"data: {size}; {known.task} by {known.metric}, {split}"]
    shown = event.findings[:_MAX_FINDINGS]
    lines += [f"{finding.severity}: {about_column(finding.message, finding.column)}" for finding in shown]
    more = len(event.findings) - _MAX_FINDINGS
    return [*lines, f"and {more} more findings"] if more > 0 else lines


def _score(score: float | None) -> str:
    """Return a score as the contract writes it, or a dash."""
    return "-" if score is None else format_score(score)
