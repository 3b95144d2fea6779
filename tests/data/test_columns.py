from datetime import time
from typing import Any

import numpy as np
import pandas as pd
import pytest

from support.columns import AMOUNTS, HOLES, RNG, ROWS, fitted, found, read
from trainingjob_api.storage import Csv
from trainingjob_api.vocabulary import FeatureType
from trainingjob_trainer.data import FindingKind
from trainingjob_trainer.data.columns import layout_findings, read_columns, read_texts
from trainingjob_trainer.data.encoder import build_encoder


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


def test_the_job_lists_the_words_for_missing_values() -> None:
    texts = np.where(HOLES, "NA", RNG.choice(["a", "b"], ROWS))
    assert np.array_equal(read(texts).frame["x"].isna(), HOLES)
    kept = read(texts, csv=Csv.model_validate({"missingValues": []}))
    assert kept.frame["x"].notna().all()
    assert not kept.findings
    other = read(texts, csv=Csv.model_validate({"missingValues": ["a"]}))
    assert np.array_equal(other.frame["x"].isna(), texts == "a")


def test_other_words_among_numbers_are_reported_and_missing() -> None:
    texts = [*AMOUNTS.astype(str)[:-2], "<5", "12 or 13"]
    (told,) = found(read(texts), FindingKind.UNREADABLE)
    assert "2 value(s)" in told.message
    assert "'<5' (1)" in told.message


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
def test_the_order_of_day_and_month_follows_the_values(
    dates: list[str], csv: dict[str, Any], first: str, told: bool
) -> None:
    columns = read(dates * 30, csv=Csv.model_validate(csv))
    assert columns.formats["x"].date is not None
    encoder = build_encoder({"x": FeatureType.DATETIME}, frame=columns.frame, formats=columns.formats)
    month, day = encoder.fit_transform(columns.frame)[0, 1:3]
    assert f"2025-{month:02.0f}-{day:02.0f}" == first
    assert bool(found(columns, FindingKind.DATE_ORDER)) is told


def test_ambiguous_dates_follow_the_other_columns() -> None:
    columns = read(["03/04/2025", "05/06/2025"] * 30, z=["25/12/2024", "31/01/2025"] * 30)
    assert columns.formats["x"].date is not None
    assert columns.formats["x"].date.format == "%d/%m/%Y"
    assert "the day is read first" in found(columns, FindingKind.DATE_ORDER)[0].message


def test_an_unusual_layout_of_the_file_is_reported() -> None:
    frame = pd.DataFrame({"x": ["1,5", "2,25"] * 20}, dtype="str")
    (told,) = layout_findings(read_texts(frame, None, ";"))
    assert "';' between the fields (spec.dataset.csv.separator)" in told.message
    assert "a comma before the fraction" in told.message
    points = frame.replace(",", ".", regex=True)
    assert layout_findings(read_texts(points, None, ",")) == ()
    said = Csv.model_validate({"separator": ";", "decimal": ","})
    assert layout_findings(read_texts(frame, said, ";")) == ()


LONG = ["90071992547409930", "90071992547409931", "90071992547409932"]


def test_long_codes_lose_no_digit() -> None:
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
    assert all(np.array_equal(encoder.transform(row), expected) for row in rows)
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
def test_dates_in_the_far_past_and_future_are_read(far: str) -> None:
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


@pytest.mark.parametrize("text", ["?", " ? ", "Not Done", " NA ", ""])
def test_placeholders_are_missing_when_predicting(text: str) -> None:
    encoder = fitted(read(np.where(HOLES, "?", AMOUNTS.astype(str))), FeatureType.NUMERIC)
    missing = encoder.transform(pd.DataFrame({"x": [None]}))
    assert np.array_equal(encoder.transform(pd.DataFrame({"x": [text]})), missing)


@pytest.mark.parametrize("texts", [["08:30", "17:45"], ["24.12.2025", "01.02.2025"]])
def test_a_column_of_which_no_time_or_date_can_be_read_is_rejected(texts: list[str]) -> None:
    columns = read(texts * 60)
    kind = FeatureType.NUMERIC if columns.formats["x"].time_of_day else FeatureType.DATETIME
    encoder = fitted(columns, kind)
    with pytest.raises(ValueError, match="'x' cannot be read"):
        encoder.transform(pd.DataFrame({"x": ["soon", "later"]}))
    encoder.transform(pd.DataFrame({"x": ["soon", texts[0]]}))


def test_words_that_occur_once_are_not_placeholders() -> None:
    texts = [*AMOUNTS[:60].astype(str), "red", "green", "blue", "grey"]
    assert read(texts).frame["x"].tolist() == texts


def test_each_column_of_rounded_codes_is_rejected_beside_others() -> None:
    columns = read(LONG * 40, z=LONG * 40)
    types = dict.fromkeys(["x", "z"], FeatureType.CATEGORICAL)
    encoder = build_encoder(types, frame=columns.frame, formats=columns.formats).fit(columns.frame)
    with pytest.raises(ValueError, match=r"'x'.*digits"):
        encoder.transform(pd.DataFrame({"x": [float(LONG[0])], "z": [None]}))
