from datetime import time
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trainingjob_api.spec import Csv
from trainingjob_api.vocabulary import FeatureType
from trainingjob_trainer.data.column_format import DEFAULT_MISSING, PLAIN
from trainingjob_trainer.data.columns import Columns, read_columns, read_texts
from trainingjob_trainer.data.csv_file import CsvLayout
from trainingjob_trainer.data.encoder import build_encoder
from trainingjob_trainer.data.findings import Finding, FindingKind, Severity, describe_layout

ROWS = 120
RNG = np.random.default_rng(4)
AMOUNTS = RNG.lognormal(9, 1, ROWS).round(2)
SIGNED = AMOUNTS * np.where(RNG.random(ROWS) < 0.3, -1, 1)
WHOLE = RNG.integers(200, 900_000, ROWS)
SHARES = RNG.normal(40, 10, ROWS).round(1)
HOLES = RNG.random(ROWS) < 0.1


def read(
    values: Any, separator: str = ",", asked: FeatureType | None = None, csv: Csv | None = None, **others: Any
) -> Columns:
    frame = pd.DataFrame({"x": pd.Series(list(values)), **others})
    if not any(isinstance(value, time) for value in values):
        frame = frame.astype("str")
    texts = read_texts(frame, csv, separator)
    return read_columns(frame, texts, {} if asked is None else {"x": asked}, skip="y")


def found(columns: Columns, kind: FindingKind) -> list[Finding]:
    return [one for one in columns.findings if one.kind is kind and one.column == "x"]


def swapped(text: str) -> str:
    return text.translate(str.maketrans(",.", ".,"))


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
def test_notations_are_read(texts: list[str], numbers: np.ndarray, separator: str) -> None:
    columns = read(texts, separator)
    assert columns.frame["x"].to_numpy(dtype="float64") == pytest.approx(numbers.astype("float64"))
    number = columns.formats["x"].number
    told = found(columns, FindingKind.NUMBER_NOTATION)
    assert bool(told) is (number != PLAIN)
    for one in told:
        assert "spec.dataset.csv" in one.message
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
def test_marks_that_could_be_either(
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
    "word", ["?", "-", ".", "n/a", "N.A.", "Unknown", "not done", "--", "refused", "#DIV/0!"]
)
def test_placeholders_among_numbers_are_missing(word: str) -> None:
    texts = np.where(HOLES, word, AMOUNTS.astype(str))
    columns = read(texts)
    assert np.array_equal(columns.frame["x"].isna(), HOLES)
    kind = FindingKind.MISSING_WORDS if word == "n/a" else FindingKind.PLACEHOLDERS
    (told,) = found(columns, kind)
    assert f"{HOLES.sum()} of {ROWS} values" in told.message
    assert repr(word) in told.message
    assert "spec.dataset.csv.missingValues" in told.message


def test_the_job_lists_what_is_missing() -> None:
    texts = np.where(HOLES, "NA", RNG.choice(["a", "b"], ROWS))
    assert np.array_equal(read(texts).frame["x"].isna(), HOLES)
    kept = read(texts, csv=Csv.model_validate({"missingValues": []}))
    assert kept.frame["x"].notna().all()
    assert not kept.findings
    other = read(texts, csv=Csv.model_validate({"missingValues": ["a"]}))
    assert np.array_equal(other.frame["x"].isna(), texts == "a")


def test_what_is_no_number_and_no_placeholder_is_told_and_missing() -> None:
    texts = [*AMOUNTS.astype(str)[:-2], "<5", "12 or 13"]
    (told,) = found(read(texts), FindingKind.UNREADABLE)
    assert "2 value(s)" in told.message
    assert "'<5' (1)" in told.message


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
def test_what_only_looks_like_numbers_stays_text(texts: list[str]) -> None:
    columns = read(texts)
    assert columns.frame["x"].tolist() == texts
    assert not found(columns, FindingKind.NUMBER_NOTATION)


def test_leading_zeros_make_codes() -> None:
    columns = read(["01234", "99999", "00007"] * 40)
    assert columns.frame["x"].tolist()[:3] == ["01234", "99999", "00007"]
    (told,) = found(columns, FindingKind.LEADING_ZEROS)
    assert "featureTypes" in told.message
    assert read(["01234", "99999"] * 40, asked=FeatureType.NUMERIC).frame["x"].tolist()[:2] == [1234, 99999]
    assert not found(read(["0", "0.5", "0.25"] * 40), FindingKind.LEADING_ZEROS)


