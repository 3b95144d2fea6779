"""How a column's raw values are read: decided once, followed by training, model and ``pipeline.py``."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from trainingjob_trainer.data.date_format import DateFormat
from trainingjob_trainer.data.number_format import DEFAULT_MISSING, PLAIN, NumberFormat, Rule, missing_rule

__all__ = ["TIME_OF_DAY", "ColumnFormat", "label_rules", "usual_format"]

_SPACES: Rule = (r"^\s+|\s+$", "")
TIME_OF_DAY: tuple[Rule, ...] = (
    _SPACES,
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
        """Return what differs from the usual as plain data."""
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


def usual_format(column: pd.Series) -> ColumnFormat:
    """Return how a column is read about which nothing special is known."""
    if pd.api.types.is_float_dtype(column):
        return ColumnFormat(labels=_LABEL_RULES)
    try:
        return ColumnFormat(labels=label_rules(column.dropna().drop_duplicates()))
    except TypeError:  # values that cannot be hashed are no labels
        return ColumnFormat()


def label_rules(labels: pd.Series) -> tuple[Rule, ...]:
    """Return the rules under which different *labels* (distinct values) stay different.

    Those for numbers are left out where no label looks like one.
    """
    texts = labels.astype("str")
    numbers = bool(texts.str.strip().str.fullmatch(r"[+-]?\d+(?:[.]\d+)?").any())
    chosen: list[Rule] = []
    for pattern, value in (_SPACES, *(_LABEL_RULES if numbers else ())):
        changed = texts.str.replace(pattern, str(value), regex=True)
        if changed.nunique() == texts.nunique():
            chosen.append((pattern, value))
            texts = changed
    return tuple(chosen)
