"""Finds how the dates of a column are written, and reads them."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
from pandas.api.types import is_datetime64_any_dtype, is_numeric_dtype, is_string_dtype

from trainingjob_trainer.data.column_format import ISO, PLACEHOLDERS, DateFormat, Unit

__all__ = ["infer_date_format", "parse_dates"]

_SAMPLE = 500
_SHARE = 0.95
_DAYS = (
    *("%m/%d/%Y", "%d/%m/%Y", "%m-%d-%Y", "%d-%m-%Y", "%d.%m.%Y", "%Y/%m/%d", "%Y.%m.%d"),
    *("%m/%d/%y", "%d/%m/%y", "%d.%m.%y", "%d-%b-%y"),
    *("%d %b %Y", "%d %B %Y", "%d-%b-%Y", "%b %d, %Y", "%B %d, %Y", "%b %d %Y"),
)
_TIMES = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p", "T%H:%M:%S")
_OFFSET = r"[+-]\d{2}:?\d{2}$"
_DIGITS = {4: "%Y", 6: "%Y%m", 8: "%Y%m%d"}
_UNITS: tuple[tuple[float, Unit], ...] = ((1e11, "s"), (1e14, "ms"), (1e17, "us"))


def infer_date_format(
    column: pd.Series, *, day_first: bool | None = None, zone: str | None = None
) -> DateFormat:
    """Return how *column*, which is known to hold dates, is written.

    Numbers of 4, 6 or 8 digits spell a year, a month or a day; other numbers count from 1970, in the unit
    that puts them nearest to the present.

    Parameters
    ----------
    day_first
        What comes first if no value shows which part is the day; None: the month.
    zone
        Zone whose hours and weekdays are used; None: that of the column.
    """
    if is_datetime64_any_dtype(column):
        own = getattr(column.dt, "tz", None)
        return DateFormat(zone=zone or (None if own is None else str(own)), guessed=True)
    if is_numeric_dtype(column):
        return replace(_of_numbers(column), zone=zone)
    found, ambiguous = _guess(column, day_first=bool(day_first))
    if found is None:
        numbers = pd.to_numeric(column, errors="coerce")
        numeric = numbers.notna().mean() > 1 - _SHARE
        return replace(_of_numbers(numbers) if numeric else DateFormat(), zone=zone)
    offsets = found == ISO and bool(column.dropna().astype("str").str.contains(_OFFSET).any())
    return DateFormat(format=found, zone=zone, ambiguous=ambiguous, guessed=True, offsets=offsets)


def _of_numbers(column: pd.Series) -> DateFormat:
    values = column.astype("float64").abs().replace(np.inf, np.nan).dropna()
    if values.empty:
        return DateFormat()
    widths = values.astype("int64").astype("str").str.len().unique()
    if len(widths) == 1 and int(widths[0]) in _DIGITS:
        return DateFormat(format=_DIGITS[int(widths[0])], digits=True)
    middle = float(values.median())
    return DateFormat(unit=next((unit for limit, unit in _UNITS if middle < limit), "ns"))


def _guess(column: pd.Series, *, day_first: bool) -> tuple[str | None, bool]:
    """Return the format of 95 % of a sample of the texts, and whether day and month may be exchanged."""
    values = column.dropna().astype("str").str.strip()
    distinct = pd.Series(values[~values.str.casefold().isin(PLACEHOLDERS)].unique(), dtype="str")
    if distinct.empty:
        return None, False
    sample = distinct.sample(n=min(_SAMPLE, len(distinct)), random_state=0)
    plausible = sample.str.contains(r"\d", regex=True) & sample.str.len().between(6, 40)
    if plausible.mean() < _SHARE:
        return None, False
    if _share(sample, ISO) >= _SHARE and sample.str.contains("-", regex=False).mean() >= _SHARE:
        return ISO, False
    shares = {form: _share(sample, form) for form in _candidates(str(sample[plausible].iloc[0]))}
    best = max(shares, key=shares.__getitem__, default=None)
    if best is None or shares[best] < _SHARE:
        return None, False
    order = {form: DateFormat(form).day_first for form in shares}
    equal = [form for form in shares if shares[form] == shares[best] and order[form] is not None]
    ambiguous = len({order[form] for form in equal}) > 1
    if ambiguous:
        best = next(form for form in equal if order[form] is day_first)
    return best, ambiguous


def _candidates(example: str) -> Iterator[str]:
    """Yield the formats that could fit, by the separators and words in *example*."""
    for day, time in product(_DAYS, _TIMES):
        if (":" in time) == (":" in example) and all(mark in example for mark in "/.-," if mark in day):
            yield day + time


def _share(sample: pd.Series, form: str) -> float:
    return float(pd.to_datetime(sample, format=form, errors="coerce", utc=True).notna().mean())


def parse_dates(column: pd.Series, how: DateFormat | None = None) -> pd.Series:
    """Return *column* as UTC time stamps, missing where a value is not a date."""
    how = how or infer_date_format(column)
    if how.unit is not None:
        numbers = pd.to_numeric(column, errors="coerce")
        return pd.to_datetime(numbers, unit=how.unit, errors="coerce", utc=True)
    if how.digits:
        column = column.astype("str").str.replace(r"\.0$", "", regex=True)
    elif is_string_dtype(column):
        column = column.str.strip()
    return pd.to_datetime(column, format=how.format, errors="coerce", utc=True)
