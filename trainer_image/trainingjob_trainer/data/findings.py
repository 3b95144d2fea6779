"""Findings about a table, which do not end the run; ``docs/data.md`` explains each kind."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

import pandas as pd

from trainingjob_api import shorten
from trainingjob_api.report import FindingNote
from trainingjob_api.storage import Csv
from trainingjob_api.vocabulary import Severity
from trainingjob_trainer.data.column_format import DateFormat, NumberFormat
from trainingjob_trainer.data.csv_file import CsvLayout
from trainingjob_trainer.data.date_format import parse_dates

__all__ = [
    "Finding",
    "FindingKind",
    "Severity",
    "date_findings",
    "describe_layout",
    "listed",
    "long_codes_finding",
    "missing_words_finding",
    "number_format_finding",
    "placeholder_finding",
    "quoted",
    "time_of_day_finding",
    "unreadable_finding",
    "zeros_finding",
]

_COLUMN_CHARS = 256
_MESSAGE_CHARS = 1024
_SHOWN = 3
_SHOWN_CHARACTERS = 40


class FindingKind(StrEnum):
    """Every kind of finding."""

    TASK_INFERRED = "TaskInferred"
    TARGET_MISSING = "TargetMissing"
    LABELS_AS_TEXT = "LabelsAsText"
    POSITIVE_LABEL = "PositiveLabelChosen"
    POSITIVE_LABEL_UNUSED = "PositiveLabelUnused"
    METRIC = "MetricQuestionable"
    IMBALANCED = "ImbalancedTarget"
    INFINITE = "InfiniteValues"
    DUPLICATES = "DuplicateRows"
    IDENTIFIER = "IdentifierColumn"
    CONSTANT = "ConstantColumn"
    UNSUPPORTED = "UnsupportedColumn"
    UNREADABLE = "UnreadableValues"
    FILE_LAYOUT = "FileLayout"
    NUMBER_NOTATION = "NumberNotation"
    PLACEHOLDERS = "PlaceholdersMissing"
    MISSING_WORDS = "MissingWords"
    LEADING_ZEROS = "LeadingZeros"
    LONG_CODES = "LongCodes"
    TIME_OF_DAY = "TimeOfDay"
    DATE_ORDER = "DateOrderAssumed"
    TIMES_IN_UTC = "TimesInUtc"
    LABEL_WORDS = "MissingWordsInTarget"
    SIMILAR_LABELS = "SimilarLabels"
    ROLE = "RoleColumn"
    LEAKAGE = "LeakageSuspected"
    FOLDS_REDUCED = "FoldsReduced"
    FOLD_CLASSES = "FoldWithoutClass"
    ROWS_WITHOUT_TIME = "RowsWithoutTime"
    ROWS_WITHOUT_GROUP = "RowsWithoutGroup"


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact about the table: cause and way out, and the column that it is about, if any."""

    kind: FindingKind
    severity: Severity
    column: str | None
    message: str

    @classmethod
    def info(cls, kind: FindingKind, column: object, message: str) -> Self:
        """Return a finding of severity ``info``."""
        return cls(kind, Severity.INFO, None if column is None else str(column), message)

    @classmethod
    def warning(cls, kind: FindingKind, column: object, message: str) -> Self:
        """Return a finding of severity ``warning``."""
        return cls(kind, Severity.WARNING, None if column is None else str(column), message)

    def to_note(self) -> FindingNote:
        """Return it as events and reports carry it; a long name or message is cut."""
        return FindingNote(
            finding=self.kind.value,
            severity=self.severity,
            column=None if self.column is None else shorten(self.column, _COLUMN_CHARS),
            message=shorten(self.message, _MESSAGE_CHARS),
        )


def listed(items: Sequence[str], *, most: int = _SHOWN, total: int | None = None) -> str:
    """Return the first items in words; *total* counts those that *items* leaves out, too."""
    more = (len(items) if total is None else total) - most
    return ", ".join(items[:most]) + (f" and {more} more" if more > 0 else "")


