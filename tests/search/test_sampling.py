import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trainingjob_trainer.search.sampling import MAX_FOLD_ROWS, MIN_FOLD_ROWS, fold_row_cap, sample_folds


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
