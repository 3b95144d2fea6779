"""The end of a search: what time is kept, who is scored on all rows, and what ships if the best cannot."""

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from catboost import CatBoostRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import get_scorer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from support.stores import no_limit, small_store
from trainingjob_trainer.search.candidate import Candidate, Outcome
from trainingjob_trainer.search.costs import FinalFits, FinalistPlan, FitEstimate
from trainingjob_trainer.search.final_fit import FittingFailed, contenders, fit_best, score_finalists
from trainingjob_trainer.search.fits import FitResult, HoldoutResult, fit_all, fit_full, fit_holdout
from trainingjob_trainer.search.pool import Completion, InlinePool, Task
from trainingjob_trainer.search.store import StoreRef, fold_rows, load_frame, load_whole_folds, load_work
from trainingjob_trainer.search.tasks import FoldScore, evaluate, score_whole_fold
from trainingjob_trainer.search_space.pipeline import describe

LINEAR = describe(make_pipeline(StandardScaler(), LogisticRegression()))
BROKEN = describe(LogisticRegression(C=-1.0))


def candidate(number: int, score: float | None, *, seconds: float = 1.0, **changes: Any) -> Candidate:
    fields: dict[str, Any] = {
        "number": number,
        "key": f"key-{number}",
        "origin": "space",
        "generation": 1,
        "pipeline": {"number": number},
        "outcome": Outcome.INVALID if score is None else Outcome.OK,
        "score": score,
        "fit_seconds": seconds,
    }
    return Candidate(**{**fields, **changes})


def finals(*, encode: float = 1.0, ratio: float = 1.0, workers: int = 1, budget: float = 1000) -> FinalFits:
    estimate = FitEstimate(encode_seconds=encode, all_rows=int(100 * ratio), fold_rows=100)
    return FinalFits(estimate=estimate, workers=workers, budget_seconds=budget)


class Fits:
    """A pool whose fits take as long as they are told to, on a clock of its own, until they are cut."""

    def __init__(
        self, seconds: Mapping[int, float], *, workers: int = 1, left: float = 100.0, all_rows: int = 100
    ) -> None:
        self.workers = workers
        self.all_rows = all_rows
        self.left = left
        self.limits: list[tuple[int, str, float]] = []
        self.rows: list[int | None] = []
        self._seconds = seconds
        self._done: list[Completion] = []

    def remaining(self) -> float:
        return self.left

    def free(self) -> int:
        return 1

    def drop(self) -> None:
        self._done = []

    def submit(self, task: Task) -> None:
        function, (pipeline, _ref), limit = task.call()
        assert isinstance(function, partial)
        name = "holdout" if function.func is fit_holdout else "all"
        assert function.func in {fit_holdout, fit_all}
        rows = function.keywords.get("most_rows")
        self.rows.append(rows)
        number = pipeline["number"]
        self.limits.append((number, name, limit.seconds))
        took = self._seconds[number] * (1.0 if rows is None else rows / self.all_rows)
        cut = took > limit.seconds
        if self.workers == 1 or name == "all":
            self.left -= min(took, limit.seconds)
        holdout = HoldoutResult(
            score=0.5,
            predicted=None,
            probabilities=None,
            classes=None,
            extra={},  # type: ignore[arg-type]
        )
        result = (
            FitResult(outcome=Outcome.TIMEOUT, error=f"the fit took longer than {limit.seconds:.1f} s")
            if cut
            else FitResult(outcome=Outcome.OK, seconds=took, model=b"model", holdout=holdout)
        )
        self._done.append(Completion(tag=task.tag, value=result))

    def poll(self, timeout: float) -> list[Completion]:
        done, self._done = self._done, []
        return done


def ship(pool: Fits, ranked: list[Candidate], final: FinalFits) -> tuple[int, list[tuple[int, str]]]:
    fitted, not_fitted = fit_best(
        pool,
        ranked,
        None,  # type: ignore[arg-type]
        final=final,
        remaining=pool.remaining,
        tick=lambda: None,
    )
    return fitted.candidate.number, [(one.candidate.number, one.reason) for one in not_fitted]


