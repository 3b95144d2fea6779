import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import BaseEstimator

from trainingjob_trainer.search.store import (
    MAX_FOLD_ROWS,
    MIN_FOLD_ROWS,
    encoded_width,
    fold_row_cap,
    sample_folds,
)


@given(columns=st.integers(min_value=0, max_value=100_000))
def test_the_cap_is_bounded(columns: int) -> None:
    assert MIN_FOLD_ROWS <= fold_row_cap(columns) <= MAX_FOLD_ROWS


@given(
    rows=st.integers(min_value=20, max_value=400),
    cap=st.integers(min_value=6, max_value=500),
    state=st.integers(min_value=0, max_value=2**32 - 1),
    stratify=st.booleans(),
)
def test_samples_are_parts_in_order_within_the_cap_and_repeatable(
    rows: int, cap: int, state: int, stratify: bool
) -> None:
    target = np.array(["a", "b", "c"])[np.arange(rows) % 3]
    folds = ((np.arange(0, rows // 2), np.arange(rows // 2, rows)),)
    first = sample_folds(folds, target, cap=cap, stratify=stratify, latest=False, random_state=state)
    second = sample_folds(folds, target, cap=cap, stratify=stratify, latest=False, random_state=state)
    for (train, test), (train2, test2), (whole, rest) in zip(first, second, folds, strict=True):
        assert np.array_equal(train, train2)
        assert np.array_equal(test, test2)
        assert len(train) <= cap + 6
        assert set(train) <= set(whole)
        assert set(test) <= set(rest)
        assert (np.diff(train) > 0).all()
        if stratify:
            assert set(target[train]) == set(target[whole])


def test_time_validation_keeps_the_latest_rows() -> None:
    folds = ((np.arange(100), np.arange(100, 120)),)
    ((train, _),) = sample_folds(folds, np.zeros(120), cap=10, stratify=False, latest=True, random_state=0)
    assert train.tolist() == list(range(90, 100))


def test_both_parts_are_capped_and_follow_the_seed() -> None:
    folds = ((np.arange(300), np.arange(300, 600)),)
    target = np.arange(600) % 2

    def drawn(state: int) -> tuple[list[int], list[int]]:
        ((fit, score),) = sample_folds(
            folds, target, cap=100, stratify=False, latest=False, random_state=state
        )
        return list(fit), list(score)

    assert [len(part) for part in drawn(0)] == [100, 100]
    assert drawn(0) == drawn(0)
    assert drawn(0)[0] != drawn(1)[0]
    assert drawn(0)[1] != drawn(1)[1]


def test_each_class_keeps_its_share_and_two_rows_at_least() -> None:
    target = np.repeat(["often", "seldom", "twice"], [900, 98, 2])
    folds = ((np.arange(1000), np.arange(0)),)
    ((fit, _),) = sample_folds(folds, target, cap=100, stratify=True, latest=False, random_state=0)
    names, counts = np.unique(target[fit], return_counts=True)
    assert dict(zip(names, counts, strict=True)) == {"often": 90, "seldom": 10, "twice": 2}


def test_small_folds_stay_as_they_are() -> None:
    folds = ((np.arange(50), np.arange(50, 70)), (np.arange(20, 70), np.arange(20)))
    same = sample_folds(folds, np.arange(70) % 3, cap=50, stratify=True, latest=False, random_state=0)
    assert all(
        np.array_equal(part, other)
        for a, b in zip(same, folds, strict=True)
        for part, other in zip(a, b, strict=True)
    )


@pytest.mark.parametrize(
    ("columns", "cap"), [(10, 8_000), (125, 8_000), (250, 4_000), (500, 2_000), (5_000, 2_000)]
)
def test_wide_tables_have_fewer_rows(columns: int, cap: int) -> None:
    assert fold_row_cap(columns) == cap


def test_the_width_is_estimated_from_a_thousand_training_rows() -> None:
    seen: list[pd.Index] = []

    class Spy(BaseEstimator):
        def fit_transform(self, X: pd.DataFrame, y: np.ndarray) -> np.ndarray:
            seen.append(X.index)
            assert len(X) == len(y)
            return np.zeros((len(X), 7))

    rows = np.arange(2_000, 12_000)
    assert encoded_width(Spy(), pd.DataFrame({"a": range(20_000)}), np.arange(20_000), rows) == 7
    assert len(seen[0]) == 1_000
    assert set(seen[0]) <= set(rows)
    assert seen[0].max() > 11_900
