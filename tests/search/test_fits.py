"""Boosting rounds that are found on a part of the training rows."""

import gzip
import io
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from catboost import CatBoostClassifier, CatBoostRegressor
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from xgboost import XGBClassifier, XGBRegressor

from support.stores import no_limit, small_store
from trainingjob_trainer.data.split import split_by_time
from trainingjob_trainer.search import tasks
from trainingjob_trainer.search.candidate import Candidate, Evaluation, Outcome
from trainingjob_trainer.search.final_fit import fit_model, score_finalists
from trainingjob_trainer.search.fits import FitResult, fit_all, fit_early, fit_holdout, validation_rows
from trainingjob_trainer.search.pool import InlinePool
from trainingjob_trainer.search.store import StoreRef, fold_paths, load_frame, load_work, write_store
from trainingjob_trainer.search.tasks import evaluate, mean_rounds, score_whole_fold
from trainingjob_trainer.search_space.pipeline import ROUNDS, build, describe, rounds_of, with_rounds

ROWS = 2_100
X, Y = make_classification(ROWS, 4, n_informative=3, n_redundant=0, flip_y=0.3, random_state=0)
TEXTS = np.where(Y == 1, "yes", "no").astype(object)
NEIGHBOURS = describe(KNeighborsClassifier(n_neighbors=1))
QUIET = {"n_estimators": 400, "learning_rate": 0.3, "max_depth": 3, "random_state": 0}
LIGHT = LGBMClassifier(**QUIET, n_jobs=1, verbose=-1)
BOOSTERS = {
    "lightgbm": (LIGHT, LGBMRegressor(**QUIET, n_jobs=1, verbose=-1)),
    "xgboost": (
        VotingClassifier([("xgb", XGBClassifier(**QUIET, n_jobs=1))], voting="soft"),
        XGBRegressor(**QUIET, n_jobs=1),
    ),
    "catboost": (
        CatBoostClassifier(**QUIET, thread_count=1, verbose=False, allow_writing_files=False),
        CatBoostRegressor(**QUIET, thread_count=1, verbose=False, allow_writing_files=False),
    ),
    "sklearn": tuple(
        cls(max_iter=400, learning_rate=0.3, max_depth=3, early_stopping=False, random_state=0)
        for cls in (HistGradientBoostingClassifier, HistGradientBoostingRegressor)
    ),
}


@pytest.mark.parametrize("library", BOOSTERS)
@pytest.mark.parametrize("classified", [True, False], ids=["classes", "numbers"])
def test_each_library_stops_early_and_predicts(library: str, classified: bool) -> None:
    estimator = make_pipeline(StandardScaler(), clone(BOOSTERS[library][0 if classified else 1]))
    target = TEXTS if classified else X[:, 0] + Y
    rounds = fit_early(estimator, X, target)
    assert rounds is not None
    assert 1 <= rounds < 400
    predicted = estimator.predict(X)
    assert len(predicted) == ROWS
    if classified:
        assert np.mean(predicted == target) > 0.6
        assert estimator.predict_proba(X).shape == (ROWS, 2)


def test_steps_before_the_booster_learn_from_the_rows_that_it_learns_from() -> None:
    estimator = make_pipeline(StandardScaler(), clone(LIGHT))
    fit_early(estimator, X, TEXTS)
    fit, _ = validation_rows(TEXTS, classified=True) or (None, None)
    assert estimator[0].mean_ == pytest.approx(X[fit].mean(axis=0))


