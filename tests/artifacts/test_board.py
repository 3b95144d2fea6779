from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainingjob_api import format_score
from trainingjob_trainer.artifacts.board import fold_similar, front_of, leaderboard, pareto_front, ranked
from trainingjob_trainer.search.candidate import Candidate, Outcome

anything = st.one_of(st.none(), st.floats(), st.floats(-1, 1).map(lambda x: round(x, 1)))


@st.composite
def candidates(draw: st.DrawFn) -> list[Candidate]:
    rows = draw(
        st.lists(st.tuples(anything, anything, st.sampled_from(Outcome), st.integers(0, 12)), max_size=30)
    )
    return [
        Candidate(
            number=number,
            key=f"k{key}",
            origin="space",
            generation=1,
            pipeline={"name": f"p{key}"},
            outcome=outcome,
            score=score,
            fold_scores=() if score is None else (score, score),
            complexity=size,
        )
        for number, (score, size, outcome, key) in enumerate(rows)
    ]


def make(number: int, score: float, size: float | None = 1.0, **changes: Any) -> Candidate:
    values: dict[str, Any] = {
        "number": number,
        "key": f"k{number}",
        "origin": "space",
        "generation": 1,
        "pipeline": {"name": f"p{number}"},
        "outcome": Outcome.OK,
        "score": score,
        "complexity": size,
    }
    return Candidate(**{**values, **changes})


def known(candidate: Candidate) -> bool:
    return candidate.complexity is not None and math.isfinite(candidate.complexity)


def test_finalists_come_before_the_others_with_their_rows():
    searched = [make(n, 1 - n / 10, train_rows=8000, test_rows=8000) for n in range(4)]
    whole = [make(n, score, train_rows=64000, test_rows=16000) for n, score in ((1, 0.5), (0, 0.4))]
    rows = leaderboard(searched, 10, finalists=whole)
    assert [(row.key, row.score, row.train_rows) for row in rows] == [
        ("k1", "0.5", 64000),
        ("k0", "0.4", 64000),
        ("k2", "0.8", 8000),
        ("k3", "0.7", 8000),
    ]
    assert [row.test_rows for row in rows] == [16000, 16000, 8000, 8000]
    front = pareto_front(searched)
    assert [(point.score, point.train_rows, point.test_rows) for point in front] == [("1", 8000, 8000)]


@given(candidates())
def test_board_is_sorted_finite_and_without_duplicates(found):
    board = ranked(found)
    scores = [c.score for c in board]
    assert scores == sorted(scores, reverse=True)
    assert all(c.outcome is Outcome.OK and math.isfinite(c.score) for c in board)
    assert len({c.key for c in board}) == len(board)


@given(candidates(), st.randoms())
def test_board_does_not_depend_on_the_order(found, random):
    shuffled = list(found)
    random.shuffle(shuffled)
    assert ranked(shuffled) == ranked(found)
    assert front_of(shuffled) == front_of(found)


@given(candidates())
def test_the_front_has_the_best_pipelines_and_no_dominated_point(found):
    front, pool = front_of(found), [c for c in ranked(found) if known(c)]
    assert bool(front) == bool(pool)
    if pool:
        assert front[0] == pool[0]
    for point in front:
        assert not any(
            other.score >= point.score
            and other.complexity <= point.complexity
            and (other.score, other.complexity) != (point.score, point.complexity)
            for other in pool
        )
    for other in pool:
        assert any(p.score >= other.score and p.complexity <= other.complexity for p in front)


@given(candidates())
def test_texts_are_never_nan(found):
    rows = leaderboard(found, 100)
    points = pareto_front(found)
    texts = [t for r in (*rows, *points) for t in (r.score, r.complexity) if t is not None]
    assert all(math.isfinite(float(text)) for text in texts)


def test_ranks_and_limits():
    found = [make(0, 0.8), make(1, 0.9, 5.0), make(2, 0.9, 2.0), make(3, 0.7)]
    rows = leaderboard(found, 3)
    assert [(r.rank, r.pipeline, r.score) for r in rows] == [
        (1, "p2", "0.9"),
        (2, "p1", "0.9"),
        (3, "p0", "0.8"),
    ]


def test_unknown_complexity_ranks_but_is_not_on_the_front():
    found = [make(0, 0.9, None), make(1, 0.8, 3.0)]
    assert [c.number for c in ranked(found)] == [0, 1]
    assert [c.number for c in front_of(found)] == [1]


def test_limit_of_the_front_keeps_the_best():
    found = [make(n, n / 10, float(n + 1)) for n in range(9)]
    assert [p.pipeline for p in pareto_front(found, limit=2)] == ["p8", "p7"]


@pytest.mark.parametrize("folds", [(), (0.5,), (math.nan, 0.5)])
def test_no_deviation_below_two_folds(folds):
    rows = leaderboard([make(0, 0.5, fold_scores=folds)], 1)
    assert rows[0].score_std is None


def test_the_front_has_no_point_that_another_one_beats_or_equals():
    found = [
        make(0, 0.9, 5.0),
        make(1, 0.9, 5.0),  # the same again
        make(2, 0.8, 5.0),  # as large, and worse
        make(3, 0.8, 2.0),
        make(4, 0.7, 3.0),  # larger, and worse
        make(5, 0.8, 4.0),  # as good, and larger
        make(6, 0.1, 1.0),
    ]
    assert [c.number for c in front_of(found)] == [0, 3, 6]


