import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier

from support.data_runs import run_for, table_of
from trainingjob_trainer.data import FindingKind
from trainingjob_trainer.data.load import make_sample
from trainingjob_trainer.data.prepare import Prepared, prepare
from trainingjob_trainer.data.split import duplicate_rows, find_duplicates, sets_of_copies


def sets(frame: pd.DataFrame) -> np.ndarray | None:
    return sets_of_copies(frame, duplicate_rows(frame))


def measured(rows: int = 300, *, copies: int = 0, seed: int = 0) -> pd.DataFrame:
    """Return a table of measurements, of which some rows stand there a second time."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({name: rng.normal(size=rows) for name in "abcd"})
    frame["y"] = np.where(frame["a"] + rng.normal(size=rows) * 2 > 0, "yes", "no")
    again = frame.sample(copies, random_state=seed)
    return pd.concat([frame, again]).sample(frac=1, random_state=seed).reset_index(drop=True)


def counted(rows: int = 1500) -> pd.DataFrame:
    """Return a table of few categories, where different things look the same."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({name: rng.integers(0, 4, size=rows) for name in "abcde"})
    chance = 1 / (1 + np.exp(-(frame["a"] ^ frame["b"]) + 1.5))
    frame["y"] = np.where(rng.random(rows) < chance, "yes", "no")
    return frame


def duplicates_of(prepared: Prepared) -> list[str]:
    return [finding.message for finding in prepared.findings if finding.kind is FindingKind.DUPLICATES]


def test_duplicates_are_counted() -> None:
    twice = duplicate_rows(pd.DataFrame({"a": [1, 2, 1], "b": ["x", "y", "x"]}))
    assert find_duplicates(twice, together=False)[0].message.startswith("1 of 3")
    assert find_duplicates(duplicate_rows(pd.DataFrame({"a": [1, 2, 3]})), together=False) == ()
    assert not duplicate_rows(pd.DataFrame({"a": [[1], [1]], "b": [1, 1]})).any(), "lists cannot be compared"


def test_copies_of_measurements_are_distinguished_from_coincidence() -> None:
    frame = measured(copies=30)
    found = sets(frame)
    assert found is not None
    assert len(np.unique(found)) == 300
    pairs = frame.groupby(found)["a"].nunique()
    assert (pairs == 1).all()
    assert sets(counted()) is None
    assert duplicate_rows(counted()).mean() > 0.2
    assert sets(measured()) is None, "no rows are equal"


def test_copies_are_found_among_rounded_numbers_missing_values_and_text() -> None:
    frame = measured(copies=30).round(1)
    frame["e"] = [f"town {i}" for i in range(len(frame))]
    frame["e"] = frame.groupby(["a", "b", "c", "d"])["e"].transform("first")
    frame.loc[frame["b"] > 1, "b"] = np.nan
    assert sets(frame) is not None
    assert sets(make_sample("breast_cancer").frame.sample(800, replace=True, random_state=0)) is not None


@pytest.mark.parametrize(("categories", "copies"), [(40, False), (400, True)])
def test_equal_rows_are_copies_if_chance_explains_less_than_a_tenth(categories: int, copies: bool) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({name: rng.integers(0, categories, 300) for name in "ab"})
    frame["c"], frame["y"] = rng.integers(0, 2, 300), rng.integers(0, 2, 300)
    twice = pd.concat([frame, frame], ignore_index=True)
    chance = len(twice) / categories**2  # that a row agrees with another one in the columns that differ most
    assert (chance <= 0.1 * 0.5) is copies
    assert chance < 0.5, "there are more equal rows than by chance in either table"
    assert (sets(twice) is not None) is copies


def test_a_table_of_one_different_row_or_one_column_is_left_alone() -> None:
    assert sets(pd.DataFrame({"a": [1, 1], "y": [2, 2]})) is None
    assert sets(pd.DataFrame({"y": [0.1, 0.2, 0.2]})) is None


@pytest.mark.parametrize("target", ["y", "a"])
def test_copies_are_on_one_side_of_each_split(target: str) -> None:
    frame = measured(copies=90)
    run = run_for(target, featureTypes={name: "numeric" for name in "abcd" if name != target})
    prepared = prepare(table_of(frame), run)
    of_row = frame.groupby(list(frame.columns)).ngroup().to_numpy()
    assert sorted([*prepared.train_index, *prepared.holdout_index]) == list(range(len(frame)))
    assert not set(of_row[prepared.train_index]) & set(of_row[prepared.holdout_index])
    for fit, score in prepared.folds:
        assert not set(of_row[fit]) & set(of_row[score])
    assert "same side" in duplicates_of(prepared)[0]


def test_few_categories_are_split_row_by_row() -> None:
    prepared = prepare(table_of(counted()), run_for())
    assert "both sides" in duplicates_of(prepared)[0]


def test_scores_on_copies_are_those_on_new_rows() -> None:
    frame, fresh = measured(400, copies=300), measured(4_000, seed=1)
    prepared = prepare(table_of(frame), run_for())

    def fitted(rows: np.ndarray) -> RandomForestClassifier:
        forest = RandomForestClassifier(30, random_state=0)
        return forest.fit(prepared.frame.iloc[rows], prepared.target[rows])

    inside = np.mean(
        [
            fitted(fit).score(prepared.frame.iloc[score], prepared.target[score])
            for fit, score in prepared.folds
        ]
    )
    outside = fitted(np.arange(len(frame))).score(fresh[list("abcd")], fresh["y"])
    assert inside - outside < 0.05
