"""The model that a child ships on each rung of the ladder, after a signal and after failures."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest

from support.trained_child import SPEC, Child
from trainingjob_api import ModelSource
from trainingjob_trainer.errors import RunFailed
from trainingjob_trainer.events import Evaluated, Event, FellBack
from trainingjob_trainer.run import final_stage
from trainingjob_trainer.run.fallback import Mode
from trainingjob_trainer.run.final_stage import Trained
from trainingjob_trainer.run.trainer import baseline_pipeline, dummy_pipeline
from trainingjob_trainer.search.final_fit import FittingFailed
from trainingjob_trainer.search.limits import RunClock


def test_another_attempt_evaluates_nothing_again_and_ends_the_same(child: Child, trained: Trained) -> None:
    before = (child.folder / "journal.jsonl").read_text()
    again = Child(child.folder)
    end = again.train()
    assert (child.folder / "journal.jsonl").read_text() == before
    assert all(event.known for event in again.of(Evaluated))
    assert [c.key for c in end.searched.candidates] == [c.key for c in trained.searched.candidates]
    assert end.best.candidate.key == trained.best.candidate.key


@pytest.mark.parametrize("mode", [Mode.FULL, Mode.FINISH])
def test_an_attempt_that_has_no_time_left_ships_the_best_of_the_journal(
    child: Child, trained: Trained, mode: Mode
) -> None:
    late = Child(child.folder, mode=mode)
    late.clock = RunClock(3000.0, used_before=3000.0)
    end = late.train()
    assert (end.source, end.best.candidate.key) == (ModelSource.TPOT, trained.best.candidate.key)
    assert {c.key for c in end.searched.candidates} >= {c.key for c in trained.searched.candidates}
    assert (late.fallbacks, late.clock.elapsed <= 3000.0) == ((), True)


@pytest.mark.parametrize("mode", [Mode.FULL, Mode.FINISH])
def test_the_baseline_ships_with_a_warning_without_time_and_journal(tmp_path: Path, mode: Mode) -> None:
    late = Child(tmp_path, mode=mode)
    late.clock = RunClock(3000.0, used_before=3000.0)
    end = late.train()
    assert (end.source, end.best is end.baseline) == (ModelSource.BASELINE, True)
    assert [(fallback.to, fallback.reason) for fallback in late.fallbacks] == [
        ("baseline", "NoPipelineFitted")
    ]
    assert "no pipeline of the search was scored" in late.fallbacks[0].message


def test_a_child_that_only_finishes_fits_the_best_of_the_journal(child: Child, trained: Trained) -> None:
    last = Child(child.folder, mode=Mode.FINISH)
    end = last.train()
    assert last.of(Evaluated) == []
    assert (end.source, end.searched.stopped_by) == (ModelSource.TPOT, "restarted")
    assert end.best.candidate.key == trained.best.candidate.key


def test_the_baseline_rung_ships_the_baseline_with_known_results(child: Child, trained: Trained) -> None:
    end = Child(child.folder, mode=Mode.BASELINE).train()
    assert end.source is ModelSource.BASELINE
    assert end.best is end.baseline
    assert {c.key for c in end.searched.candidates} == {c.key for c in trained.searched.candidates}


def test_the_last_rung_predicts_the_shares_of_the_classes(tmp_path: Path) -> None:
    child = Child(tmp_path, mode=Mode.DUMMY)
    end = child.train()
    assert end.best.candidate.pipeline == dummy_pipeline(child.prepared.task, 4)
    model = joblib.load(io.BytesIO(end.best.model))
    shares = [np.mean(child.prepared.target == label) for label in ("no", "yes")]
    assert np.allclose(model.predict_proba(child.prepared.frame), shares)


@pytest.mark.parametrize(("cap", "most"), [(40, 42), (8_000, None)], ids=["large", "small"])
def test_a_dummy_learns_from_the_rows_of_a_fold_of_a_large_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cap: int, most: int | None
) -> None:
    from trainingjob_trainer.run import trainer

    monkeypatch.setattr(trainer, "fold_row_cap", lambda _columns: cap)
    end = Child(tmp_path, mode=Mode.DUMMY).train()
    assert end.best.candidate.origin == "dummy"
    assert (end.best.rows is None) is (most is None)
    assert (end.best.rows or 0) <= (most or 0)


def test_a_dummy_learns_from_all_rows_of_a_small_table_whose_repeats_are_of_other_sizes(
    tmp_path: Path,
) -> None:
    child = Child(tmp_path, mode=Mode.DUMMY)
    # As where copies of a row stay together.
    repeats = tuple((np.append(train, test[:1]), test[1:]) for train, test in child.prepared.folds)
    child.prepared = replace(child.prepared, repeats=repeats * 2)
    assert child.train().best.rows is None


def test_without_automl_the_baseline_alone_is_fitted(tmp_path: Path) -> None:
    child = Child(tmp_path, spec={**SPEC, "automl": {"enabled": False}})
    end = child.train()
    assert end.best is end.baseline
    assert (end.source, end.searched.candidates, child.of(Evaluated)) == (ModelSource.BASELINE, (), [])
    assert end.best.candidate.pipeline == baseline_pipeline(child.prepared.task, 4)


def nothing_fits(*_arguments: object, **_options: object) -> None:
    raise FittingFailed("number 3: the fit took longer than 2 s")


def test_the_baseline_ships_with_a_warning_if_no_pipeline_can_be_fitted(
    child: Child, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(final_stage, "fit_best", nothing_fits)
    fallen = Child(child.folder, mode=Mode.FINISH)
    end = fallen.train()
    assert end.best is end.baseline
    assert [(fallback.from_, fallback.to, fallback.reason) for fallback in fallen.fallbacks] == [
        ("tpot", "baseline", "NoPipelineFitted")
    ]
    assert "number 3" in fallen.fallbacks[0].message
    assert [event.fallback for event in fallen.of(FellBack)] == list(fallen.fallbacks)
    strict = Child(child.folder, mode=Mode.FINISH, spec={**SPEC, "automl": {"fallback": False}})
    with pytest.raises(RunFailed, match=r"automl\.fallback is false, so there is no baseline model"):
        strict.train()


def test_a_baseline_that_cannot_be_fitted_is_replaced_by_a_dummy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    from trainingjob_trainer.run import trainer

    broken = baseline_pipeline(Child(tmp_path).prepared.task, 4)
    broken["steps"][-1]["params"]["C"] = -1.0
    monkeypatch.setattr(trainer, "baseline_pipeline", lambda _task, _state: broken)
    spec = {**SPEC, "automl": {"enabled": False}}
    replaced = Child(tmp_path, spec=spec)
    end = replaced.train()
    assert end.best.candidate.origin == "dummy"
    assert [(fallback.from_, fallback.to, fallback.reason) for fallback in replaced.fallbacks] == [
        ("baseline", "dummy", "BaselineFailed")
    ]
    with pytest.raises(RunFailed, match="no dummy model"):
        Child(tmp_path, spec={**SPEC, "automl": {"enabled": False, "fallback": False}}).train()


def test_a_signal_ends_the_search_and_the_best_so_far_ships(tmp_path: Path) -> None:
    child = Child(tmp_path)
    send = child.told.send

    def stop_after_three(event: Event) -> None:
        send(event)
        child.stopped = len(child.of(Evaluated)) >= 3

    child.told.send = stop_after_three  # type: ignore[method-assign]
    end = child.train()
    assert (end.searched.stopped_by, end.source) == ("signal", ModelSource.TPOT)
    assert len(end.searched.candidates) == 3
    assert end.best.candidate.score == max(c.score for c in end.searched.candidates if c.score is not None)


def test_a_signal_leaves_the_final_fit_half_a_minute(
    child: Child, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    allowed: list[float] = []

    def ask(*_arguments: Any, remaining: Callable[[], float], **_options: Any) -> None:
        allowed.append(remaining())
        raise FittingFailed("asked")

    monkeypatch.setattr(final_stage, "fit_best", ask)
    for stopped in (False, True):
        last = Child(child.folder, mode=Mode.FINISH, stopped=stopped)
        last.train()
    patient, hasty = allowed
    assert 0.9 * 3000 < patient <= 3000 * 1.05, "the budget's rest and no more than half of the overrun"
    assert hasty == 30.0


def test_a_search_that_fails_ships_its_best_pipeline(
    child: Child, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainingjob_trainer.run import search_stage

    def break_off(*_child: object, **_options: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(search_stage, "search_engine", break_off)
    broken = Child(child.folder)
    end = broken.train()
    assert end.best.candidate.key == trained.best.candidate.key
    assert any("no space left on device" in str(event) for event in broken.told.events)
