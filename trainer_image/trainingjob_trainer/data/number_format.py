"""Finds how the numbers of a column of text are written, and reads them."""

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pandas as pd

from trainingjob_api.storage import Csv
from trainingjob_api.vocabulary import FeatureType, Severity
from trainingjob_trainer.data import Finding, FindingKind, quoted
from trainingjob_trainer.data.column_format import (
    APOSTROPHES,
    NOT_A_NUMBER,
    PLACEHOLDERS,
    PLAIN,
    SPACES,
    ColumnFormat,
    NumberFormat,
)

_CODES = (
    "USD|EUR|GBP|CHF|JPY|CNY|RMB|INR|AUD|CAD|NZD|SGD|HKD|SEK|NOK|DKK|PLN|CZK|HUF|RON|BGN|TRY|RUB|UAH|BRL|MXN|"
    "ARS|CLP|COP|ZAR|KRW|THB|IDR|MYR|PHP|VND|ILS|AED|SAR|EGP|NGN|KES|kr|zł|Kč|Ft|Rs[.]?|Fr[.]?|TL"
)
_CURRENCY = rf"(?:[A-Z]{{0,2}}[$]|[¢£¤¥฿₠-₿￠￡￥￦]|{_CODES})"
_WRITTEN = re.compile(
    rf"(?:(?P<outer>{_CURRENCY})\s*(?=\())?(?P<open>\()?\s*(?P<sign>[+\-−])?\s*(?P<before>{_CURRENCY})?\s*(?P<inner>[+\-−])?\s*"
    rf"(?P<body>\d[\d.,{SPACES}{APOSTROPHES}]*|[.,]\d+)(?P<power>[eE][+-]?\d+)?\s*"
    rf"(?P<scale>[KkMB])?\s*(?P<after>{_CURRENCY}|[%‰])?\s*(?P<close>\))?(?P<trailing>[-−])?"
)
_MARKS = re.compile(r"[., ']")
_NOT_PLAIN = r"^[+-]?0\d|\d{16}|[^\d.eE+-]"
_EITHER = r"[+-]?[1-9]\d{0,2}[.]\d{3}"
_SAMPLE = 20_000  # rows
_STRAY = 0.02  # share of the rows whose mark may be either
_PERCENT = frozenset("%‰")
_LONG = 4  # digits of a whole number that would have a mark between thousands
_LEAST_VALUES = 20  # different numbers from which a column is not a list of categories
_GROUP_SIZES = frozenset({2, 3})  # two in the Indian system
_LEAST_ROWS = 2  # of a word that means a missing number
EXACT = 2**53
"""From which floats skip integers."""


class _Marks(NamedTuple):
    """The marks of one number; *either* may separate thousands or the fraction."""

    symbol: str
    thousands: str
    decimal: str
    either: str


