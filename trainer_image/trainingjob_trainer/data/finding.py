"""What was found in the table and is worth telling, though the run goes on."""

from dataclasses import dataclass
from enum import StrEnum

from trainingjob_api.report import FindingNote
from trainingjob_api.text import shorten
from trainingjob_api.vocabulary import Severity

__all__ = ["Finding", "FindingKind", "Severity"]


_COLUMN_CHARS = 256
_MESSAGE_CHARS = 1024


class FindingKind(StrEnum):
    """Every kind of finding; ``docs/data.md`` explains each."""

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
    """One thing about the table.

    Parameters
    ----------
    kind
        A :class:`FindingKind`.
    severity
        ``info`` or ``warning``.
    column
        The column it is about, or None.
    message
        One or two sentences with the cause and what can be done.
    """

    kind: FindingKind
    severity: Severity
    column: str | None
    message: str

    def to_note(self) -> FindingNote:
        """Return it as events and reports carry it; a long name or message is cut."""
        return FindingNote(
            finding=self.kind.value,
            severity=self.severity,
            column=None if self.column is None else shorten(self.column, _COLUMN_CHARS),
            message=shorten(self.message, _MESSAGE_CHARS),
        )
