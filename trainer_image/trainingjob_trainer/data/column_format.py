"""How a column's raw values are read: decided once, followed by training, model and ``pipeline.py``."""

import re
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

__all__ = [
    "APOSTROPHES",
    "DEFAULT_MISSING",
    "ISO",
    "NOT_A_NUMBER",
    "PLACEHOLDERS",
    "PLAIN",
    "SPACES",
    "TIME_OF_DAY",
    "ColumnFormat",
    "DateFormat",
    "NumberFormat",
    "Rule",
    "Unit",
    "label_rules",
    "missing_rule",
    "usual_format",
]

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
ISO = "ISO8601"
Unit = Literal["s", "ms", "us", "ns"]
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


@dataclass(frozen=True, slots=True)
class NumberFormat:
    """How the numbers of one column are written.

    Parameters
    ----------
    decimal
        ``.`` or ``,``.
    thousands
        ``.``, ``,``, an apostrophe, a space (of any kind), or nothing.
    symbols
        Currency or percent signs that are left out.
    signs
        Whether some negative numbers are in parentheses, have the minus behind them, or a long minus.
    scaled
        Whether K, M and B stand for thousands, millions and billions.
    """

    decimal: str = "."
    thousands: str = ""
    symbols: tuple[str, ...] = ()
    signs: bool = False
    scaled: bool = False

    def rules(self) -> list[Rule]:
        """Return the rules that turn the texts into numbers of Python's notation, in order."""
        if self == PLAIN:
            return []
        rules: list[Rule] = [(r"^\s+|\s+$", "")]
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
    """How a column is read as dates.

    Parameters
    ----------
    format
        A ``strptime`` format or ``ISO8601``; unused where values are dates already.
    unit
        Unit of the numbers since 1970 (``s``, ``ms``, ``us``, ``ns``), if the column holds such.
    digits
        Whether the values are numbers that spell a date, such as 20260131.
    zone
        Zone whose hours and weekdays are used; None: UTC.
    ambiguous
        Whether no value shows which is the day and which the month.
    guessed
        Whether the values themselves say that they are dates.
    offsets
        Whether texts end in an offset from UTC.
    """

    format: str = ISO
    unit: Unit | None = None
    digits: bool = False
    zone: str | None = None
    ambiguous: bool = False
    guessed: bool = False
    offsets: bool = False

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
    """How one column is read.

    Parameters
    ----------
    missing
        The texts that count as missing.
    placeholders
        Whether all known placeholders count as missing, too, however they are capitalised.
    number
        How numbers are written.
    time_of_day
        Whether the values are times of the day, which are read as seconds since midnight.
    labels
        Rules that make one label of what different readers make of it.
    date
        How dates are read; None if the column holds none.
    long
        Whether the labels are numbers of more digits than a float holds, so that a float has lost some.
    whole
        Whether all values were whole numbers with a point between thousands, so that a value with a fraction
        was misread before it came here.
    """

    missing: tuple[str, ...] = DEFAULT_MISSING
    placeholders: bool = False
    number: NumberFormat = PLAIN
    time_of_day: bool = False
    labels: tuple[Rule, ...] = ()
    date: DateFormat | None = None
    long: bool = False
    whole: bool = False

    @property
    def missing_rule(self) -> Rule:
        """The rule for what is missing."""
        return missing_rule(self.missing, placeholders=self.placeholders)

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


def missing_rule(missing: tuple[str, ...], *, placeholders: bool = False) -> Rule:
    """Return the rule for the empty text, those that are missing and, if asked, all known *placeholders*."""
    words = "|".join(re.escape(word) for word in sorted(PLACEHOLDERS)) if placeholders else ""
    texts = "|".join(re.escape(text) for text in sorted({*missing, ""}, reverse=True))
    return rf"^\s*(?:{f'(?i:{words})|' if words else ''}{texts})\s*$", np.nan


def usual_format(column: pd.Series) -> ColumnFormat:
    """Return how a column is read about which nothing special is known."""
    if pd.api.types.is_float_dtype(column):
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
