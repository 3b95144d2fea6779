"""A child on a small table, without workers: scores, their rows, and the model that ships."""

import io
import json
import re
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.metrics import get_scorer
from sklearn.model_selection import cross_val_score

from support.trained_child import SPEC, Child, fitted_by_hand
from trainingjob_api import ModelSource
from trainingjob_trainer.events import BaselineReady, Evaluated
from trainingjob_trainer.run import trainer
from trainingjob_trainer.run.final_stage import Trained
from trainingjob_trainer.run.trainer import baseline_pipeline
from trainingjob_trainer.search.candidate import Outcome
from trainingjob_trainer.search.limits import SearchBudget
from trainingjob_trainer.search.store import StoreRef, load_work
from trainingjob_trainer.search_space.pipeline import fingerprint


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_baseline_and_candidates_are_scored_on_the_same_folds(child: Child, trained: Trained) -> None:
    prepared = child.prepared
    evaluated = trained.searched.candidates
    scored = [trained.baseline.candidate, *(c for c in evaluated if c.score is not None)]
    assert len(scored) >= 5
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
        model = joblib.load(io.BytesIO(rung.model))
        other = joblib.load(io.BytesIO(rung.holdout_model))
        assert np.allclose(model.predict_proba(raw), every.predict_proba(raw))
        assert np.allclose(other.predict_proba(raw), twin.predict_proba(raw))
        assert not np.allclose(model.predict_proba(raw), twin.predict_proba(raw))
        assert rung.holdout.score == pytest.approx(get_scorer("neg_log_loss")(twin, raw, truth))
        assert np.array_equal(rung.holdout.predicted, twin.predict(raw))


def test_the_baseline_is_evaluated_once(child: Child, trained: Trained) -> None:
    first, *others = child.of(Evaluated)
    assert (first.number, first.known) == (0, True), "the first seed is the baseline"
    assert first.score == trained.baseline.candidate.score
    assert not any(event.known for event in others)
    lines = (child.folder / "journal.jsonl").read_text().splitlines()[1:]
    keys = [json.loads(line)["key"] for line in lines]
    assert len(keys) == len(set(keys)) == len(trained.searched.candidates)
    assert keys[0] == fingerprint(baseline_pipeline(child.prepared.task, 4))


def test_the_baseline_is_reported_with_its_scores(child: Child, trained: Trained) -> None:
    (ready,) = child.of(BaselineReady)
    assert ready.score == trained.baseline.candidate.score
    assert ready.holdout_score == trained.baseline.holdout.score
    assert trained.baseline.candidate.number == -1


class Seen(Exception):  # noqa: N818
    pass


@pytest.mark.parametrize(
    ("mode", "lag"),
    [({"parallelMode": "local"}, 1), ({"parallelMode": "distributed", "dask": {"workers": 4}}, 24)],
)
def test_the_job_decides_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: dict[str, Any], lag: int
) -> None:
    from trainingjob_trainer.run import search_stage

    told: dict[str, Any] = {}

    def look(**options: Any) -> None:
        told.update(options)
        raise Seen

    compile_space = search_stage.compile_space

    def compiled(wanted: Any, context: Any) -> Any:
        told["context"] = context
        return compile_space(wanted, context)

    monkeypatch.setattr(search_stage, "SearchEngine", look)
    monkeypatch.setattr(search_stage, "compile_space", compiled)
    budget = {**SPEC["budget"], "perRunLimitSeconds": 17}
    child = Child(tmp_path, spec={**SPEC, **mode, "budget": budget})
    child.train()  # the baseline ships, since the search found nothing
    assert told["budget"] == SearchBudget(generations=2, population_size=3, per_run_limit_seconds=17.0)
    estimate, rows = told["estimate"], min(len(fit) for fit, _ in child.prepared.folds)
    assert (estimate.all_rows, estimate.fold_rows) == (200, rows)
    assert estimate.encode_seconds > 0
    context, target = told["context"], child.prepared.target
    rarest = min(np.unique(target[fit], return_counts=True)[1].min() for fit, _ in child.prepared.folds)
    assert (context.n_rows, context.n_classes, context.min_class_rows) == (rows, 2, rarest)
    assert (context.columns, context.random_state) == (tuple(child.prepared.feature_types), 4)
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


def test_large_folds_are_cut_for_all_and_the_model_sees_every_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores: list[StoreRef] = []
    write = trainer.write_store

    def keep(*arguments: Any, **options: Any) -> StoreRef:
        stores.append(write(*arguments, **options))
        return stores[-1]

    monkeypatch.setattr(trainer, "write_store", keep)
    monkeypatch.setattr(trainer, "fold_row_cap", lambda _columns: 40)
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
    model = joblib.load(io.BytesIO(end.best.model))
    assert np.allclose(model.predict_proba(raw), every.predict_proba(raw))
    assert end.best.candidate.outcome is Outcome.OK


def test_large_folds_in_time_keep_their_latest_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stores: list[StoreRef] = []
    write = trainer.write_store

    def keep(*arguments: Any, **options: Any) -> StoreRef:
        stores.append(write(*arguments, **options))
        return stores[-1]

    monkeypatch.setattr(trainer, "write_store", keep)
    monkeypatch.setattr(trainer, "fold_row_cap", lambda _columns: 30)
    spec = {**SPEC, "automl": {"enabled": False}, "validation": {"timeColumn": "day"}}
    child = Child(tmp_path, spec=spec)
    child.train()
    for (fit, _), (all_fit, _) in zip(load_work(stores[0]).folds, child.prepared.folds, strict=True):
        assert list(fit) == list(all_fit[-30:])
