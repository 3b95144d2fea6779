"""The model that ships: the best pipeline, the next best or the baseline, with the reason."""

from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from sklearn.linear_model import LogisticRegression

from trainingjob_api import Fallback, ModelSource
from trainingjob_trainer.run import final_stage as module
from trainingjob_trainer.run.fallback import Mode
from trainingjob_trainer.run.final_stage import (
    FinalStage,
    Trained,
    lost_with_their_process,
    on_the_same_rows,
    shipped_best,
)
from trainingjob_trainer.search.candidate import Candidate, Outcome, SearchResult
from trainingjob_trainer.search.costs import FitEstimate
from trainingjob_trainer.search.final_fit import FittedModel, FittingFailed, NotFitted
from trainingjob_trainer.search.fits import HoldoutResult
from trainingjob_trainer.search.limits import RunClock
from trainingjob_trainer.search.pool import InlinePool
from trainingjob_trainer.search.store import StoreRef
from trainingjob_trainer.search_space.pipeline import describe, ensemble_of

REF = StoreRef(folder="", work_digest="", frame_digest="", folds=2, named=False)
PIPELINE = describe(LogisticRegression(C=2.0))


def candidate(number: int, score: float, **changes: Any) -> Candidate:
    fields: dict[str, Any] = {
        "number": number,
        "key": f"key-{number}",
        "origin": "space",
        "generation": 1,
        "pipeline": PIPELINE,
        "outcome": Outcome.OK,
        "score": score,
    }
    return Candidate(**{**fields, **changes})


def fitted(one: Candidate, score: float = 0.5) -> FittedModel:
    holdout = HoldoutResult(
        score=score,
        predicted=None,  # type: ignore[arg-type]
        probabilities=None,
        classes=None,
        extra={},
    )
    return FittedModel(candidate=one, model=b"", holdout_model=b"", holdout=holdout, seconds=1.0)


BASELINE = fitted(candidate(-1, 0.5, key="base"))
FIRST, SECOND, WORSE = candidate(1, 0.9), candidate(2, 0.8), candidate(3, 0.4)
AS_SEED = candidate(0, 0.5, key="base")


def searched(*candidates: Candidate) -> SearchResult:
    return SearchResult(candidates=candidates, stopped_by="time")


class Told(list[str]):
    """What the user was warned of."""


def stage(told: Told, *, seconds: float = 100.0, mode: Mode = Mode.FULL) -> FinalStage:
    clock = RunClock(seconds)
    clock.start()
    context = SimpleNamespace(
        clock=clock,
        mode=mode,
        channel=SimpleNamespace(beat=lambda: None),
        stop=SimpleNamespace(is_set=lambda: False),
        warn=told.append,
    )
    return FinalStage(
        context=context,  # type: ignore[arg-type]
        pool=InlinePool(),
        ref=REF,
        baseline=BASELINE,
        estimate=FitEstimate(encode_seconds=0.0, all_rows=100, fold_rows=80),
    )