@pytest.mark.parametrize(
    ("labels", "written"),
    [
        (["250", "V45", "401"], [[250, "V45", 401.0], ["250", "V45", "401"], ["250.0", "V45", "401.0"]]),
        (["01234", "00007", "99999"], [[1234, 7, 99999], [1234.0, 7.0, 99999.0], ["1234", "7", "99999"]]),
        (["1.50", "2.75", "x"], [[1.5, 2.75, "x"], ["1.5", "2.75", "x"]]),
        (["3", "1", "2"], [[3.0, 1.0, 2.0], ["3", "1", "2"], ["03", "01", "02"]]),
    ],
)
def test_a_code_is_the_same_however_it_was_read(labels: list[str], written: list[list[Any]]) -> None:
    columns = read(labels * 40, asked=FeatureType.CATEGORICAL)
    encoder = build_encoder({"x": FeatureType.CATEGORICAL}, frame=columns.frame, formats=columns.formats)
    encoder.fit(columns.frame)
    expected = encoder.transform(pd.DataFrame({"x": labels}))
    assert len(np.unique(expected, axis=0)) == 3
    for values in written:
        assert np.array_equal(encoder.transform(pd.DataFrame({"x": values})), expected)
        missing = pd.DataFrame({"x": [*values, None]})
        assert np.array_equal(encoder.transform(missing)[:3], expected)


def test_codes_that_differ_in_zeros_alone_stay_apart() -> None:
    labels = ["1", "01", "1.0", "250.1", "250.10"]
    columns = read(labels * 30, asked=FeatureType.CATEGORICAL)
    encoder = build_encoder({"x": FeatureType.CATEGORICAL}, frame=columns.frame, formats=columns.formats)
    assert len(np.unique(encoder.fit_transform(columns.frame), axis=0)) == len(labels)


@pytest.mark.parametrize(
    ("values", "seconds"),
    [
        pytest.param(["08:30", "23:59"], [30_600, 86_340], id="minutes"),
        pytest.param(["8:30:15", "23:59:00.5"], [30_615, 86_340.5], id="seconds"),
        pytest.param([time(8, 30), time(23, 59, 1, 500_000)], [30_600, 86_341.5], id="objects"),
    ],
)
def test_times_of_the_day_are_seconds(values: list[Any], seconds: list[float]) -> None:
    columns = read(values * 60)
    assert columns.frame["x"].tolist()[:2] == seconds
    assert found(columns, FindingKind.TIME_OF_DAY)
    encoder = build_encoder({"x": FeatureType.NUMERIC}, frame=columns.frame, formats=columns.formats)
    encoder.fit(columns.frame)
    raw = pd.DataFrame({"x": [*values, None]})
    assert encoder.transform(raw)[:2, 0].tolist() == seconds
    assert np.array_equal(
        encoder.transform(columns.frame), encoder.transform(pd.DataFrame({"x": values * 60}))
    )
    with pytest.raises(ValueError, match="'x' cannot be read: none of its values is a time of the day"):
        encoder.transform(pd.DataFrame({"x": ["noon", "late"]}))


@pytest.mark.parametrize(
    ("dates", "csv", "first", "told"),
    [
        (["03/04/2025", "05/06/2025"], {}, "2025-03-04", True),
        (["03/04/2025", "05/06/2025"], {"dayFirst": True}, "2025-04-03", False),
        (["03/04/2025", "05/06/2025"], {"dayFirst": False}, "2025-03-04", False),
        (["03/04/2025", "25/06/2025"], {}, "2025-04-03", False),
        (["03/25/2025", "05/06/2025"], {}, "2025-03-25", False),
        (["2025-03-04", "2025-05-06"], {}, "2025-03-04", False),
    ],
)
def test_day_and_month(dates: list[str], csv: dict[str, Any], first: str, told: bool) -> None:
    columns = read(dates * 30, csv=Csv.model_validate(csv))
    assert columns.formats["x"].date is not None
    encoder = build_encoder({"x": FeatureType.DATETIME}, frame=columns.frame, formats=columns.formats)
    month, day = encoder.fit_transform(columns.frame)[0, 1:3]
    assert f"2025-{month:02.0f}-{day:02.0f}" == first
    assert bool(found(columns, FindingKind.DATE_ORDER)) is told


def test_dates_that_leave_it_open_follow_the_others() -> None:
    columns = read(["03/04/2025", "05/06/2025"] * 30, z=["25/12/2024", "31/01/2025"] * 30)
    assert columns.formats["x"].date is not None
    assert columns.formats["x"].date.format == "%d/%m/%Y"
    assert "the day is read first" in found(columns, FindingKind.DATE_ORDER)[0].message


