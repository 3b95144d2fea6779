"""A run as plain lines, for logs, pipes and dumb terminals."""

from typing import Self, TextIO

from trainingjob_api import ResolvedRun
from trainingjob_trainer.cli.live import score_text
from trainingjob_trainer.cli.text import about_column, duration, plain
from trainingjob_trainer.cli.view import RunView
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

__all__ = ["LineProgress"]

_EVERY_SECONDS = 15.0
_MOST_FINDINGS = 10


class LineProgress:
    """Writes one line a stage, for the baseline, for each new best, and one of progress every 15 seconds.

    Parameters
    ----------
    file
        Where to.
    run
        The job.
    view
        What it has told; `take` fills it.
    """

    def __init__(self, file: TextIO, run: ResolvedRun, view: RunView) -> None:
        self._file = file
        self._run = run
        self._view = view
        self._started = self._told = view.clock()

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_details: object) -> None:
        """End; the lines stay."""

    def take(self, event: Event) -> None:
        """Tell of an event, if it is worth a line."""
        best_before = self._view.now.best_score
        self._view.take(event)
        for line in self._lines(event, best_before):
            self._write(line)

    def _write(self, line: str) -> None:
        stamp = duration(self._view.clock() - self._started)
        self._file.write(f"[{stamp:>9}] {line}\n")
        self._file.flush()

    def _lines(self, event: Event, best_before: float | None) -> list[str]:
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
                return [f"baseline: {score_text(score)}, on hold-out rows {score_text(holdout)}"]
            case Evaluated() if self._view.now.best_score != best_before and not event.known:
                return [f"new best: {score_text(event.score)} {plain(event.pipeline)}"]
            case Progressed():
                return self._progress()
            case FellBack(fallback=step):
                return [f"fallback: {step.from_} → {step.to} ({step.reason}) {plain(step.message)}".rstrip()]
            case Warned(message=message):
                return [f"warning: {plain(message)}"]
            case ModelReady(model_source=source, best=best):
                where = "hold-out rows" if best.holdout_rows is None else f"{best.holdout_rows} hold-out rows"
                return [f"model: {source}, {best.score or '-'}, on {where} {best.holdout_score or '-'}"]
            case _:
                return []

    def _progress(self) -> list[str]:
        now, seen = self._view.clock(), self._view.now
        if now - self._told < _EVERY_SECONDS or seen.progress is None:
            return []
        self._told = now
        used = f"{duration(seen.elapsed(now))} of {duration(self._run.budget.time_left_seconds)}"
        generation = f"generation {seen.progress.generation}/{self._run.budget.generations}"
        best = f"best {score_text(seen.best_score)}"
        return [f"progress: {generation}, {seen.counts_text}, {best}, {used}"]


def _data(event: DataReady) -> list[str]:
    known = event.resolved
    size = f"{known.rows} rows, {known.columns} columns"
    split = f"{known.cv_folds} folds, {event.holdout_rows} hold-out rows"
    lines = [f"data: {size}; {known.task} by {known.metric}, {split}"]
    shown = event.findings[:_MOST_FINDINGS]
    lines += [f"{one.severity}: {about_column(one.message, one.column)}" for one in shown]
    more = len(event.findings) - _MOST_FINDINGS
    return [*lines, f"and {more} more findings"] if more > 0 else lines
