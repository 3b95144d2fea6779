from support.fake_run import BEST, BOARD, course, evaluated, folded, progress
from trainingjob_api import Backend, Stage
from trainingjob_trainer.events import Progressed, Resumed, StageChanged, Warned
from trainingjob_trainer.run.state import RunState


def test_a_state_has_the_values_of_the_last_events() -> None:
    state = folded(*course())
    assert (state.stage, state.backend, state.workers) == (Stage.UPLOADING, Backend.LOCAL, 2)
    assert (state.best_score, state.best_pipeline) == (0.912, BEST)
    assert dict(state.counts) == {"ok": 2, "stopped": 0, "invalid": 1, "killed": 0, "timeout": 0}
    assert state.leaderboard == BOARD
    assert state.baseline is not None
    assert state.baseline.score == 0.871
    assert state.model_source is not None


def test_a_repeated_evaluation_counts_once() -> None:
    state = folded(evaluated(7), evaluated(7), evaluated(8, known=True))
    assert state.evaluations == 2
    assert [evaluation.number for evaluation in state.recent] == [7]


def test_only_the_last_evaluations_are_kept_for_the_display() -> None:
    state = folded(*(evaluated(number) for number in range(12)))
    assert [evaluation.number for evaluation in state.recent] == [7, 8, 9, 10, 11]


def test_a_worse_or_missing_score_is_not_a_new_best() -> None:
    scores = enumerate((0.5, None, 0.4, 0.5))
    state = folded(*(evaluated(n, score=score, pipeline=f"pipeline {n}") for n, score in scores))
    assert (state.best_score, state.best_pipeline) == (0.5, "pipeline 0")


def test_the_clock_runs_from_baseline_to_final_fit_and_follows_progress() -> None:
    state = RunState().after(Resumed(evaluations=3, elapsed_seconds=20), 100)
    assert state.elapsed(150) == 20
    state = state.after(StageChanged(stage=Stage.BASELINE), 150)
    assert state.elapsed(154) == 24
    state = state.after(Progressed(progress=progress(elapsed_seconds=25)), 154)
    assert state.elapsed(156) == 27
    state = state.after(StageChanged(stage=Stage.SAVING), 156)
    assert state.elapsed(165) == 27


def test_an_old_state_never_changes() -> None:
    before = RunState()
    before.after(evaluated(1), 0).after(Warned(message="w"), 0)
    assert (before.evaluations, before.warnings) == (0, ())
