from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from trainingjob_trainer.data import FindingKind
from trainingjob_trainer.data.split import (
    Classes,
    Split,
    split_by_group,
    split_by_time,
    split_copies,
    split_rows,
)
from trainingjob_trainer.errors import DataError

USUAL: dict[str, Any] = {"fraction": 0.2, "folds": 5}


def classes_of(codes: Any) -> Classes:
    array = np.asarray(codes, dtype=np.intp)
    return Classes(array, tuple(f"class {i}" for i in range(array.max() + 1)))


def check(split: Split, rows: int, *, covers: bool = True) -> None:
    both = np.concatenate([split.train, split.holdout])
    assert sorted(both) == list(range(rows))
    scored = np.concatenate([score for _, score in split.folds])
    assert len(scored) == len(set(scored)), "a row is scored once"
    for fit, score in split.folds:
        assert fit.dtype == score.dtype == np.intp
        assert not set(fit) & set(score)
        assert set(fit) | set(score) <= set(split.train)
        if covers:
            assert len(fit) + len(score) == len(split.train)
    assert not covers or set(scored) == set(split.train)


@given(counts=st.lists(st.integers(3, 60), min_size=2, max_size=6), seed=st.integers(0, 5))
@settings(max_examples=60)
def test_stratified_parts_hold_every_class(counts: list[int], seed: int) -> None:
    codes = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    split = split_rows(len(codes), classes_of(codes), seed=seed, **USUAL)
    check(split, len(codes))
    train = np.bincount(codes[split.train])
    assert (train >= 2).all()
    assert len(split.folds) == min(5, train.min())
    assert bool(split.findings) == (train.min() < 5)
    for fit, _ in split.folds:
        assert len(np.unique(codes[fit])) == len(counts)
    again = split_rows(len(codes), classes_of(codes), seed=seed, **USUAL)
    assert np.array_equal(split.holdout, again.holdout)
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(split.folds, again.folds, strict=True))


@pytest.mark.parametrize("classify", [True, False], ids=["classes", "numbers"])
@pytest.mark.parametrize("seed", [0, 2**32 - 1])
def test_a_small_table_is_cut_twice_again_for_the_finalists(classify: bool, seed: int) -> None:
    codes = np.resize([0, 0, 1], 900)
    split = split_rows(900, classes_of(codes) if classify else None, seed=seed, **USUAL)
    assert len(split.repeats) == 2 * len(split.folds) == 10
    for repeat in (split.repeats[:5], split.repeats[5:]):
        check(replace(split, folds=repeat), 900)
        assert not any(np.array_equal(a, b) for (_, a), (_, b) in zip(repeat, split.folds, strict=True))
        assert not classify or all(np.bincount(codes[score]).min() == 48 for _, score in repeat)
    assert not np.array_equal(split.repeats[0][1], split.repeats[5][1])


