"""From text to values: what each column of text holds, and what was assumed to say so."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import pandas as pd

from trainingjob_api.spec import Csv
from trainingjob_api.vocabulary import FeatureType
from trainingjob_trainer.data.assumptions import (
    clock_finding,
    date_findings,
    long_codes_finding,
    missing_words_finding,
    notation_finding,
    placeholder_finding,
    unreadable_finding,
    zeros_finding,
)
from trainingjob_trainer.data.dates import DateReading, read_dates_as
from trainingjob_trainer.data.finding import Finding
from trainingjob_trainer.data.notation import (
    DEFAULT_MISSING,
    PLACEHOLDERS,
    Look,
    Notation,
    choose_notation,
    look_at,
    look_at_plain,
    parse_numbers,
    plain_numbers,
)
from trainingjob_trainer.data.reading import CLOCK, Reading, label_rules, usual_reading

__all__ = [
    "NUMBERS",
    "Columns",
    "Texts",
    "as_truths",
    "is_text",
    "leading_zeros",
    "long_codes",
    "read_columns",
    "read_numbers_of",
    "read_texts",
    "seconds_of_day",
    "without_missing",
]

NUMBERS = 0.95
"""Share of the values that must be numbers for a column of text to hold numbers."""
_TRUTHS = {"True": True, "true": True, "TRUE": True, "False": False, "false": False, "FALSE": False}
_LEADING_ZERO = r"\s*0\d+\s*"
_EXACT = 2**53  # from which floats skip integers
_LONG_CODE = r"\s*\d{16,}\s*"
_TIME = r"\s*\d{1,2}:\d{2}(?::\d{2}(?:[.]\d+)?)?(?:\s*[AaPp][.]?[Mm][.]?)?\s*"
_MOST_TOKENS = 5
_LEAST_ROWS = 2  # of a word that stands for a missing number
_HALF = 0.5


@dataclass(frozen=True, slots=True)
class Texts:
    """What all columns of text have in common.

    Parameters
    ----------
    csv
        As the job has it.
    missing
        The texts that are missing everywhere.
    decimal
        The mark before the fraction that most columns give away, or None.
    comma_separated
        Whether the comma stands between the fields.
    day_first
        What the job or the other columns say of dates that leave it open.
    looks
        What each column of text looks like.
    plain
        The columns of nothing but numbers of Python's notation.
    """

    csv: Csv
    missing: tuple[str, ...]
    decimal: str | None
    comma_separated: bool
    day_first: bool | None
    looks: Mapping[str, Look]
    plain: Mapping[str, pd.Series]

    def notation_of(self, name: str) -> Notation:
        """Return the notation of a column's numbers."""
        csv = self.csv
        return choose_notation(
            self.looks[name],
            decimal=None if csv.decimal is None else csv.decimal.value,
            thousands=None if csv.thousands is None else csv.thousands.value,
            of_file=self.decimal,
            comma_separated=self.comma_separated,
        )


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns with their values, how each was read, and what was found."""

    frame: pd.DataFrame
    readings: dict[str, Reading]
    findings: tuple[Finding, ...]


def is_text(column: pd.Series) -> bool:
    """Return whether a column holds texts and missing values alone."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return False
    if column.dtype == object:
        return pd.api.types.infer_dtype(column, skipna=True) == "string"
    return bool(pd.api.types.is_string_dtype(column))


def read_texts(frame: pd.DataFrame, csv: Csv | None, separator: str | None) -> Texts:
    """Look at all columns of text of a table.

    Parameters
    ----------
    frame
        The table.
    csv
        ``spec.dataset.csv``.
    separator
        Of a CSV file, or None.
    """
    csv = csv or Csv()
    missing = DEFAULT_MISSING if csv.missing_values is None else ("", *csv.missing_values)
    names = [str(name) for name in frame.columns if is_text(frame[name])]
    plain: dict[str, pd.Series] = {}
    if (csv.decimal, csv.thousands, csv.missing_values) == (None, None, None):
        read = {name: plain_numbers(frame[name]) for name in names}
        plain = {name: numbers for name, numbers in read.items() if numbers is not None}
    looks = {
        name: look_at_plain(plain[name]) if name in plain else look_at(frame[name], missing) for name in names
    }
    votes = [look.decimal for look in looks.values() if look.decimal and _mostly_numbers(look)]
    decimal = None
    if votes:
        decimal = "," if votes.count(",") > votes.count(".") else "."
    return Texts(
        csv=csv,
        missing=missing,
        decimal=decimal,
        comma_separated=separator == ",",
        day_first=_day_first(frame, looks) if csv.day_first is None else csv.day_first,
        looks=looks,
        plain=plain,
    )


def _mostly_numbers(look: Look) -> bool:
    numbers = sum(look.written.values())
    return numbers >= _HALF * max(1, numbers + sum(look.tokens.values()) - look.placeholders)