def test_the_layout_is_told_where_it_is_not_the_usual_one() -> None:
    frame = pd.DataFrame({"x": ["1,5", "2,25"] * 20}, dtype="str")
    semicolons, usual = CsvLayout(separator=";"), Csv()
    (told,) = describe_layout(semicolons, usual, read_texts(frame, None, ";").decimal)
    assert "';' between the fields (spec.dataset.csv.separator)" in told.message
    assert "a comma before the fraction" in told.message
    points = frame.replace(",", ".", regex=True)
    assert describe_layout(CsvLayout(), usual, read_texts(points, None, ",").decimal) == ()
    said = Csv.model_validate({"separator": ";", "decimal": ","})
    assert describe_layout(semicolons, said, ",") == ()


@given(
    numbers=st.lists(
        st.integers(-(10**9), 10**9).map(lambda n: n / 100), min_size=8, max_size=30, unique=True
    ),
    marks=st.sampled_from([(".", ","), (",", "."), (",", " "), (".", "'"), (".", "")]),
    symbol=st.sampled_from(["", "$", "€", " EUR", "%"]),
)
def test_what_is_written_is_read_back(numbers: list[float], marks: tuple[str, str], symbol: str) -> None:
    decimal, thousands = marks

    def write(value: float) -> str:
        text = f"{value:,.2f}".replace(",", "\0").replace(".", decimal).replace("\0", thousands)
        return f"{text}{symbol}"

    columns = read([write(value) for value in numbers], ";" if decimal == "," else ",")
    assert columns.frame["x"].to_numpy(dtype="float64") == pytest.approx(numbers)


def fitted(columns: Columns, kind: FeatureType) -> Any:
    encoder = build_encoder({"x": kind}, frame=columns.frame[["x"]], formats=columns.formats)
    return encoder.fit(columns.frame[["x"]])


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


def test_numbers_in_two_notations_are_not_read_in_one() -> None:
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


LONG = ["90071992547409930", "90071992547409931", "90071992547409932"]


def test_codes_of_many_digits_lose_none() -> None:
    columns = read(LONG * 40)
    assert columns.frame["x"].tolist() == LONG * 40
    (told,) = found(columns, FindingKind.LONG_CODES)
    assert "spec.featureTypes" in told.message
    encoder = fitted(columns, FeatureType.CATEGORICAL)
    expected = encoder.transform(pd.DataFrame({"x": LONG}))
    assert len(np.unique(expected, axis=0)) == 3
    assert np.array_equal(encoder.transform(pd.DataFrame({"x": [int(code) for code in LONG]})), expected)
    with pytest.raises(ValueError, match=r"'x'.*digits"):
        encoder.transform(pd.DataFrame({"x": [float(LONG[0]), None]}))
    encoder.transform(pd.DataFrame({"x": [None]}))
    numbers = read(LONG * 40, asked=FeatureType.NUMERIC).frame["x"]
    assert pd.api.types.is_numeric_dtype(numbers)
    assert not found(read(["9" * 20, *AMOUNTS.astype(str)]), FindingKind.LONG_CODES)


def test_spaces_around_a_category_do_not_matter() -> None:
    encoder = fitted(read([" yes", " no"] * 40), FeatureType.CATEGORICAL)
    rows = [pd.DataFrame({"x": [f"{space}yes", f"no{space}"]}) for space in (" ", "", "  ")]
    expected = encoder.transform(rows[0])
    assert len(np.unique(expected, axis=0)) == 2
    assert all(np.array_equal(encoder.transform(one), expected) for one in rows)
    apart = fitted(read([" yes", "yes", "no"] * 40), FeatureType.CATEGORICAL)
    assert len(np.unique(apart.transform(pd.DataFrame({"x": [" yes", "yes", "no"]})), axis=0)) == 3


def test_words_for_infinity_among_others_are_categories() -> None:
    texts = ["inf", "Infinity", "a", "b"] * 30
    assert read(texts).frame["x"].tolist() == texts


