from typing import Any

import pandas as pd
import pytest

from trainingjob_trainer.data.column_format import infer_date_format, parse_dates

DAYS = pd.Series(pd.date_range("2020-01-28", periods=60, freq="25h"))


@pytest.mark.parametrize(
    ("form", "found"),
    [
        ("%Y-%m-%d", "ISO8601"),
        ("%Y-%m-%d %H:%M:%S", "ISO8601"),
        ("%Y-%m-%dT%H:%M", "ISO8601"),
        ("%d/%m/%Y", "%d/%m/%Y"),
        ("%m/%d/%Y", "%m/%d/%Y"),
        ("%d.%m.%Y %H:%M", "%d.%m.%Y %H:%M"),
        ("%d-%b-%y", "%d-%b-%y"),
        ("%B %d, %Y", "%B %d, %Y"),
        ("%Y/%m/%d %I:%M:%S %p", "%Y/%m/%d %I:%M:%S %p"),
    ],
)
def test_date_formats_are_recognised_and_read(form: str, found: str) -> None:
    written = DAYS.dt.strftime(form)
    how = infer_date_format(written)
    assert (how.guessed, how.format) == (True, found)
    expected = pd.to_datetime(written, format=form, utc=True)
    assert (parse_dates(written) == expected).all()


def test_the_month_comes_first_in_ambiguous_dates() -> None:
    how = infer_date_format(pd.Series(["03/04/2020", "05/06/2021"]))
    assert (how.guessed, how.format) == (True, "%m/%d/%Y")


@pytest.mark.parametrize(
    "values", [["a", "b"], ["1.2.3", "10.20.30"], ["12", "13"], [None, None], ["99/99/2020"]]
)
def test_other_texts_are_not_dates(values: list[Any]) -> None:
    assert not infer_date_format(pd.Series(values)).guessed


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([2019, 2020], ["2019-01-01", "2020-01-01"]),
        ([20190203, 20200203], ["2019-02-03", "2020-02-03"]),
        ([20190203.0, None], ["2019-02-03", None]),
        (["20190203", "20200203"], ["2019-02-03", "2020-02-03"]),
        ([1577836800, 1577923200], ["2020-01-01", "2020-01-02"]),
        ([1577836800000, None], ["2020-01-01", None]),
        ([1577836800000000, 1577923200000000], ["2020-01-01", "2020-01-02"]),
        ([1577836800000000000, 1577923200000000000], ["2020-01-01", "2020-01-02"]),
    ],
)
def test_numbers_are_read_as_dates_on_request(values: list[Any], expected: list[str | None]) -> None:
    read = parse_dates(pd.Series(values))
    assert [None if day is pd.NaT else str(day.date()) for day in read] == expected


def test_dates_stay_dates() -> None:
    zoned = DAYS.dt.tz_localize("Europe/Paris")
    assert infer_date_format(zoned).unit is None
    assert (parse_dates(zoned) == zoned).all()