@dataclass(slots=True)
class TextProfile:
    """Forms of the texts of a column, counted in rows of a sample."""

    written: Counter[_Marks] = field(default_factory=Counter)
    """Rows by the marks of their number."""
    tokens: Counter[str] = field(default_factory=Counter)
    """Rows by text, for texts that are not numbers."""
    distinct: int = 0
    """Different texts of numbers."""
    signs: bool = False
    """Whether there are minus signs in unusual places."""
    scales: bool = False
    """Whether there are K, M or B."""
    long: bool = False
    """Whether there are whole numbers without a mark of at least four digits."""
    short: bool = False
    """Whether there are such numbers of fewer digits."""
    ends_in_zero: bool = False
    """Whether a number whose mark may be either ends in zero."""

    def rows(self, place: str, mark: str) -> int:
        """Return the rows with *mark* at a *place*: thousands, decimal or either."""
        return sum(count for marks, count in self.written.items() if getattr(marks, place) == mark)

    @property
    def numbers(self) -> int:
        """Rows with a number, however it is written."""
        return sum(self.written.values())

    @property
    def present(self) -> int:
        """Rows with a number or a text other than a placeholder."""
        words = sum(count for text, count in self.tokens.items() if text.casefold() not in PLACEHOLDERS)
        return self.numbers + words

    @property
    def open(self) -> bool:
        """Whether each mark may separate thousands or the fraction, and neither is more likely."""
        either = bool(self.rows("either", ".") or self.rows("either", ","))
        return either and (self.short or self.money) and not self.long and self.decimal is None

    @property
    def money(self) -> bool:
        """Whether there are amounts with a currency and three digits behind a point."""
        return any(
            marks.symbol and marks.symbol not in _PERCENT and marks.either == "." for marks in self.written
        )

    @property
    def decimal(self) -> str | None:
        """The decimal mark by the column's own values, a few stray ones ignored, or None."""
        point = self.rows("decimal", ".") + self.rows("thousands", ",")
        comma = self.rows("decimal", ",") + self.rows("thousands", ".")
        if point + comma <= _STRAY * (self.rows("either", ".") + self.rows("either", ",")):
            return None
        return "." if point >= comma else ","

    @property
    def varied(self) -> bool:
        """Whether there are more different numbers than categories would have."""
        return self.distinct >= _LEAST_VALUES

    @property
    def uneven(self) -> bool:
        """Whether values have different symbols, or only some of them a percent sign."""
        symbols = {marks.symbol for marks in self.written}
        return len(symbols - {""}) > 1 or ("" in symbols and bool(symbols & _PERCENT))

    def readable(self, how: NumberFormat) -> int:
        """Return the rows whose numbers can be read in a format."""
        optional = self.varied or not _PERCENT.intersection(how.symbols)
        return sum(
            count
            for (symbol, thousands, decimal, either), count in self.written.items()
            if (symbol in how.symbols or ((optional or not how.symbols) and not symbol))
            and thousands in {"", how.thousands}
            and decimal in {"", how.decimal}
            and either in {"", how.thousands, how.decimal}
        )

    def add(self, text: str, count: int) -> None:
        """Count a *text* of *count* rows."""
        found = _WRITTEN.fullmatch(text)
        body = "" if found is None else _with_plain_marks(found["body"])
        marks = None if found is None else _marks(body)
        if found is None or marks is None or bool(found["open"]) != bool(found["close"]):
            self.tokens[text] += count
            return
        symbols = {found[place] for place in ("outer", "before", "after") if found[place]}
        if len(symbols) > 1 or (found["scale"] and not symbols - _PERCENT):
            self.tokens[text] += count
            return
        self.written[_Marks(next(iter(symbols), ""), *marks)] += count
        self.distinct += 1
        signs = (found["sign"], found["inner"])
        spaced = any(signs) and not re.match(r"[+-][\d.,]", text) and not symbols
        self.signs |= bool(found["open"] or found["trailing"] or "−" in signs or spaced)
        self.scales |= bool(found["scale"])
        self.long |= not any(marks) and len(body) >= _LONG
        self.short |= not any(marks) and len(body) < _LONG
        self.ends_in_zero |= bool(marks[2]) and body.endswith("0")


def profile_texts(column: pd.Series, missing: tuple[str, ...]) -> TextProfile:
    """Return the profile of a sample of the texts of *column*, without the *missing* ones."""
    present = column.dropna()
    sample = present.sample(n=min(_SAMPLE, len(present)), random_state=0).astype("str").str.strip()
    profile = TextProfile()
    for text, count in sample[~sample.isin(missing)].value_counts().items():
        profile.add(str(text), int(count))
    return profile


def plain_numbers(column: pd.Series) -> pd.Series | None:
    """Return a column of text as numbers if all are of Python's notation and none could mean anything else.

    Most columns of most tables are such, and this takes a small part of the time of a profile. Zeros at the
    beginning, long codes, spaces, and points that nearly all have three digits behind them need a profile.
    """
    numbers = pd.to_numeric(column, errors="coerce")
    if not numbers.notna().eq(column.notna()).all() or column.str.contains(_NOT_PLAIN).any():
        return None
    points = int(column.str.contains(".", regex=False).sum())
    either = int(column.str.fullmatch(_EITHER).sum()) if points else 0
    return None if either and points - either <= _STRAY * either else numbers


