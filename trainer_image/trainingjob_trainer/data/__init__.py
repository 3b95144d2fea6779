"""From a dataset's address to features, target and splits, with findings about the table.

A finding does not end the run; ``docs/data.md`` explains each kind.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

import pandas as pd

from trainingjob_api import shorten
from trainingjob_api.report import FindingNote
from trainingjob_api.vocabulary import Severity

__all__ = ["Finding", "FindingKind", "listed", "quoted"]

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
