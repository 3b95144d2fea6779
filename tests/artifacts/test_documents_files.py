from __future__ import annotations

import json
from datetime import UTC, date, datetime
from enum import StrEnum

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainingjob_trainer.artifacts.documents import plain, read_json, write_json

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters(categories=None)),
    st.binary(),
    st.floats().map(np.float64),
    st.integers(-(2**31), 2**31).map(np.int64),
    st.booleans().map(np.bool_),
    st.lists(st.floats()).map(np.array),
    st.datetimes(),
    st.complex_numbers(),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner),
        st.tuples(inner, inner),
        st.dictionaries(st.one_of(st.text(), st.integers(), st.floats(), st.booleans()), inner),
    ),
    max_leaves=20,
)


@given(values)
def test_everything_becomes_strict_json(value):
    text = json.dumps(plain(value), allow_nan=False)
    assert json.loads(text) == plain(value)
    text.encode("utf-8")


class Colour(StrEnum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (float("nan"), None),
        (np.float32("inf"), None),
        ([np.float64(0.5), -np.inf], [0.5, None]),
        (np.array([[1, 2]]), [[1, 2]]),
        (np.datetime64("NaT"), None),
        (Colour.RED, "red"),
        ({Colour.RED: 1, 2: 3}, {"red": 1, "2": 3}),
        ({"b", "a"}, ["a", "b"]),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05Z"),
        (date(2026, 1, 2), "2026-01-02"),
        ("\ud800", "?"),
        (np.str_("x"), "x"),
    ],
)
def test_values_become_plain_json(value, expected):
    assert plain(value) == expected


def test_a_file_is_written_whole_and_read_back(tmp_path):
    path = write_json(tmp_path / "a.json", {"x": float("nan"), "ü": [1]})
    assert read_json(path) == {"x": None, "ü": [1]}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("text", ["", "[1]", "{"])
def test_other_files_are_rejected(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(ValueError):
        read_json(path)
