"""From text to values: what each column of text holds, and what was assumed to say so."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import pandas as pd

from trainingjob_api.storage import Csv
from trainingjob_api.vocabulary import FeatureType
from trainingjob_trainer.data import Finding, FindingKind, quoted
from trainingjob_trainer.data.column_format import (
    DEFAULT_MISSING,
    PLACEHOLDERS,
    TIME_OF_DAY,
    ColumnFormat,
    DateFormat,
    NumberFormat,
    infer_date_format,
    label_rules,
    parse_dates,
    usual_format,
)
from trainingjob_trainer.data.number_format import (
    EXACT,
    TextProfile,
    choose_number_format,
    placeholder_finding,
    plain_numbers,
    profile_plain,
    profile_texts,
    read_numbers,
)

NUMBERS = 0.95
"""Share of the values that must be numbers for a column of text to hold numbers."""
_TRUTHS = {"True": True, "true": True, "TRUE": True, "False": False, "false": False, "FALSE": False}
_TIME = r"\s*\d{1,2}:\d{2}(?::\d{2}(?:[.]\d+)?)?(?:\s*[AaPp][.]?[Mm][.]?)?\s*"
_MOST_TOKENS = 5
_LEAST_ROWS = 2  # of a word among numbers
_HALF = 0.5


@dataclass(frozen=True, slots=True)
class Texts:
    """Properties of all columns of text together."""

    csv: Csv
    missing: tuple[str, ...]
    """The texts that are missing everywhere."""
    separator: str | None
    """Between the fields of a CSV file; None for Parquet and samples."""
    decimal: str | None
    """The decimal mark of most columns, or None."""
    day_first: bool | None
    """What the job or the other columns say about dates that leave it open."""
    profiles: Mapping[str, TextProfile]
    """What each column of text looks like."""
    plain: Mapping[str, pd.Series]
    """The columns of nothing but numbers of Python's notation."""

    def number_format_of(self, name: str) -> NumberFormat:
        """Return how a column's numbers are written."""
        return choose_number_format(
            self.profiles[name], self.csv, of_file=self.decimal, comma_separated=self.separator == ","
        )


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns with their values, how each was read, and what was found."""

    frame: pd.DataFrame
    formats: dict[str, ColumnFormat]
    findings: tuple[Finding, ...]


def _is_text(column: pd.Series) -> bool:
    if isinstance(column.dtype, pd.CategoricalDtype):
        return False
    if column.dtype == object:
        return pd.api.types.infer_dtype(column, skipna=True) == "string"
    return bool(pd.api.types.is_string_dtype(column))


def read_texts(frame: pd.DataFrame, csv: Csv | None, separator: str | None) -> Texts:
    """Profile all columns of text of a table; *separator* is that of a CSV file, or None."""
    csv = csv or Csv()
    missing = DEFAULT_MISSING if csv.missing_values is None else ("", *csv.missing_values)
    names = [str(name) for name in frame.columns if _is_text(frame[name])]
    plain: dict[str, pd.Series] = {}
    if (csv.decimal, csv.thousands, csv.missing_values) == (None, None, None):
        read = {name: plain_numbers(frame[name]) for name in names}
        plain = {name: numbers for name, numbers in read.items() if numbers is not None}
    profiles = {
        name: profile_plain(plain[name]) if name in plain else profile_texts(frame[name], missing)
        for name in names
    }
    votes = [profile.decimal for profile in profiles.values() if profile.decimal and _mostly_numbers(profile)]
    decimal = None
    if votes:
        decimal = "," if votes.count(",") > votes.count(".") else "."
    return Texts(
        csv=csv,
        missing=missing,
        separator=separator,
        decimal=decimal,
        day_first=_day_first(frame, profiles) if csv.day_first is None else csv.day_first,
        profiles=profiles,
        plain=plain,
    )


def _mostly_numbers(profile: TextProfile) -> bool:
    return profile.numbers >= _HALF * max(1, profile.present)


def _day_first(frame: pd.DataFrame, profiles: Mapping[str, TextProfile]) -> bool | None:
    """Return whether the day comes first in most unambiguous dates, or None."""
    dates = [infer_date_format(frame[name]) for name in profiles if not _mostly_numbers(profiles[name])]
    found = [date.day_first for date in dates if date.guessed and not date.ambiguous]
    found = [first for first in found if first is not None]
    return found.count(True) >= found.count(False) if found else None


def with_columns(frame: pd.DataFrame, changed: Mapping[str, pd.Series]) -> pd.DataFrame:
    """Return *frame* with some of its columns replaced."""
    out = frame.copy(deep=False)
    for name, column in changed.items():  # `DataFrame.assign` cannot take a column named "self"
        out[name] = column
    return out


def read_columns(
    frame: pd.DataFrame, texts: Texts, asked: Mapping[str, FeatureType], *, skip: str
) -> Columns:
    """Return the columns with numbers, booleans and seconds of the day instead of their texts.

    Parameters
    ----------
    asked
        ``spec.featureTypes``.
    skip
        The target, which `read_target` reads.
    """
    changed: dict[str, pd.Series] = {}
    formats: dict[str, ColumnFormat] = {}
    findings: list[Finding] = []
    for name in frame.columns:
        if name == skip:
            continue
        column, kind = frame[name], asked.get(name)
        if name in texts.profiles:
            changed[name], formats[name], found = _read_text(column, texts, kind)
            findings += found
        elif column.dtype == object and pd.api.types.infer_dtype(column, skipna=True) == "time":
            changed[name] = _seconds_of_day(column)
            formats[name] = ColumnFormat(missing=texts.missing, time_of_day=True)
            findings.append(time_of_day_finding(name))
        elif kind is None and _holds_long_codes(column):
            changed[name] = column.astype("str")
            formats[name] = replace(usual_format(changed[name]), missing=texts.missing, long=True)
            findings += code_findings(changed[name])
        else:
            formats[name] = replace(usual_format(column), missing=texts.missing)
        how = formats[name]
        # A time column orders the rows by its dates, though the features may ignore it.
        if not how.time_of_day and kind in {None, FeatureType.DATETIME, FeatureType.IGNORE}:
            values = changed.get(name, column)
            date = _date_format(values, texts, asked=kind is FeatureType.DATETIME)
            placeholders = how.placeholders or (date is not None and texts.csv.missing_values is None)
            formats[name] = replace(how, date=date, placeholders=placeholders)
            findings += date_findings(values, date, texts.csv)
    return Columns(with_columns(frame, changed), formats, tuple(findings))


def _read_text(
    column: pd.Series, texts: Texts, kind: FeatureType | None
) -> tuple[pd.Series, ColumnFormat, list[Finding]]:
    name = str(column.name)
    profile, how = texts.profiles[name], ColumnFormat(missing=texts.missing)
    known = replace(how, placeholders=texts.csv.missing_values is None)
    if name in texts.plain and kind in {None, FeatureType.NUMERIC}:
        return texts.plain[name], known, []
    present = without_missing(column, texts.missing)
    findings: list[Finding] = []
    words = missing_words(column, present)
    if len(words) and texts.csv.missing_values is None:
        findings.append(missing_words_finding(column, words))
    if kind not in {FeatureType.CATEGORICAL, FeatureType.TEXT, FeatureType.IGNORE}:
        truths = as_truths(present) if kind is None else None
        if truths is not None:
            return truths, how, findings
        times = present.mask(_matches(present, known.missing_rule[0]))
        if kind is None and not profile.written and times.dropna().str.fullmatch(_TIME).mean() >= NUMBERS:
            placeholders = present[present.notna() & times.isna()]
            if len(placeholders):
                findings.append(placeholder_finding(column, placeholders))
            findings.append(time_of_day_finding(name))
            return _seconds_of_day(times), replace(known, time_of_day=True), findings
        number = texts.number_format_of(name)
        if kind is None and _holds_numbers(profile, number):
            codes = code_findings(present)
            findings += codes[:1]
            kind = None if codes else FeatureType.NUMERIC
        if kind is FeatureType.NUMERIC and profile.readable(number) > 0:
            values, how, found = read_numbers(
                column, present, number, profile, csv=texts.csv, missing=texts.missing
            )
            return values, how, findings + found
    if kind in {None, FeatureType.CATEGORICAL}:
        labels = label_rules(present.dropna().drop_duplicates())
        how = replace(how, labels=labels, long=bool(_long_codes(present).any()))
    return present, how, findings


def _holds_numbers(profile: TextProfile, how: NumberFormat) -> bool:
    """Return whether a column of text holds numbers: nearly only, or numbers that vary and a few words."""
    numbers = profile.readable(how)
    if numbers == 0:
        return False
    if numbers >= NUMBERS * profile.present:
        return True
    others = {text: rows for text, rows in profile.tokens.items() if text.casefold() not in PLACEHOLDERS}
    words = (
        len(others) <= _MOST_TOKENS
        and all(rows >= _LEAST_ROWS for rows in others.values())
        and not any(character.isdigit() for text in others for character in text)
    )
    written = numbers >= NUMBERS * profile.numbers
    return words and written and numbers >= _HALF * profile.present and profile.varied


def _matches(column: pd.Series, pattern: str) -> pd.Series:
    return column.str.fullmatch(pattern).fillna(value=False).astype(bool)


def without_missing(column: pd.Series, missing: tuple[str, ...]) -> pd.Series:
    """Return a column of text with the *missing* texts missing."""
    return column.mask(column.str.strip().isin(missing))


def missing_words(column: pd.Series, present: pd.Series) -> pd.Series:
    """Return the texts of *column* that are missing in *present*, without empty fields."""
    words = column[column.notna() & present.isna()]
    return words[words.str.strip() != ""]


def as_truths(column: pd.Series) -> pd.Series | None:
    """Return a column of text as booleans, or None if it holds anything else."""
    if not column.notna().any() or not column.isin(list(_TRUTHS)).eq(column.notna()).all():
        return None
    values = column.astype(object).map(_TRUTHS)
    return values.astype(bool) if column.notna().all() else values.where(column.notna(), None)


def _long_codes(column: pd.Series) -> pd.Series:
    """Return which texts are codes of so many digits that different ones would be the same float."""
    long = _matches(column, r"\s*\d{16,}\s*")
    codes = column[long].str.strip().drop_duplicates()
    return long & (codes.astype("float64").nunique() < len(codes))


def _holds_long_codes(column: pd.Series) -> bool:
    if not pd.api.types.is_integer_dtype(column) or not (column >= EXACT).any():
        return False
    return bool(_long_codes(column.astype("str")).any())


def _seconds_of_day(column: pd.Series) -> pd.Series:
    texts = column.astype("str")
    for pattern, value in TIME_OF_DAY:
        texts = texts.str.replace(pattern, str(value), regex=True)
    return pd.to_timedelta(texts, errors="coerce").dt.total_seconds().astype("float64")


def _date_format(column: pd.Series, texts: Texts, *, asked: bool) -> DateFormat | None:
    """Return how a column is read as dates, or None if nothing says that it holds some."""
    if pd.api.types.is_numeric_dtype(column) and not asked:
        return None
    how = infer_date_format(column, day_first=texts.day_first, zone=texts.csv.time_zone)
    return how if asked or how.guessed else None


def layout_findings(texts: Texts) -> tuple[Finding, ...]:
    """Report the unusual parts of a file's layout that the job does not name itself."""
    assumed = []
    if texts.separator not in {None, ","} and texts.csv.separator is None:
        assumed.append(f"{texts.separator!r} between the fields (spec.dataset.csv.separator)")
    if texts.decimal == "," and texts.csv.decimal is None:
        assumed.append("a comma before the fraction of numbers (spec.dataset.csv.decimal)")
    if not assumed:
        return ()
    message = f"The file is read with {' and '.join(assumed)}; set the field if this is wrong"
    return (Finding.info(FindingKind.FILE_LAYOUT, None, message),)


