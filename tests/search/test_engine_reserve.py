"""The time that the engine reserves for the end, and the limit of an evaluation."""

from pathlib import Path
from typing import Any

import pytest

from trainingjob_trainer.search.candidate import Candidate, Evaluation, Journal, JournalHeader, Outcome
from trainingjob_trainer.search.costs import FinalistPlan, FitEstimate
from trainingjob_trainer.search.engine import SearchEngine
from trainingjob_trainer.search.evolution import Proposal
from trainingjob_trainer.search.limits import RunClock, SearchBudget, TaskLimit
from trainingjob_trainer.search.pool import InlinePool
from trainingjob_trainer.search.predictions import PredictionStore
from trainingjob_trainer.search.store import StoreRef

REF = StoreRef(folder="", work_digest="", frame_digest="", folds=5, named=False)
HEADER = JournalHeader(search_digest="s", data_digest="d", versions={})


class Sequence:
    """Proposes a pipeline for each of some evaluations, one after the other."""

    exhausted_ = False

    def __init__(self, length: int) -> None:
        self._length = length
        self.proposed = self.committed = 0

    def can_propose(self) -> bool:
        return self.proposed < self._length and self.proposed == self.committed

    def propose(self) -> Proposal:
        number, self.proposed = self.proposed, self.proposed + 1
        return Proposal(
            number=number, key=f"key-{number}", origin="space", individual=None, pipeline={"number": number}
        )

    def commit(self, _candidate: Candidate) -> None:
        self.committed += 1


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Search:
    """A search whose evaluations end when a test says so, on a simulated clock."""

    def __init__(
        self,
        folder: Path,
        *evaluations: Evaluation,
        plan: FinalistPlan | None = None,
        limit: float = 60.0,
        used: float = 0.0,
        predictions: PredictionStore | None = None,
    ) -> None:
        self.time = Clock()
        self.limits: list[float] = []
        self.reserves: list[float] = []
        self._evaluations = list(evaluations)
        self.clock = clock = RunClock(100.0, now=self.time, used_before=used)
        clock.start()
        with Journal(folder / "journal.jsonl", HEADER, check=lambda _candidate: None) as journal:
            self.engine = SearchEngine(
                evolution=Sequence(len(evaluations)),  # type: ignore[arg-type]
                pool=InlinePool(),
                ref=REF,
                journal=journal,
                clock=clock,
                budget=SearchBudget(
                    generations=1, population_size=len(evaluations), per_run_limit_seconds=limit
                ),
                estimate=FitEstimate(encode_seconds=2.0, all_rows=100, fold_rows=100),
                plan=plan,
                predictions=predictions,
                evaluator=self._evaluate,
            )
            self.result = self.engine.run()

    def _evaluate(self, pipeline: dict[str, Any], _ref: StoreRef, limit: TaskLimit) -> Evaluation:
        self.limits.append(limit.seconds)
        self.reserves.append(self.engine.reserve())
        return self._evaluations[pipeline["number"]]


def scored(score: float, seconds: float) -> Evaluation:
    return Evaluation(outcome=Outcome.OK, fold_scores=(score,) * 5, fit_seconds=seconds)


def test_the_time_of_the_best_pipeline_is_reserved(tmp_path: Path) -> None:
    search = Search(tmp_path, scored(0.5, 1.0), scored(0.9, 4.0), scored(0.8, 9.0), scored(0.7, 0.1))
    nothing, first, best, still_best = search.reserves
    assert nothing == pytest.approx(1.2 * 4 + 1.5)
    assert first == pytest.approx(nothing + 1.5 * 2 * 1.0)
    assert best == still_best == pytest.approx(nothing + 1.5 * 2 * 4.0)


def test_a_pipeline_that_cannot_be_fitted_any_more_does_not_end_the_search(tmp_path: Path) -> None:
    search = Search(tmp_path, scored(0.5, 1.0), scored(0.9, 60.0), scored(0.6, 1.0))
    assert search.result.stopped_by == "generations"
    assert len(search.result.candidates) == 3
    assert search.reserves[2] == search.reserves[1]


@pytest.mark.parametrize(("limit", "seconds"), [(60.0, 60.0), (90.0, (100.0 - 4.0 - 1.5) * 5 / 7)])
def test_an_evaluation_ends_while_its_pipeline_can_still_be_fitted(
    tmp_path: Path, limit: float, seconds: float
) -> None:
    search = Search(tmp_path, scored(0.5, 1.0), limit=limit)
    assert search.limits == [pytest.approx(seconds)]


