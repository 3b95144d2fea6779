import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from support.columns import AMOUNTS, ROWS, SHARES, SIGNED, WHOLE, fitted, found, read, swapped
from trainingjob_api.storage import Csv
from trainingjob_api.vocabulary import FeatureType, Severity
from trainingjob_trainer.data import FindingKind
from trainingjob_trainer.data.column_format import DEFAULT_MISSING, PLAIN
from trainingjob_trainer.data.encoder import build_encoder


def signed(value: float, template: str) -> str:
    return template.format(f"{-value:,.2f}") if value < 0 else f"{value:,.2f}"


@pytest.mark.parametrize(
    ("texts", "numbers", "separator"),
    [
        pytest.param([f"{v:,.2f}" for v in AMOUNTS], AMOUNTS, ",", id="comma between thousands"),
        pytest.param([f"{v:,}" for v in WHOLE], WHOLE, ",", id="comma between thousands, whole"),
        pytest.param([swapped(f"{v:,.2f}") for v in AMOUNTS], AMOUNTS, ";", id="point between thousands"),
        pytest.param([swapped(f"{v:.2f}") for v in AMOUNTS], AMOUNTS, ";", id="comma before the fraction"),
        pytest.param([f"{v:,.2f}".replace(",", "'") for v in AMOUNTS], AMOUNTS, ",", id="apostrophe"),
        pytest.param(
            [f"{v:,.2f}".replace(",", "’") for v in AMOUNTS], AMOUNTS, ",", id="typographic apostrophe"
        ),
        pytest.param([f"{v:,}".replace(",", " ") for v in WHOLE], WHOLE, ",", id="space"),
        pytest.param(
            [swapped(f"{v:,.2f}").replace(".", "\u00a0") for v in AMOUNTS], AMOUNTS, ";", id="no-break space"
        ),
        pytest.param(
            [swapped(f"{v:,.2f}").replace(".", "\u202f") for v in AMOUNTS], AMOUNTS, ";", id="narrow space"
        ),
        pytest.param([f"${v:,.2f}" for v in AMOUNTS], AMOUNTS, ",", id="dollars"),
        pytest.param([f"{v:.2f} €" for v in AMOUNTS], AMOUNTS, ",", id="sign behind"),
        pytest.param([f"{swapped(f'{v:,.2f}')} EUR" for v in AMOUNTS], AMOUNTS, ";", id="code behind"),
        pytest.param([f"CHF {v:,.2f}".replace(",", "'") for v in AMOUNTS], AMOUNTS, ",", id="code before"),
        pytest.param([signed(v, "({})") for v in SIGNED], SIGNED, ",", id="parentheses"),
        pytest.param([signed(v, "$ ({})") for v in SIGNED], SIGNED, ",", id="sign before parentheses"),
        pytest.param([signed(v, "{}-") for v in SIGNED], SIGNED, ",", id="minus behind"),
        pytest.param([signed(v, "−{}") for v in SIGNED], SIGNED, ",", id="long minus"),
        pytest.param(
            [f"${v:,.2f}".replace("$-", "-$") for v in SIGNED], SIGNED, ",", id="minus before the sign"
        ),
        pytest.param([f"{v}%" for v in SHARES], SHARES, ",", id="percent"),
        pytest.param([f"{swapped(str(v))} %" for v in SHARES], SHARES, ";", id="percent with a space"),
        pytest.param([f"€{v}K" if v < 900 else f"€{v}M" for v in SHARES], SHARES * 1e3, ",", id="K and M"),
        pytest.param([f" {v} " for v in AMOUNTS], AMOUNTS, ",", id="spaces around"),
    ],
)
def test_all_notations_of_numbers_are_read(texts: list[str], numbers: np.ndarray, separator: str) -> None:
    columns = read(texts, separator)
    assert columns.frame["x"].to_numpy(dtype="float64") == pytest.approx(numbers.astype("float64"))
    number = columns.formats["x"].number
    told = found(columns, FindingKind.NUMBER_NOTATION)
    assert bool(told) is (number != PLAIN)
    for finding in told:
        assert "spec.dataset.csv" in finding.message
    # What the model reads itself is the same, with or without the trainer's help.
    encoder = build_encoder({"x": FeatureType.NUMERIC}, frame=columns.frame, formats=columns.formats).fit(
        columns.frame
    )
    raw = pd.DataFrame({"x": texts})
    assert np.array_equal(encoder.transform(raw), encoder.transform(columns.frame))


