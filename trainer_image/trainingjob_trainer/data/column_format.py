"""How a column's raw values are read: decided once, followed by training, model and ``pipeline.py``."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Literal

import numpy as np
import pandas as pd
from pandas.api.types import is_datetime64_any_dtype, is_float_dtype, is_numeric_dtype, is_string_dtype

DEFAULT_MISSING = (
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"),
    *("<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
)
"""The texts that pandas reads as missing; a model does so too."""

PLACEHOLDERS = frozenset(
    {
        *("-", "--", "---", "–", "—", ".", "..", "...", "?", "??", "???", "*", "na", "n/a", "n.a.", "n.a"),
        *("#n/a", "#na", "#value!", "#div/0!", "#ref!", "#null!", "#num!", "<na>", "nan", "null", "none"),
        *("nil", "missing", "unknown", "unk", "undefined", "not available", "not applicable", "not done"),
        *("not measured", "not known", "not recorded", "no data", "n.d.", "n.d", "nd", "tbd", "tba", "k.a."),
        *("k. a.", "keine angabe", "unbekannt", "s/d", "void", "empty", "blank"),
    }
)
"""Texts, in lower case, that mean a missing number."""
Rule = tuple[str, str | float]
"""A regular expression and what its matches become; NaN makes the whole value missing."""

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
NOT_A_NUMBER = rf"^(?!\s*{_NUMBER}\s*$)[\s\S]*$"
"""Matches every text that is not a number of Python's notation."""

SPACES = " \u00a0\u202f\u2009"
APOSTROPHES = "'’"
_GROUP = {",": ",", ".": "[.]", "'": f"[{APOSTROPHES}]", " ": f"[{SPACES}]"}
_ISO = "ISO8601"
_Unit = Literal["s", "ms", "us", "ns"]
_STRIP: Rule = (r"^\s+|\s+$", "")
TIME_OF_DAY: tuple[Rule, ...] = (
    _STRIP,
    (r"^(\d{1,2}:\d{2})(?=$|\s*[AaPp])", r"\1:00"),
    (r"^12(?=:\S*\s*[AaPp])", "0"),
    (r"\s*[Aa][.]?[Mm][.]?$", ""),
    (r"^(.*\d)\s*[Pp][.]?[Mm][.]?$", r"12h \1"),
    (r"^(\d+(?:[.]\d*)?)$", r"\1s"),
)
"""The rules that write times of the day, or seconds since midnight, as durations."""

# As different readers of a file write one and the same code: 250 and 250.0, 01234 and 1234, 1.50 and 1.5.
_LABEL_RULES: tuple[Rule, ...] = (
    (r"^(-?\d+)[.]0+$", r"\1"),
    (r"^(-?)0+(?=\d+$)", r"\1"),
    (r"^(-?\d+[.]\d*[1-9])0+$", r"\1"),
)

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
_UNITS: tuple[tuple[float, _Unit], ...] = ((1e11, "s"), (1e14, "ms"), (1e17, "us"))


@dataclass(frozen=True, slots=True)
class NumberFormat:
    """How the numbers of one column are written."""

    decimal: str = "."
    """``.`` or ``,``."""
    thousands: str = ""
    """``.``, ``,``, an apostrophe, a space (of any kind), or nothing."""
    symbols: tuple[str, ...] = ()
    """Currency or percent signs that are left out."""
    signs: bool = False
    """Whether some negative numbers are in parentheses, have the minus behind them, or a long minus."""
    scaled: bool = False
    """Whether K, M and B stand for thousands, millions and billions."""

    def rules(self) -> list[Rule]:
        """Return the rules that turn the texts into numbers of Python's notation, in order."""
        if self == PLAIN:
            return []
        rules = [_STRIP]
        rules += [(rf"\s*{re.escape(symbol)}\s*", "") for symbol in self.symbols]
        if self.signs:
            rules += [
                (r"^\((.*)\)$", r"-\1"),
                (r"^(.*\d)\s*[-−]$", r"-\1"),
                ("^−", "-"),
                (r"^([+-])\s+", r"\1"),
            ]
        if self.thousands:
            mark = _GROUP[self.thousands]
            # Only groups of three digits (or two, but for the last) may follow.
            rules.append((rf"(?<=\d){mark}(?=(?:\d{{2,3}}{mark})*\d{{3}}(?:\D|$))", ""))
        if self.decimal == ",":
            rules.append((r"^([+-]?\d*),(\d*)(?=$|[eEKkMB])", r"\1.\2"))
        if self.scaled:
            rules += [(r"(?<=\d)\s*[Kk]$", "e3"), (r"(?<=\d)\s*M$", "e6"), (r"(?<=\d)\s*B$", "e9")]
        return rules

    def describe(self) -> str:
        """Return the format in words."""
        marks = {".": "a point", ",": "a comma", "'": "an apostrophe", " ": "a space"}
        words = []
        if self.thousands:
            words.append(f"{marks[self.thousands]} between thousands")
        if self.decimal == "," or self.thousands:
            words.append(f"{marks[self.decimal]} before the fraction")
        words += [f"the sign {symbol} left out" for symbol in self.symbols]
        if self.signs:
            words.append("parentheses or a minus behind the number for negative ones")
        if self.scaled:
            words.append("K, M and B as thousands, millions and billions")
        return ", ".join(words)


