"""What was found in the table and is worth telling, though the run goes on."""

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Finding", "FindingKind", "Severity"]


class Severity(StrEnum):
    """``info`` says what was decided; ``warning`` asks the user to look."""

    INFO = "info"
    WARNING = "warning"


class FindingKind(StrEnum):
    """Every kind of finding; ``docs/data.md`` explains each."""

    TASK_INFERRED = "TaskInferred"
    TARGET_MISSING = "TargetMissing"
    LABELS_AS_TEXT = "LabelsAsText"
    POSITIVE_LABEL = "PositiveLabelChosen"
    POSITIVE_LABEL_UNUSED = "PositiveLabelUnused"
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
