"""What was assumed to read a column, in words: what was done, an example, and how to have it otherwise."""

import pandas as pd

from trainingjob_api.spec import Csv
from trainingjob_trainer.data.csv_file import CsvLayout
from trainingjob_trainer.data.dates import DateReading, parse_dates
from trainingjob_trainer.data.finding import Finding, FindingKind, Severity
from trainingjob_trainer.data.notation import Notation

__all__ = [
    "clock_finding",
    "date_findings",
    "describe_layout",
    "long_codes_finding",
    "missing_words_finding",
    "notation_finding",
    "placeholder_finding",
    "quoted",
    "unreadable_finding",
    "zeros_finding",
]

_SHOWN = 3
_SHOWN_CHARACTERS = 40


def quoted(values: pd.Series) -> str:
    """Return the most frequent of some texts, quoted, and how many rows have each."""
    counts = values.astype("str").value_counts()
    shown = [f"{str(text)[:_SHOWN_CHARACTERS]!r} ({count:,})" for text, count in counts.head(_SHOWN).items()]
    more = f" and {len(counts) - _SHOWN} more" if len(counts) > _SHOWN else ""
    return f"{', '.join(shown)}{more}"


def describe_layout(layout: CsvLayout | None, csv: Csv, decimal: str | None) -> tuple[Finding, ...]:
    """Report how a CSV file is laid out where that is not the usual way and the job does not say it.

    Parameters
    ----------
    layout
        Of the file; None for Parquet.
    csv
        ``spec.dataset.csv``.
    decimal
        The mark before the fraction that most columns give away.
    """
    assumed = []
    if layout is not None and layout.separator != "," and csv.separator is None:
        assumed.append(f"{layout.separator!r} between the fields (spec.dataset.csv.separator)")
    if decimal == "," and csv.decimal is None:
        assumed.append("a comma before the fraction of numbers (spec.dataset.csv.decimal)")
    if not assumed:
        return ()
    message = f"the file is read with {' and '.join(assumed)}; set the field if this is wrong"
    return (Finding(FindingKind.FILE_LAYOUT, Severity.INFO, None, message),)


def notation_finding(
    present: pd.Series, numbers: pd.Series, notation: Notation, *, guessed: bool, uneven: bool
) -> Finding:
    """Report how numbers are read.

    With *guessed*, the values alone could mean something else; with *uneven*, their signs differ.
    """
    marked = present[numbers.notna() & ~present.str.fullmatch(r"\s*\d+\s*").fillna(value=True)]
    example = marked if len(marked) else present[numbers.notna()]
    how = notation.describe() or "a point before the fraction"
    text, number = str(example.iloc[0]).strip(), numbers[example.index[0]]
    message = (
        f"numbers are read with {how}: {text!r} is {number:.10g}; "
        f"{'not all values have the same sign, and nothing is converted; ' if uneven else ''}if this is "
        "wrong, set spec.dataset.csv.decimal and thousands, or the type in spec.featureTypes"
    )
    severity = Severity.WARNING if guessed else Severity.INFO
    return Finding(FindingKind.NUMBER_NOTATION, severity, str(present.name), message)


def placeholder_finding(column: pd.Series, placeholders: pd.Series) -> Finding:
    """Return what is told of words among the numbers of a column that count as missing."""
    message = (
        f"{len(placeholders):,} of {len(column):,} values ({len(placeholders) / len(column):.1%}) stand "
        f"among numbers and count as missing: {quoted(placeholders)}; list the texts that are missing in "
        "spec.dataset.csv.missingValues, or set the type to categorical in spec.featureTypes, if they say "
        "more"
    )
    return Finding(FindingKind.PLACEHOLDERS, Severity.WARNING, str(column.name), message)


def zeros_finding(zeros: pd.Series) -> Finding:
    """Return what is told of a column of codes, some of which begin with *zeros*."""
    message = (
        f"the column is read as text, since {len(zeros):,} value(s) begin with a zero, as codes do, such as "
        f"{str(zeros.iloc[0]).strip()!r}; set it to numeric in spec.featureTypes if it holds quantities"
    )
    return Finding(FindingKind.LEADING_ZEROS, Severity.INFO, str(zeros.name), message)


def long_codes_finding(long: pd.Series) -> Finding:
    """Return what is told of a column of *long* codes."""
    message = (
        f"the column is read as text, since {len(long):,} value(s) have so many digits that different ones "
        f"would be the same number, such as {str(long.iloc[0]).strip()!r}; set it to numeric in "
        "spec.featureTypes if it holds quantities"
    )
    return Finding(FindingKind.LONG_CODES, Severity.INFO, str(long.name), message)


def clock_finding(name: str) -> Finding:
    """Return what is told of a column of times of the day."""
    message = (
        "times of the day are read as seconds since midnight; set the type in spec.featureTypes if they are "
        "something else"
    )
    return Finding(FindingKind.TIME_OF_DAY, Severity.INFO, name, message)


def date_findings(column: pd.Series, date: DateReading | None, csv: Csv) -> list[Finding]:
    """Return what is told of a column of dates."""
    if date is None:
        return []
    name, findings = str(column.name), []
    if date.ambiguous and csv.day_first is None:
        order = "the day" if date.day_first else "the month"
        example = column.dropna().iloc[[0]]
        message = (
            f"no value tells day and month apart, so {order} is read first: {example.iloc[0]!r} is "
            f"{parse_dates(example, date).iloc[0]:%Y-%m-%d}; set spec.dataset.csv.dayFirst if this is wrong"
        )
        findings.append(Finding(FindingKind.DATE_ORDER, Severity.WARNING, name, message))
    if date.offsets and csv.time_zone is None:
        message = (
            "the time stamps have offsets, and their hours and weekdays are taken in UTC; set "
            "spec.dataset.csv.timeZone to those of another zone"
        )
        findings.append(Finding(FindingKind.TIMES_IN_UTC, Severity.INFO, name, message))
    return findings


def missing_words_finding(column: pd.Series, words: pd.Series) -> Finding:
    """Return what is told of words that count as missing everywhere."""
    message = (
        f"{len(words):,} of {len(column):,} values count as missing: {quoted(words)}; list the texts that "
        "are missing in spec.dataset.csv.missingValues if these are values"
    )
    return Finding(FindingKind.MISSING_WORDS, Severity.INFO, str(column.name), message)


def unreadable_finding(values: pd.Series, kind: str) -> Finding:
    """Return what is told of values that are not of the column's kind."""
    message = (
        f"{len(values):,} value(s) cannot be read as {kind} and count as missing: {quoted(values)}; set the "
        "type in spec.featureTypes if it is another"
    )
    return Finding(FindingKind.UNREADABLE, Severity.WARNING, str(values.name), message)