def quoted(values: pd.Series) -> str:
    """Return the most frequent texts, quoted, with the number of rows of each."""
    counts = values.astype("str").value_counts()
    shown = [f"{str(text)[:_SHOWN_CHARACTERS]!r} ({count:,})" for text, count in counts.head(_SHOWN).items()]
    return listed(shown, total=len(counts))


def describe_layout(layout: CsvLayout | None, csv: Csv, decimal: str | None) -> tuple[Finding, ...]:
    """Report the unusual parts of a file's layout that the job does not name itself.

    Parameters
    ----------
    layout
        Of a CSV file; None for Parquet.
    decimal
        The decimal mark of most columns.
    """
    assumed = []
    if layout is not None and layout.separator != "," and csv.separator is None:
        assumed.append(f"{layout.separator!r} between the fields (spec.dataset.csv.separator)")
    if decimal == "," and csv.decimal is None:
        assumed.append("a comma before the fraction of numbers (spec.dataset.csv.decimal)")
    if not assumed:
        return ()
    message = f"The file is read with {' and '.join(assumed)}; set the field if this is wrong"
    return (Finding.info(FindingKind.FILE_LAYOUT, None, message),)


def number_format_finding(
    present: pd.Series, numbers: pd.Series, how: NumberFormat, *, guessed: bool, uneven: bool
) -> Finding:
    """Report how numbers are read.

    With *guessed*, the values alone could mean something else; with *uneven*, their signs differ.
    """
    marked = present[numbers.notna() & ~present.str.fullmatch(r"\s*\d+\s*").fillna(value=True)]
    example = marked if len(marked) else present[numbers.notna()]
    text, number = str(example.iloc[0]).strip(), numbers[example.index[0]]
    signs = "not all values have the same sign, and nothing is converted; " if uneven else ""
    message = (
        f"Numbers are read with {how.describe() or 'a point before the fraction'}: {text!r} is "
        f"{number:.10g}; {signs}if this is wrong, set "
        "spec.dataset.csv.decimal and thousands, or the type in spec.featureTypes"
    )
    severity = Severity.WARNING if guessed else Severity.INFO
    return Finding(FindingKind.NUMBER_NOTATION, severity, str(present.name), message)


def placeholder_finding(column: pd.Series, placeholders: pd.Series) -> Finding:
    """Report words among the numbers of a column that count as missing."""
    message = (
        f"{len(placeholders):,} of {len(column):,} values ({len(placeholders) / len(column):.1%}) are words "
        f"among numbers and count as missing: {quoted(placeholders)}; if they mean more, list the missing "
        "texts in spec.dataset.csv.missingValues, or set the type to categorical in spec.featureTypes"
    )
    return Finding.warning(FindingKind.PLACEHOLDERS, column.name, message)


def zeros_finding(zeros: pd.Series) -> Finding:
    """Report a column of codes, some of which begin with *zeros*."""
    message = (
        f"The column is read as text, since {len(zeros):,} value(s) begin with a zero, as codes do, such as "
        f"{str(zeros.iloc[0]).strip()!r}; set it to numeric in spec.featureTypes if it holds quantities"
    )
    return Finding.info(FindingKind.LEADING_ZEROS, zeros.name, message)


def long_codes_finding(long: pd.Series) -> Finding:
    """Report a column of *long* codes."""
    message = (
        f"The column is read as text, since {len(long):,} value(s) have so many digits that different ones "
        f"would be the same number, such as {str(long.iloc[0]).strip()!r}; set it to numeric in "
        "spec.featureTypes if it holds quantities"
    )
    return Finding.info(FindingKind.LONG_CODES, long.name, message)


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


def unreadable_finding(values: pd.Series, kind: str) -> Finding:
    """Report values that are not of the column's type *kind*."""
    message = (
        f"{len(values):,} value(s) cannot be read as {kind} and count as missing: {quoted(values)}; set "
        "another type in spec.featureTypes if this is wrong"
    )
    return Finding.warning(FindingKind.UNREADABLE, values.name, message)
