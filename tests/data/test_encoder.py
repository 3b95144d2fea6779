import json
import pickle
import pickletools
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from support.data_runs import run_for, table_of
from trainingjob_api.vocabulary import FeatureType
from trainingjob_trainer.data.encoder import build_encoder, plan_widths
from trainingjob_trainer.data.load import make_sample
from trainingjob_trainer.data.prepare import prepare

NUMERIC, CATEGORICAL, TEXT, DATETIME, IGNORE = FeatureType
RNG = np.random.default_rng(0)
ROWS = 300
WORDS = np.array([f"word{i}" for i in range(80)])


def mixed(rows: int = ROWS, seed: int = 0) -> tuple[pd.DataFrame, dict[str, FeatureType]]:
    rng = np.random.default_rng(seed)
    holes = rng.random(rows) < 0.2
    frame = pd.DataFrame(
        {
            "number": np.where(holes, np.nan, rng.normal(size=rows)),
            "count": rng.integers(0, 9, rows),
            "as_text": pd.Series(rng.normal(size=rows).round(3).astype(str)).mask(holes, "?"),
            "nullable": pd.array(np.where(holes, None, rng.integers(0, 5, rows)), dtype="Int64"),
            "flag": rng.random(rows) < 0.5,
            "flag_holes": pd.Series(rng.random(rows) < 0.5, dtype=object).mask(holes),
            "few": pd.Series(rng.choice(["a", "b", "c"], rows)).mask(holes),
            "code": np.where(holes, np.nan, rng.integers(0, 4, rows)),
            "mixed": pd.Series([1, "one", 2.5, None, b"x"] * (rows // 5), dtype=object),
            "levels": pd.Series(rng.choice(["low", "high"], rows)).astype("category"),
            "many": pd.Series([f"town {i}" for i in rng.integers(0, 120, rows)]).mask(holes),
            "text": pd.Series([" ".join(rng.choice(WORDS, 7)) for _ in range(rows)]).mask(holes),
            "day": pd.Series(pd.date_range("2020-01-01", periods=rows).strftime("%d/%m/%Y")).mask(holes),
            "stamp": pd.Series(pd.date_range("2020-01-01", periods=rows, freq="7h", tz="UTC")).mask(holes),
            "year": rng.integers(1950, 2026, rows),
            "span": pd.Series(pd.to_timedelta(rng.integers(0, 9999, rows), unit="s")).mask(holes),
            "extra": 1,
        }
    )
    numeric = ("number", "count", "as_text", "nullable", "span")
    categorical = ("flag", "flag_holes", "few", "code", "mixed", "levels", "many")
    types = dict.fromkeys(numeric, NUMERIC) | dict.fromkeys(categorical, CATEGORICAL)
    types |= {"text": TEXT, "day": DATETIME, "stamp": DATETIME, "year": DATETIME}
    return frame, types


def check(matrix: Any, rows: int) -> np.ndarray:
    assert isinstance(matrix, np.ndarray)
    assert matrix.dtype == np.float64
    assert matrix.shape[0] == rows
    assert np.isfinite(matrix).all()
    return matrix


def test_all_kinds_of_columns_become_numbers() -> None:
    frame, types = mixed()
    encoder = build_encoder(types, frame=frame)
    matrix = check(encoder.fit_transform(frame), ROWS)
    assert np.array_equal(matrix, check(encoder.transform(frame), ROWS))
    assert len(encoder.get_feature_names_out()) == matrix.shape[1]
    # Numbers keep their order; booleans are 0 and 1.
    names = list(encoder.get_feature_names_out())
    count = matrix[:, next(i for i, name in enumerate(names) if name.endswith("__count"))]
    assert np.array_equal(count, frame["count"])
    flag = matrix[:, next(i for i, name in enumerate(names) if name.endswith("__flag"))]
    assert np.array_equal(flag, frame["flag"])


def test_equal_input_gives_an_equal_encoder_in_another_process(tmp_path: Path) -> None:
    frame, types = mixed()
    matrix = build_encoder(types, frame=frame).fit_transform(frame)
    frame.to_pickle(tmp_path / "frame.pkl")
    np.save(tmp_path / "matrix.npy", matrix)
    script = (
        "import json, sys, numpy as np, pandas as pd\n"
        "from trainingjob_api.vocabulary import FeatureType\n"
        "from trainingjob_trainer.data.encoder import build_encoder\n"
        "types = {name: FeatureType(kind) for name, kind in json.loads(sys.argv[2]).items()}\n"
        "frame = pd.read_pickle(sys.argv[1] + '/frame.pkl')\n"
        "matrix = build_encoder(types, frame=frame).fit_transform(frame)\n"
        "assert np.array_equal(matrix, np.load(sys.argv[1] + '/matrix.npy'))\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path), json.dumps(types)], check=True, timeout=120)


def test_a_pickle_names_no_class_of_this_project() -> None:
    frame, types = mixed()
    raw = pickle.dumps(build_encoder(types, frame=frame).fit(frame))
    words = {str(argument) for _, argument, _ in pickletools.genops(raw) if isinstance(argument, str)}
    assert not any(word.startswith("trainingjob") for word in words)
    assert np.array_equal(
        pickle.loads(raw).transform(frame), build_encoder(types, frame=frame).fit(frame).transform(frame)
    )


def test_the_encoder_can_be_cloned_and_used_in_a_pipeline() -> None:
    frame, types = mixed()
    model = make_pipeline(clone(build_encoder(types, frame=frame)), LogisticRegression(max_iter=50, tol=1e9))
    assert len(model.fit(frame, frame["flag"]).predict(frame.head(3))) == 3


def unreadable(value: object) -> set[str]:
    """Return the columns of the mixed table that cannot read *value*, where it is their only one."""
    numbers = {"number", "count", "as_text", "nullable"}
    truths = {"flag", "flag_holes"}
    if isinstance(value, str) and value:
        return numbers | truths | {"day", "stamp", "year", "span"}
    if isinstance(value, float) and np.isinf(value):
        return truths | {"year"}
    return {"year"} if isinstance(value, int | float) and not np.isnan(value) else set()


@pytest.mark.parametrize(
    "value", [None, np.nan, pd.NA, "never seen", 7, -1.5, True, "2020-02-30", float("inf"), ""]
)
def test_one_row_of_anything_can_be_encoded(value: object) -> None:
    frame, types = mixed()
    encoder = build_encoder(types, frame=frame).fit(frame)
    # What pandas itself refuses to read as a date or a duration is no row of this table.
    odd = {"day", "stamp", "span"} if isinstance(value, int | float) else set()
    names = [name for name in types if name not in odd]
    row = frame.head(1).astype(object)
    for name in names:
        later = row.copy()
        later[name] = pd.Series([value], dtype=object)
        if name in unreadable(value):
            with pytest.raises(ValueError, match=f"the column '{name}' cannot be read"):
                encoder.transform(later)
        else:
            check(encoder.transform(later), 1)


def test_values_in_another_notation_are_encoded_the_same() -> None:
    frame, types = mixed()
    frame = frame.assign(mixed="x")
    encoder = build_encoder(types, frame=frame).fit(frame)
    text = frame.astype("str")
    for name in ("stamp", "span", "day", "year"):
        text[name] = frame[name]
    objects = frame.astype(object)
    shuffled = frame[list(reversed(frame.columns))]
    expected = encoder.transform(frame)
    for other in (text, objects, shuffled, frame.convert_dtypes(), frame.assign(more=1)):
        np.testing.assert_allclose(encoder.transform(other), expected)
    dates = frame.assign(day=pd.to_datetime(frame["day"], format="%d/%m/%Y"))
    np.testing.assert_allclose(encoder.transform(dates), expected)


def test_a_missing_column_is_named() -> None:
    frame, types = mixed()
    encoder = build_encoder(types, frame=frame).fit(frame)
    with pytest.raises(ValueError, match="many"):
        encoder.transform(frame.drop(columns="many"))


@pytest.mark.filterwarnings("ignore:invalid value encountered")  # a text that never varies, in the SVD
@pytest.mark.filterwarnings("ignore:divide by zero encountered")
def test_a_column_can_be_empty_in_a_fold() -> None:
    frame, types = mixed()
    for name, kind in types.items():
        encoder = build_encoder({name: kind, "extra": NUMERIC}, frame=frame)
        part = frame.head(100).copy()
        part[name] = None
        check(encoder.fit_transform(part), 100)
        check(encoder.transform(frame), ROWS)


def test_only_columns_with_missing_values_have_an_indicator() -> None:
    frame = pd.DataFrame({"whole": [1.0, 2.0, 3.0], "holes": [1.0, np.nan, 5.0]})
    encoder = build_encoder({"whole": NUMERIC, "holes": NUMERIC}, frame=frame)
    assert encoder.fit_transform(frame).tolist() == [[1, 1, 0], [2, 3, 1], [3, 5, 0]]
    later = pd.DataFrame({"whole": [None], "holes": [7]})
    assert encoder.transform(later).tolist() == [[2, 7, 0]]


def test_unseen_and_rare_categories_share_a_column() -> None:
    frame = pd.DataFrame({"c": ["a"] * 500 + ["b"] * 499 + ["rare"]})
    encoder = build_encoder({"c": CATEGORICAL}, frame=frame).fit(frame)
    rare, unseen = encoder.transform(pd.DataFrame({"c": ["rare", "new"]}))
    assert rare.tolist() == unseen.tolist()
    assert rare.sum() == 1


def test_numbers_as_categories_survive_a_missing_value() -> None:
    frame = pd.DataFrame({"c": [1, 2, 3] * 20})
    encoder = build_encoder({"c": CATEGORICAL}, frame=frame).fit(frame)
    row = encoder.transform(pd.DataFrame({"c": [2]}))
    assert np.array_equal(row, encoder.transform(pd.DataFrame({"c": [2.0, np.nan]}))[:1])
    assert row.sum() == 1


def test_huge_numbers_fit_into_single_precision() -> None:
    frame = pd.DataFrame({"x": [1e300, -1e300, np.inf, 1.0]})
    matrix = check(build_encoder({"x": NUMERIC}, frame=frame).fit_transform(frame), 4)
    assert np.isfinite(matrix.astype(np.float32)).all()


def test_columns_carry_the_position_of_the_raw_one() -> None:
    frame, types = mixed(seed=3)
    types = {"skipped": IGNORE, **types}
    encoder = build_encoder(types, frame=frame, per_column=True)
    framed = encoder.fit_transform(frame)
    assert isinstance(framed, pd.DataFrame)
    assert framed.columns.is_unique
    assert (framed.dtypes == np.float64).all()
    positions = [int(name[1:].partition("__")[0]) for name in framed.columns]
    assert sorted(set(positions)) == list(range(1, len(types)))
    assert list(encoder.transform(frame.head(2)).columns) == list(framed.columns)
    grouped = build_encoder(types, frame=frame).fit_transform(frame)
    assert grouped.shape == framed.shape
    np.testing.assert_allclose(np.sort(grouped.sum(axis=0)), np.sort(framed.sum(axis=0)))
    again = pickle.loads(pickle.dumps(clone(encoder).fit(frame)))
    assert np.array_equal(again.transform(frame), framed)


def test_the_encoded_table_stays_narrow() -> None:
    rows = 250
    wide = {f"f{i}": RNG.integers(0, 25, rows).astype(str) for i in range(60)}
    wide |= {f"m{i}": RNG.integers(0, 200, rows).astype(str) for i in range(60)}
    wide |= {f"t{i}": [" ".join(RNG.choice(WORDS, 5)) for _ in range(rows)] for i in range(5)}
    frame = pd.DataFrame(wide)
    types = {name: TEXT if name.startswith("t") else CATEGORICAL for name in wide}
    assert build_encoder(types, frame=frame).fit_transform(frame).shape[1] <= 1000


def test_a_table_of_thousands_of_categories_becomes_codes() -> None:
    frame = pd.DataFrame({f"c{i}": RNG.integers(0, 50, 60).astype(str) for i in range(500)})
    types = dict.fromkeys(frame.columns, CATEGORICAL)
    matrix = build_encoder(types, frame=frame).fit_transform(frame)
    assert matrix.shape[1] == 500
    assert build_encoder(types, frame=frame).fit(frame).transform(frame.head(1).assign(c0="new"))[0, 0] == -1


def test_large_tables_get_fewer_columns() -> None:
    frame, types = mixed()
    small = plan_widths(types, frame)
    large = plan_widths(types, pd.concat([frame] * 3000, ignore_index=True))
    assert large["text"].width <= small["text"].width
    assert large["many"].grams <= small["many"].grams


def test_texts_in_a_script_without_spaces_are_encoded_by_letters() -> None:
    frame = pd.DataFrame({"t": ["".join(RNG.choice(list("東京都大阪府北海道"), 12)) for _ in range(100)]})
    assert check(build_encoder({"t": TEXT}, frame=frame).fit_transform(frame), 100).std() > 0


def test_similar_texts_are_near_each_other() -> None:
    good, bad = ["fast delivery and friendly staff"] * 50, ["broken on arrival, support never answers"] * 50
    noise = [f"number {i}" for i in range(100)]
    frame = pd.DataFrame({"t": [f"{a}, {b}" for a, b in zip(good + bad, noise, strict=True)]})
    matrix = build_encoder({"t": TEXT}, frame=frame).fit_transform(frame)
    model = LogisticRegression().fit(matrix, [1] * 50 + [0] * 50)
    assert model.score(matrix, [1] * 50 + [0] * 50) == 1


@pytest.mark.slow
def test_fifty_thousand_rows_take_seconds() -> None:
    rows = 50_000
    rng = np.random.default_rng(0)
    columns: dict[str, Any] = {f"n{i}": rng.normal(size=rows) for i in range(8)}
    columns |= {f"c{i}": rng.choice(list("abcdefgh"), rows) for i in range(5)}
    columns |= {f"m{i}": [f"town {k}" for k in rng.zipf(1.3, rows) % 2000] for i in range(3)}
    columns |= {
        f"t{i}": [" ".join(words) for words in WORDS[rng.integers(0, 80, (rows, 10))]] for i in range(2)
    }
    columns |= {f"d{i}": pd.to_datetime(rng.integers(10**9, 17 * 10**8, rows), unit="s") for i in range(2)}
    frame = pd.DataFrame(columns)
    kinds = {"n": NUMERIC, "c": CATEGORICAL, "m": CATEGORICAL, "t": TEXT, "d": DATETIME}
    encoder = build_encoder({name: kinds[name[0]] for name in columns}, frame=frame)
    started = time.process_time()
    check(encoder.fit_transform(frame), rows)
    assert time.process_time() - started < 20, "about 4 s on a machine at rest"


@pytest.mark.parametrize("name", ["messy_churn", "messy_prices"])
def test_the_folds_of_messy_tables_can_be_encoded(name: str) -> None:
    table = make_sample(name).frame
    prepared = prepare(table_of(table), run_for(str(table.columns[-1])))
    encoder = build_encoder(prepared.feature_types, frame=prepared.frame)
    for fit, score in prepared.folds[:1]:
        check(encoder.fit_transform(prepared.frame.iloc[fit]), len(fit))
        check(encoder.transform(prepared.frame.iloc[score]), len(score))


CELL = st.one_of(
    st.none(),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.text(max_size=12),
    st.dates(),
    st.datetimes(),
    st.timedeltas(),
    st.decimals(allow_nan=False),
    st.sampled_from(["1", "2.5", "2020-01-01", "True"]),
)
COLUMN = st.one_of(
    st.lists(CELL, min_size=8, max_size=30),
    st.lists(st.floats(), min_size=8, max_size=30),
    st.lists(st.text(max_size=30), min_size=8, max_size=30),
    st.lists(st.sampled_from(["a", "b", None]), min_size=8, max_size=30),
)


@pytest.mark.filterwarnings("ignore:invalid value encountered")  # a text that never varies, in the SVD
@pytest.mark.filterwarnings("ignore:divide by zero encountered")
@given(data=st.data(), kind=st.sampled_from([NUMERIC, CATEGORICAL, TEXT]), per_column=st.booleans())
@settings(max_examples=50)
def test_any_values_can_be_encoded(data: st.DataObject, kind: FeatureType, per_column: bool) -> None:
    column = data.draw(COLUMN)
    other = data.draw(COLUMN)
    frame = pd.DataFrame({"x": pd.Series(column, dtype=object), "z": np.arange(len(column))})
    later = pd.DataFrame({"x": pd.Series(other, dtype=object), "z": np.arange(len(other))})
    encoder = build_encoder({"x": kind, "z": NUMERIC}, frame=frame, per_column=per_column)
    parts = []
    for call, rows in (
        (encoder.fit_transform, frame),
        (encoder.transform, later),
        (encoder.transform, later[:1]),
    ):
        try:
            parts.append(np.asarray(call(rows)))
        except ValueError as error:
            # Only a column of which nothing can be read is refused, and by its name.
            if kind is not NUMERIC or "the column 'x' cannot be read" not in str(error):
                raise
            numbers = pd.to_numeric(rows["x"], errors="coerce").replace([np.inf, -np.inf], np.nan)
            assert numbers.isna().all()
            assert rows["x"].notna().any()
            if rows is frame:
                return
    for part in parts:
        assert part.dtype == np.float64
        assert np.isfinite(part).all()
        assert part.shape[1] == parts[0].shape[1]


def test_a_named_index_is_taken_from_the_index_or_a_column() -> None:
    at = pd.date_range("2024-01-01", periods=ROWS, freq="7h", tz="Europe/Berlin", name="at")
    indexed = pd.DataFrame({"a": RNG.normal(size=ROWS), "b": 1.0}, index=at)
    frame = indexed.reset_index()
    types = {"a": NUMERIC, "at": DATETIME}
    encoder = build_encoder(types, frame=frame, index_names=("at",)).fit(frame)
    expected = check(encoder.transform(frame), ROWS)
    assert np.array_equal(encoder.transform(indexed), expected)
    # A frame with an index that means nothing is the usual one.
    assert np.array_equal(encoder.transform(frame.iloc[::-1])[::-1], expected)
    assert np.array_equal(encoder.transform(frame.assign(index=0)), expected)


def test_whole_numbers_can_be_names_of_columns() -> None:
    frame = pd.DataFrame(RNG.normal(size=(ROWS, 3)))
    texts = frame.rename(columns=str)
    encoder = build_encoder(dict.fromkeys("012", NUMERIC), frame=texts).fit(texts)
    assert np.array_equal(encoder.transform(frame), encoder.transform(texts))
