import numpy as np
import pandas as pd
import pytest

from trainingjob_api.vocabulary import FeatureType
from trainingjob_trainer.data.encoder import build_encoder, build_encoders
from trainingjob_trainer.encodings import Encoding

NUMERIC, CATEGORICAL, TEXT, DATETIME, IGNORE = FeatureType
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


def only(*names: str) -> dict[str, FeatureType]:
    return {name: TYPES[name] for name in names}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["number"], ["dense"]),
        (["gaps"], ["dense"]),
        (["number", "flag", "two"], ["dense"]),
        (["number", "text", "day"], ["dense"]),
        (["number", "three"], ["dense", "ordinal"]),
        (["town"], ["dense", "ordinal"]),
    ],
)
def test_a_table_has_the_encodings_that_differ(names: list[str], expected: list[str]) -> None:
    assert list(build_encoders(only(*names), frame=COLUMNS)) == expected


def test_a_column_that_is_left_out_asks_for_no_encoding() -> None:
    assert list(build_encoders({"number": NUMERIC, "three": IGNORE}, frame=COLUMNS)) == ["dense"]


def test_feature_sets_have_the_dense_encoding_alone() -> None:
    assert list(build_encoders(TYPES, frame=COLUMNS, per_column=True)) == ["dense"]


def test_codes_are_one_column_for_each_column_of_categories() -> None:
    encoder = build_encoder(only("three", "town"), frame=COLUMNS, encoding=Encoding.ORDINAL)
    matrix = encoder.fit_transform(COLUMNS)
    assert matrix.shape == (ROWS, 2)
    assert [len(np.unique(column)) for column in matrix.T] == [3, COLUMNS["town"].nunique()]
    later = pd.DataFrame({"three": ["a", "new", None], "town": ["never", "town 1", None]})
    assert (encoder.transform(later) == -1).tolist() == [[False, True], [True, False], [True, True]]


def test_other_columns_are_encoded_as_in_the_dense_one() -> None:
    others = only("number", "gaps", "flag", "text", "day")
    dense = build_encoder(others, frame=COLUMNS).fit_transform(COLUMNS)
    coded = build_encoder(others, frame=COLUMNS, encoding=Encoding.ORDINAL).fit_transform(COLUMNS)
    assert np.array_equal(dense, coded)
