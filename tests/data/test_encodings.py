import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold
from sklearn.pipeline import Pipeline

from support.columns import read
from trainingjob_api.vocabulary import FeatureType
from trainingjob_trainer.data import encoder as encoder_module
from trainingjob_trainer.data.encoder import build_encoder, build_encoders
from trainingjob_trainer.encodings import Encoding
from trainingjob_trainer.search.fits import dump_model

NUMERIC, CATEGORICAL, TEXT, DATETIME, IGNORE = FeatureType
DENSE, TARGET, ORDINAL = Encoding
OTHERS = [TARGET, ORDINAL]
ROWS = 120
RNG = np.random.default_rng(0)
COLUMNS = pd.DataFrame(
    {
        "number": RNG.normal(size=ROWS),
        "gaps": np.where(RNG.random(ROWS) < 0.2, np.nan, RNG.normal(size=ROWS)),
        "flag": RNG.random(ROWS) < 0.5,
        "two": RNG.choice(["yes", "no"], ROWS),
        "three": RNG.choice(["a", "b", "c"], ROWS),
        "town": [f"town {i}" for i in RNG.integers(0, 60, ROWS)],
        "text": [" ".join(RNG.choice(["red", "green", "blue", "old"], 6)) for _ in range(ROWS)],
        "day": pd.date_range("2024-01-01", periods=ROWS),
    }
)
TYPES = {
    "number": NUMERIC, "gaps": NUMERIC, "flag": CATEGORICAL, "two": CATEGORICAL, "three": CATEGORICAL,
    "town": CATEGORICAL, "text": TEXT, "day": DATETIME,
}  # fmt: skip
TARGETS = {
    "two classes": (np.where(RNG.random(ROWS) < 0.4, "yes", "no").astype(object), 2),
    "booleans": (RNG.random(ROWS) < 0.4, 2),
    "three classes": (RNG.choice(["x", "y", "z"], ROWS).astype(object), 3),
    "whole numbers as classes": (RNG.integers(0, 3, ROWS), 3),
    "numbers": (RNG.normal(size=ROWS), 0),
    "whole numbers": (RNG.integers(0, 4, ROWS).astype("float64"), 0),
}
DATES = pd.date_range("2024-01-01", periods=ROWS)


def only(*names: str) -> dict[str, FeatureType]:
    return {name: TYPES[name] for name in names}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["number"], [DENSE]),
        (["gaps"], [DENSE]),
        (["number", "flag", "two"], [DENSE]),
        (["number", "text", "day"], [DENSE]),
        (["number", "three"], [DENSE, TARGET, ORDINAL]),
        (["town"], [DENSE, TARGET, ORDINAL]),
    ],
)
def test_a_table_has_the_encodings_that_differ(names: list[str], expected: list[Encoding]) -> None:
    assert list(build_encoders(only(*names), frame=COLUMNS)) == expected


def test_a_column_that_is_left_out_asks_for_no_encoding() -> None:
    assert list(build_encoders({"number": NUMERIC, "three": IGNORE}, frame=COLUMNS)) == [DENSE]


def test_feature_sets_have_the_dense_encoding_alone() -> None:
    assert list(build_encoders(TYPES, frame=COLUMNS, per_column=True)) == [DENSE]


def test_codes_are_not_a_further_encoding_if_the_dense_one_consists_of_codes() -> None:
    frame = pd.DataFrame({f"c{i}": RNG.integers(0, 50, 60).astype(str) for i in range(300)})
    assert list(build_encoders(dict.fromkeys(frame, CATEGORICAL), frame=frame)) == [DENSE, TARGET]


def test_target_means_are_left_out_if_they_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder_module, "_WIDEST", 8)
    monkeypatch.setattr(encoder_module, "_NARROWEST", 8)
    for classes, made in ((0, True), (2, True), (3, True), (4, False)):
        assert (TARGET in build_encoders(only("three", "town"), frame=COLUMNS, classes=classes)) is made