def code_findings(column: pd.Series) -> list[Finding]:
    """Report a column of text that holds codes: digits behind a zero, and more digits than a float holds."""
    found = (
        (FindingKind.LEADING_ZEROS, _matches(column, r"\s*0\d+\s*"), "begin with a zero, as codes do"),
        (
            FindingKind.LONG_CODES,
            _long_codes(column),
            "have so many digits that different ones would be the same number",
        ),
    )
    return [
        Finding.info(
            kind,
            column.name,
            f"The column is read as text, since {int(rows.sum()):,} value(s) {what}, such as "
            f"{str(column[rows].iloc[0]).strip()!r}; set it to numeric in spec.featureTypes if it holds "
            "quantities",
        )
        for kind, rows, what in found
        if rows.any()
    ]


def time_of_day_finding(name: str) -> Finding:
    """Report a column of times of the day."""
    message = (
        "Times of the day are read as seconds since midnight; set the type in spec.featureTypes if they are "
        "something else"
    )
    return Finding.info(FindingKind.TIME_OF_DAY, name, message)


def date_findings(column: pd.Series, date: DateFormat | None, csv: Csv) -> list[Finding]:
    """Report what was assumed to read a column of dates."""
    findings: list[Finding] = []
    if date is not None and date.ambiguous and csv.day_first is None:
        order = "the day" if date.day_first else "the month"
        example = column.dropna().iloc[[0]]
        message = (
            f"No value shows which part is the day, so {order} is read first: {example.iloc[0]!r} is "
            f"{parse_dates(example, date).iloc[0]:%Y-%m-%d}; set spec.dataset.csv.dayFirst if this is wrong"
        )
        findings.append(Finding.warning(FindingKind.DATE_ORDER, column.name, message))
    if date is not None and date.offsets and csv.time_zone is None:
        message = (
            "The time stamps have offsets; hours and weekdays are taken in UTC; set "
            "spec.dataset.csv.timeZone for those of another zone"
        )
        findings.append(Finding.info(FindingKind.TIMES_IN_UTC, column.name, message))
    return findings


def missing_words_finding(column: pd.Series, words: pd.Series) -> Finding:
    """Report words that count as missing in every column."""
    message = (
        f"{len(words):,} of {len(column):,} values count as missing: {quoted(words)}; list the missing texts "
        "in spec.dataset.csv.missingValues if these are values"
    )
    return Finding.info(FindingKind.MISSING_WORDS, column.name, message)