def test_equal_scores_are_ordered_by_size_and_then_by_number():
    found = [make(4, 0.9, 2.0), make(3, 0.9, 2.0), make(2, 0.9, 3.0), make(1, 0.9, None), make(0, 0.8, 1.0)]
    assert [c.number for c in ranked(found)] == [3, 4, 2, 1, 0]


def test_a_pipeline_that_was_evaluated_twice_has_its_better_score():
    found = [make(0, 0.7), make(1, 0.9, key="k0"), make(2, 0.8, key="k0")]
    assert [(c.number, c.score) for c in ranked(found)] == [(1, 0.9)]


def test_the_deviation_is_that_of_the_folds():
    rows = leaderboard([make(0, 0.5, fold_scores=(0.2, 0.4, 0.6, 0.8))], 1)
    assert float(rows[0].score_std) == pytest.approx(0.05**0.5, rel=1e-5)


def chain(*names: str, **params: Any) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"class": name} for name in names]
    steps[-1]["params"] = params
    return {"class": "Pipeline", "steps": steps, "name": " ".join(names)}


@st.composite
def alike(draw: st.DrawFn) -> list[Candidate]:
    """Candidates of few estimators with few scores."""
    rows = draw(
        st.lists(
            st.tuples(st.sampled_from([0.5, 0.5000001, 0.9]), st.sampled_from("ab"), st.sampled_from([7, 8])),
            max_size=30,
        )
    )
    return [
        make(n, score, pipeline=chain("StandardScaler", name, alpha=n), train_rows=rows_)
        for n, (score, name, rows_) in enumerate(rows)
    ]


@given(alike(), st.integers(0, 29))
def test_folding_loses_no_pipeline_and_keeps_the_order_and_the_best(found, shipped):
    board = ranked(found)
    lines = fold_similar(board, shipped=f"k{shipped}")
    first = [line for line, _ in lines]
    assert sum(1 + similar for _, similar in lines) == len(board)
    assert first == [c for c in board if c in first]
    assert first[:1] == board[:1]
    assert f"k{shipped}" not in {c.key for c in board} - {c.key for c in first}


@given(alike())
def test_lines_differ_in_score_estimator_or_rows(found):
    lines = leaderboard(found, 100)
    shown = {(format_score(c.score), c.pipeline["name"], c.train_rows) for c in found}
    assert {(r.score, r.pipeline, r.train_rows) for r in lines} == shown
    assert len(lines) == len(shown)
    assert [r.rank for r in lines] == list(range(1, len(lines) + 1))


def test_pipelines_of_the_same_estimator_and_score_are_one_line_with_a_count():
    found = [
        make(0, 0.9, pipeline=chain("StandardScaler", "LogisticRegression", C=1.0)),
        make(1, 0.9, pipeline=chain("StandardScaler", "LogisticRegression", C=2.0)),
        make(2, 0.9, 2.0, pipeline=chain("PCA", "LogisticRegression", C=1.0)),
        make(3, 0.9, 3.0, pipeline=chain("StandardScaler", "KNeighborsClassifier")),
        make(4, 0.8, pipeline=chain("StandardScaler", "LogisticRegression", C=3.0)),
    ]
    rows = leaderboard(found, 10)
    assert [(r.rank, r.key, r.similar) for r in rows] == [(1, "k0", 2), (2, "k3", None), (3, "k4", None)]


def test_the_limit_counts_lines_and_the_shipped_pipeline_has_its_own():
    found = [make(n, 0.9, pipeline=chain("Ridge", alpha=n)) for n in range(3)]
    found += [make(9, 0.8, pipeline=chain("Lasso"))]
    rows = leaderboard(found, 2)
    assert [(r.key, r.similar) for r in rows] == [("k0", 2), ("k9", None)]
    rows = leaderboard(found, 9, shipped="k1")
    assert [(r.key, r.similar) for r in rows] == [("k0", 1), ("k1", None), ("k9", None)]


def test_what_ships_is_on_a_short_board_with_its_own_rank():
    found = [make(number, 0.9 - number / 10_000) for number in range(1_500)]
    for shipped, expected in (
        ("k1", [(1, "k0"), (2, "k1"), (3, "k2")]),
        ("k7", [(1, "k0"), (2, "k1"), (8, "k7")]),
        ("k1400", [(1, "k0"), (2, "k1"), (1_000, "k1400")]),
    ):
        rows = leaderboard(found, 3, shipped=shipped)
        assert [(row.rank, row.key) for row in rows] == expected
    (only,) = leaderboard(found, 1, shipped="k7")
    assert only.key == "k7"


def test_a_vote_of_one_counts_as_its_member_and_ensembles_differ_by_members():
    def voting(*names: str) -> dict[str, Any]:
        members = [{"class": name} for name in names]
        return {"class": "VotingClassifier", "members": members, "name": "-".join(names)}

    names = [("SVC",), ("SVC",), ("SVC", "Ridge"), ("SVC", "Lasso")]
    found = [make(n, 0.9, pipeline=voting(*members)) for n, members in enumerate(names)]
    found.append(make(7, 0.9, pipeline=chain("SVC")))
    rows = leaderboard(found, 10)
    assert [(r.key, r.similar) for r in rows] == [("k0", 2), ("k2", None), ("k3", None)]