def profile_plain(numbers: pd.Series) -> TextProfile:
    """Return the profile of a column that `plain_numbers` has read."""
    mark = "." if pd.api.types.is_float_dtype(numbers) and (numbers != numbers.round()).any() else ""
    written = Counter({_Marks("", "", mark, ""): len(numbers)})
    return TextProfile(written=written, distinct=int(numbers.nunique()), long=True)


def _with_plain_marks(body: str) -> str:
    plain = re.sub(f"[{SPACES}]", " ", body.strip(SPACES))
    return re.sub(f"[{APOSTROPHES}]", "'", plain)


def _marks(body: str) -> tuple[str, str, str] | None:
    """Return the mark between thousands, that before the fraction, and the one that may be either."""
    marks = _MARKS.findall(body)
    parts = _MARKS.split(body)
    if not marks:
        return "", "", ""
    last = marks[-1]
    if len(marks) == 1 and last in ".,":
        left, right = parts
        either = len(right) == 3 and 1 <= len(left) <= 3 and not left.startswith("0")  # noqa: PLR2004
        return ("", "", last) if either else ("", last, "")
    if len(set(marks)) == 1:
        return (last, "", "") if _are_groups(parts) else None
    if last in ".," and len(set(marks[:-1])) == 1 and last != marks[0] and _are_groups(parts[:-1]):
        return marks[0], last, ""
    return None


def _are_groups(parts: list[str]) -> bool:
    first, *others = parts
    return (
        1 <= len(first) <= 3  # noqa: PLR2004
        and not first.startswith("0")
        and len(others[-1]) == 3  # noqa: PLR2004
        and all(len(part) in _GROUP_SIZES for part in others)
    )


def choose_number_format(
    profile: TextProfile, csv: Csv, *, of_file: str | None, comma_separated: bool
) -> NumberFormat:
    """Choose how a column is read; *of_file* is the decimal mark of the other columns, or None."""
    if csv.decimal is not None:
        chosen: str = csv.decimal.value
    else:
        chosen = profile.decimal or _by_either(profile, of_file, comma_separated=comma_separated)
    if csv.thousands is None:
        counts = {
            mark: profile.rows("thousands", mark) + profile.rows("either", mark)
            for mark in ",. '"
            if mark != chosen
        }
        thousands = max((mark for mark in counts if counts[mark]), key=counts.__getitem__, default="")
    else:
        thousands = {"none": "", "space": " "}.get(csv.thousands.value, csv.thousands.value)
    symbols: Counter[str] = Counter()
    for marks, count in profile.written.items():
        symbols[marks.symbol] += count
    currencies = [symbol for symbol in symbols if symbol and symbol not in _PERCENT]
    symbol = max(currencies or symbols, key=symbols.__getitem__, default="")
    # Where numbers vary, an amount in another currency says more than none; a finding reports it.
    several = tuple(currencies) if profile.varied and len(currencies) > 1 else (symbol,)
    thousands = "" if thousands == chosen else thousands
    uses_comma = chosen == "," and bool(profile.rows("decimal", ",") or profile.rows("either", ","))
    return NumberFormat(
        decimal="," if uses_comma or thousands == "." else ".",
        thousands=thousands,
        symbols=tuple(sorted(filter(None, several), key=len, reverse=True)),
        signs=profile.signs,
        scaled=profile.scales,
    )


def _by_either(profile: TextProfile, of_file: str | None, *, comma_separated: bool) -> str:
    """Choose the decimal mark where each value with a mark has three digits behind it."""
    point, comma = profile.rows("either", "."), profile.rows("either", ",")
    if bool(point) == bool(comma):
        return of_file or "."
    mark, other = (".", ",") if point else (",", ".")
    if profile.long:
        return mark
    if of_file is not None:
        return of_file
    # Fractions cut to what they need do not end in zero; those of a fixed length leave no whole numbers.
    if (profile.short and profile.ends_in_zero) or (profile.money and not comma_separated):
        return other
    return "." if comma_separated else mark


def is_whole(numbers: pd.Series) -> bool:
    """Return whether all *numbers* (floats) are whole, and small enough to be exact."""
    return bool((numbers == numbers.round()).all()) and bool((numbers.abs() < EXACT).all())