def test_what_cannot_be_fitted_on_all_rows_is_fitted_on_fewer() -> None:
    final = finals(encode=1.0, ratio=32.0, workers=2)
    best = [
        candidate(n, 0.9 - n / 10, seconds=1.0, pipeline={"class": "LinearSVC", "number": n})
        for n in range(3)
    ]
    pool = Fits({0: 80.0, 1: 80.0, 2: 80.0}, workers=2, left=60.0, all_rows=3200)
    fitted, not_fitted = fit_best(
        pool,
        best,
        None,  # type: ignore[arg-type]
        final=final,
        remaining=pool.remaining,
        tick=lambda: None,
    )
    assert fitted.candidate.number == 0
    assert fitted.rows == pool.rows[-1] == pool.rows[-2] == 200
    assert [end.candidate.number for end in not_fitted] == [1, 2]
    assert pool.left >= 0


def test_a_finalist_that_was_fitted_on_all_rows_is_not_expected_to_take_longer() -> None:
    final = finals(encode=1.0, ratio=32.0, workers=2)
    assert final.least(8.0, train_rows=3200) == 9.0 < final.least(8.0)
    whole = candidate(0, 0.9, seconds=8.0, train_rows=3200, pipeline={"class": "LGBMRegressor", "number": 0})
    pool = Fits({0: 9.0}, workers=2, left=30.0, all_rows=3200)
    assert ship(pool, [whole], final) == (0, [])
    assert pool.rows == [None, None]


def test_a_fold_with_nearly_all_rows_leaves_no_fewer() -> None:
    small = finals(ratio=1.25)
    assert small.most_rows(candidate(0, 0.5, pipeline={"class": "Ridge"}), 1000.0) is None


@pytest.mark.parametrize(("seconds", "rows"), [(1000.0, 1600), (30.0, 800), (10.0, 200), (1.0, None)])
def test_rows_are_halved_until_the_fits_end_in_time(seconds: float, rows: int | None) -> None:
    final = finals(encode=1.0, ratio=32.0, workers=2)
    one = candidate(0, 0.5, seconds=3.0, pipeline={"class": "LGBMRegressor"})
    assert final.most_rows(one, seconds) == rows


def test_both_fits_are_waited_for_where_one_worker_makes_them() -> None:
    assert finals(workers=1, ratio=32.0).least(3.0) == 2 * finals(workers=2, ratio=32.0).least(3.0) == 26.0


def test_the_reserve_is_never_less_than_both_fits_take() -> None:
    final = finals(ratio=32.0, budget=40)
    assert final.reserve(4.0) > final.least(4.0) == 34.0
    assert final.reserve(0.5) == 17.5 < final.expected(0.5)
    ample = finals(ratio=2.0)
    fold = ample.expected(0.5) - ample.expected(0.0)
    assert ample.reserve(0.5) == pytest.approx(1.2 * 2 + 1.5 * fold + 1.5)


def test_an_evaluation_leaves_time_for_the_fits_of_its_pipeline() -> None:
    final = finals(ratio=3.0)
    seconds = final.useful_evaluation(60.0, folds=5)
    assert seconds + final.least(seconds / 5) + 1.5 == pytest.approx(60.0)
    assert final.useful_evaluation(1.0, folds=5) == 0.0


def test_the_time_of_predictions_counts() -> None:
    slow = candidate(1, 0.9, seconds=1.0, score_seconds=2.0)
    assert slow.fold_seconds == 5.0


def test_the_best_ships_if_it_can_be_fitted() -> None:
    pool = Fits({1: 2.0, 2: 1.0}, left=20)
    assert ship(pool, [candidate(1, 0.9), candidate(2, 0.8)], finals()) == (1, [])


@pytest.mark.parametrize("workers", [1, 2])
def test_the_next_best_ships_if_the_best_takes_too_long(workers: int) -> None:
    pool = Fits({1: 500.0, 2: 1.0}, left=20, workers=workers)
    ranked = [candidate(1, 0.9), candidate(2, 0.8, seconds=0.1)]
    number, not_fitted = ship(pool, ranked, finals(workers=workers))
    assert number == 2
    assert [one for one, _ in not_fitted] == [1]
    assert "the fit took longer than" in not_fitted[0][1]