@pytest.mark.parametrize(
    ("texts", "separator", "beside", "expected"),
    [
        # Each value with a mark has three digits behind it: what else is in the file decides.
        pytest.param(["1.252", "847"], ";", ["2,5", "1,25"], [1252, 847], id="a comma elsewhere"),
        pytest.param(["1.252", "847"], ";", ["2.5", "1.25"], [1.252, 847], id="a point elsewhere"),
        pytest.param(["1.252", "2.250"], ",", ["a", "b"], [1.252, 2.25], id="fractions of a fixed length"),
        pytest.param(
            ["1.250", "847"], ",", ["a", "b"], [1250, 847], id="whole numbers beside, zeros at the end"
        ),
        pytest.param(["1.252", "8472"], ",", ["a", "b"], [1.252, 8472], id="thousands without a mark"),
        pytest.param(["1.252", "0.847"], ";", ["2,5", "1,25"], [1.252, 0.847], id="a zero before the mark"),
        pytest.param(["1,252", "847"], ",", ["a", "b"], [1252, 847], id="a comma between commas"),
        pytest.param(["1,252", "2,371"], ";", ["a", "b"], [1.252, 2.371], id="a comma between semicolons"),
        pytest.param(["1.234.567", "1.250"], ";", ["a", "b"], [1234567, 1250], id="two points"),
    ],
)
def test_ambiguous_marks_follow_the_rules(
    texts: list[str], separator: str, beside: list[str], expected: list[float]
) -> None:
    columns = read(texts * 20, separator, z=beside * 20)
    assert columns.frame["x"].tolist()[:2] == expected


def test_a_stray_value_does_not_decide_for_a_column() -> None:
    columns = read(["12,34", "847", *["1,234", "5,678"] * 50])
    assert columns.frame["x"].isna().tolist() == [True, *[False] * 101]
    assert columns.frame["x"].tolist()[1:4] == [847, 1234, 5678]
    (told,) = found(columns, FindingKind.UNREADABLE)
    assert "'12,34' (1)" in told.message
    # What a part of the values gives away does decide.
    mixed = read(["12,34", "847", *["1,234", "5,67"] * 50], ";")
    assert mixed.frame["x"].tolist()[:4] == [12.34, 847, 1.234, 5.67]


def test_the_job_decides_over_the_file() -> None:
    texts = ["1.252", "847.125"] * 30
    assert read(texts).frame["x"].tolist()[:2] == [1.252, 847.125]
    csv = Csv.model_validate({"decimal": ",", "thousands": "."})
    assert read(texts, csv=csv).frame["x"].tolist()[:2] == [1252, 847125]
    csv = Csv.model_validate({"thousands": "none"})
    assert read(["1,252", "847"] * 30, csv=csv, asked=FeatureType.NUMERIC).frame["x"].isna().tolist()[:2] == [
        True,
        False,
    ]


def test_a_guess_between_two_meanings_is_a_warning() -> None:
    (told,) = found(read(["1.250", "847", "2.370"] * 20), FindingKind.NUMBER_NOTATION)
    assert told.severity is Severity.WARNING
    assert "'1.250' is 1250" in told.message


@pytest.mark.parametrize(
    "texts",
    [
        ["250", "V45", "401", "E885"] * 30,
        ["$1", "€2", "$3", "€4"] * 30,
        ["5%", "0.05"] * 60,
        ["1", "2", "3+", "2"] * 30,
        ["10-20", "20-30"] * 60,
        ["A1", "B2"] * 60,
        ["12B", "14K"] * 60,
        ["1,2", "1;3"] * 60,
    ],
)
def test_texts_that_only_resemble_numbers_stay_text(texts: list[str]) -> None:
    columns = read(texts)
    assert columns.frame["x"].tolist() == texts
    assert not found(columns, FindingKind.NUMBER_NOTATION)


@given(
    numbers=st.lists(
        st.integers(-(10**9), 10**9).map(lambda n: n / 100), min_size=8, max_size=30, unique=True
    ),
    marks=st.sampled_from([(".", ","), (",", "."), (",", " "), (".", "'"), (".", "")]),
    symbol=st.sampled_from(["", "$", "€", " EUR", "%"]),
)
def test_written_numbers_are_read_back(numbers: list[float], marks: tuple[str, str], symbol: str) -> None:
    decimal, thousands = marks

    def write(value: float) -> str:
        text = f"{value:,.2f}".replace(",", "\0").replace(".", decimal).replace("\0", thousands)
        return f"{text}{symbol}"

    columns = read([write(value) for value in numbers], ";" if decimal == "," else ",")
    assert columns.frame["x"].to_numpy(dtype="float64") == pytest.approx(numbers)


