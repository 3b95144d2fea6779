from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from trainingjob_api.vocabulary import FeatureType
from trainingjob_trainer.data import FindingKind
from trainingjob_trainer.data.column_format import ColumnFormat
from trainingjob_trainer.data.columns import read_columns, read_texts
from trainingjob_trainer.data.features import infer_feature_types
from trainingjob_trainer.errors import DataError, SpecInvalid

NUMERIC, CATEGORICAL, TEXT, DATETIME, IGNORE = FeatureType
ROWS = 200
RNG = np.random.default_rng(0)
NUMBERS = RNG.normal(size=ROWS)
CODES = RNG.integers(0, 5, size=ROWS)
WORDS = np.array(["alpha", "beta", "gamma", "delta", "epsilon"])
SENTENCES = [" ".join(RNG.choice(WORDS, 6)) for _ in range(ROWS)]
DAYS = pd.date_range("2020-01-01", periods=ROWS, freq="13h")


def infer(values: Any, name: str = "x", asked: dict[str, FeatureType] | None = None, **roles: str):
    # Something else to learn from, so that a column may be ignored.
    frame = pd.DataFrame({"other": NUMBERS, "y": CODES})
    frame[name] = pd.Series(values) if len(values) == ROWS else pd.Series(np.resize(values, ROWS))
    columns = read_columns(frame, read_texts(frame, None, ","), asked or {}, skip="y")
    types, findings = infer_feature_types(
        columns.frame, asked or {}, target="y", roles=roles, formats=columns.formats
    )
    assert "y" not in types
    assert types["other"] is NUMERIC
    found = (*columns.findings, *findings)
    return types[name], [finding.kind for finding in found if finding.column == name]


@pytest.mark.parametrize(
    ("values", "kind", "found"),
    [
        pytest.param(NUMBERS, NUMERIC, [], id="floats"),
        pytest.param(CODES, NUMERIC, [], id="whole numbers"),
        pytest.param(pd.array([1, None, 3, 4] * 50, dtype="Int64"), NUMERIC, [], id="nullable"),
        pytest.param([Decimal("1.5"), None, Decimal(2), Decimal(7)] * 50, NUMERIC, [], id="decimals"),
        pytest.param([str(value) for value in NUMBERS], NUMERIC, [], id="numbers as text"),
        pytest.param(
            [*map(str, NUMBERS[:195]), *["?"] * 5], NUMERIC, [FindingKind.PLACEHOLDERS], id="question marks"
        ),
        pytest.param(
            [*map(str, NUMBERS[:160]), *["?"] * 40],
            NUMERIC,
            [FindingKind.PLACEHOLDERS],
            id="many question marks",
        ),
        pytest.param(
            [*map(str, NUMBERS[:160]), *["later"] * 40],
            NUMERIC,
            [FindingKind.PLACEHOLDERS],
            id="a word often",
        ),
        pytest.param([*map(str, NUMBERS[:90]), *["later"] * 110], CATEGORICAL, [], id="a word mostly"),
        pytest.param(["1", "2", "3", "other"] * 50, CATEGORICAL, [], id="few numbers and a word"),
        pytest.param(["250", "401", "996", "V45"] * 50, CATEGORICAL, [], id="codes with letters"),
        pytest.param(
            ["007", "012", "100", "205"] * 50,
            CATEGORICAL,
            [FindingKind.LEADING_ZEROS],
            id="codes with leading zeros",
        ),
        pytest.param(pd.to_timedelta(CODES, unit="h"), NUMERIC, [], id="durations"),
        pytest.param(WORDS[CODES], CATEGORICAL, [], id="few words"),
        pytest.param([True, False], CATEGORICAL, [], id="booleans"),
        pytest.param([True, False, None, True], CATEGORICAL, [], id="booleans with gaps"),
        pytest.param(pd.Series(CODES).astype("category"), CATEGORICAL, [], id="categories of numbers"),
        pytest.param([1, "a", 2.5, "b"] * 50, CATEGORICAL, [], id="mixed"),
        pytest.param(SENTENCES, TEXT, [], id="sentences"),
        pytest.param([f"{word} " * 20 for word in SENTENCES], TEXT, [], id="long"),
        pytest.param(
            ["Some college but no degree", "High school graduate or less"] * 100,
            CATEGORICAL,
            [],
            id="long names",
        ),
        pytest.param(DAYS, DATETIME, [], id="time stamps"),
        pytest.param(DAYS.tz_localize("Europe/Paris"), DATETIME, [], id="time zones"),
        pytest.param([date(2020, 1, 1 + i % 28) for i in range(ROWS)], DATETIME, [], id="date objects"),
        pytest.param(DAYS.strftime("%Y-%m-%d"), DATETIME, [], id="ISO dates"),
        pytest.param(DAYS.strftime("%Y-%m-%dT%H:%M:%SZ"), DATETIME, [], id="ISO time stamps"),
        pytest.param(DAYS.strftime("%d.%m.%Y"), DATETIME, [], id="German dates"),
        pytest.param(DAYS.strftime("%m/%d/%Y %I:%M %p"), DATETIME, [], id="American times"),
        pytest.param(DAYS.strftime("%d %b %Y"), DATETIME, [], id="names of months"),
        pytest.param(
            [*DAYS[:195].strftime("%Y-%m-%d"), *["soon"] * 5],
            DATETIME,
            [FindingKind.UNREADABLE],
            id="almost dates",
        ),
        pytest.param(["1.2.3", "1.10.4", "2.0.0", "3.1.9"] * 50, CATEGORICAL, [], id="versions"),
        pytest.param([7] * ROWS, IGNORE, [FindingKind.CONSTANT], id="constant"),
        pytest.param([None] * ROWS, IGNORE, [FindingKind.CONSTANT], id="empty"),
        pytest.param([1, None] * 100, NUMERIC, [], id="one value and gaps"),
        pytest.param([f"C{i:05d}" for i in range(ROWS)], IGNORE, [FindingKind.IDENTIFIER], id="keys"),
        pytest.param(range(ROWS), IGNORE, [FindingKind.IDENTIFIER], id="counted rows"),
        pytest.param([[1], [2, 3]] * 100, IGNORE, [FindingKind.UNSUPPORTED], id="lists"),
        pytest.param([b"a", b"b"] * 100, IGNORE, [FindingKind.UNSUPPORTED], id="bytes"),
        pytest.param([1j, 2j] * 100, IGNORE, [FindingKind.UNSUPPORTED], id="complex"),
    ],
)
def test_types_follow_from_the_values(values: Any, kind: FeatureType, found: list[FindingKind]) -> None:
    assert infer(values) == (kind, found)