def test_codes_are_one_column_for_each_column_of_categories() -> None:
    encoder = build_encoder(only("three", "town"), frame=COLUMNS, encoding=ORDINAL)
    matrix = encoder.fit_transform(COLUMNS)
    assert matrix.shape == (ROWS, 2)
    assert [len(np.unique(column)) for column in matrix.T] == [3, COLUMNS["town"].nunique()]
    later = pd.DataFrame({"three": ["a", "new", None], "town": ["never", "town 1", None]})
    assert (encoder.transform(later) == -1).tolist() == [[False, True], [True, False], [True, True]]


@pytest.mark.parametrize(("classes", "columns"), [(0, 3), (2, 3), (3, 7)])
def test_means_of_many_categories_have_codes_beside_them(classes: int, columns: int) -> None:
    y = np.arange(ROWS) % classes if classes else TARGETS["numbers"][0]
    encoder = build_encoder(only("three", "town"), frame=COLUMNS, encoding=TARGET, classes=classes)
    matrix = encoder.fit_transform(COLUMNS, y)
    codes = build_encoder(only("town"), frame=COLUMNS, encoding=ORDINAL).fit_transform(COLUMNS)[:, 0]
    assert matrix.shape[1] == columns
    assert [i for i, column in enumerate(matrix.T) if np.array_equal(column, codes)] == [max(1, columns // 2)]


@pytest.mark.parametrize("encoding", OTHERS)
def test_other_columns_are_encoded_as_in_the_dense_encoding(encoding: Encoding) -> None:
    others = only("number", "gaps", "flag", "text", "day")
    y = TARGETS["numbers"][0]
    dense = build_encoder(others, frame=COLUMNS).fit_transform(COLUMNS, y)
    other = build_encoder(others, frame=COLUMNS, encoding=encoding).fit_transform(COLUMNS, y)
    assert np.array_equal(dense, other)


@pytest.mark.parametrize("encoding", OTHERS)
def test_all_encodings_read_raw_values_by_the_same_rules(encoding: Encoding) -> None:
    codes = [f"{i % 7:03d}" for i in range(ROWS)]
    money = [f"{1000 + i:,}.50 €".translate(str.maketrans(",.", ".,")) for i in range(ROWS)]
    columns = read(codes, separator=";", asked=CATEGORICAL, money=money, day=DATES.strftime("%d.%m.%Y"))
    types = {"x": CATEGORICAL, "money": NUMERIC, "day": DATETIME}
    y = np.arange(ROWS) % 7 * 1.0
    dense, other = (
        build_encoder(types, frame=columns.frame, formats=columns.formats, encoding=name).fit(
            columns.frame, y
        )
        for name in (DENSE, encoding)
    )
    matrices = [
        pd.DataFrame(encoder.transform(columns.frame), columns=encoder.get_feature_names_out())
        for encoder in (dense, other)
    ]
    names = [name for name in matrices[0] if "__x_" not in name]
    assert {"number-1__money", "date-2__days__day"} <= set(names)
    assert matrices[0][names].equals(matrices[1][names])
    assert matrices[1]["number-1__money"].head(2).tolist() == [1000.5, 1001.5]
    same = other.transform(columns.frame.assign(x=[str(code).zfill(3) for code in codes]))
    assert np.array_equal(same, other.transform(columns.frame))
    with pytest.raises(ValueError, match="the column 'money' cannot be read"):
        other.transform(columns.frame.assign(money="dear"))


@pytest.mark.parametrize("target", TARGETS)
def test_categories_become_means_of_the_target(target: str) -> None:
    y, classes = TARGETS[target]
    encoder = build_encoder(only("three"), frame=COLUMNS, encoding=TARGET, classes=classes)
    matrix = encoder.fit(COLUMNS, y).transform(COLUMNS)
    labels = np.unique(y)
    indicators = [y] if not classes else [y == label for label in (labels[1:] if classes == 2 else labels)]
    assert matrix.shape == (ROWS, len(indicators))
    for column, values in zip(matrix.T, indicators, strict=True):
        for name in "abc":
            rows = (COLUMNS["three"] == name).to_numpy()
            mean = np.mean(np.asarray(values, dtype="float64")[rows])
            everywhere = np.mean(np.asarray(values, dtype="float64"))
            assert len(set(column[rows])) == 1
            # Shrunk towards the mean of all rows.
            assert min(mean, everywhere) - 1e-9 <= column[rows][0] <= max(mean, everywhere) + 1e-9
        unseen = encoder.transform(pd.DataFrame({"three": ["new"]}))
    assert unseen[0, -1] == pytest.approx(np.mean(np.asarray(indicators[-1], dtype="float64")))


class Keep(LogisticRegression):
    """A model that keeps what it was given to learn from."""

    def fit(self, X: Any, y: Any) -> Any:
        self.seen_ = np.asarray(X)
        return self


def learnt_from(frame: pd.DataFrame, y: np.ndarray, classes: int) -> np.ndarray:
    encoder = build_encoder(only("three", "town"), frame=frame, encoding=TARGET, classes=classes)
    seen: np.ndarray = Pipeline([("encode", encoder), ("model", Keep())]).fit(frame, y)["model"].seen_
    return seen


@pytest.mark.parametrize("target", TARGETS)
def test_a_model_learns_from_means_of_rows_in_other_folds(target: str) -> None:
    y, classes = TARGETS[target]
    seen = learnt_from(COLUMNS, y, classes)
    encoder = build_encoder(only("three", "town"), frame=COLUMNS, encoding=TARGET, classes=classes)
    folds = KFold(5, shuffle=True, random_state=0)
    codes = classes if classes > 2 else 1  # those of the towns, which need no target
    for others, rows in folds.split(COLUMNS, y):
        expected = clone(encoder).fit(COLUMNS.iloc[others], y[others]).transform(COLUMNS.iloc[rows])
        assert np.allclose(np.delete(seen[rows], codes, axis=1), np.delete(expected, codes, axis=1))
    assert not np.allclose(seen, clone(encoder).fit(COLUMNS, y).transform(COLUMNS))


@pytest.mark.parametrize("row", [0, 7, ROWS - 1])
def test_the_mean_of_a_training_row_does_not_hold_its_own_target(row: int) -> None:
    y = TARGETS["numbers"][0]
    changed = y.copy()
    changed[row] += 100.0
    before, after = (learnt_from(COLUMNS, values, 0) for values in (y, changed))
    assert np.array_equal(after[row], before[row])
    assert not np.array_equal(after, before)


@pytest.mark.parametrize("encoding", OTHERS)
def test_rows_outside_the_fit_do_not_change_the_encoder(encoding: Encoding) -> None:
    y = TARGETS["numbers"][0]
    fit, score = np.arange(80), np.arange(80, ROWS)
    encoder = build_encoder(TYPES, frame=COLUMNS, encoding=encoding)
    ours = clone(encoder)
    matrix = ours.fit_transform(COLUMNS.iloc[fit], y[fit])
    later = COLUMNS.copy()
    later.loc[score, ["three", "town", "text"]] = "other"
    later.loc[score, ["number", "gaps"]] = 1e6
    changed = np.where(np.arange(ROWS) >= 80, 1e6, y)
    theirs = clone(encoder)
    assert np.array_equal(theirs.fit_transform(later.iloc[fit], changed[fit]), matrix)
    assert np.array_equal(theirs.transform(COLUMNS), ours.transform(COLUMNS))
    assert pickle.dumps(theirs) == pickle.dumps(ours)


def test_codes_do_not_depend_on_the_target() -> None:
    y = TARGETS["numbers"][0]
    encoder = build_encoder(TYPES, frame=COLUMNS, encoding=ORDINAL)
    one, other = (clone(encoder).fit(COLUMNS, values) for values in (y, y[::-1]))
    assert pickle.dumps(one) == pickle.dumps(other)


def test_the_same_rows_give_the_same_means() -> None:
    y, classes = TARGETS["three classes"]
    encoder = build_encoder(TYPES, frame=COLUMNS, encoding=TARGET, classes=classes)
    np.random.seed(1)  # noqa: NPY002 - of no influence, as is to be seen
    first = clone(encoder).fit_transform(COLUMNS, y)
    np.random.seed(2)  # noqa: NPY002
    assert np.array_equal(clone(encoder).fit_transform(COLUMNS, y), first)


def test_a_saved_encoder_loads_and_encodes_without_this_project(tmp_path: Path) -> None:
    y, classes = TARGETS["three classes"]
    later = COLUMNS.head(9).assign(three="new", town=None, gaps=None)
    later.to_pickle(tmp_path / "later.pkl")
    for encoding, encoder in build_encoders(TYPES, frame=COLUMNS, classes=classes).items():
        fitted = clone(encoder).fit(COLUMNS, y)
        np.save(tmp_path / f"{encoding}.npy", fitted.transform(later))
        (tmp_path / f"{encoding}.joblib").write_bytes(dump_model(fitted))
    script = (
        "import pathlib, sys, joblib, numpy as np, pandas as pd\n"
        "class Blocked:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name.startswith(('trainingjob', 'tpot')):\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, Blocked())\n"
        "models = sorted(pathlib.Path(sys.argv[1]).glob('*.joblib'))\n"
        "later = pd.read_pickle(sys.argv[1] + '/later.pkl')\n"
        "for model in models:\n"
        "    assert np.array_equal(joblib.load(model).transform(later), np.load(model.with_suffix('.npy')))\n"
        "assert len(models) == 3\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, timeout=120)


VALUES = st.one_of(
    st.none(), st.integers(-5, 5), st.floats(), st.booleans(), st.text(max_size=6), st.sampled_from("abc")
)
COLUMN = st.lists(VALUES, min_size=12, max_size=30)


@given(data=st.data(), encoding=st.sampled_from(list(Encoding)), classes=st.sampled_from([0, 2, 3]))
@settings(max_examples=25)
def test_any_categories_give_a_finite_matrix_of_one_width(
    data: st.DataObject, encoding: Encoding, classes: int
) -> None:
    column, other = data.draw(COLUMN), data.draw(st.lists(VALUES, min_size=1, max_size=20))
    frame = pd.DataFrame({"x": pd.Series(column, dtype=object), "z": np.arange(len(column))})
    later = pd.DataFrame({"x": pd.Series(other, dtype=object), "z": np.arange(len(other))})
    y = np.arange(len(frame)) % classes if classes else np.linspace(-1, 1, len(frame))
    encoder = build_encoder({"x": CATEGORICAL, "z": NUMERIC}, frame=frame, encoding=encoding, classes=classes)
    with np.errstate(all="ignore"):
        train = encoder.fit_transform(frame, y)
        parts = [train, encoder.transform(frame), encoder.transform(later), encoder.transform(later[:1])]
    for part, rows in zip(parts, (frame, frame, later, later[:1]), strict=True):
        assert part.dtype == np.float64
        assert part.shape == (len(rows), train.shape[1])
        assert np.isfinite(part).all()


@pytest.mark.parametrize("rows", [[4, 4, 5], [2, 2, 8], [1, 6, 5]])
def test_classes_with_fewer_rows_than_folds_have_target_means(rows: list[int]) -> None:
    y = np.repeat(np.arange(3), rows)
    frame = pd.DataFrame({"x": pd.Series(["a", "b", "c"] * 5)[: len(y)]})
    encoder = build_encoder({"x": CATEGORICAL}, frame=frame, encoding=Encoding.TARGET, classes=3)
    train = encoder.fit_transform(frame, y)
    assert train.shape == (len(y), 3)
    assert np.isfinite(train).all()