def test_time_is_kept_for_the_next_best_where_fewer_rows_would_take_too_long() -> None:
    final = finals(encode=0.1, ratio=4.0)
    slow = candidate(1, 0.9, seconds=25.0, pipeline={"class": "LinearSVC", "number": 1})
    assert final.most_rows(slow, 100.0) == 100
    assert final.least(slow.fold_seconds) / 2 + final.on_fewer_rows(slow, 100) > 100.0
    pool = Fits({1: 500.0, 2: 1.0}, left=100)
    assert ship(pool, [slow, candidate(2, 0.8)], final)[0] == 2


def test_what_needs_more_than_is_left_is_passed_over() -> None:
    pool = Fits({1: 50.0, 2: 1.0}, left=20)
    number, not_fitted = ship(pool, [candidate(1, 0.9, seconds=30.0), candidate(2, 0.8)], finals())
    assert number == 2
    assert not_fitted == [(1, "the fits would take 62.0 s or more, and 20.0 s were left")]
    assert {one for one, _, _ in pool.limits} == {2}


def test_the_second_fit_is_not_begun_if_the_first_says_that_it_is_too_late() -> None:
    pool = Fits({1: 12.0, 2: 1.0}, left=20)
    number, not_fitted = ship(pool, [candidate(1, 0.9), candidate(2, 0.8, seconds=0.1)], finals())
    assert number == 2
    assert [(one, name) for one, name, _ in pool.limits] == [(1, "holdout"), (2, "holdout"), (2, "all")]
    assert "took 12.0 s, and" in not_fitted[0][1]


def test_a_fit_that_took_too_long_says_how_long_its_like_take() -> None:
    pool = Fits({1: 500.0, 2: 500.0, 3: 500.0, 4: 0.5}, left=20)
    alike = [candidate(n, 1 - n / 10, seconds=1.5) for n in (1, 2, 3)]
    number, not_fitted = ship(pool, [*alike, candidate(4, 0.5, seconds=0.1)], finals(encode=0.1))
    assert number == 4
    assert {one for one, _, _ in pool.limits} == {1, 4}
    assert [one for one, _ in not_fitted] == [1, 2, 3]


def test_if_nothing_can_be_fitted_the_reasons_are_told() -> None:
    pool = Fits({1: 500.0, 2: 500.0}, left=20)
    with pytest.raises(FittingFailed) as failure:
        ship(pool, [candidate(1, 0.9), candidate(2, 0.8)], finals())
    assert [one.candidate.number for one in failure.value.not_fitted] == [1, 2]
    assert "number 1: the fit took longer" in str(failure.value)


def test_no_candidate_is_told_too() -> None:
    with pytest.raises(FittingFailed, match="no candidate with a score"):
        ship(Fits({}), [], finals())


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
    assert [one.number for one in best] == [1, 2, 3, 5, 7, 4]


def test_finalists_are_the_best_beside_the_baseline() -> None:
    ranked = [candidate(n, 1 - n / 10) for n in (1, 2)] + [candidate(0, 0.5, key="base")]
    ranked += [candidate(n, 1 - n / 10) for n in (3, 4, 6, 7, 8)]
    best, folds = plan().choose(ranked)
    assert [one.number for one in best] == [1, 2, 3, 4, 6, 7]
    assert folds == 5


def test_a_pipeline_that_was_evaluated_twice_is_one_finalist() -> None:
    again = candidate(9, 0.85, key="key-1")
    best, _ = plan().choose([candidate(1, 0.9), again, candidate(2, 0.8)])
    assert [one.number for one in best] == [1, 2]


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
        assert ([one.number for one in found[0]], found[1]) == chosen


def test_folds_that_are_scored_at_the_same_time_take_the_time_of_one() -> None:
    some = [candidate(1, 0.9)]
    assert plan().seconds(some, 5) == 5 * plan(workers=5).seconds(some, 5) == 1.3 * 5 * 3.0
    assert plan().seconds([], 5) == plan().reserve([]) == 0.0


def test_those_scored_on_all_rows_go_before_the_others() -> None:
    ranked = [candidate(1, 0.9), candidate(2, 0.8), candidate(3, 0.7), candidate(4, 0.4)]
    whole = [candidate(-1, 0.6, key="base"), candidate(1, 0.65), candidate(2, 0.7)]
    assert [one.number for one in contenders(ranked, BASELINE, whole)] == [2, 1, 3]
    assert [one.number for one in contenders(ranked, BASELINE, ())] == [1, 2, 3]