def _day_first(frame: pd.DataFrame, looks: Mapping[str, Look]) -> bool | None:
    """Return what the dates that leave nothing open say of the others."""
    readings = [read_dates_as(frame[name]) for name, look in looks.items() if not _mostly_numbers(look)]
    known = [one.day_first for one in readings if one.guessed and not one.ambiguous]
    found = [one for one in known if one is not None]
    return found.count(True) >= found.count(False) if found else None


def read_columns(
    frame: pd.DataFrame, texts: Texts, asked: Mapping[str, FeatureType], *, skip: str
) -> Columns:
    """Give each column of text its values.

    Parameters
    ----------
    frame
        The table.
    texts
        From `read_texts`.
    asked
        ``spec.featureTypes``.
    skip
        The target, which is read by itself.

    Returns
    -------
    Columns
        Numbers, booleans and seconds of the day instead of their texts; missing texts are missing.
    """
    changed: dict[str, pd.Series] = {}
    readings: dict[str, Reading] = {}
    findings: list[Finding] = []
    for name in frame.columns:
        if name == skip:
            continue
        column, kind = frame[name], asked.get(name)
        if name in texts.looks:
            changed[name], readings[name], found = _read_text(column, texts, kind)
            findings += found
        elif _is_clock(column):
            changed[name] = seconds_of_day(column)
            readings[name] = Reading(missing=texts.missing, clock=True)
            findings.append(clock_finding(name))
        elif kind is None and pd.api.types.is_integer_dtype(column) and long_codes(_digits(column)).any():
            changed[name] = _digits(column)
            readings[name] = replace(usual_reading(changed[name]), missing=texts.missing, long=True)
            findings.append(long_codes_finding(changed[name]))
        else:
            readings[name] = replace(usual_reading(column), missing=texts.missing)
        reading = readings[name]
        if not reading.clock and kind in {None, FeatureType.DATETIME}:
            read = changed.get(name, column)
            date = _date(read, texts, asked=kind is not None)
            placeholders = reading.placeholders or (date is not None and texts.csv.missing_values is None)
            readings[name] = replace(reading, date=date, placeholders=placeholders)
            findings += date_findings(read, date, texts.csv)
    return Columns(frame.assign(**changed) if changed else frame, readings, tuple(findings))


def _read_text(
    column: pd.Series, texts: Texts, kind: FeatureType | None
) -> tuple[pd.Series, Reading, list[Finding]]:
    name, look = str(column.name), texts.looks[str(column.name)]
    if name in texts.plain and kind in {None, FeatureType.NUMERIC}:
        return texts.plain[name], Reading(missing=texts.missing, placeholders=True), []
    present = without_missing(column, texts.missing)
    reading = Reading(missing=texts.missing)
    findings = _default_missing(column, present, texts)
    if kind not in {FeatureType.CATEGORICAL, FeatureType.TEXT, FeatureType.IGNORE}:
        truths = as_truths(present) if kind is None else None
        if truths is not None:
            return truths, reading, findings
        known = replace(reading, placeholders=texts.csv.missing_values is None)
        times = _without_known(known, present)
        if kind is None and not look.written and times.dropna().str.fullmatch(_TIME).mean() >= NUMBERS:
            gone = present[present.notna() & times.isna()]
            told = [placeholder_finding(column, gone)] if len(gone) else []
            return seconds_of_day(times), replace(known, clock=True), [*findings, *told, clock_finding(name)]
        notation = texts.notation_of(name)
        asked = kind is FeatureType.NUMERIC and look.readable(notation) > 0
        numbers = asked or (kind is None and _holds_numbers(look, notation))
        long = long_codes(present)
        if numbers and kind is None and leading_zeros(present).any():
            findings.append(zeros_finding(present[leading_zeros(present)]))
        elif numbers and kind is None and long.any():
            findings.append(long_codes_finding(present[long]))
        elif numbers:
            values, read, found = read_numbers_of(column, present, texts, notation)
            return values, read, [*findings, *found]
    if kind in {None, FeatureType.CATEGORICAL}:
        labels = label_rules(present.dropna().drop_duplicates())
        reading = replace(reading, labels=labels, long=bool(long_codes(present).any()))
    return present, reading, findings


def _holds_numbers(look: Look, notation: Notation) -> bool:
    """Return whether a column of text holds numbers: nearly only, or numbers that vary and a few words."""
    numbers = look.readable(notation)
    others = look.tokens.copy()
    for text in look.tokens:
        if text.casefold() in PLACEHOLDERS:
            del others[text]
    present = sum(look.written.values()) + sum(others.values())
    if numbers == 0:
        return False
    if numbers >= NUMBERS * present:
        return True
    words = (
        len(others) <= _MOST_TOKENS
        and all(count >= _LEAST_ROWS for count in others.values())
        and not any(character.isdigit() for text in others for character in text)
    )
    written = numbers >= NUMBERS * sum(look.written.values())
    return words and written and numbers >= _HALF * present and look.varied


