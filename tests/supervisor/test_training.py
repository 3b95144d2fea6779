"""A child's work on a small table, without workers: what is scored, on which rows, and what ships."""

import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import get_scorer
from sklearn.model_selection import cross_val_score

from support.data_runs import run_for, table_of
from trainingjob_api import ModelSource, ResolvedRun
from trainingjob_trainer.baseline import baseline_pipeline, dummy_pipeline
from trainingjob_trainer.errors import RunFailed
from trainingjob_trainer.events import BaselineReady, Evaluated, Event, FellBack
from trainingjob_trainer.features import Prepared, build_encoder, prepare
from trainingjob_trainer.search.candidate import Candidate, Outcome
from trainingjob_trainer.search.clock import RunClock
from trainingjob_trainer.search.engine import SearchBudget
from trainingjob_trainer.search.fits import full_pipeline
from trainingjob_trainer.search.fitting import FittingFailed
from trainingjob_trainer.search.inline import InlinePool
from trainingjob_trainer.search.journal import Journal, JournalHeader
from trainingjob_trainer.search.store import StoreRef, load_work
from trainingjob_trainer.search_space import fingerprint
from trainingjob_trainer.supervisor import training
from trainingjob_trainer.supervisor.mode import Mode
from trainingjob_trainer.supervisor.outcomes import Trained
from trainingjob_trainer.supervisor.training import Trainer
from trainingjob_trainer.supervisor.workspace import Workspace

HEADER = JournalHeader(search_digest="s", data_digest="d", versions={})
SPEC: dict[str, Any] = {
    "metric": "neg_log_loss",
    "searchSpace": {"preset": "linear-light"},
    "budget": {"timeLeftSeconds": 3000, "generations": 2, "populationSize": 3, "cvFolds": 3},
    "randomState": 4,
}


def people(rows: int = 200) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    age = rng.normal(40, 12, rows)
    city = rng.choice(["Oslo", "Rome", "Bonn"], rows)
    # No linear model finds out that both the young and the old are meant.
    logit = abs(age - 40) / 4 + (city == "Rome") * 1.5 - 2.5 + rng.normal(size=rows) / 2
    hidden = np.where(rng.random(rows) < 0.05, np.nan, age)
    day = pd.date_range("2026-01-01", periods=rows).strftime("%Y-%m-%d")
    return pd.DataFrame({"age": hidden, "city": city, "day": day, "y": np.where(logit > 0.8, "yes", "no")})


