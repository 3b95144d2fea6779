"""Which notation of dates a column has, and the steps that read it."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Literal

import pandas as pd

__all__ = ["DateReading", "guess_date_format", "parse_dates", "read_dates_as"]

_SAMPLE = 500
_SHARE = 0.95
_DAYS = (
    *("%m/%d/%Y", "%d/%m/%Y", "%m-%d-%Y", "%d-%m-%Y", "%d.%m.%Y", "%Y/%m/%d", "%Y.%m.%d"),
    *("%m/%d/%y", "%d/%m/%y", "%d.%m.%y", "%d-%b-%y"),
    *("%d %b %Y", "%d %B %Y", "%d-%b-%Y", "%b %d, %Y", "%B %d, %Y", "%b %d %Y"),
)
_TIMES = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p", "T%H:%M:%S")
_ISO = "ISO8601"
_DIGITS = {4: "%Y", 6: "%Y%m", 8: "%Y%m%d"}
Unit = Literal["s", "ms", "us", "ns"]
_UNITS: tuple[tuple[float, Unit], ...] = ((1e11, "s"), (1e14, "ms"), (1e17, "us"))


@dataclass(frozen=True, slots=True)
class DateReading:
    """How a column is read as dates.

    Parameters
    ----------
    format
        A ``strptime`` format or ``ISO8601``; it is not looked at where values are dates already.
    unit
        Unit of the numbers since 1970 (``s``, ``ms``, ``us``, ``ns``), if the column holds such.
    digits
        Whether the values are numbers that spell a date, such as 20260131.
    """

    format: str = _ISO
    unit: Unit | None = None
    digits: bool = False


def read_dates_as(column: pd.Series) -> DateReading:
    """Find out how *column*, which is known to hold dates, is written.

    Numbers of 4, 6 or 8 digits spell a year, a month or a day; other numbers count from 1970, in the unit
    that puts them nearest to our time. Where day and month cannot be told apart in any value, the month is
    first.
    """
    if pd.api.types.is_datetime64_any_dtype(column):
        return DateReading()
    if pd.api.types.is_numeric_dtype(column):
        return _numeric(column)
    found = guess_date_format(column)
    if found is None:
        numbers = pd.to_numeric(column, errors="coerce")
        return _numeric(numbers) if numbers.notna().mean() > 1 - _SHARE else DateReading()
    return DateReading(format=found)


def _numeric(column: pd.Series) -> DateReading:
    values = column.dropna().astype("float64").abs()
    if values.empty:
        return DateReading()
    widths = values.astype("int64").astype("str").str.len().unique()
    if len(widths) == 1 and int(widths[0]) in _DIGITS:
        return DateReading(format=_DIGITS[int(widths[0])], digits=True)
    middle = float(values.median())
    unit: Unit = next((unit for limit, unit in _UNITS if middle < limit), "ns")
    return DateReading(unit=unit)


def guess_date_format(column: pd.Series) -> str | None:
    """Return the format under which at least 95 % of the values are dates, or None.

    Parameters
    ----------
    column
        Strings (or date objects) and missing values; a sample of the distinct ones is tried.
    """
    values = column.dropna()
    distinct = pd.Series(values.astype("str").unique(), dtype="str")
    if distinct.empty:
        return None
    sample = distinct.sample(n=min(_SAMPLE, len(distinct)), random_state=0)
    plausible = sample.str.contains(r"\d", regex=True) & sample.str.len().between(6, 40)
    if plausible.mean() < _SHARE:
        return None
    if _share(sample, _ISO) >= _SHARE and sample.str.contains("-", regex=False).mean() >= _SHARE:
        return _ISO
    best = max(_candidates(str(sample.iloc[0])), key=lambda form: _share(sample, form), default=None)
    return best if best is not None and _share(sample, best) >= _SHARE else None


def _candidates(example: str) -> Iterator[str]:
    """Yield the formats that could fit, by the separators and words in *example*."""
    for day, time in product(_DAYS, _TIMES):
        if (":" in time) == (":" in example) and all(mark in example for mark in "/.-," if mark in day):
            yield day + time


def _share(sample: pd.Series, form: str) -> float:
    return float(pd.to_datetime(sample, format=form, errors="coerce", utc=True).notna().mean())


def parse_dates(column: pd.Series) -> pd.Series:
    """Return *column* as UTC time stamps, missing where a value is no date."""
    reading = read_dates_as(column)
    if reading.unit is not None:
        numbers = pd.to_numeric(column, errors="coerce")
        return pd.to_datetime(numbers, unit=reading.unit, errors="coerce", utc=True)
    if reading.digits:
        column = column.astype("str").str.replace(r"\.0$", "", regex=True)
    return pd.to_datetime(column, format=reading.format, errors="coerce", utc=True)
