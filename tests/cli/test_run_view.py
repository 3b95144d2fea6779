from support.fake_run import BEST, BOARD, course, evaluated, progress
from trainingjob_api import Backend, Stage
from trainingjob_trainer.cli.run_view import RunView
from trainingjob_trainer.events import Progressed, Resumed, StageChanged, Warned


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_view_holds_what_was_told_last() -> None:
    view = RunView(Clock())
    for event in course():
        view.take(event)
    seen = view.now
    assert (seen.stage, seen.backend, seen.workers) == (Stage.UPLOADING, Backend.LOCAL, 2)
    assert (seen.best_score, seen.best_pipeline) == (0.912, BEST)
    assert dict(seen.counts) == {"ok": 2, "invalid": 1, "killed": 0, "timeout": 0}
    assert seen.counts_text == "2 ok · 1 failed"
    assert seen.leaderboard == BOARD
    assert seen.baseline is not None
    assert seen.baseline.score == 0.871
    assert seen.model is not None


def test_an_evaluation_that_is_told_again_counts_once() -> None:
    view = RunView(Clock())
    for _attempt in range(2):
        view.take(evaluated(7))
    view.take(evaluated(8, known=True))
    assert view.now.evaluations == 2
    assert [one.number for one in view.now.recent] == [7]


def test_only_the_last_evaluations_are_kept_for_the_picture() -> None:
    view = RunView(Clock())
    for number in range(12):
        view.take(evaluated(number))
    assert [one.number for one in view.now.recent] == [7, 8, 9, 10, 11]


def test_a_worse_score_or_none_is_no_new_best() -> None:
    view = RunView(Clock())
    for number, score in enumerate((0.5, None, 0.4, 0.5)):
        view.take(evaluated(number, score=score, pipeline=f"pipeline {number}"))
    assert (view.now.best_score, view.now.best_pipeline) == (0.5, "pipeline 0")


def test_the_clock_runs_from_the_baseline_to_the_fit_and_takes_up_what_progress_says() -> None:
    clock = Clock()
    view = RunView(clock)
    view.take(Resumed(evaluations=3, elapsed_seconds=20))
    clock.now += 50
    assert view.now.elapsed(clock.now) == 20
    view.take(StageChanged(stage=Stage.BASELINE))
    clock.now += 4
    assert view.now.elapsed(clock.now) == 24
    view.take(Progressed(progress=progress(elapsed_seconds=25)))
    clock.now += 2
    assert view.now.elapsed(clock.now) == 27
    view.take(StageChanged(stage=Stage.SAVING))
    clock.now += 9
    assert view.now.elapsed(clock.now) == 27


def test_an_old_snapshot_never_changes() -> None:
    view = RunView(Clock())
    before = view.now
    view.take(evaluated(1))
    view.take(Warned(message="w"))
    assert (before.evaluations, before.warnings) == (0, ())
