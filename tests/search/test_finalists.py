"""Finalists: who they are, and how they are scored on whole or repeated folds."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from catboost import CatBoostRegressor
from lightgbm import LGBMClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import get_scorer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from support.candidates import candidate
from support.stores import no_limit, small_store
from trainingjob_trainer.search.candidate import Outcome
from trainingjob_trainer.search.costs import FinalistPlan
from trainingjob_trainer.search.final_fit import contenders, score_finalists
from trainingjob_trainer.search.fits import fit_full, fit_holdout
from trainingjob_trainer.search.pool import InlinePool
from trainingjob_trainer.search.store import (
    StoreRef,
    fold_rows,
    has_repeats,
    load_frame,
    load_whole_folds,
    load_work,
)
from trainingjob_trainer.search.tasks import FoldScore, evaluate, score_whole_fold
from trainingjob_trainer.search_space.pipeline import build, describe

LINEAR = describe(make_pipeline(StandardScaler(), LogisticRegression()))
BROKEN = describe(LogisticRegression(C=-1.0))


BASELINE = candidate(-1, 0.5, seconds=1.0, key="base")


def plan(**changes: Any) -> FinalistPlan:
    fields: dict[str, Any] = {
        "baseline": BASELINE,
        "encode_seconds": 1.0,
        "ratio": 1.0,
        "folds": 5,
        "workers": 1,
        "budget_seconds": 1000.0,
    }
    return FinalistPlan(**{**fields, **changes})


def test_at_most_three_finalists_have_the_same_estimator_while_there_are_others() -> None:
    names = ["Ridge" if number in (5, 7) else "SVR" for number in range(1, 9)]
    ranked = [
        replace(candidate(n, 1 - n / 100), pipeline={"class": name}) for n, name in enumerate(names, start=1)
    ]
    best, _ = plan().choose(ranked)
    assert [candidate.number for candidate in best] == [1, 2, 3, 5, 7, 4]


def test_repeated_folds_take_more_finalists_and_not_less_than_one_repeat() -> None:
    ranked = [candidate(number, 1 - number / 100, seconds=1.0) for number in range(1, 20)]
    repeated = plan(folds=10, repeated=True, budget_seconds=2_000.0)
    best, folds = repeated.choose(ranked)
    assert (len(best), folds) == (12, 10)
    best, folds = repeated.choose(ranked, seconds=1.3 * 5 * (1 + 1 + 12))
    assert (len(best), folds) == (12, 5)
    best, folds = repeated.choose(ranked, seconds=1.3 * 5 * (1 + 1 + 6))
    assert (len(best), folds) == (6, 5)
    assert repeated.choose(ranked, seconds=1.3 * 4 * (1 + 1 + 1)) == ([], 0)
    assert repeated.choose(ranked[:11]) == ([], 0), "too few for luck to choose among them"


def test_finalists_are_the_best_pipelines_and_the_baseline() -> None:
    ranked = [candidate(n, 1 - n / 10) for n in (1, 2)] + [candidate(0, 0.5, key="base")]
    ranked += [candidate(n, 1 - n / 10) for n in (3, 4, 6, 7, 8)]
    best, folds = plan().choose(ranked)
    assert [candidate.number for candidate in best] == [1, 2, 3, 4, 6, 7]
    assert folds == 5


def test_a_pipeline_that_was_evaluated_twice_is_one_finalist() -> None:
    again = candidate(9, 0.85, key="key-1")
    best, _ = plan().choose([candidate(1, 0.9), again, candidate(2, 0.8)])
    assert [candidate.number for candidate in best] == [1, 2]


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [
        (1000.0, ([1, 2, 3], 5)),
        (1.3 * 5 * 15, ([1, 2, 3], 5)),
        (1.3 * 5 * 15 - 1, ([1, 2, 3], 4)),
        (1.3 * 2 * 15, ([1, 2, 3], 2)),
        (1.3 * 2 * 15 - 1, ([1, 2], 4)),
        (1.3 * 2 * 6, ([1, 2], 2)),
        (1.3 * 2 * 6 - 1, ([1], 2)),
        (1.3 * 2 * 4, ([1], 2)),
        (1.3 * 2 * 4 - 1, ([], 0)),
    ],
)
def test_fewer_folds_and_finalists_take_less_time(seconds: float, chosen: tuple[list[int], int]) -> None:
    ranked = [candidate(1, 0.9, seconds=2.0), candidate(2, 0.8, seconds=2.0), candidate(3, 0.7, seconds=9.0)]
    seconds += 1e-6
    for found in (plan().choose(ranked, seconds), plan(budget_seconds=seconds / 0.35).choose(ranked)):
        assert ([candidate.number for candidate in found[0]], found[1]) == chosen


def test_folds_that_are_scored_at_the_same_time_take_the_time_of_one() -> None:
    some = [candidate(1, 0.9)]
    assert plan().seconds(some, 5) == 5 * plan(workers=5).seconds(some, 5) == 1.3 * 5 * 3.0
    assert plan().seconds([], 5) == plan().reserve([]) == 0.0


def test_candidates_scored_on_all_rows_come_before_the_others() -> None:
    ranked = [candidate(1, 0.9), candidate(2, 0.8), candidate(3, 0.7), candidate(4, 0.4)]
    whole = [candidate(-1, 0.6, key="base"), candidate(1, 0.65), candidate(2, 0.7)]
    assert [contender.number for contender in contenders(ranked, BASELINE, whole)] == [2, 1, 3]
    assert [contender.number for contender in contenders(ranked, BASELINE, ())] == [1, 2, 3]


def test_nothing_is_tried_if_the_baseline_is_best_on_all_rows() -> None:
    whole = [candidate(-1, 0.9, key="base"), candidate(1, 0.85)]
    assert contenders([candidate(1, 0.95), candidate(2, 0.93)], BASELINE, whole) == []


@pytest.mark.parametrize("score", [-3.0, 0.0])
def test_scores_below_zero_are_compared_too(score: float) -> None:
    baseline = candidate(-1, -2.0, key="base")
    found = contenders([candidate(1, score)], baseline, ())
    assert [candidate.number for candidate in found] == ([1] if score > -2 else [])


@pytest.fixture(scope="module")
def ref(tmp_path_factory: pytest.TempPathFactory) -> StoreRef:
    return small_store(tmp_path_factory.mktemp("whole"), rows=400, cap=60)


def test_a_search_score_says_on_how_many_rows_it_was_measured(ref: StoreRef) -> None:
    found = evaluate(LINEAR, ref, no_limit())
    assert (found.train_rows, found.test_rows) == fold_rows(load_work(ref).folds) == (60, 60)
    assert found.score_seconds > 0


def test_finalists_of_a_small_table_are_scored_on_its_repeats(tmp_path: Path) -> None:
    ref = small_store(tmp_path, rows=200, folds=3, repeats=2)
    assert has_repeats(ref)
    shallow = describe(LGBMClassifier(n_estimators=201, max_depth=2, n_jobs=1, verbose=-1))
    ranked = [candidate(-1, 0.5, key="base", pipeline=LINEAR), candidate(1, 0.6, pipeline=shallow)]
    found = score_finalists(InlinePool(), ranked, ref, folds=6, seconds=600, tick=lambda: None)
    searched = [evaluate(candidate.pipeline, ref, no_limit()) for candidate in ranked]
    frame, target = load_frame(ref).to_numpy(), load_work(ref).target
    for finalist, before in zip(found, searched, strict=True):
        assert len(finalist.fold_scores) == 6
        assert finalist.fold_scores[:3] != before.fold_scores, "the rows are cut in another way"
        assert finalist.rounds is None, "too few rows to find them"
        for fold, score in zip(load_whole_folds(ref), finalist.fold_scores, strict=True):
            train, test = fold
            scaler = StandardScaler().fit(frame[train])
            model = build(finalist.pipeline).fit(scaler.transform(frame[train]), target[train])
            assert score == model.score(scaler.transform(frame[test]), target[test])


def test_finalists_are_scored_on_whole_folds(ref: StoreRef) -> None:
    finalists = [candidate(-1, 0.5, pipeline=LINEAR), candidate(1, 0.6, pipeline=LINEAR)]
    found = score_finalists(InlinePool(), finalists, ref, folds=2, seconds=60, tick=lambda: None)
    assert [candidate.number for candidate in found] == [-1, 1]
    assert (found[0].train_rows, found[0].test_rows) == fold_rows(load_whole_folds(ref)) == (160, 160)
    scored = score_whole_fold([LINEAR], ref, 0, no_limit())[0]
    assert isinstance(scored, FoldScore)
    assert found[1].fold_scores[0] == scored.score
    (train, test), frame, target = load_whole_folds(ref)[0], load_frame(ref).to_numpy(), load_work(ref).target
    known = make_pipeline(StandardScaler(), LogisticRegression()).fit(frame[train], target[train])
    assert scored.score == known.score(frame[test], target[test])
    assert found[1].score == pytest.approx(sum(found[1].fold_scores) / 2)


def test_the_last_folds_are_scored_if_there_is_no_time_for_all(ref: StoreRef) -> None:
    finalists = [candidate(-1, 0.5, pipeline=LINEAR), candidate(1, 0.6, pipeline=LINEAR)]
    every = score_finalists(InlinePool(), finalists, ref, folds=2, seconds=60, tick=lambda: None)
    last = score_finalists(InlinePool(), finalists, ref, folds=1, seconds=60, tick=lambda: None)
    assert last[1].fold_scores == every[1].fold_scores[1:]


def test_a_finalist_that_fails_on_all_rows_is_dropped(ref: StoreRef) -> None:
    finalists = [candidate(n, 0.5, pipeline=p) for n, p in ((-1, LINEAR), (1, BROKEN), (2, LINEAR))]
    found = score_finalists(InlinePool(), finalists, ref, folds=2, seconds=60, tick=lambda: None)
    assert [candidate.number for candidate in found] == [-1, 2]


@pytest.mark.parametrize("pipelines", [(BROKEN, LINEAR, LINEAR), (LINEAR, BROKEN)])
def test_scores_on_different_rows_are_not_compared(ref: StoreRef, pipelines: tuple[Any, ...]) -> None:
    finalists = [candidate(n - 1, 0.5, pipeline=p) for n, p in enumerate(pipelines)]
    assert score_finalists(InlinePool(), finalists, ref, folds=2, seconds=60, tick=lambda: None) == []


def test_there_are_no_finalists_without_time(ref: StoreRef) -> None:
    finalists = [candidate(-1, 0.5, pipeline=LINEAR), candidate(1, 0.6, pipeline=LINEAR)]
    assert score_finalists(InlinePool(), finalists, ref, folds=2, seconds=0.0, tick=lambda: None) == []


def test_the_time_of_a_fit_includes_encoder_and_dump(ref: StoreRef) -> None:
    result = fit_full(LINEAR, ref, no_limit(), holdout=True)
    assert result.outcome is Outcome.OK
    assert result.holdout is not None
    assert set(result.holdout.responses) == {"predict"}
    assert math.isfinite(result.holdout.score)


def test_a_regressor_with_a_list_of_classes_is_fitted_and_predicts(tmp_path: Path) -> None:
    numbers = np.linspace(0.0, 1.0, 150)
    ref = small_store(tmp_path / "store", target=numbers, scorer=get_scorer("r2"))
    pipeline = describe(CatBoostRegressor(n_estimators=3, allow_writing_files=False, verbose=0))
    fitted = fit_holdout(pipeline, ref, no_limit())
    assert fitted.error is None
    assert fitted.holdout is not None
    assert fitted.holdout.classes is None
    predictions = evaluate(pipeline, ref, no_limit()).predictions
    assert predictions is not None
    assert [len(fold) for fold in predictions] == [len(test) for _, test in load_work(ref).folds]