def test_nothing_is_tried_if_the_baseline_is_best_on_all_rows() -> None:
    whole = [candidate(-1, 0.9, key="base"), candidate(1, 0.85)]
    assert contenders([candidate(1, 0.95), candidate(2, 0.93)], BASELINE, whole) == []


@pytest.mark.parametrize("score", [-3.0, 0.0])
def test_scores_below_zero_are_compared_too(score: float) -> None:
    baseline = candidate(-1, -2.0, key="base")
    found = contenders([candidate(1, score)], baseline, ())
    assert [one.number for one in found] == ([1] if score > -2 else [])


@pytest.fixture(scope="module")
def ref(tmp_path_factory: pytest.TempPathFactory) -> StoreRef:
    return small_store(tmp_path_factory.mktemp("whole"), rows=400, cap=60)


def test_a_search_score_says_on_how_many_rows_it_was_measured(ref: StoreRef) -> None:
    found = evaluate(LINEAR, ref, no_limit())
    assert (found.train_rows, found.test_rows) == fold_rows(load_work(ref).folds) == (60, 60)
    assert found.score_seconds > 0


def test_finalists_are_scored_on_whole_folds(ref: StoreRef) -> None:
    finalists = [candidate(-1, 0.5, pipeline=LINEAR), candidate(1, 0.6, pipeline=LINEAR)]
    found = score_finalists(InlinePool(), finalists, ref, folds=2, seconds=60, tick=lambda: None)
    assert [one.number for one in found] == [-1, 1]
    assert (found[0].train_rows, found[0].test_rows) == fold_rows(load_whole_folds(ref)) == (160, 160)
    one = score_whole_fold([LINEAR], ref, 0, no_limit())[0]
    assert isinstance(one, FoldScore)
    assert found[1].fold_scores[0] == one.score
    (train, test), frame, target = load_whole_folds(ref)[0], load_frame(ref).to_numpy(), load_work(ref).target
    known = make_pipeline(StandardScaler(), LogisticRegression()).fit(frame[train], target[train])
    assert one.score == known.score(frame[test], target[test])
    assert found[1].score == pytest.approx(sum(found[1].fold_scores) / 2)


def test_the_last_folds_are_scored_if_there_is_no_time_for_all(ref: StoreRef) -> None:
    finalists = [candidate(-1, 0.5, pipeline=LINEAR), candidate(1, 0.6, pipeline=LINEAR)]
    every = score_finalists(InlinePool(), finalists, ref, folds=2, seconds=60, tick=lambda: None)
    last = score_finalists(InlinePool(), finalists, ref, folds=1, seconds=60, tick=lambda: None)
    assert last[1].fold_scores == every[1].fold_scores[1:]


def test_a_finalist_that_fails_on_all_rows_is_none(ref: StoreRef) -> None:
    finalists = [candidate(n, 0.5, pipeline=p) for n, p in ((-1, LINEAR), (1, BROKEN), (2, LINEAR))]
    found = score_finalists(InlinePool(), finalists, ref, folds=2, seconds=60, tick=lambda: None)
    assert [one.number for one in found] == [-1, 2]


@pytest.mark.parametrize("pipelines", [(BROKEN, LINEAR, LINEAR), (LINEAR, BROKEN)])
def test_scores_on_different_rows_are_not_compared(ref: StoreRef, pipelines: tuple[Any, ...]) -> None:
    finalists = [candidate(n - 1, 0.5, pipeline=p) for n, p in enumerate(pipelines)]
    assert score_finalists(InlinePool(), finalists, ref, folds=2, seconds=60, tick=lambda: None) == []


def test_no_time_means_no_finalists(ref: StoreRef) -> None:
    finalists = [candidate(-1, 0.5, pipeline=LINEAR), candidate(1, 0.6, pipeline=LINEAR)]
    assert score_finalists(InlinePool(), finalists, ref, folds=2, seconds=0.0, tick=lambda: None) == []


def test_a_fit_takes_from_the_table_to_the_dump(ref: StoreRef) -> None:
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