def test_rows_that_are_many_or_belong_together_are_not_cut_again() -> None:
    assert split_rows(2_500, None, seed=0, **USUAL).repeats
    assert not split_rows(2_502, None, seed=0, **USUAL).repeats
    assert not split_by_group(np.arange(300) // 3, None, seed=0, **USUAL).repeats
    assert not split_by_time(np.arange(300), None, **USUAL).repeats


def test_the_holdout_takes_its_share_of_each_class() -> None:
    codes = np.repeat([0, 1], [100, 900])
    split = split_rows(1000, classes_of(codes), seed=0, **USUAL)
    assert np.bincount(codes[split.holdout]).tolist() == [20, 180]


def test_two_rows_of_a_class_stay_out_of_the_holdout() -> None:
    codes = np.repeat([0, 1, 2], [100, 50, 2])
    split = split_rows(152, classes_of(codes), seed=0, fraction=0.5, folds=5)
    assert (codes[split.train] == 2).sum() == 2
    assert [finding.kind for finding in split.findings] == [FindingKind.FOLDS_REDUCED]
    assert len(split.folds) == 2


def test_a_class_of_one_row_is_rejected() -> None:
    codes = np.repeat([0, 1, 2], [100, 50, 1])
    with pytest.raises(DataError, match=r"class 2 \(1 in all\)") as caught:
        split_rows(151, classes_of(codes), seed=0, **USUAL)
    assert caught.value.reason == "ClassTooSmall"


def test_many_small_classes_are_rejected_in_a_short_message() -> None:
    with pytest.raises(DataError, match="regression") as caught:
        split_rows(50_000, classes_of(np.arange(50_000)), seed=0, **USUAL)
    assert len(caught.value.message) < 500


def test_numbers_are_cut_at_random() -> None:
    split = split_rows(100, None, seed=1, **USUAL)
    check(split, 100)
    assert len(split.holdout) == 20
    assert not np.array_equal(split.holdout, split_rows(100, None, seed=2, **USUAL).holdout)


@pytest.mark.parametrize("rows", [1, 2, 3, 4])
def test_too_few_rows_are_rejected(rows: int) -> None:
    with pytest.raises(DataError) as caught:
        split_rows(rows, None, seed=0, **USUAL)
    assert caught.value.reason == "TooFewRows"


@pytest.mark.parametrize("classify", [True, False])
@given(groups=st.lists(st.integers(0, 11), min_size=60, max_size=120), seed=st.integers(0, 3))
@settings(max_examples=25)
def test_a_group_is_never_on_both_sides(classify: bool, groups: list[int], seed: int) -> None:
    of_row = np.array(groups)
    codes = classes_of(np.arange(len(groups)) % 2) if classify else None
    # A class that few groups have may not be there to be learnt, which is refused.
    assume(len(set(groups)) >= 6)
    assume(not classify or min(len(set(groups[::2])), len(set(groups[1::2]))) >= 4)
    split = split_by_group(of_row, codes, seed=seed, **USUAL)
    check(split, len(groups))
    assert not set(of_row[split.train]) & set(of_row[split.holdout])
    for fit, score in split.folds:
        assert not set(of_row[fit]) & set(of_row[score])


@pytest.mark.parametrize("alone", [0, 1])
def test_a_class_of_one_group_cannot_be_learnt_and_scored(alone: int) -> None:
    groups = np.arange(120) % 8 + 1
    groups[alone::2] = 0
    with pytest.raises(DataError) as caught:
        split_by_group(groups, classes_of(np.arange(120) % 2), seed=0, **USUAL)
    assert caught.value.reason in {"ClassTooSmall", "FoldsSingleClass"}


@pytest.mark.parametrize("classify", [True, False])
@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5])
def test_the_group_holdout_has_about_its_share_and_follows_the_seed(classify: bool, fraction: float) -> None:
    groups = np.arange(2000) % 100
    codes = classes_of(np.arange(2000) // 100 % 2) if classify else None

    def held(seed: int) -> list[int]:
        return list(split_by_group(groups, codes, fraction=fraction, folds=5, seed=seed).holdout)

    assert len(held(0)) == pytest.approx(fraction * 2000, rel=0.2)
    assert held(0) == held(0)
    assert held(0) != held(1)


def test_few_groups_reduce_the_folds_and_two_are_too_few() -> None:
    groups = np.repeat([0, 1, 2, 3], 25)
    split = split_by_group(groups, None, seed=0, **USUAL)
    assert 2 <= len(split.folds) <= 3
    assert [finding.kind for finding in split.findings] == [FindingKind.FOLDS_REDUCED]
    with pytest.raises(DataError) as caught:
        split_by_group(np.repeat([0, 1], 50), None, seed=0, **USUAL)
    assert caught.value.reason == "TooFewGroups"


def test_groups_with_a_single_class_each_are_split_or_rejected() -> None:
    groups = np.repeat(np.arange(20), 10)
    split = split_by_group(groups, classes_of(groups % 2), seed=0, **USUAL)
    check(split, 200)
    assert split.findings == ()


def test_a_fold_that_cannot_hold_a_class_is_left_out() -> None:
    groups = np.repeat(np.arange(10), 20)
    split = split_by_group(groups, classes_of(np.where(groups == 0, 2, np.arange(200) % 2)), seed=3, **USUAL)
    assert {finding.kind for finding in split.findings} == {FindingKind.FOLDS_REDUCED}
    assert len(split.folds) == 4


def test_a_class_that_no_fold_can_learn_is_a_finding() -> None:
    codes = np.array([*[0, 1] * 37, *[2] * 6, *[0, 1, 2, 0] * 5])
    split = split_by_time(np.arange(100), classes_of(codes), **USUAL)
    assert {finding.kind for finding in split.findings} == {FindingKind.FOLD_CLASSES}
    assert len(split.folds) == 5


@pytest.mark.parametrize("classify", [True, False])
def test_later_rows_are_scored(classify: bool) -> None:
    times = np.random.default_rng(0).permutation(100)
    codes = classes_of(np.arange(100) % 2) if classify else None
    split = split_by_time(times, codes, **USUAL)
    check(split, 100, covers=False)
    assert times[split.train].max() < times[split.holdout].min()
    assert len(split.holdout) == 20
    assert (np.diff(split.train) > 0).all(), "as pipeline.py has them"
    for fit, score in split.folds:
        assert (np.diff(times[fit]) > 0).all()
        assert times[fit].max() < times[score].min()


def test_equal_times_stay_together() -> None:
    times = np.repeat(np.arange(10), 10)
    split = split_by_time(times, None, fraction=0.25, folds=3)
    assert not set(times[split.train]) & set(times[split.holdout])
    check(split_by_time(np.zeros(50), None, **USUAL), 50, covers=False)


def test_a_class_that_comes_late_reduces_the_folds() -> None:
    codes = np.array([0] * 40 + [0, 1] * 30)
    split = split_by_time(np.arange(100), classes_of(codes), **USUAL)
    assert len(split.folds) < 5
    assert [finding.kind for finding in split.findings] == [FindingKind.FOLDS_REDUCED]


def test_a_class_that_comes_last_is_rejected() -> None:
    codes = np.array([0] * 70 + [1] * 30)
    with pytest.raises(DataError) as caught:
        split_by_time(np.arange(100), classes_of(codes), **USUAL)
    assert caught.value.reason == "FoldsSingleClass"


@pytest.mark.parametrize("classify", [True, False])
@given(sets=st.lists(st.integers(0, 99), min_size=150, max_size=200), seed=st.integers(0, 3))
@settings(max_examples=25)
def test_copies_stay_together_in_their_strata(classify: bool, sets: list[int], seed: int) -> None:
    of_row = np.array([*sets, *range(100)])
    codes = classes_of(of_row % 2) if classify else None
    split = split_copies(of_row, codes, seed=seed, **USUAL)
    if np.bincount(of_row).max() * 20 > len(of_row):
        assert split is None
        return
    assert split is not None
    check(split, len(of_row))
    assert not set(of_row[split.train]) & set(of_row[split.holdout])
    assert len(split.repeats) == 2 * len(split.folds)
    for fit, score in (*split.folds, *split.repeats):
        assert not set(of_row[fit]) & set(of_row[score])
    if classify:
        assert len(set(of_row[split.holdout][of_row[split.holdout] % 2 == 0])) == 10
    again = split_copies(of_row, codes, seed=seed, **USUAL)
    assert again is not None
    assert np.array_equal(split.holdout, again.holdout)


def test_copies_are_cut_apart_where_a_class_has_few_different_rows() -> None:
    of_row = np.array([*range(100), *[100, 101] * 4])
    codes = classes_of(np.where(of_row < 100, 0, 1))
    assert split_copies(of_row, codes, seed=0, **USUAL) is None
    assert split_copies(np.where(of_row == 101, 100, of_row), codes, seed=0, **USUAL) is None
    assert split_copies(np.repeat([*range(40), 40], [1] * 40 + [10]), None, seed=0, **USUAL) is None


@pytest.mark.parametrize("classify", [True, False])
def test_folds_are_shuffled_by_the_seed(classify: bool) -> None:
    codes = classes_of(np.arange(1000) % 2) if classify else None

    def places(seed: int) -> list[list[int]]:
        """Return where each fold's scored rows stand among those outside the hold-out."""
        split = split_rows(1000, codes, seed=seed, **USUAL)
        return [np.searchsorted(split.train, score).tolist() for _, score in split.folds]

    for fold in places(0):
        assert np.mean(fold) == pytest.approx(400, abs=80), "no fold is a stretch of the table"
    assert places(0) == places(0)
    assert places(0) != places(1)


def test_fewer_folds_that_score_every_row_come_before_more_that_do_not() -> None:
    codes = np.array([0] * 17 + [1, 0] * 41 + [0])
    split = split_by_time(np.arange(100), classes_of(codes), **USUAL)
    # Of five or four folds, the first one has only one class to learn from.
    assert len(split.folds) == 3
    assert all(len(np.unique(codes[fit])) == 2 for fit, _ in split.folds)
    assert [finding.kind for finding in split.findings] == [FindingKind.FOLDS_REDUCED]
