"""Weights of an ensemble: honest fold scores, the order of classes, and searches without an ensemble."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.ensemble import VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from support.stores import no_limit, small_store
from trainingjob_api import Task
from trainingjob_trainer.data.metric import resolve_metric
from trainingjob_trainer.search import ensemble
from trainingjob_trainer.search.candidate import ENSEMBLE, Candidate, Outcome, rank
from trainingjob_trainer.search.costs import FinalFits, FitEstimate
from trainingjob_trainer.search.ensemble import Blend, Ensembles, score_of_average, wins
from trainingjob_trainer.search.predictions import PredictionStore
from trainingjob_trainer.search.store import StoreRef, load_frame, load_work
from trainingjob_trainer.search.tasks import evaluate
from trainingjob_trainer.search_space.pipeline import describe, fingerprint, full_pipeline, members_of

FOLDS, ROWS = 4, 60
Array = NDArray[Any]


def blend(
    predictions: list[list[Array]], truth: list[Array], score: Callable[[Array, Array], float], **how: Any
) -> Blend | None:
    costs = {"costs": [1.0] * len(predictions), "most_cost": 100.0}
    return ensemble.blend(predictions, truth, score, **{**costs, **how})


def rmse() -> Callable[[Array, Array], float]:
    return score_of_average(resolve_metric("neg_root_mean_squared_error", Task.REGRESSION).scorer, None)


def accuracy(classes: tuple[Any, ...]) -> Callable[[Array, Array], float]:
    return score_of_average(resolve_metric("accuracy", Task.CLASSIFICATION, classes).scorer, classes)


def numbers(candidates: int, *, noise: float = 1.0) -> tuple[list[list[Array]], list[Array]]:
    """Return what candidates with errors of their own predict, and the truth."""
    rng = np.random.default_rng(0)
    truth = [rng.normal(size=ROWS) for _ in range(FOLDS)]
    predicted = [[(y + rng.normal(size=ROWS) * noise).astype(np.float32) for y in truth]]
    predicted += [
        [(y + rng.normal(size=ROWS) * noise).astype(np.float32) for y in truth] for _ in range(candidates - 1)
    ]
    return predicted, truth


def test_an_ensemble_averages_different_errors() -> None:
    predicted, truth = numbers(4)
    found = blend(predicted, truth, rmse())
    assert found is not None
    assert len(found.members) == 4
    single = [rmse()(prediction, y) for prediction, y in zip(predicted[0], truth, strict=True)]
    # The metric is negative: greater is better.
    assert np.mean(found.fold_scores) > np.mean(single) + 0.3


@pytest.mark.parametrize("fold", range(FOLDS))
def test_the_score_of_a_fold_is_that_of_weights_that_never_saw_it(fold: int) -> None:
    predicted, truth = numbers(5)
    # Were a fold's truth used for its weights, the candidate that has copied it would get nearly all.
    copied = [list(folds) for folds in predicted]
    for position, folds in enumerate(copied):
        folds[fold] = truth[fold] if position == 4 else folds[fold] + 2 * folds[fold - 1]
    found = blend(copied, truth, rmse())
    assert found is not None
    weights = weights_without(fold, copied, truth)
    assert weights == weights_without(fold, predicted, truth)
    assert found.weights[-1] / sum(found.weights) > 2 * weights[-1]
    average = np.sum([w * folds[fold] for w, folds in zip(weights, copied, strict=True)], axis=0)
    assert found.fold_scores[fold] == pytest.approx(rmse()(average, truth[fold]), abs=1e-6)


def weights_without(fold: int, predicted: list[list[Array]], truth: list[Array]) -> list[float]:
    rest = [[*folds[:fold], *folds[fold + 1 :]] for folds in predicted]
    found = blend(rest, [*truth[:fold], *truth[fold + 1 :]], rmse())
    assert found is not None
    return [weight / sum(found.weights) for weight in found.weights]


def test_labels_are_text_and_in_the_order_of_the_classes() -> None:
    classes = ("high", "low", "mid")
    rng = np.random.default_rng(1)
    codes = [rng.integers(0, 3, ROWS) for _ in range(FOLDS)]
    truth = [np.array(classes, dtype=object)[fold] for fold in codes]

    def unsure(seed: int) -> list[Array]:
        noise = np.random.default_rng(seed)
        # Right where the second term is small; every row has a probability for each class.
        raw = [np.eye(3)[fold] + noise.exponential(0.9, (ROWS, 3)) for fold in codes]
        return [(fold / fold.sum(axis=1, keepdims=True)).astype(np.float32) for fold in raw]

    predicted = [unsure(seed) for seed in range(2, 8)]
    found = blend(predicted, truth, accuracy(classes))
    assert found is not None
    alone = max(
        np.mean([accuracy(classes)(p, y) for p, y in zip(folds, truth, strict=True)]) for folds in predicted
    )
    assert np.mean(found.fold_scores) > alone
    reversed_columns = [[fold[:, ::-1] for fold in folds] for folds in predicted]
    wrong = blend(reversed_columns, truth, accuracy(classes))
    assert wrong is None or np.mean(wrong.fold_scores) < alone - 0.2


def test_a_single_member_is_not_an_ensemble() -> None:
    predicted, truth = numbers(1)
    worse = [[fold + 5 for fold in predicted[0]], [fold + 9 for fold in predicted[0]]]
    assert blend(predicted, truth, rmse()) is None
    assert blend([predicted[0], *worse], truth, rmse()) is None
    assert blend([folds[:1] for folds in numbers(4)[0]], truth[:1], rmse()) is None


@pytest.mark.parametrize("most", [2, 3, 8])
def test_there_are_no_more_members_than_allowed(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    assert ensemble.MOST_MEMBERS == 8
    predicted, truth = numbers(12)
    monkeypatch.setattr(ensemble, "MOST_MEMBERS", 1)
    assert blend(predicted, truth, rmse()) is None
    monkeypatch.setattr(ensemble, "MOST_MEMBERS", most)
    found = blend(predicted, truth, rmse())
    assert found is not None
    assert 2 <= len(found.members) <= most


def test_members_cost_no_more_than_there_is_time() -> None:
    predicted, truth = numbers(6)
    costs = [5.0, 1.0, 9.0, 1.0, 1.0, 2.0]
    found = blend(predicted, truth, rmse(), costs=costs, most_cost=4.5)
    assert found is not None
    assert sum(costs[position] for position in found.members) <= 4.5
    assert blend(predicted, truth, rmse(), costs=costs, most_cost=1.5) is None
    assert blend(predicted, truth, rmse(), costs=costs, most_cost=0.5) is None


def test_members_come_with_the_largest_weight_first() -> None:
    found = Blend(weights=(1, 0, 2, 1), fold_scores=(1.0, 1.0))
    assert found.members == (2, 0, 3)


def test_an_error_of_the_tick_ends_the_selection() -> None:
    predicted, truth = numbers(6)
    asked = 0

    def tick() -> None:
        nonlocal asked
        asked += 1
        if asked == 5:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        blend(predicted, truth, rmse(), tick=tick)
    assert asked == 5


def test_large_folds_are_selected_on_some_of_their_rows_and_scored_on_all() -> None:
    rng = np.random.default_rng(3)
    truth = [rng.normal(size=5_000) for _ in range(2)]
    predicted = [[(y + rng.normal(size=5_000)).astype(np.float32) for y in truth] for _ in range(3)]
    sizes = set()

    def score(average: Array, some: Array) -> float:
        sizes.add(len(some))
        return rmse()(average, some)

    assert blend(predicted, truth, score) is not None
    assert max(sizes) == 5_000
    assert min(sizes) <= 2_000


@pytest.mark.parametrize("metric", ["roc_auc", "average_precision", "balanced_accuracy"])
def test_a_rare_class_is_among_the_rows_that_weights_are_chosen_on(metric: str) -> None:
    classes, size = ("no", "yes"), 6_001
    rng = np.random.default_rng(4)
    truth = [np.where(np.isin(np.arange(size), range(4, 9)), "yes", "no").astype(object) for _ in range(3)]

    def unsure() -> list[Array]:
        positive = [0.4 * (y == "yes") + rng.uniform(0, 0.5, size) for y in truth]
        return [np.column_stack([1 - share, share]).astype(np.float32) for share in positive]

    score = score_of_average(resolve_metric(metric, Task.CLASSIFICATION, classes, "yes").scorer, classes)
    seen = []

    def watched(average: Array, some: Array) -> float:
        seen.append((len(some), int((some == "yes").sum())))
        return score(average, some)

    assert blend([unsure() for _ in range(4)], truth, watched) is not None
    assert all(2 <= rare <= 3 * 5 for _, rare in seen)
    assert {count for count, _ in seen if count != size} <= set(range(1_300, 2_010))


@pytest.mark.parametrize(
    ("ahead", "won"),
    [
        ((0.01, 0.02, 0.03, 0.02), True),
        ((0.3, -0.2, 0.3, -0.38), False),
        ((0.0, 0.0, 0.0, 0.0), False),
        ((-0.01, -0.02, -0.01, -0.02), False),
    ],
)
def test_an_ensemble_wins_by_more_than_the_folds_vary(ahead: tuple[float, ...], *, won: bool) -> None:
    best = (0.5, 0.6, 0.7, 0.8)
    worse = tuple(score - 0.1 for score in best)
    assert wins([b + a for a, b in zip(ahead, best, strict=True)], [worse, best]) is won


def test_the_rival_of_an_ensemble_is_not_chosen_by_the_fold_that_it_is_scored_on() -> None:
    lucky = [(0.9, 0.5, 0.5, 0.5), (0.5, 0.9, 0.5, 0.5), (0.5, 0.5, 0.9, 0.5), (0.5, 0.5, 0.5, 0.9)]
    ahead = (0.58, 0.56, 0.58, 0.57)
    assert np.mean(ahead) < max(map(np.mean, lucky)), "behind the best of many"
    assert wins(ahead, lucky), "whose luck is not found on another fold"


def test_a_fold_is_scored_with_weights_that_differ_by_candidate() -> None:
    close, truth = numbers(2, noise=0.5)
    far, _ = numbers(3, noise=1.5)
    predicted = [*close, far[2]]
    found = blend(predicted, truth, rmse())
    assert found is not None
    for fold in range(FOLDS):
        weights = weights_without(fold, predicted, truth)
        assert max(weights) > 1.5 * min(weights)
        average = np.sum([w * folds[fold] for w, folds in zip(weights, predicted, strict=True)], axis=0)
        assert found.fold_scores[fold] == pytest.approx(rmse()(average, truth[fold]), abs=1e-6)


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
    order = rank(candidate for candidate, _ in found)
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
    for candidate, predictions in kept:
        store.keep(candidate, predictions)
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
    return ensembles.build(ranked or [candidate for candidate, _ in kept], **{**how, **changes})


def test_an_ensemble_is_a_candidate_of_its_own(ref: StoreRef, known: list[Any], tmp_path: Path) -> None:
    found = build(ref, tmp_path, known)
    assert found is not None
    members = members_of(found.pipeline)
    by_key = {candidate.key: candidate for candidate, _ in known}
    parts = [by_key[fingerprint(member)] for member, _ in members]
    assert (found.origin, found.number, found.key) == (ENSEMBLE, 40, fingerprint(found.pipeline))
    assert found.score == pytest.approx(np.mean(found.fold_scores))
    assert found.score > (known[0][0].score or 0)
    assert found.complexity == pytest.approx(sum(candidate.complexity or 0 for candidate in parts))
    assert found.fit_seconds == pytest.approx(sum(candidate.fit_seconds for candidate in parts), abs=1e-3)
    assert [weight for _, weight in members] == sorted((weight for _, weight in members), reverse=True)
    work = load_work(ref)
    model = full_pipeline(found.pipeline, work.encoders).fit(load_frame(ref), work.target)
    assert isinstance(model["model"], VotingClassifier)
    assert model.classes_.tolist() == ["no", "yes"]


def test_members_of_an_ensemble_have_their_keys_of_the_leaderboard(
    ref: StoreRef, known: list[Any], tmp_path: Path
) -> None:
    # The description that ships holds the rounds that early stopping found, and has another fingerprint.
    kept = [
        (replace(candidate, key=f"{candidate.number:016x}"), predictions) for candidate, predictions in known
    ]
    found = build(ref, tmp_path, kept)
    assert found is not None
    pipelines = {candidate.key: candidate.pipeline for candidate, _ in kept}
    assert [pipelines[key] for key in found.members] == [spec for spec, _ in members_of(found.pipeline)]
    assert "members" not in found.to_json()


def test_any_order_of_arrival_gives_the_same_ensemble(
    ref: StoreRef, known: list[Any], tmp_path: Path
) -> None:
    ranked = [candidate for candidate, _ in known]
    there = [build(ref, tmp_path / str(n), known[n:] + known[:n], ranked=ranked) for n in range(3)]
    assert there[0] is not None
    assert there[1:] == there[:1] * 2


def test_a_candidate_without_predictions_is_not_a_member(
    ref: StoreRef, known: list[Any], tmp_path: Path
) -> None:
    ranked = [candidate for candidate, _ in known]
    found = build(ref, tmp_path, known[2:], ranked=ranked)
    keys = set() if found is None else {fingerprint(member) for member, _ in members_of(found.pipeline)}
    assert keys.isdisjoint(candidate.key for candidate in ranked[:2])
    assert build(ref, tmp_path / "none", [], ranked=ranked) is None


def test_predictions_of_other_rows_are_not_used(ref: StoreRef, known: list[Any], tmp_path: Path) -> None:
    shorter = [(candidate, [fold[:-1] for fold in predictions]) for candidate, predictions in known]
    assert build(ref, tmp_path, shorter) is None


def test_members_that_predict_the_same_count_once(ref: StoreRef, known: list[Any], tmp_path: Path) -> None:
    best, predictions = known[0]
    twin = Candidate(number=9, key="twin", origin="space", generation=1, pipeline=best.pipeline,
                     outcome=Outcome.OK, score=best.score, fold_scores=best.fold_scores)  # fmt: skip
    assert build(ref, tmp_path, [(best, predictions), (twin, predictions)]) is None


def test_there_is_no_ensemble_without_time_for_its_fits(
    ref: StoreRef, known: list[Any], tmp_path: Path
) -> None:
    assert build(ref, tmp_path, known, seconds=1.0) is None


def test_a_selection_without_time_ends(ref: StoreRef, known: list[Any], tmp_path: Path) -> None:
    estimate = FitEstimate(encode_seconds=0.1, all_rows=300, fold_rows=180)
    late = FinalFits(estimate=estimate, workers=2, budget_seconds=0.0)
    with pytest.raises(TimeoutError, match="selection"):
        build(ref, tmp_path, known, final=late)
