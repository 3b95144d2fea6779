"""The end of a search: the reserved time, the finalists, and the model that ships if a fit fails."""

from collections.abc import Mapping
from functools import partial

import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from support.candidates import candidate
from trainingjob_trainer.search.candidate import Candidate, Outcome
from trainingjob_trainer.search.costs import FinalFits, FitEstimate
from trainingjob_trainer.search.final_fit import FittingFailed, fit_best
from trainingjob_trainer.search.fits import FitResult, HoldoutResult, fit_all, fit_holdout
from trainingjob_trainer.search.pool import Completion, Task
from trainingjob_trainer.search_space.pipeline import describe

LINEAR = describe(make_pipeline(StandardScaler(), LogisticRegression()))
BROKEN = describe(LogisticRegression(C=-1.0))


def finals(*, encode: float = 1.0, ratio: float = 1.0, workers: int = 1, budget: float = 1000) -> FinalFits:
    estimate = FitEstimate(encode_seconds=encode, all_rows=int(100 * ratio), fold_rows=100)
    return FinalFits(estimate=estimate, workers=workers, budget_seconds=budget)


class Fits:
    """A pool whose fits take a given time on a simulated clock, up to their limit."""

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
    return fitted.candidate.number, [(item.candidate.number, item.reason) for item in not_fitted]


def test_a_pipeline_that_cannot_be_fitted_on_all_rows_is_fitted_on_fewer() -> None:
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
    single = candidate(0, 0.5, seconds=3.0, pipeline={"class": "LGBMRegressor"})
    assert final.most_rows(single, seconds) == rows


def test_a_single_worker_needs_time_for_both_fits() -> None:
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
    assert [item for item, _ in not_fitted] == [1]
    assert "the fit took longer than" in not_fitted[0][1]


def test_time_is_kept_for_the_next_best_where_fewer_rows_would_take_too_long() -> None:
    final = finals(encode=0.1, ratio=4.0)
    slow = candidate(1, 0.9, seconds=25.0, pipeline={"class": "LinearSVC", "number": 1})
    assert final.most_rows(slow, 100.0) == 100
    assert final.least(slow.fold_seconds) / 2 + final.on_fewer_rows(slow, 100) > 100.0
    pool = Fits({1: 500.0, 2: 1.0}, left=100)
    assert ship(pool, [slow, candidate(2, 0.8)], final)[0] == 2


def test_a_candidate_that_needs_more_than_the_remaining_time_is_skipped() -> None:
    pool = Fits({1: 50.0, 2: 1.0}, left=20)
    number, not_fitted = ship(pool, [candidate(1, 0.9, seconds=30.0), candidate(2, 0.8)], finals())
    assert number == 2
    assert not_fitted == [(1, "the fits would take 62.0 s or more, and 20.0 s were left")]
    assert {number for number, _, _ in pool.limits} == {2}


def test_the_second_fit_is_not_begun_if_the_first_says_that_it_is_too_late() -> None:
    pool = Fits({1: 12.0, 2: 1.0}, left=20)
    number, not_fitted = ship(pool, [candidate(1, 0.9), candidate(2, 0.8, seconds=0.1)], finals())
    assert number == 2
    assert [(number, name) for number, name, _ in pool.limits] == [(1, "holdout"), (2, "holdout"), (2, "all")]
    assert "took 12.0 s, and" in not_fitted[0][1]


def test_a_slow_fit_lets_similar_candidates_be_skipped() -> None:
    pool = Fits({1: 500.0, 2: 500.0, 3: 500.0, 4: 0.5}, left=20)
    alike = [candidate(n, 1 - n / 10, seconds=1.5) for n in (1, 2, 3)]
    number, not_fitted = ship(pool, [*alike, candidate(4, 0.5, seconds=0.1)], finals(encode=0.1))
    assert number == 4
    assert {number for number, _, _ in pool.limits} == {1, 4}
    assert [item for item, _ in not_fitted] == [1, 2, 3]


def test_reasons_are_named_if_nothing_can_be_fitted() -> None:
    pool = Fits({1: 500.0, 2: 500.0}, left=20)
    with pytest.raises(FittingFailed) as failure:
        ship(pool, [candidate(1, 0.9), candidate(2, 0.8)], finals())
    assert [item.candidate.number for item in failure.value.not_fitted] == [1, 2]
    assert "number 1: the fit took longer" in str(failure.value)


def test_a_search_without_candidates_is_reported() -> None:
    with pytest.raises(FittingFailed, match="no candidate with a score"):
        ship(Fits({}), [], finals())