def read_numbers(
    column: pd.Series,
    present: pd.Series,
    number: NumberFormat,
    profile: TextProfile,
    *,
    csv: Csv,
    missing: tuple[str, ...],
    any_words: bool = True,
) -> tuple[pd.Series, ColumnFormat, list[Finding]]:
    """Return a column of text as ``float64`` or ``int64``, how it is read, and what was assumed.

    Parameters
    ----------
    column
        As it is in the table.
    present
        The same with what is *missing* everywhere missing.
    any_words
        Whether repeated words count as missing, too, and not only known placeholders.
    """
    findings: list[Finding] = []
    guess_missing = csv.missing_values is None
    numbers = present
    for pattern, value in (
        ColumnFormat(missing=missing).missing_rule,
        *number.rules(),
        (NOT_A_NUMBER, np.nan),
    ):
        numbers = numbers.replace(pattern, value, regex=True)  # type: ignore[arg-type]  # pandas takes NaN, too
    numbers = pd.to_numeric(numbers, errors="coerce").astype("float64")
    words = present[present.notna() & numbers.isna()].str.strip()
    if guess_missing:
        known = words.str.casefold().isin(PLACEHOLDERS)
        digits = words.str.contains(r"\d")
        frequent = words.map(words.value_counts()) >= _LEAST_ROWS
        placeholders = words[known | (~digits & frequent & any_words)]
        missing = (*missing, *sorted(set(placeholders[~known[placeholders.index]])))
        words = words.drop(placeholders.index)
        if len(placeholders):
            findings.append(placeholder_finding(column, placeholders))
    if len(words):
        findings.append(unreadable_finding(words, FeatureType.NUMERIC.value))
    if number != PLAIN or (profile.open and csv.thousands is None):
        findings.append(_format_finding(present, numbers, number, profile))
    values = numbers.dropna()
    whole = bool(len(values)) and bool((values == values.round()).all())
    how = ColumnFormat(
        missing=missing, placeholders=guess_missing, number=number, whole=whole and number.thousands == "."
    )
    if number == PLAIN and len(values) and is_whole(numbers) and not present.str.contains("[.eE]").any():
        numbers = pd.to_numeric(present).astype("int64")
    return numbers, how, findings


def _format_finding(
    present: pd.Series, numbers: pd.Series, how: NumberFormat, profile: TextProfile
) -> Finding:
    """Report how numbers are read, with a warning if the values alone could mean something else."""
    marked = present[numbers.notna() & ~present.str.fullmatch(r"\s*\d+\s*").fillna(value=True)]
    example = marked if len(marked) else present[numbers.notna()]
    text, number = str(example.iloc[0]).strip(), numbers[example.index[0]]
    signs = "not all values have the same sign, and nothing is converted; " if profile.uneven else ""
    message = (
        f"Numbers are read with {how.describe() or 'a point before the fraction'}: {text!r} is "
        f"{number:.10g}; {signs}if this is wrong, set "
        "spec.dataset.csv.decimal and thousands, or the type in spec.featureTypes"
    )
    severity = Severity.WARNING if profile.open or profile.uneven else Severity.INFO
    return Finding(FindingKind.NUMBER_NOTATION, severity, str(present.name), message)


def placeholder_finding(column: pd.Series, placeholders: pd.Series) -> Finding:
    """Report words among the numbers of a column that count as missing."""
    message = (
        f"{len(placeholders):,} of {len(column):,} values ({len(placeholders) / len(column):.1%}) are words "
        f"among numbers and count as missing: {quoted(placeholders)}; if they mean more, list the missing "
        "texts in spec.dataset.csv.missingValues, or set the type to categorical in spec.featureTypes"
    )
    return Finding.warning(FindingKind.PLACEHOLDERS, column.name, message)


def unreadable_finding(values: pd.Series, kind: str) -> Finding:
    """Report values that are not of the column's type *kind*."""
    message = (
        f"{len(values):,} value(s) cannot be read as {kind} and count as missing: {quoted(values)}; set "
        "another type in spec.featureTypes if this is wrong"
    )
    return Finding.warning(FindingKind.UNREADABLE, values.name, message)