def plan(**changes: Any) -> FinalistPlan:
    baseline = Candidate(
        number=-1,
        key="base",
        origin="linear",
        generation=0,
        pipeline={},
        outcome=Outcome.OK,
        score=0.1,
        fit_seconds=0.5,
    )
    fields: dict[str, Any] = {"encode_seconds": 0.5, "ratio": 1.0, "folds": 5, "workers": 5}
    return FinalistPlan(**{**fields, **changes}, baseline=baseline, budget_seconds=100.0)


def test_time_is_kept_for_the_finalists_found_so_far(tmp_path: Path) -> None:
    evaluations = [scored(0.5 + n / 10, 1.0) for n in range(5)]
    plain = Search(tmp_path, *evaluations).reserves
    (tmp_path / "journal.jsonl").unlink()
    kept = Search(tmp_path, *evaluations, plan=plan()).reserves
    more = [with_plan - without for with_plan, without in zip(kept, plain, strict=True)]
    assert more == pytest.approx([0.0, 1.3 * 2.0, 1.3 * 3.0, 1.3 * 4.0, 1.3 * 5.0])


def test_time_is_kept_for_an_ensemble_or_for_the_best_alone(tmp_path: Path) -> None:
    evaluations = [scored(0.9, 4.0), scored(0.8, 0.2), scored(0.7, 0.2), scored(0.6, 1.0)]
    kept = Search(tmp_path, *evaluations, predictions=PredictionStore(tmp_path / "predictions")).reserves
    nothing = 1.2 * 4 + 1.5
    # The selection takes 5 s; selection and fits are kept 15 s at most, and the best alone 12 s.
    members = [5.0 + 1.5 * 2 * seconds for seconds in (4.0, 4.2, 4.4)]
    assert kept == pytest.approx([nothing, *(nothing + min(15.0, seconds) for seconds in members)])


def test_finalists_that_would_take_too_long_are_skipped(tmp_path: Path) -> None:
    evaluations = [scored(0.5, 1.0), scored(0.6, 1.0)]
    kept = Search(tmp_path, *evaluations, plan=plan(encode_seconds=30.0)).reserves
    (tmp_path / "journal.jsonl").unlink()
    assert kept == Search(tmp_path, *evaluations).reserves


JOURNALLED = (scored(0.5, 1.0), scored(0.9, 4.0), scored(0.7, 1.0))


@pytest.mark.parametrize("attempts", [1, 2], ids=["once", "twice"])
def test_an_attempt_whose_time_is_up_has_the_evaluations_of_the_last_one_and_time_to_fit_the_best(
    tmp_path: Path, attempts: int
) -> None:
    first = Search(tmp_path, *JOURNALLED)
    for _ in range(attempts):
        again = Search(tmp_path, *JOURNALLED, scored(0.99, 1.0), used=100.0)
        assert again.result.candidates == first.result.candidates
        assert (again.result.stopped_by, again.limits) == ("time", [])
        assert again.clock.remaining == pytest.approx(again.engine.reserve())
        assert again.engine.reserve() == pytest.approx(1.2 * 4 + 1.5 + 1.5 * 2 * 4.0)


def test_evaluations_after_an_unfinished_one_count(tmp_path: Path) -> None:
    Search(tmp_path, *JOURNALLED)
    path = tmp_path / "journal.jsonl"
    header, first, best, third = path.read_text().splitlines(keepends=True)
    path.write_text(
        header + first + best.replace("key-1", "key-x").replace('"number":1', '"number":7') + third
    )
    again = Search(tmp_path, *JOURNALLED, used=100.0)
    assert [candidate.key for candidate in again.result.candidates] == ["key-0", "key-x", "key-2"]
    assert again.engine.progress().evaluated == 3
    assert again.engine.reserve() == pytest.approx(1.2 * 4 + 1.5 + 1.5 * 2 * 4.0)


def test_no_attempt_is_given_more_than_the_budget(tmp_path: Path) -> None:
    Search(tmp_path, scored(0.5, 1.0), scored(0.9, 10.0))
    path = tmp_path / "journal.jsonl"
    path.write_text(path.read_text().replace('"fitSeconds":10.0', '"fitSeconds":1e9'))
    assert Search(tmp_path, scored(0.5, 1.0), used=100.0).clock.remaining <= 100.0


def test_time_that_is_left_is_searched(tmp_path: Path) -> None:
    Search(tmp_path, *JOURNALLED)
    again = Search(tmp_path, *JOURNALLED, scored(0.99, 1.0), used=50.0)
    assert (again.result.stopped_by, len(again.limits)) == ("generations", 1)
    assert again.clock.remaining == 50.0