@pytest.fixture
def unfittable(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Keys of the candidates that cannot be fitted; everything else can."""
    keys: set[str] = set()

    def fit(_pool: Any, ranked: Any, _ref: Any, **_how: Any) -> tuple[FittedModel, Any]:
        failed = []
        for candidate in ranked:
            if candidate.key not in keys:
                return fitted(candidate), tuple(failed)
            failed.append(NotFitted(candidate=candidate, reason="the fit took longer than 9.0 s"))
        raise FittingFailed("number 1: the fit took longer than 9.0 s", tuple(failed))

    monkeypatch.setattr(module, "fit_best", fit)
    return keys


def test_the_best_ships(unfittable: set[str]) -> None:
    told = Told()
    made = stage(told).fit(searched(FIRST, SECOND, AS_SEED), ())
    assert (made.best.candidate, made.source, made.not_fitted) == (FIRST, ModelSource.TPOT, ())
    assert told == []


def test_the_next_best_ships_and_the_best_is_named(unfittable: set[str]) -> None:
    told = Told()
    unfittable.add(FIRST.key)
    made = stage(told).fit(searched(FIRST, SECOND, AS_SEED), ())
    assert made.best.candidate is SECOND
    assert [pipeline.candidate for pipeline in made.not_fitted] == [FIRST]
    (line,) = told
    assert line.endswith(
        "(0.9), could not be fitted: the fit took longer than 9.0 s. The next best one ships."
    )
    assert "LogisticRegression(C=2)" in line


def test_the_baseline_is_never_presented_as_a_result_of_the_search(unfittable: set[str]) -> None:
    unfittable.update({FIRST.key, SECOND.key})
    with pytest.raises(FittingFailed) as failure:
        stage(Told()).fit(searched(FIRST, SECOND, AS_SEED, WORSE), ())
    assert [pipeline.candidate for pipeline in failure.value.not_fitted] == [FIRST, SECOND]


@pytest.mark.parametrize(
    ("found", "source"), [((AS_SEED, WORSE), ModelSource.TPOT), ((WORSE,), ModelSource.BASELINE)]
)
def test_only_pipelines_that_beat_the_baseline_are_fitted(
    unfittable: set[str], found: tuple[Candidate, ...], source: ModelSource
) -> None:
    unfittable.add("base")
    made = stage(Told()).fit(searched(*found), ())
    assert (made.best, made.baseline, made.source, made.not_fitted) == (BASELINE, BASELINE, source, ())


def test_a_search_without_a_score_leaves_the_baseline(unfittable: set[str]) -> None:
    with pytest.raises(FittingFailed, match="no pipeline of the search was scored"):
        stage(Told()).fit(searched(), ())


def test_a_finalist_that_wins_on_all_rows_ships(unfittable: set[str]) -> None:
    whole = (candidate(-1, 0.6, key="base"), candidate(1, 0.65), candidate(2, 0.7))
    made = stage(Told()).fit(searched(FIRST, SECOND), whole)
    assert made.best.candidate is whole[2]


def test_folds_that_are_whole_need_no_finalists() -> None:
    assert stage(Told()).plan is None
    assert stage(Told()).finalists(searched(FIRST)) == ()


def test_what_ships_and_the_baseline_are_scored_on_the_same_rows() -> None:
    whole = (candidate(-1, 0.6, key="base"), candidate(1, 0.65))
    best, baseline = on_the_same_rows(fitted(FIRST), BASELINE, whole)
    assert (best.candidate, baseline.candidate) == (whole[1], whole[0])
    next_best = fitted(SECOND)
    assert on_the_same_rows(next_best, BASELINE, whole) == (next_best, BASELINE)
    best, baseline = on_the_same_rows(BASELINE, BASELINE, whole)
    assert best is baseline
    assert best.candidate is whole[0]
    assert on_the_same_rows(next_best, BASELINE, ()) == (next_best, BASELINE)


def trained(source: ModelSource, **changes: Any) -> Trained:
    fields: dict[str, Any] = {
        "best": BASELINE,
        "baseline": BASELINE,
        "source": source,
        "searched": searched(FIRST, SECOND, AS_SEED, WORSE),
        "seconds": {},
    }
    return Trained(**{**fields, **changes})


def fallback(source: str) -> Fallback:
    return Fallback(
        from_=source,
        to="baseline",
        reason="TrainerCrashed",
        time=datetime(2026, 1, 1, tzinfo=UTC),
        message="the search process was ended by signal 9",
    )


def test_pipelines_that_were_lost_with_their_process_are_reported() -> None:
    found = lost_with_their_process(trained(ModelSource.BASELINE), [fallback("dask"), fallback("tpot")])
    assert [pipeline.candidate for pipeline in found] == [FIRST, SECOND]
    assert {pipeline.reason for pipeline in found} == {"the search process was ended by signal 9"}


def test_no_pipeline_is_reported_as_lost_without_a_fallback() -> None:
    assert lost_with_their_process(trained(ModelSource.TPOT), [fallback("tpot")]) == ()
    assert lost_with_their_process(trained(ModelSource.BASELINE), [fallback("dask")]) == ()


def test_the_status_has_the_rows_the_interval_and_what_could_not_be_fitted() -> None:
    from trainingjob_trainer.search.predictions import Interval

    lost = tuple(NotFitted(candidate=candidate(n, 0.9), reason="x" * 400) for n in range(5))
    known = fitted(candidate(7, 0.7, train_rows=64, test_rows=16), 0.65)
    best = shipped_best(
        trained(ModelSource.TPOT, best=known, not_fitted=lost, interval=Interval(0.6, 0.7)), holdout_rows=20
    )
    assert (best.train_rows, best.test_rows, best.holdout_rows) == (64, 16, 20)
    assert (best.holdout_score, best.holdout_interval) == ("0.65", ("0.6", "0.7"))
    assert best.not_fitted is not None
    assert [len(pipeline.reason) for pipeline in best.not_fitted] == [300] * 3


def test_a_score_that_is_not_a_number_is_left_out() -> None:
    known = fitted(candidate(7, 0.7), float("nan"))
    best = shipped_best(trained(ModelSource.TPOT, best=known), holdout_rows=20)
    assert best.holdout_score is None
    assert best.holdout_interval is None


class Built:
    """Stands in for what builds ensembles."""

    def __init__(self, made: Candidate | Exception | None) -> None:
        self._made = made
        self.asked: list[Any] = []

    def build(self, ranked: Any, **_how: Any) -> Candidate | None:
        self.asked.append(ranked)
        if isinstance(self._made, Exception):
            raise self._made
        return self._made


ENSEMBLE_OF_TWO = candidate(
    9,
    0.95,
    origin="ensemble",
    key="both",
    pipeline=ensemble_of([PIPELINE, describe(LogisticRegression(C=3.0))], [3, 1], classification=True),
    members=("first", "second"),
)


def test_an_ensemble_that_wins_ships_and_is_on_the_board(unfittable: set[str]) -> None:
    built = Built(ENSEMBLE_OF_TWO)
    made = replace(stage(Told()), ensembles=built).fit(searched(FIRST, SECOND), ())
    assert (made.best.candidate, made.source) == (ENSEMBLE_OF_TWO, ModelSource.TPOT)
    assert ENSEMBLE_OF_TWO in made.searched.candidates
    assert [candidate.score for candidate in built.asked[0]] == [0.9, 0.8, 0.5]
    best = shipped_best(made, holdout_rows=20)
    assert best.pipeline == "ensemble of 2: LogisticRegression x 2"
    assert best.members is not None
    assert [(member.key, member.pipeline, member.weight) for member in best.members] == [
        ("first", "LogisticRegression(C=2)", "0.75"),
        ("second", "LogisticRegression(C=3)", "0.25"),
    ]


def test_the_best_ships_if_the_ensemble_cannot_be_fitted(unfittable: set[str]) -> None:
    told = Told()
    unfittable.add("both")
    made = replace(stage(told), ensembles=Built(ENSEMBLE_OF_TWO)).fit(searched(FIRST, SECOND), ())
    assert made.best.candidate is FIRST
    assert [pipeline.candidate for pipeline in made.not_fitted] == [ENSEMBLE_OF_TWO]
    assert "ensemble of 2" in told[0]


def test_the_baseline_ships_if_only_an_ensemble_beat_it_and_cannot_be_fitted(unfittable: set[str]) -> None:
    told = Told()
    unfittable.add("both")
    made = replace(stage(told), ensembles=Built(ENSEMBLE_OF_TWO)).fit(searched(WORSE, AS_SEED), ())
    assert (made.best, made.source) == (BASELINE, ModelSource.TPOT)
    assert [pipeline.candidate for pipeline in made.not_fitted] == [ENSEMBLE_OF_TWO]
    assert told[0].endswith("The baseline ships.")


def test_finalists_are_the_members_of_an_ensemble(unfittable: set[str]) -> None:
    whole = (candidate(-1, 0.6, key="base"), candidate(1, 0.65), candidate(2, 0.7))
    built = Built(ENSEMBLE_OF_TWO)
    made = replace(stage(Told()), ensembles=built).fit(searched(FIRST, SECOND), whole)
    assert [candidate.score for candidate in built.asked[0]] == [0.7, 0.65, 0.6]
    assert made.finalists == (*whole, ENSEMBLE_OF_TWO)
    assert ENSEMBLE_OF_TWO not in made.searched.candidates


def test_an_ensemble_ships_below_the_best_pipeline_and_never_below_the_baseline(
    unfittable: set[str],
) -> None:
    for score, best in ((0.6, "both"), (0.5, "base"), (0.4, "base")):
        built = Built(replace(ENSEMBLE_OF_TWO, score=score))
        made = replace(stage(Told()), ensembles=built).fit(searched(WORSE, AS_SEED), ())
        assert made.best.candidate.key == best
        whole = (candidate(-1, 0.5, key="base"), candidate(1, 0.65))
        made = replace(stage(Told()), ensembles=built).fit(searched(FIRST), whole)
        assert made.best.candidate.key == ("both" if best == "both" else FIRST.key)
        assert (len(made.finalists) == 3) is (best == "both")


def test_a_selection_that_fails_costs_the_ensemble_alone(unfittable: set[str]) -> None:
    told = Told()
    made = replace(stage(told), ensembles=Built(TimeoutError("too long"))).fit(searched(FIRST, SECOND), ())
    assert made.best.candidate is FIRST
    assert told == ["No ensemble was built: TimeoutError: too long"]


def test_a_child_that_follows_a_crash_in_the_final_fits_builds_none(unfittable: set[str]) -> None:
    built = Built(ENSEMBLE_OF_TWO)
    made = replace(stage(Told(), mode=Mode.FINISH), ensembles=built).fit(searched(FIRST, SECOND), ())
    assert (made.best.candidate, built.asked) == (FIRST, [])


def test_a_model_of_fewer_rows_has_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(_pool: Any, ranked: Any, _ref: Any, **_how: Any) -> tuple[FittedModel, Any]:
        return replace(fitted(ranked[0]), rows=40), (NotFitted(candidate=SECOND, reason="too slow"),)

    monkeypatch.setattr(module, "fit_best", fit)
    told = Told()
    made = stage(told).fit(searched(FIRST, SECOND, AS_SEED), ())
    assert made.best.candidate is FIRST
    (line,) = told
    assert line.startswith("No pipeline could be fitted on all 100 rows in the time that was left.")
    assert "learned from 40 rows; allow more time (budget.timeLeftSeconds)" in line