@pytest.mark.parametrize(
    "name", ["id", "customer_id", "customerId", "row", "user-key", "uuid", "Unnamed: 0", "INDEX"]
)
def test_numbers_with_the_name_of_an_identifier_are_left_out(name: str) -> None:
    values = RNG.permutation(ROWS) * 7
    assert infer(values, name)[0] is IGNORE
    assert infer(values, "valid")[0] is NUMERIC
    assert infer(CODES, name)[0] is NUMERIC, "an identifier's values are all different"


@pytest.mark.parametrize(
    ("values", "asked"),
    [
        (CODES, CATEGORICAL),
        (SENTENCES, CATEGORICAL),
        (WORDS[CODES], TEXT),
        ([f"C{i:05d}" for i in range(ROWS)], CATEGORICAL),
        (range(ROWS), NUMERIC),
        ([7] * ROWS, NUMERIC),
        (["007", "012"] * 100, NUMERIC),
        ([20260101, 20260102] * 100, DATETIME),
        ([1.6e9, 1.7e9] * 100, DATETIME),
        (NUMBERS, IGNORE),
        ([[1], [2]] * 100, IGNORE),
    ],
)
def test_the_spec_overrides_inferred_types(values: Any, asked: FeatureType) -> None:
    assert infer(values, asked={"x": asked}) == (asked, [])


@pytest.mark.parametrize(
    ("values", "asked"),
    [
        (WORDS[CODES], NUMERIC),
        (WORDS[CODES], DATETIME),
        ([[1], [2]] * 100, CATEGORICAL),
        ([b"a", b"b"] * 100, TEXT),
    ],
)
def test_a_type_that_no_value_has_is_rejected(values: Any, asked: FeatureType) -> None:
    with pytest.raises(DataError, match="'x'") as caught:
        infer(values, asked={"x": asked})
    assert caught.value.reason == "FeatureTypeImpossible"


def test_unreadable_values_are_reported() -> None:
    assert infer([1, "two"] * 100, asked={"x": NUMERIC}) == (NUMERIC, [FindingKind.UNREADABLE])


@pytest.mark.parametrize(("name", "words"), [("othr", "'other'"), ("y", "target"), ("zz", "none of its")])
def test_unknown_columns_are_rejected(name: str, words: str) -> None:
    with pytest.raises(SpecInvalid, match=words) as caught:
        infer(NUMBERS, asked={name: NUMERIC})
    assert caught.value.reason == "UnknownColumn"


def test_columns_of_the_validation_are_left_out_unless_requested() -> None:
    role = {"x": "spec.validation.groupColumn"}
    assert infer(CODES, **role) == (IGNORE, [FindingKind.ROLE])
    assert infer(CODES, asked={"x": CATEGORICAL}, **role) == (CATEGORICAL, [])


def test_a_table_without_features_is_rejected() -> None:
    frame = pd.DataFrame({"x": [1] * ROWS, "y": CODES})
    with pytest.raises(DataError) as caught:
        infer_feature_types(frame, {}, target="y", roles={}, formats={"x": ColumnFormat()})
    assert caught.value.reason == "NoFeatures"