def without_missing(column: pd.Series, missing: tuple[str, ...]) -> pd.Series:
    """Return a column of text with the *missing* texts missing."""
    return column.mask(column.str.strip().isin(missing))


def _without_known(reading: Reading, column: pd.Series) -> pd.Series:
    """Return a column of text with what is missing under *reading* missing."""
    return column.mask(column.str.fullmatch(reading.missing_rule[0]).fillna(value=False).astype(bool))


def _default_missing(column: pd.Series, present: pd.Series, texts: Texts) -> list[Finding]:
    """Report words that count as missing; empty fields need no word."""
    gone = column[column.notna() & present.isna()]
    gone = gone[gone.str.strip() != ""]
    if gone.empty or texts.csv.missing_values is not None:
        return []
    return [missing_words_finding(column, gone)]


def as_truths(column: pd.Series) -> pd.Series | None:
    """Return a column of text as booleans, or None if it holds anything else."""
    if not column.notna().any() or not column.isin(list(_TRUTHS)).eq(column.notna()).all():
        return None
    values = column.astype(object).map(_TRUTHS)
    return values.astype(bool) if column.notna().all() else values.where(column.notna(), None)


def leading_zeros(column: pd.Series) -> pd.Series:
    """Return which texts are digits behind a zero, as codes are."""
    return column.str.fullmatch(_LEADING_ZERO).fillna(value=False).astype(bool)


def long_codes(column: pd.Series) -> pd.Series:
    """Return which texts are codes of so many digits that different ones would be the same float."""
    long = column.str.fullmatch(_LONG_CODE).fillna(value=False).astype(bool)
    codes = column[long].str.strip().drop_duplicates()
    return long & (codes.astype("float64").nunique() < len(codes))


def _digits(column: pd.Series) -> pd.Series:
    """Return a column of integers as text if some are too large for a float, else without values."""
    return column.astype("str") if bool((column >= _EXACT).any()) else column.head(0).astype("str")


def read_numbers_of(
    column: pd.Series, present: pd.Series, texts: Texts, notation: Notation, *, any_words: bool = True
) -> tuple[pd.Series, Reading, list[Finding]]:
    """Return a column of text as numbers, how they are read, and what was assumed.

    Parameters
    ----------
    column
        As it is in the table.
    present
        The same with what is missing everywhere missing.
    texts
        From `read_texts`.
    notation
        Of the numbers.
    any_words
        Whether words that are repeated count as missing, too, and not only known placeholders.
    """
    findings: list[Finding] = []
    name = str(column.name)
    numbers = parse_numbers(present, notation, texts.missing)
    words = present[present.notna() & numbers.isna()].str.strip()
    missing = texts.missing
    if texts.csv.missing_values is None:
        known = words.str.casefold().isin(PLACEHOLDERS)
        digits = words.str.contains(r"\d")
        frequent = words.map(words.value_counts()) >= _LEAST_ROWS
        placeholders = words[known | (~digits & frequent & any_words)]
        words = words.drop(placeholders.index)
        missing = (*missing, *sorted(set(placeholders[~placeholders.str.casefold().isin(PLACEHOLDERS)])))
        if len(placeholders):
            findings.append(placeholder_finding(column, placeholders))
    if len(words):
        findings.append(unreadable_finding(words, FeatureType.NUMERIC.value))
    look = texts.looks[name]
    if not notation.plain or (look.open and texts.csv.thousands is None):
        guessed = look.open or look.uneven
        findings.append(notation_finding(present, numbers, notation, guessed=guessed, uneven=look.uneven))
    present_numbers = numbers.dropna()
    whole = bool(len(present_numbers)) and bool((present_numbers == present_numbers.round()).all())
    reading = Reading(
        missing=missing,
        placeholders=texts.csv.missing_values is None,
        notation=notation,
        whole=whole and notation.thousands == ".",
    )
    if whole and notation.plain and numbers.notna().all() and bool((numbers.abs() < _EXACT).all()):
        numbers = (
            pd.to_numeric(present).astype("int64") if not present.str.contains("[.eE]").any() else numbers
        )
    return numbers, reading, findings


def _is_clock(column: pd.Series) -> bool:
    return column.dtype == object and pd.api.types.infer_dtype(column, skipna=True) == "time"


def seconds_of_day(column: pd.Series) -> pd.Series:
    """Return times of the day, as objects or text, as seconds since midnight (``float64``)."""
    texts = column.astype("str")
    for pattern, value in CLOCK:
        texts = texts.str.replace(pattern, str(value), regex=True)
    return pd.to_timedelta(texts, errors="coerce").dt.total_seconds().astype("float64")


def _date(column: pd.Series, texts: Texts, *, asked: bool) -> DateReading | None:
    """Return how a column is read as dates, or None if nothing says that it holds some."""
    if pd.api.types.is_numeric_dtype(column) and not asked:
        return None
    reading = read_dates_as(column, day_first=texts.day_first, zone=texts.csv.time_zone)
    return reading if asked or reading.guessed else None
