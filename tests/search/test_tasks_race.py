"""The race stops pipelines between folds."""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier

from support.stores import no_limit, small_store
from trainingjob_trainer.search.candidate import Candidate, Outcome
from trainingjob_trainer.search.evolution import race_lag
from trainingjob_trainer.search.tasks import Race, Rival, evaluate
from trainingjob_trainer.search_space.pipeline import describe

FOLDS = 5
NOISE = (0.03, -0.02, 0.0, 0.01, -0.02)


def complete(number: int, scores: Sequence[float], *, complexity: float | None = 10.0) -> Candidate:
    return Candidate(
        number=number,
        key=str(number),
        origin="space",
        generation=1,
        pipeline={},
        outcome=Outcome.OK,
        fold_scores=tuple(scores),
        score=float(np.mean(scores)),
        complexity=complexity,
    )


def field(*levels: float, differ: float = 0.0, complexity: float = 10.0) -> list[Candidate]:
    """Return pipelines with common noise of the folds, which differ by about *differ* beyond it."""
    rng = np.random.default_rng(0)
    return [
        complete(i, [level + n + differ * rng.normal() for n in NOISE], complexity=complexity)
        for i, level in enumerate(levels)
    ]


def race(candidates: Sequence[Candidate]) -> Race:
    found = Race.against(candidates, FOLDS)
    assert found is not None
    return found


def test_a_pipeline_far_behind_three_others_is_stopped_after_its_first_fold() -> None:
    known = race(field(0.9, 0.89, 0.88, differ=0.002))
    assert known.lost([0.7 + NOISE[0]], 10.0)
    assert not known.lost([0.885 + NOISE[0]], 10.0)


def test_the_third_best_decides_however_good_the_first_two_are() -> None:
    known = race(field(0.9, 0.89, 0.6, 0.5, 0.4))
    assert not known.lost([0.65 + NOISE[0]], 10.0)
    assert known.lost([0.55 + NOISE[0]], 10.0)


def test_fewer_than_three_complete_pipelines_stop_none() -> None:
    assert Race.against(field(0.9, 0.9), FOLDS) is None
    others = [complete(9, NOISE[:2])]  # not on all folds
    assert Race.against([*field(0.9, 0.9), *others], FOLDS) is None


def test_an_easy_first_fold_is_compared_with_the_same_fold_of_the_others() -> None:
    known = race(field(0.9, 0.89, 0.88))
    assert known.lost([0.89], 10.0)  # the others have 0.91 there
    assert not known.lost([0.91, 0.86], 10.0)


def test_the_noisier_the_folds_the_further_behind_a_pipeline_may_be() -> None:
    quiet, noisy = (race(field(0.9, 0.89, 0.88, 0.8, differ=d)) for d in (0.001, 0.05))
    assert quiet.lost([0.84 + NOISE[0]], 10.0)
    assert not noisy.lost([0.84 + NOISE[0]], 10.0)


def test_the_slack_shrinks_with_each_fold() -> None:
    slack = race(field(0.9, 0.89, 0.88, differ=0.02)).slack
    assert len(slack) == FOLDS - 1
    assert all(a > b > 0 for a, b in pairwise(slack))


def test_the_last_fold_stops_none() -> None:
    assert not race(field(0.9, 0.89, 0.88)).lost([0.1] * FOLDS, 10.0)


def test_a_pipeline_that_is_smaller_than_those_ahead_of_it_is_not_stopped() -> None:
    known = race(field(0.9, 0.89, 0.88, complexity=500.0))
    assert not known.lost([0.5], 20.0)
    assert known.lost([0.5], 500.0)
    assert known.lost([0.5], None)


def test_small_pipelines_race_against_small_pipelines() -> None:
    small = [complete(10 + i, [0.7 + n for n in NOISE], complexity=5.0) for i in range(3)]
    known = race([*field(0.9, 0.89, 0.88, complexity=500.0), *small])
    assert known.lost([0.5], 20.0)
    assert not known.lost([0.75], 20.0)


def test_the_size_of_a_task_does_not_grow_with_the_search() -> None:
    assert len(race(field(*np.linspace(0.9, 0.5, 400), differ=0.01)).rivals) == 3


def test_more_workers_increase_the_lag_of_the_race() -> None:
    first, later = (partial(race_lag, number, population_size=20) for number in (19, 20))
    assert first(workers=0) == first(workers=2) == 4
    assert later(workers=0) == later(workers=2) == 8
    assert first(workers=10) == later(workers=10) == 96


PRIOR = describe(DummyClassifier())


def test_an_evaluation_ends_when_its_race_is_lost(tmp_path: Path) -> None:
    ref = small_store(tmp_path, folds=FOLDS)
    hard = Race(rivals=(Rival(0.0, (0.9,) * FOLDS),) * 3, slack=(0.1, 0.0, 0.0, 0.0))
    end = evaluate(PRIOR, ref, no_limit(), race=hard)
    assert end.outcome is Outcome.STOPPED
    assert len(end.fold_scores) == 1
    assert end.error is None
    assert end.complexity is not None
    easy = Race(rivals=(Rival(0.0, (0.1,) * FOLDS),) * 3, slack=(0.0,) * (FOLDS - 1))
    assert evaluate(PRIOR, ref, no_limit(), race=easy).outcome is Outcome.OK


def stopped(**changes: Any) -> dict[str, Any]:
    told = complete(4, [0.5]).to_json() | {"outcome": "stopped", "score": None}
    return told | changes


def test_a_stopped_pipeline_in_the_journal_has_fold_scores_and_no_score() -> None:
    assert Candidate.from_json(stopped()).outcome is Outcome.STOPPED
    with pytest.raises(ValueError, match="no score"):
        Candidate.from_json(stopped(score=0.5))
    with pytest.raises(ValueError, match="no score"):
        Candidate.from_json(stopped(foldScores=[]))
