"""How each column is treated, and how many columns it may become."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from trainingjob_api.vocabulary import FeatureType

__all__ = ["FEW", "Treatment", "is_truth", "plan_widths"]

FEW = 30
"""Most categories of a column that is encoded one-hot alone."""

_CELLS = 50_000_000  # of the encoded matrix, numbers not counted: 400 MB
_WIDEST, _NARROWEST = 800, 100
_GRAM_ROWS = 200_000  # rows times columns whose n-grams are hashed, at some 30 µs each
_COVERED = 0.9  # share of the rows that the most frequent categories must cover to need no n-grams
_DATE_WIDTH = 9

Kind = Literal["number", "truth", "duration", "clock", "date", "few", "code", "many", "text"]


class _Level(NamedTuple):
    few: int
    top: int
    grams: int
    words: int


_LEVELS = (
    _Level(few=FEW, top=24, grams=12, words=24),
    _Level(few=20, top=16, grams=8, words=16),
    _Level(few=12, top=10, grams=6, words=8),
    _Level(few=6, top=6, grams=4, words=4),
    _Level(few=4, top=3, grams=2, words=2),
    _Level(few=1, top=1, grams=0, words=2),
)


@dataclass(frozen=True, slots=True)
class Treatment:
    """What happens to one column.

    Parameters
    ----------
    kind
        Which steps encode it.
    width
        Most columns of the one-hot part or components of the words.
    grams
        Components of the hashed n-grams; 0 for none.
    """

    kind: Kind
    width: int = 1
    grams: int = 0


def is_truth(column: pd.Series) -> bool:
    """Return whether *column* holds booleans and missing values alone."""
    if pd.api.types.is_bool_dtype(column):
        return True
    return column.dtype == object and pd.api.types.infer_dtype(column, skipna=True) == "boolean"


def plan_widths(feature_types: Mapping[str, FeatureType], frame: pd.DataFrame) -> dict[str, Treatment]:
    """Choose the treatment of each column so that the encoded table stays narrow.

    At most about 800 columns come out beside the numeric ones, fewer for tables of more than 62,500 rows; a
    column with more than 300 or so neighbours of its kind becomes one column of codes.

    Parameters
    ----------
    feature_types
        None of them ``ignore``.
    frame
        Holds at least these columns.
    """
    kinds = {name: _kind(kind, frame[name]) for name, kind in feature_types.items()}
    counts = {
        name: int(frame[name].nunique()) + bool(frame[name].hasnans)
        for name, kind in kinds.items()
        if kind == "few"
    }
    budget = int(np.clip(_CELLS / max(len(frame), 1), _NARROWEST, _WIDEST))
    level = next((level for level in _LEVELS if _total(level, kinds, counts) <= budget), _LEVELS[-1])
    plan = {name: _treat(kind, counts.get(name, 0), level) for name, kind in kinds.items()}
    return _limit_grams(plan, frame)


def _kind(feature_type: FeatureType, column: pd.Series) -> Kind:
    match feature_type:
        case FeatureType.TEXT:
            return "text"
        case FeatureType.DATETIME:
            return "date"
        case _ if is_truth(column):
            return "truth"
        case FeatureType.CATEGORICAL:
            return "few"
        case _ if pd.api.types.is_timedelta64_dtype(column):
            return "duration"
        case _:
            return "number"


def _total(level: _Level, kinds: Mapping[str, Kind], counts: Mapping[str, int]) -> int:
    total = 0
    for name, kind in kinds.items():
        if kind == "text":
            total += level.words
        elif kind == "date":
            total += _DATE_WIDTH
        elif kind == "few":
            count = counts[name]
            total += min(count, level.few) if count <= FEW else level.top + level.grams
    return total


def _treat(kind: Kind, count: int, level: _Level) -> Treatment:
    if kind == "text":
        return Treatment("text", width=level.words)
    if kind != "few":
        return Treatment(kind)
    if level.few == 1:
        return Treatment("code")
    if count <= FEW:
        return Treatment("few", width=level.few)
    return Treatment("many", width=level.top, grams=level.grams)


def _limit_grams(plan: dict[str, Treatment], frame: pd.DataFrame) -> dict[str, Treatment]:
    """Keep the n-grams of the columns whose most frequent categories say least, as far as time allows."""
    covered = {}
    for name, treatment in plan.items():
        if treatment.kind == "many":
            counts = frame[name].value_counts()
            covered[name] = float(counts.head(treatment.width - 1).sum() / max(counts.sum(), 1))
    allowed = max(1, _GRAM_ROWS // max(len(frame), 1))
    chosen = {name for name in sorted(covered, key=covered.__getitem__)[:allowed] if covered[name] < _COVERED}
    return {
        name: replace(treatment, grams=0) if treatment.kind == "many" and name not in chosen else treatment
        for name, treatment in plan.items()
    }
