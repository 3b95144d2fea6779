"""The ensemble of a run: what members predicted out of fold decides, and what is too dear is no member."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from support.stores import no_limit, small_store
from trainingjob_trainer.run.ensemble_stage import Ensembles
from trainingjob_trainer.search.candidate import ENSEMBLE, Candidate, Outcome, rank
from trainingjob_trainer.search.costs import FinalFits, FitEstimate
from trainingjob_trainer.search.predictions import PredictionStore
from trainingjob_trainer.search.store import StoreRef, load_frame, load_work
from trainingjob_trainer.search.tasks import evaluate
from trainingjob_trainer.search_space.pipeline import describe, fingerprint, members_of
from trainingjob_trainer.search_space.voters import full_pipeline

PIPELINES = [
    describe(make_pipeline(StandardScaler(), LogisticRegression(C=0.05))),
    *(describe(DecisionTreeClassifier(max_depth=4, max_features=2, random_state=s)) for s in range(6)),
]


@pytest.fixture(scope="module")
def ref(tmp_path_factory: pytest.TempPathFactory) -> StoreRef:
    return small_store(tmp_path_factory.mktemp("store"), rows=300, folds=4, metric="roc_auc")


@pytest.fixture(scope="module")
def known(ref: StoreRef) -> list[tuple[Candidate, Any]]:
    """Candidates and what they predict; the best first."""
    found = []
    for number, pipeline in enumerate(PIPELINES):
        end = evaluate(pipeline, ref, no_limit())
        about = {"number": number, "key": fingerprint(pipeline), "origin": "space", "generation": 1}
        one = Candidate.of(end, outcome=Outcome.OK, elapsed_seconds=1, pipeline=pipeline, **about)
        found.append((one, end.predictions))
    order = rank(one for one, _ in found)
    return sorted(found, key=lambda item: order.index(item[0]))


def build(
    ref: StoreRef,
    folder: Path,
    kept: list[tuple[Candidate, Any]],
    *,
    ranked: list[Candidate] | None = None,
    seconds: float = 600.0,
    **changes: Any,
) -> Candidate | None:
    store = PredictionStore(folder)
    for one, predictions in kept:
        store.keep(one, predictions)
    estimate = FitEstimate(encode_seconds=0.1, all_rows=300, fold_rows=180)
    how: dict[str, Any] = {
        "whole": False,
        "final": FinalFits(estimate=estimate, workers=2, budget_seconds=600),
        "remaining": lambda: seconds,
        "elapsed_seconds": 9.0,
        "number": 40,
        "tick": lambda: None,
    }
    ensembles = Ensembles(store=store, ref=ref, classes=("no", "yes"))
    return ensembles.build(ranked or [one for one, _ in kept], **{**how, **changes})


def test_it_is_a_candidate_of_its_own(ref: StoreRef, known: list[Any], tmp_path: Path) -> None:
    found = build(ref, tmp_path, known)
    assert found is not None
    members = members_of(found.pipeline)
    by_key = {one.key: one for one, _ in known}
    parts = [by_key[fingerprint(member)] for member, _ in members]
    assert (found.origin, found.number, found.key) == (ENSEMBLE, 40, fingerprint(found.pipeline))
    assert found.score == pytest.approx(np.mean(found.fold_scores))
    assert found.score > (known[0][0].score or 0)
    assert found.complexity == pytest.approx(sum(one.complexity or 0 for one in parts))
    assert found.fit_seconds == pytest.approx(sum(one.fit_seconds for one in parts), abs=1e-3)
    assert [weight for _, weight in members] == sorted((weight for _, weight in members), reverse=True)
    work = load_work(ref)
    model = full_pipeline(found.pipeline, work.encoders).fit(load_frame(ref), work.target)
    assert isinstance(model["model"], VotingClassifier)
    assert model.classes_.tolist() == ["no", "yes"]


def test_its_members_have_the_keys_that_they_have_on_the_leaderboard(
    ref: StoreRef, known: list[Any], tmp_path: Path
) -> None:
    # The description that ships holds the rounds that early stopping found, and has another fingerprint.
    kept = [(replace(one, key=f"{one.number:016x}"), predictions) for one, predictions in known]
    found = build(ref, tmp_path, kept)
    assert found is not None
    pipelines = {one.key: one.pipeline for one, _ in kept}
    assert [pipelines[key] for key in found.members] == [spec for spec, _ in members_of(found.pipeline)]
    assert "members" not in found.to_json()


def test_any_order_of_arrival_gives_the_same_ensemble(
    ref: StoreRef, known: list[Any], tmp_path: Path
) -> None:
    ranked = [one for one, _ in known]
    there = [build(ref, tmp_path / str(n), known[n:] + known[:n], ranked=ranked) for n in range(3)]
    assert there[0] is not None
    assert there[1:] == there[:1] * 2


def test_a_candidate_without_predictions_is_no_member(
    ref: StoreRef, known: list[Any], tmp_path: Path
) -> None:
    ranked = [one for one, _ in known]
    found = build(ref, tmp_path, known[2:], ranked=ranked)
    keys = set() if found is None else {fingerprint(member) for member, _ in members_of(found.pipeline)}
    assert keys.isdisjoint(one.key for one in ranked[:2])
    assert build(ref, tmp_path / "none", [], ranked=ranked) is None


def test_predictions_of_other_rows_are_not_used(ref: StoreRef, known: list[Any], tmp_path: Path) -> None:
    shorter = [(one, [fold[:-1] for fold in predictions]) for one, predictions in known]
    assert build(ref, tmp_path, shorter) is None


def test_members_that_predict_the_same_count_once(ref: StoreRef, known: list[Any], tmp_path: Path) -> None:
    best, predictions = known[0]
    twin = Candidate(number=9, key="twin", origin="space", generation=1, pipeline=best.pipeline,
                     outcome=Outcome.OK, score=best.score, fold_scores=best.fold_scores)  # fmt: skip
    assert build(ref, tmp_path, [(best, predictions), (twin, predictions)]) is None


def test_there_is_none_if_there_is_no_time_for_its_fits(
    ref: StoreRef, known: list[Any], tmp_path: Path
) -> None:
    assert build(ref, tmp_path, known, seconds=1.0) is None


def test_a_selection_without_time_ends(ref: StoreRef, known: list[Any], tmp_path: Path) -> None:
    estimate = FitEstimate(encode_seconds=0.1, all_rows=300, fold_rows=180)
    late = FinalFits(estimate=estimate, workers=2, budget_seconds=0.0)
    with pytest.raises(TimeoutError, match="selection"):
        build(ref, tmp_path, known, final=late)