@pytest.mark.parametrize(
    "texts",
    [
        pytest.param([f"{'$€'[i % 2]}{v:,.2f}" for i, v in enumerate(AMOUNTS)], id="two currencies"),
        pytest.param([f"{v:.2f}{'%'[: i % 3]}" for i, v in enumerate(AMOUNTS)], id="percent sometimes"),
    ],
)
def test_varied_numbers_with_uneven_signs_are_read_with_a_warning(texts: list[str]) -> None:
    columns = read(texts)
    assert columns.frame["x"].tolist() == AMOUNTS.tolist()
    (told,) = found(columns, FindingKind.NUMBER_NOTATION)
    assert told.severity is Severity.WARNING
    assert "nothing is converted" in told.message
    encoder = fitted(columns, FeatureType.NUMERIC)
    rows = pd.DataFrame({"x": texts})
    assert np.array_equal(encoder.transform(rows), encoder.transform(columns.frame[["x"]]))


def test_numbers_in_two_notations_are_not_read_in_a_single_one() -> None:
    texts = [f"{v:,.2f}" if i % 3 else swapped(f"{v:,.2f}") for i, v in enumerate(AMOUNTS + 1000)]
    assert read(texts, ";").frame["x"].tolist() == texts


def test_thousands_of_money_with_a_point_are_a_warning() -> None:
    texts = [f"{v:,} €".replace(",", ".") for v in WHOLE + 1000]
    columns = read(texts, ";")
    assert columns.frame["x"].tolist() == [v + 1000 for v in WHOLE.tolist()]
    (told,) = found(columns, FindingKind.NUMBER_NOTATION)
    assert told.severity is Severity.WARNING
    (told,) = found(read(texts, ";", z=[f"{v:.2f}" for v in AMOUNTS]), FindingKind.NUMBER_NOTATION)
    assert told.severity is Severity.WARNING


def test_whole_numbers_with_points_reject_fractions() -> None:
    texts = [f"{value:,}".replace(",", ".") for value in WHOLE]
    columns = read(texts, ";", z=[f"{value:.2f}".replace(".", ",") for value in AMOUNTS])
    encoder = fitted(columns, FeatureType.NUMERIC)
    with pytest.raises(ValueError, match="'x' holds fractions"):
        encoder.transform(pd.DataFrame({"x": [1.252, 12.5]}))
    fractions = fitted(read([swapped(f"{v:,.2f}") for v in AMOUNTS], ";"), FeatureType.NUMERIC)
    fractions.transform(pd.DataFrame({"x": [1.252, 12.5]}))


def test_marks_without_groups_of_three_digits_are_not_numbers() -> None:
    columns = read([*(f"{v:,.2f}" for v in AMOUNTS), "12,34", "1,2,3"])
    assert columns.frame["x"].isna().tolist() == [False] * ROWS + [True, True]
    (told,) = found(columns, FindingKind.UNREADABLE)
    assert "'12,34' (1)" in told.message


@example(texts=[""] * 4)
@example(texts=["", "", "", "NA"])
@given(
    texts=st.lists(
        st.one_of(
            st.integers(-(10**6), 10**6).map(str),
            st.floats(-1e6, 1e6, allow_nan=False).map(repr),
            st.floats(-1e3, 1e3, allow_nan=False).map(lambda value: f"{value:.3f}"),
            st.sampled_from(["", "007", "1e5", "+4", ".5", "5.", " 6", "NA"]),
        ),
        min_size=4,
        max_size=40,
    )
)
def test_the_quick_profile_equals_the_full_profile(texts: list[str]) -> None:
    values = [text or None for text in texts]
    quick = read(values)
    # Where the job lists what is missing, each column is looked at closely.
    close = read(values, csv=Csv.model_validate({"missingValues": [*DEFAULT_MISSING[1:18], "?"]}))
    if quick.frame["x"].isna().all():
        assert close.frame["x"].isna().all()
    elif pd.api.types.is_numeric_dtype(quick.frame["x"]) and pd.api.types.is_numeric_dtype(close.frame["x"]):
        assert np.array_equal(
            quick.frame["x"].astype("float64"), close.frame["x"].astype("float64"), equal_nan=True
        )
    else:
        assert quick.frame["x"].dtype == close.frame["x"].dtype