class Told:
    """A channel that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def send(self, event: Event) -> None:
        self.events.append(event)

    def beat(self) -> None:
        pass


@dataclass
class Child:
    """A child without a parent."""

    folder: Path
    spec: dict[str, Any] = field(default_factory=lambda: SPEC)
    mode: Mode = Mode.FULL
    stopped: bool = False

    def __post_init__(self) -> None:
        self.run: ResolvedRun = run_for("y", **self.spec)
        self.prepared: Prepared = prepare(table_of(people()), self.run)
        self.told = Told()
        self.clock = RunClock(self.run.budget.time_left_seconds)

    def train(self) -> Trained:
        with Journal(self.folder / "journal.jsonl", HEADER) as journal:
            return Trainer(
                run=self.run,
                prepared=self.prepared,
                workspace=Workspace(home=self.folder, uid="0" * 32, resumed=False),
                channel=self.told,  # type: ignore[arg-type]
                clock=self.clock,
                mode=self.mode,
                should_stop=lambda: self.stopped,
            ).train(InlinePool(), journal, named=False)

    def whole(self, candidate: Candidate) -> Any:
        prepared = self.prepared
        return full_pipeline(candidate.pipeline, build_encoder(prepared.feature_types, frame=prepared.frame))

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.told.events if isinstance(event, kind)]


@pytest.fixture(scope="module")
def child(tmp_path_factory: pytest.TempPathFactory) -> Child:
    return Child(tmp_path_factory.mktemp("child"))


@pytest.fixture(scope="module")
def trained(child: Child) -> Trained:
    return child.train()


def fitted_by_hand(child: Child, candidate: Candidate, rows: np.ndarray) -> Any:
    return child.whole(candidate).fit(child.prepared.frame.iloc[rows], child.prepared.target[rows])


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_baseline_and_candidates_are_scored_on_the_same_folds(child: Child, trained: Trained) -> None:
    prepared = child.prepared
    scored = [trained.baseline.candidate, *(c for c in trained.searched.candidates if c.score is not None)]
    assert len(scored) >= 6
    for candidate in scored:
        expected = cross_val_score(
            child.whole(candidate), prepared.frame, prepared.target, scoring="neg_log_loss", cv=prepared.folds
        )
        assert candidate.fold_scores == pytest.approx(tuple(expected)), candidate.pipeline
        assert candidate.score == pytest.approx(expected.mean())


def test_no_hold_out_row_has_decided_anything(child: Child) -> None:
    prepared = child.prepared
    for fit, score in prepared.folds:
        assert not set(prepared.holdout_index) & {*fit, *score}


def test_the_best_score_ships(trained: Trained) -> None:
    assert trained.source is ModelSource.TPOT
    assert trained.best.candidate.key != trained.baseline.candidate.key
    scores = [c.score for c in trained.searched.candidates if c.score is not None]
    assert trained.best.candidate.score == max(scores)
    assert trained.searched.stopped_by == "generations"


def test_the_model_is_fitted_on_all_rows_and_its_twin_without_the_hold_out(
    child: Child, trained: Trained
) -> None:
    prepared = child.prepared
    held = prepared.holdout_index
    raw, truth = prepared.frame.iloc[held], prepared.target[held]
    for rung in (trained.best, trained.baseline):
        every = fitted_by_hand(child, rung.candidate, np.arange(len(prepared.frame)))
        twin = fitted_by_hand(child, rung.candidate, prepared.train_index)
        model = joblib.load(io.BytesIO(rung.fitted.model))
        other = joblib.load(io.BytesIO(rung.fitted.holdout_model))
        assert np.allclose(model.predict_proba(raw), every.predict_proba(raw))
        assert np.allclose(other.predict_proba(raw), twin.predict_proba(raw))
        assert not np.allclose(model.predict_proba(raw), twin.predict_proba(raw))
        assert rung.fitted.holdout.score == pytest.approx(get_scorer("neg_log_loss")(twin, raw, truth))
        assert np.array_equal(rung.fitted.holdout.predicted, twin.predict(raw))


def test_the_baseline_is_evaluated_once(child: Child, trained: Trained) -> None:
    first, *others = child.of(Evaluated)
    assert (first.number, first.known) == (0, True), "the first seed is the baseline"
    assert first.score == trained.baseline.candidate.score
    assert not any(one.known for one in others)
    lines = (child.folder / "journal.jsonl").read_text().splitlines()[1:]
    keys = [json.loads(line)["key"] for line in lines]
    assert len(keys) == len(set(keys)) == len(trained.searched.candidates)
    assert keys[0] == fingerprint(baseline_pipeline(child.prepared.task, 4))


def test_the_baseline_is_told_with_its_scores(child: Child, trained: Trained) -> None:
    (ready,) = child.of(BaselineReady)
    assert ready.score == trained.baseline.candidate.score
    assert ready.holdout_score == trained.baseline.fitted.holdout.score
    assert trained.baseline.candidate.number == -1


def test_another_attempt_evaluates_nothing_again_and_ends_the_same(child: Child, trained: Trained) -> None:
    before = (child.folder / "journal.jsonl").read_text()
    again = Child(child.folder)
    end = again.train()
    assert (child.folder / "journal.jsonl").read_text() == before
    assert all(one.known for one in again.of(Evaluated))
    assert [c.key for c in end.searched.candidates] == [c.key for c in trained.searched.candidates]
    assert end.best.candidate.key == trained.best.candidate.key


def test_a_child_that_only_finishes_fits_the_best_of_the_journal(child: Child, trained: Trained) -> None:
    last = Child(child.folder, mode=Mode.FINISH)
    end = last.train()
    assert last.of(Evaluated) == []
    assert (end.source, end.searched.stopped_by) == (ModelSource.TPOT, "restarted")
    assert end.best.candidate.key == trained.best.candidate.key


def test_the_rung_of_the_baseline_ships_it_beside_what_was_found(child: Child, trained: Trained) -> None:
    end = Child(child.folder, mode=Mode.BASELINE).train()
    assert end.source is ModelSource.BASELINE
    assert end.best is end.baseline
    assert {c.key for c in end.searched.candidates} == {c.key for c in trained.searched.candidates}


def test_the_last_rung_knows_nothing_but_the_shares_of_the_classes(tmp_path: Path) -> None:
    child = Child(tmp_path, mode=Mode.DUMMY)
    end = child.train()
    assert end.best.candidate.pipeline == dummy_pipeline(child.prepared.task, 4)
    model = joblib.load(io.BytesIO(end.best.fitted.model))
    shares = [np.mean(child.prepared.target == label) for label in ("no", "yes")]
    assert np.allclose(model.predict_proba(child.prepared.frame), shares)


def test_without_automl_the_baseline_alone_is_fitted(tmp_path: Path) -> None:
    child = Child(tmp_path, spec={**SPEC, "automl": {"enabled": False}})
    end = child.train()
    assert end.best is end.baseline
    assert (end.source, end.searched.candidates, child.of(Evaluated)) == (ModelSource.BASELINE, (), [])
    assert end.best.candidate.pipeline == baseline_pipeline(child.prepared.task, 4)


def nothing_fits(*_arguments: object, **_options: object) -> None:
    raise FittingFailed("number 3: the fit took longer than 2 s")


def test_where_no_pipeline_can_be_fitted_the_baseline_ships_and_it_is_said(
    child: Child, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "fit_best", nothing_fits)
    fallen = Child(child.folder, mode=Mode.FINISH)
    end = fallen.train()
    assert end.best is end.baseline
    assert [(one.from_, one.to, one.reason) for one in end.fallbacks] == [
        ("tpot", "baseline", "NoPipelineFitted")
    ]
    assert "number 3" in end.fallbacks[0].message
    assert [one.fallback for one in fallen.of(FellBack)] == list(end.fallbacks)
    strict = Child(child.folder, mode=Mode.FINISH, spec={**SPEC, "automl": {"fallback": False}})
    with pytest.raises(RunFailed, match=r"automl\.fallback is false, so there is no baseline model"):
        strict.train()


def test_a_baseline_that_cannot_be_fitted_is_replaced_by_a_dummy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainingjob_trainer.supervisor import baselining

    broken = baseline_pipeline(Child(tmp_path).prepared.task, 4)
    broken["steps"][-1]["params"]["C"] = -1.0
    monkeypatch.setattr(baselining, "baseline_pipeline", lambda _task, _state: broken)
    spec = {**SPEC, "automl": {"enabled": False}}
    end = Child(tmp_path, spec=spec).train()
    assert end.best.candidate.origin == "dummy"
    assert [(one.from_, one.to, one.reason) for one in end.fallbacks] == [
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

    monkeypatch.setattr(training, "fit_best", ask)
    for stopped in (False, True):
        last = Child(child.folder, mode=Mode.FINISH, stopped=stopped)
        last.train()
    patient, hasty = allowed
    assert 0.9 * 3000 < patient <= 3000 * 1.05, "the budget's rest and no more than half of the overrun"
    assert hasty == 30.0


class Seen(Exception):  # noqa: N818
    pass


@pytest.mark.parametrize(
    ("mode", "lag"),
    [({"parallelMode": "local"}, 1), ({"parallelMode": "distributed", "dask": {"workers": 4}}, 24)],
)
def test_the_job_decides_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: dict[str, Any], lag: int
) -> None:
    from trainingjob_trainer.supervisor import searching

    told: dict[str, Any] = {}

    def look(**options: Any) -> None:
        told.update(options)
        raise Seen

    monkeypatch.setattr(searching, "SearchEngine", look)
    budget = {**SPEC["budget"], "perRunLimitSeconds": 17}
    child = Child(tmp_path, spec={**SPEC, **mode, "budget": budget})
    child.train()  # the baseline ships, since the search found nothing
    assert told["budget"] == SearchBudget(generations=2, population_size=3, per_run_limit_seconds=17.0)
    estimate, rows = told["estimate"], min(len(fit) for fit, _ in child.prepared.folds)
    assert (estimate.all_rows, estimate.fold_rows) == (200, rows)
    assert estimate.encode_seconds > 0
    evolution = told["evolution"]
    assert evolution.lag == lag
    first = evolution.propose()
    assert first is not None
    assert first.key == fingerprint(baseline_pipeline(child.prepared.task, 4))


def test_another_seed_of_the_job_is_another_search(tmp_path: Path) -> None:
    def bred(state: int) -> list[str]:
        """Return what the search bred, without the seed that stands in each pipeline."""
        folder = tmp_path / str(state)
        folder.mkdir()
        end = Child(folder, spec={**SPEC, "randomState": state}).train()
        return [re.sub(r"'random_state': \d+", "", str(c.pipeline)) for c in end.searched.candidates]

    assert bred(4) != bred(5)


def test_a_search_that_breaks_off_ships_what_it_has_found(
    child: Child, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainingjob_trainer.supervisor import searching

    def break_off(**_options: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(searching, "search", break_off)
    broken = Child(child.folder)
    end = broken.train()
    assert end.best.candidate.key == trained.best.candidate.key
    assert any("no space left on device" in str(event) for event in broken.told.events)


def test_large_folds_are_cut_for_all_and_the_model_sees_every_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores: list[StoreRef] = []
    write = training.write_store

    def keep(*arguments: Any, **options: Any) -> StoreRef:
        stores.append(write(*arguments, **options))
        return stores[-1]

    monkeypatch.setattr(training, "write_store", keep)
    monkeypatch.setattr(training, "fold_row_cap", lambda _columns: 40)
    child = Child(tmp_path, spec={**SPEC, "automl": {"enabled": False}})
    end = child.train()
    work = load_work(stores[0])
    for (fit, score), (all_fit, all_score) in zip(work.folds, child.prepared.folds, strict=True):
        assert len(fit) <= 42 < len(all_fit)
        shares = [np.mean(child.prepared.target[rows] == "yes") for rows in (fit, all_fit)]
        assert shares[0] == pytest.approx(shares[1], abs=0.015), "each class keeps its share"
        assert set(fit) <= set(all_fit)
        assert set(score) <= set(all_score)
    raw = child.prepared.frame
    every = fitted_by_hand(child, end.best.candidate, np.arange(len(raw)))
    model = joblib.load(io.BytesIO(end.best.fitted.model))
    assert np.allclose(model.predict_proba(raw), every.predict_proba(raw))
    assert end.best.candidate.outcome is Outcome.OK


def test_large_folds_in_time_keep_their_latest_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stores: list[StoreRef] = []
    write = training.write_store

    def keep(*arguments: Any, **options: Any) -> StoreRef:
        stores.append(write(*arguments, **options))
        return stores[-1]

    monkeypatch.setattr(training, "write_store", keep)
    monkeypatch.setattr(training, "fold_row_cap", lambda _columns: 30)
    spec = {**SPEC, "automl": {"enabled": False}, "validation": {"timeColumn": "day"}}
    child = Child(tmp_path, spec=spec)
    child.train()
    for (fit, _), (all_fit, _) in zip(load_work(stores[0]).folds, child.prepared.folds, strict=True):
        assert list(fit) == list(all_fit[-30:])