PLAIN = NumberFormat()
"""The notation of Python."""


@dataclass(frozen=True, slots=True)
class DateFormat:
    """How a column is read as dates."""

    format: str = _ISO
    """A ``strptime`` format or ``ISO8601``; unused where values are dates already."""
    unit: _Unit | None = None
    """Unit of the numbers since 1970, if the column holds such."""
    digits: bool = False
    """Whether the values are numbers that spell a date, such as 20260131."""
    zone: str | None = None
    """Zone whose hours and weekdays are used; None: UTC."""
    ambiguous: bool = False
    """Whether no value shows which is the day and which the month."""
    guessed: bool = False
    """Whether the values themselves say that they are dates."""
    offsets: bool = False
    """Whether texts end in an offset from UTC."""

    @property
    def day_first(self) -> bool | None:
        """Whether the day comes before the month in numbers; None where the format leaves no doubt."""
        day, month, year = (self.format.find(part) for part in ("%d", "%m", "%Y"))
        if day < 0 or month < 0 or 0 <= year < min(day, month):
            return None
        return day < month

    def describe(self) -> str:
        """Return the format in words."""
        return f"written as {self.format}" if self.unit is None else f"{self.unit} since 1970"


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnFormat:
    """How one column is read."""

    missing: tuple[str, ...] = DEFAULT_MISSING
    """The texts that count as missing."""
    placeholders: bool = False
    """Whether all known placeholders count as missing, too, however they are capitalised."""
    number: NumberFormat = PLAIN
    time_of_day: bool = False
    """Whether the values are times of the day, which are read as seconds since midnight."""
    labels: tuple[Rule, ...] = ()
    """Rules that make one label of what different readers make of it."""
    date: DateFormat | None = None
    """None if the column holds no dates."""
    long: bool = False
    """Whether the labels are numbers of more digits than a float holds, so that a float has lost some."""
    whole: bool = False
    """Whether whole numbers had a point between thousands: a fraction was misread before it came here."""

    @property
    def missing_rule(self) -> Rule:
        """The rule for the empty text, those that are missing and, if so, all known placeholders."""
        words = "|".join(re.escape(word) for word in sorted(PLACEHOLDERS)) if self.placeholders else ""
        texts = "|".join(re.escape(text) for text in sorted({*self.missing, ""}, reverse=True))
        return rf"^\s*(?:{f'(?i:{words})|' if words else ''}{texts})\s*$", np.nan

    def to_dict(self) -> dict[str, Any]:
        """Return the values that differ from the defaults, as plain data."""
        number, date = self.number, self.date
        data: dict[str, Any] = {}
        if number != PLAIN:
            data |= {
                "decimal": number.decimal,
                "thousands": number.thousands or None,
                "symbol": " ".join(number.symbols) or None,
            }
        if set(self.missing) - set(DEFAULT_MISSING):
            data["missingValues"] = [text for text in self.missing if text not in DEFAULT_MISSING]
        if self.time_of_day:
            data["timeOfDay"] = True
        if date is not None:
            data |= {"dateFormat": date.format, "dateUnit": date.unit, "timeZone": date.zone}
        return {key: value for key, value in data.items() if value is not None}


def usual_format(column: pd.Series) -> ColumnFormat:
    """Return how a column is read about which nothing special is known."""
    if is_float_dtype(column):
        return ColumnFormat(labels=_LABEL_RULES)
    try:
        return ColumnFormat(labels=label_rules(column.dropna().drop_duplicates()))
    except TypeError:  # values that cannot be hashed are not labels
        return ColumnFormat()


def label_rules(labels: pd.Series) -> tuple[Rule, ...]:
    """Return the rules under which different *labels* (distinct values) stay different.

    Those for numbers are left out where no label looks like one.
    """
    texts = labels.astype("str")
    numbers = bool(texts.str.strip().str.fullmatch(r"[+-]?\d+(?:[.]\d+)?").any())
    chosen: list[Rule] = []
    for pattern, value in (_STRIP, *(_LABEL_RULES if numbers else ())):
        changed = texts.str.replace(pattern, str(value), regex=True)
        if changed.nunique() == texts.nunique():
            chosen.append((pattern, value))
            texts = changed
    return tuple(chosen)


def infer_date_format(
    column: pd.Series, *, day_first: bool | None = None, zone: str | None = None
) -> DateFormat:
    """Return how *column*, which is known to hold dates, is written.

    Numbers of 4, 6 or 8 digits spell a year, a month or a day; other numbers count from 1970, in the unit
    that puts them nearest to the present. Where no value shows which part is the day, *day_first* decides.
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
    offsets = found == _ISO and bool(column.dropna().astype("str").str.contains(_OFFSET).any())
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
    if _share(sample, _ISO) >= _SHARE and sample.str.contains("-", regex=False).mean() >= _SHARE:
        return _ISO, False
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