@pytest.mark.parametrize("form", ["{h}:{m:02d} {half}", "{h:02d}:{m:02d}:00{half}", "{h}:{m:02d} {dots}"])
def test_times_with_two_halves_are_seconds(form: str) -> None:
    minutes = [0, 30, 5 * 60, 12 * 60, 12 * 60 + 45, 23 * 60 + 59] * 20
    texts = [
        form.format(
            h=(value // 60 - 1) % 12 + 1,
            m=value % 60,
            half="PM" if value >= 720 else "AM",
            dots="p.m." if value >= 720 else "a.m.",
        )
        for value in minutes
    ]
    columns = read(texts)
    assert columns.frame["x"].tolist() == [60.0 * value for value in minutes]
    encoder = fitted(columns, FeatureType.NUMERIC)
    rows = encoder.transform(pd.DataFrame({"x": texts[:6]}))
    assert np.array_equal(rows, encoder.transform(columns.frame[["x"]].head(6)))


@pytest.mark.parametrize(
    ("text", "kind"), [("08:30", FeatureType.NUMERIC), ("24.12.2025", FeatureType.DATETIME)]
)
def test_placeholders_among_times_and_dates_are_missing_when_predicting(text: str, kind: FeatureType) -> None:
    columns = read([text, text.replace("2", "1"), "unknown", "17:45" if ":" in text else "01.02.2025"] * 30)
    assert columns.formats["x"].time_of_day or columns.formats["x"].date
    encoder = fitted(columns, kind)
    missing = encoder.transform(pd.DataFrame({"x": [None]}))
    assert np.array_equal(encoder.transform(pd.DataFrame({"x": ["Unknown"]})), missing)
    with pytest.raises(ValueError, match="'x' cannot be read"):
        encoder.transform(pd.DataFrame({"x": ["soon"]}))


@pytest.mark.parametrize("far", ["0001-01-01", "1015-03-04", "9999-12-31"])
def test_dates_far_away_are_dates(far: str) -> None:
    columns = read([far, "2024-05-06", "2025-03-04"] * 30)
    encoded = fitted(columns, FeatureType.DATETIME).transform(pd.DataFrame({"x": [far, "2024-05-06"]}))
    assert np.isfinite(encoded).all()
    assert encoded[0, 0] == int(far[:4])


def test_integers_of_many_digits_are_codes() -> None:
    frame = pd.DataFrame({"x": [int(code) for code in LONG] * 40, "small": range(120)})
    columns = read_columns(frame, read_texts(frame, None, None), {}, skip="y")
    assert columns.frame["x"].tolist() == LONG * 40
    assert columns.frame["small"].tolist() == list(range(120))
    assert found(columns, FindingKind.LONG_CODES)
    encoder = fitted(columns, FeatureType.CATEGORICAL)
    assert len(np.unique(encoder.transform(frame[["x"]]), axis=0)) == 3


def test_whole_numbers_with_points_refuse_fractions() -> None:
    texts = [f"{value:,}".replace(",", ".") for value in WHOLE]
    columns = read(texts, ";", z=[f"{value:.2f}".replace(".", ",") for value in AMOUNTS])
    encoder = fitted(columns, FeatureType.NUMERIC)
    with pytest.raises(ValueError, match="'x' holds fractions"):
        encoder.transform(pd.DataFrame({"x": [1.252, 12.5]}))
    fractions = fitted(read([swapped(f"{v:,.2f}") for v in AMOUNTS], ";"), FeatureType.NUMERIC)
    fractions.transform(pd.DataFrame({"x": [1.252, 12.5]}))


@pytest.mark.parametrize("text", ["?", " ? ", "Not Done", " NA ", ""])
def test_placeholders_are_missing_when_predicting(text: str) -> None:
    encoder = fitted(read(np.where(HOLES, "?", AMOUNTS.astype(str))), FeatureType.NUMERIC)
    missing = encoder.transform(pd.DataFrame({"x": [None]}))
    assert np.array_equal(encoder.transform(pd.DataFrame({"x": [text]})), missing)


def test_marks_that_stand_before_no_group_of_three_make_no_number() -> None:
    columns = read([*(f"{v:,.2f}" for v in AMOUNTS), "12,34", "1,2,3"])
    assert columns.frame["x"].isna().tolist() == [False] * ROWS + [True, True]
    (told,) = found(columns, FindingKind.UNREADABLE)
    assert "'12,34' (1)" in told.message


@pytest.mark.parametrize("texts", [["08:30", "17:45"], ["24.12.2025", "01.02.2025"]])
def test_a_column_of_which_no_time_or_date_can_be_read_is_refused(texts: list[str]) -> None:
    columns = read(texts * 60)
    kind = FeatureType.NUMERIC if columns.formats["x"].time_of_day else FeatureType.DATETIME
    encoder = fitted(columns, kind)
    with pytest.raises(ValueError, match="'x' cannot be read"):
        encoder.transform(pd.DataFrame({"x": ["soon", "later"]}))
    encoder.transform(pd.DataFrame({"x": ["soon", texts[0]]}))


def test_words_that_stand_once_stand_for_no_missing_number() -> None:
    texts = [*AMOUNTS[:60].astype(str), "red", "green", "blue", "grey"]
    assert read(texts).frame["x"].tolist() == texts


def test_each_column_of_rounded_codes_is_refused_beside_others() -> None:
    columns = read(LONG * 40, z=LONG * 40)
    types = dict.fromkeys(["x", "z"], FeatureType.CATEGORICAL)
    encoder = build_encoder(types, frame=columns.frame, formats=columns.formats).fit(columns.frame)
    with pytest.raises(ValueError, match=r"'x'.*digits"):
        encoder.transform(pd.DataFrame({"x": [float(LONG[0])], "z": [None]}))


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
def test_plain_numbers_are_those_that_a_closer_look_finds(texts: list[str]) -> None:
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
