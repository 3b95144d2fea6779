"""How a column's raw values are read: decided once, followed by training, model and ``pipeline.py``."""

import re
from dataclasses import dataclass
from typing import Any

import pandas as pd

from trainingjob_trainer.data.dates import DateReading
from trainingjob_trainer.data.notation import DEFAULT_MISSING, PLAIN, Notation, Rule, missing_rule

__all__ = ["CLOCK", "Reading", "label_rules", "usual_reading"]

CLOCK: tuple[Rule, ...] = (
    (r"^\s+|\s+$", ""),
    (r"^(\d{1,2}:\d{2})(?=$|\s*[AaPp])", r"\1:00"),
    (r"^12(?=:\S*\s*[AaPp])", "0"),
    (r"\s*[Aa][.]?[Mm][.]?$", ""),
    (r"^(.*\d)\s*[Pp][.]?[Mm][.]?$", r"12h \1"),
    (r"^(\d+(?:[.]\d*)?)$", r"\1s"),
)
"""The rules that write times of the day, or seconds since midnight, as durations."""

_NUMBER_LIKE = re.compile(r"[+-]?\d+(?:[.]\d+)?")
# As different readers of a file write one and the same code: 250 and 250.0, 01234 and 1234, 1.50 and 1.5.
_SPACES: Rule = (r"^\s+|\s+$", "")
_LABEL_RULES: tuple[Rule, ...] = (
    (r"^(-?\d+)[.]0+$", r"\1"),
    (r"^(-?)0+(?=\d+$)", r"\1"),
    (r"^(-?\d+[.]\d*[1-9])0+$", r"\1"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How one column is read.

    Parameters
    ----------
    missing
        The texts that count as missing.
    placeholders
        Whether all known placeholders count as missing, too, however they are capitalised.
    notation
        How numbers are written.
    clock
        Whether the values are times of the day, which are read as seconds since midnight.
    labels
        Rules that make one label of what different readers make of it.
    date
        How dates are read; None if the column holds none.
    long
        Whether the labels are numbers of more digits than a float holds, so that a float has lost some.
    whole
        Whether all values were whole numbers with a point between thousands, so that one with a fraction has
        been misread before it came here.
    """

    missing: tuple[str, ...] = DEFAULT_MISSING
    placeholders: bool = False
    notation: Notation = PLAIN
    clock: bool = False
    labels: tuple[Rule, ...] = ()
    date: DateReading | None = None
    long: bool = False
    whole: bool = False

    @property
    def missing_rule(self) -> Rule:
        """The rule for what is missing."""
        return missing_rule(self.missing, placeholders=self.placeholders)

    def to_dict(self) -> dict[str, Any]:
        """Return what differs from the usual as plain data."""
        notation = self.notation
        data: dict[str, Any] = {}
        if not notation.plain:
            data |= {
                "decimal": notation.decimal,
                "thousands": notation.thousands or None,
                "symbol": " ".join(notation.symbols) or None,
            }
        if set(self.missing) - set(DEFAULT_MISSING):
            data["missingValues"] = [text for text in self.missing if text not in DEFAULT_MISSING]
        if self.clock:
            data["timeOfDay"] = True
        if self.date is not None:
            data |= {"dateFormat": self.date.format, "dateUnit": self.date.unit, "timeZone": self.date.zone}
        return {key: value for key, value in data.items() if value is not None}


def usual_reading(column: pd.Series) -> Reading:
    """Return how a column is read of which nothing special is known."""
    if pd.api.types.is_float_dtype(column):
        return Reading(labels=_LABEL_RULES)
    try:
        return Reading(labels=label_rules(column.dropna().drop_duplicates()))
    except TypeError:  # what cannot be hashed is no label
        return Reading()


def label_rules(labels: pd.Series) -> tuple[Rule, ...]:
    """Return the rules under which different *labels* (distinct values) stay different.

    Those for numbers are left out where no label looks like one.
    """
    texts = labels.astype("str")
    numbers = bool(texts.str.strip().str.fullmatch(_NUMBER_LIKE.pattern).any())
    chosen: list[Rule] = []
    for pattern, value in (_SPACES, *(_LABEL_RULES if numbers else ())):
        changed = texts.str.replace(pattern, str(value), regex=True)
        if changed.nunique() == texts.nunique():
            chosen.append((pattern, value))
            texts = changed
    return tuple(chosen)