@pytest.mark.parametrize(
    ("estimator", "rows"),
    [
        (RandomForestClassifier(5), ROWS),
        (LGBMClassifier(n_estimators=200, max_depth=1, n_jobs=1, verbose=-1), ROWS),
        (LGBMClassifier(n_estimators=300, boosting_type="dart", max_depth=1, n_jobs=1, verbose=-1), 300),
        (LGBMClassifier(n_estimators=300, max_depth=1, n_jobs=1, verbose=-1), 300),
    ],
    ids=["no booster", "few rounds", "dart", "few rows"],
)
def test_pipelines_without_early_stopping_are_fitted_on_all_rows(
    estimator: Any, rows: int, tmp_path: Path
) -> None:
    ref = small_store(tmp_path, rows=5 * rows // 2)  # of which each of two folds learns from `rows`
    built = []

    def builder(_spec: Any) -> Any:
        built.append(make_pipeline(StandardScaler(), clone(estimator)))
        return built[-1]

    assert fit_early(builder(None), X[:rows], TEXTS[:rows]) is None
    assert evaluate(NEIGHBOURS, ref, no_limit(), builder=builder).rounds is None
    fitted = [pipeline for pipeline in built if hasattr(pipeline[0], "mean_")]
    assert len(fitted) == 2
    for fold, pipeline in enumerate(fitted):
        learned = np.load(fold_paths(ref, fold)[0])
        assert len(learned) == rows
        assert pipeline[0].mean_ == pytest.approx(learned.mean(axis=0))


def test_the_validation_part_is_the_last_in_time_whole_groups_or_a_share_of_each_class() -> None:
    fit, valid = validation_rows(Y, classified=False, ordered=True) or (None, None)
    assert list(valid) == list(range(ROWS - len(valid), ROWS))
    groups = np.arange(ROWS) // 7
    fit, valid = validation_rows(Y, classified=True, groups=groups) or (None, None)
    assert not set(groups[fit]) & set(groups[valid])
    rare = np.where(np.arange(ROWS) < 40, "rare", "usual")
    fit, valid = validation_rows(rare, classified=True) or (None, None)
    assert (rare[valid] == "rare").sum() == 6
    assert len(fit) + len(valid) == ROWS


@pytest.mark.parametrize("rest", [1_200, 100])
def test_groups_of_uneven_size_keep_enough_rows_on_each_side(rest: int) -> None:
    """One group has most rows: it learns, and if too few rows are left to validate, nothing is stopped."""
    for large in range(40):
        groups = np.r_[np.full(ROWS - rest, large), np.arange(rest) // 20 + 100]
        split = validation_rows(Y, classified=False, groups=groups)
        assert (split is None) == (rest == 100)
        if split is not None:
            assert 300 <= len(split[1]) < 400


def test_a_class_that_would_be_left_out_leaves_early_stopping_out() -> None:
    late = np.where(np.arange(ROWS) > ROWS - 50, "late", "usual")
    assert validation_rows(late, classified=True, ordered=True) is None
    once = np.where(np.arange(ROWS) == 3, "once", "usual")
    assert validation_rows(once, classified=True) is None


def test_the_rounds_do_not_depend_on_the_rows_that_a_fold_is_scored_on(tmp_path: Path) -> None:
    pipeline = describe(make_pipeline(StandardScaler(), LIGHT))
    ends = []
    for name in ("as it is", "other targets"):
        ref = small_store(tmp_path / name, rows=5_200, folds=2)
        work = load_work(ref)
        (_, test), *_ = work.folds
        target = work.target.copy()
        if name == "other targets":
            target[test] = target[test][::-1]
        ref = small_store(tmp_path / f"{name} again", rows=5_200, folds=1 + 1, target=target)
        ref = replace(ref, folds=1)  # the first fold alone: its test rows are trained on in the other
        ends.append(evaluate(pipeline, ref, no_limit()))
    first, second = ends
    assert first.fold_scores != second.fold_scores
    assert first.rounds == second.rounds
    assert first.rounds is not None
    assert first.complexity == second.complexity, "the same model"


def test_the_scored_pipeline_has_the_found_rounds_and_all_rows_of_the_fold(
    tmp_path: Path,
) -> None:
    pipeline = describe(make_pipeline(StandardScaler(), LIGHT))
    ref = small_store(tmp_path, rows=5_200, folds=2, metric="neg_log_loss")
    ref = replace(ref, folds=1)
    end = evaluate(pipeline, ref, no_limit())
    plain = evaluate(with_rounds(pipeline, end.rounds), ref, no_limit())
    assert end.rounds is not None
    assert plain.rounds is None
    assert plain.fold_scores == end.fold_scores


@pytest.mark.parametrize(
    ("rows", "ordered", "stopped"),
    [(5_200, False, 1), (5_200, True, 2), (13_000, False, 2)],
    ids=["few rows", "in the order of time", "many rows"],
)
def test_folds_of_few_rows_take_the_rounds_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int, ordered: bool, stopped: int
) -> None:
    found = []

    def watched(*arguments: Any, **options: Any) -> int | None:
        found.append(fit_early(*arguments, **options))
        return found[-1]

    monkeypatch.setattr(tasks, "fit_early", watched)
    ref = small_store(tmp_path, rows=rows, folds=2, ordered=ordered)
    end = evaluate(describe(make_pipeline(StandardScaler(), LIGHT)), ref, no_limit())
    assert len(end.fold_scores) == 2
    assert len(found) == stopped
    assert end.rounds == round(float(np.mean(found)))


def test_the_model_that_ships_has_the_found_rounds() -> None:
    for pair in BOOSTERS.values():
        for booster in pair:
            spec = describe(make_pipeline(StandardScaler(), booster))
            last = build(with_rounds(spec, 17)).steps[-1][1]
            last = getattr(last, "estimators", [("", last)])[0][1]
            assert last.get_params()[ROUNDS[type(last).__name__]] == 17
            assert not last.get_params().get("early_stopping")
            assert with_rounds(spec, None) is spec


def candidate(**changes: Any) -> Candidate:
    evaluation = Evaluation(outcome=Outcome.OK, fold_scores=(0.5,), rounds=123)
    spec = describe(LIGHT)
    about = {"number": 0, "key": "k", "origin": "space", "generation": 1, "pipeline": spec}
    made = Candidate.of(evaluation, outcome=Outcome.OK, elapsed_seconds=1.0, **about)
    return replace(made, **changes)


def test_the_journal_keeps_the_rounds_and_rejects_impossible_ones() -> None:
    told = candidate().to_json()
    assert Candidate.from_json(told) == candidate()
    assert candidate().final_pipeline["params"]["n_estimators"] == 123
    for wrong in (0, -1, 100_001, 1.5, True, "12"):
        with pytest.raises((ValueError, TypeError)):
            Candidate.from_json(told | {"rounds": wrong})


def test_a_journal_of_an_earlier_version_has_no_rounds() -> None:
    told = candidate(rounds=None).to_json()
    del told["rounds"]
    assert Candidate.from_json(told) == candidate(rounds=None)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> StoreRef:
    return small_store(tmp_path_factory.mktemp("large"), rows=6_500, folds=2, cap=2_100)


def test_the_model_that_ships_and_its_twin_are_plain_and_have_the_rounds_found(large: StoreRef) -> None:
    spec = describe(make_pipeline(StandardScaler(), LIGHT))
    end = evaluate(spec, large, no_limit())
    about = {"number": 0, "key": "k", "origin": "space", "generation": 1, "pipeline": spec}
    found = Candidate.of(end, outcome=Outcome.OK, elapsed_seconds=1.0, **about)
    fitted = fit_model(InlinePool(), found, large, remaining=lambda: 600.0, tick=lambda: None)
    for content in (fitted.model, fitted.holdout_model):
        booster = joblib.load(io.BytesIO(content)).steps[-1][1].steps[-1][1]
        assert booster.get_params()["n_estimators"] == booster.n_estimators_ == found.rounds
        assert not booster.best_iteration_


def test_finalists_find_their_rounds_again_on_all_rows(large: StoreRef) -> None:
    spec = describe(make_pipeline(StandardScaler(), LIGHT))
    searched = candidate(number=1, key="light", pipeline=spec, rounds=1)
    plain = candidate(number=-1, key="base", pipeline=with_rounds(spec, 5), rounds=None)
    found = score_finalists(InlinePool(), [plain, searched], large, folds=2, seconds=600, tick=lambda: None)
    rounds = [score_whole_fold([spec], large, fold, no_limit())[0] for fold in range(2)]
    assert found[1].rounds == mean_rounds([number for number in rounds if number is not None])
    assert found[1].rounds != 1
    assert found[0].rounds is None


def test_a_fit_on_all_rows_may_have_more_rounds_than_in_the_search(large: StoreRef) -> None:
    slow = LGBMClassifier(n_estimators=201, learning_rate=0.002, max_depth=2, n_jobs=1, verbose=-1)
    spec = describe(make_pipeline(StandardScaler(), slow))
    assert rounds_of(spec) == 201
    searched = evaluate(spec, replace(large, folds=1), no_limit())
    (whole,) = score_whole_fold([spec], large, 0, no_limit())
    assert searched.rounds is not None
    assert whole is not None
    assert searched.rounds <= 201 < (whole.rounds or 0) <= 4 * 201


def test_more_rounds_than_any_pipeline_may_have_are_not_asked_for(large: StoreRef) -> None:
    spec = describe(make_pipeline(StandardScaler(), clone(LIGHT).set_params(n_estimators=60_000)))
    (whole,) = score_whole_fold([spec], large, 0, no_limit())
    assert whole is not None
    assert (whole.rounds or 0) < 400


def last_step(result: FitResult) -> Any:
    assert result.model is not None, result.error
    return pickle.loads(gzip.decompress(result.model)).steps[-1][1]


def learned_from(result: FitResult) -> Any:
    return last_step(result)._y


@pytest.mark.parametrize("fit", [fit_all, fit_holdout])
def test_fewer_rows_keep_the_share_of_each_class(tmp_path: Path, fit: Any) -> None:
    ref = small_store(tmp_path)
    rows = learned_from(fit(NEIGHBOURS, ref, no_limit()))
    fewer = learned_from(fit(NEIGHBOURS, ref, no_limit(), most_rows=40))
    assert len(fewer) == 40 < len(rows)
    assert np.mean(fewer) == pytest.approx(np.mean(rows), abs=0.02)


@pytest.mark.parametrize(("fit", "latest"), [(fit_all, 0), (fit_holdout, 30)])
def test_fewer_rows_are_the_latest_if_time_orders_them(tmp_path: Path, fit: Any, latest: int) -> None:
    """The table begins with its latest row; its first 30 are held out, and each has a class of its own."""
    split = split_by_time(np.arange(150)[::-1], None, fraction=0.2, folds=3)
    ref = small_store(tmp_path)
    work = replace(
        load_work(ref),
        target=np.arange(150),
        folds=split.folds,
        train_index=split.train,
        holdout_index=split.holdout,
        ordered=True,
    )
    ref = write_store(tmp_path, load_frame(ref), work, named=False)
    result = fit(NEIGHBOURS, ref, no_limit(), most_rows=40)
    assert sorted(last_step(result).classes_) == list(range(latest, latest + 40))


def test_the_hold_out_rows_are_never_among_them(tmp_path: Path) -> None:
    ref = small_store(tmp_path, ordered=True)
    rows = len(load_work(ref).train_index)
    assert len(learned_from(fit_holdout(NEIGHBOURS, ref, no_limit(), most_rows=10 * rows))) == rows
