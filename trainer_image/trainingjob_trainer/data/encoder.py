"""From a raw table to a matrix, by scikit-learn and skrub alone.

A model that ships must load where this project is not installed. Only the target encoding looks at the
target. Nothing is random but the projections and the folds of that encoding, whose seeds are fixed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from trainingjob_api.vocabulary import FeatureType
from trainingjob_trainer.data.column_format import (
    PLAIN,
    TIME_OF_DAY,
    ColumnFormat,
    infer_date_format,
    usual_format,
)
from trainingjob_trainer.data.encoder_steps import (
    call,
    code_steps,
    date_steps,
    duration_steps,
    frequent_categories,
    label_steps,
    many_categories_steps,
    mean_steps,
    number_steps,
    text_steps,
    truth_steps,
)
from trainingjob_trainer.encodings import Encoding

_FEW = 30  # most categories of a column that is encoded one-hot alone
_CELLS = 50_000_000  # of the encoded matrix, numbers not counted: 400 MB
_WIDEST, _NARROWEST = 800, 100
_GRAM_ROWS = 200_000  # rows times columns whose n-grams are hashed, at some 30 µs each
_COVERED = 0.9  # share of the rows that the most frequent categories must cover to need no n-grams
_DATE_WIDTH = 9
_TWO = 2  # categories, which one column of any encoding separates; or classes

Kind = Literal["number", "truth", "duration", "clock", "date", "few", "code", "mean", "many", "text"]


class _Level(NamedTuple):
    few: int
    top: int
    grams: int
    words: int


_LEVELS = (
    _Level(few=_FEW, top=24, grams=12, words=24),
    _Level(few=20, top=16, grams=8, words=16),
    _Level(few=12, top=10, grams=6, words=8),
    _Level(few=6, top=6, grams=4, words=4),
    _Level(few=4, top=3, grams=2, words=2),
    _Level(few=1, top=1, grams=0, words=2),
)


@dataclass(frozen=True, slots=True)
class Treatment:
    """The plan for a column."""

    kind: Kind
    width: int = 1
    """Most columns of the one-hot part or components of the words; classes of the target for its means."""
    grams: int = 0
    """Components of the hashed n-grams; 0 for none."""
    coded: bool = False
    """Whether codes are added to the means."""


_CATEGORIES = {"few", "many", "code"}


def build_encoder(
    feature_types: Mapping[str, FeatureType],
    *,
    frame: pd.DataFrame,
    formats: Mapping[str, ColumnFormat] | None = None,
    index_names: Sequence[str] = (),
    per_column: bool = False,
    encoding: Encoding = Encoding.DENSE,
    classes: int = 0,
) -> ColumnTransformer | Pipeline:
    """Return an unfitted transformer from raw frames to a ``float64`` matrix without NaN or infinity.

    Numbers (also written as text) get the median where missing, and an indicator where the fitted rows had
    missing ones; booleans become 0 and 1; categories are one-hot with rare ones together, and those of a
    column with many get hashed n-grams beside the most frequent ones; free text becomes a few components of
    its hashed words; dates become parts of the calendar and days. Categories that were not seen count as
    rare ones. A column of numbers, booleans, dates or times in which no value can be read is rejected with a
    ``ValueError`` that names it.

    That is the dense encoding. The ordinal one makes one column of codes of each column of categories, where
    -1 is a category that was not seen; the target one the mean of the target, or the share of each class if
    there are more than two, and codes beside it if the column has many categories.

    Parameters
    ----------
    feature_types
        The columns to use, in order; ``ignore`` leaves one out.
    frame
        The rows that the widths and the date formats are chosen from; nothing is fitted.
    formats
        How raw values are read, by column; the usual way where there is none.
    index_names
        Columns that a frame may have as its index instead.
    per_column
        Return a pandas frame whose names are ``c<i>__...``, where *i* is the position of the raw column in
        *feature_types*, instead of an array.
    classes
        How many classes the target has; 0 for regression.

    Returns
    -------
    sklearn.compose.ColumnTransformer or sklearn.pipeline.Pipeline
        Extra columns in a frame are left out; a missing one is rejected by name. One thread.
    """
    used = _used(feature_types)
    plan: dict[str, tuple[Treatment, ColumnFormat]] = {}
    for name, dense in plan_widths(used, frame).items():
        how = (formats or {}).get(name) or usual_format(frame[name])
        if how.time_of_day:
            treatment = Treatment("clock")
        elif encoding is Encoding.DENSE or dense.kind not in _CATEGORIES:
            treatment = dense
        elif encoding is Encoding.ORDINAL:
            treatment = Treatment("code")
        else:
            treatment = Treatment("mean", width=classes, coded=bool(frame[name].nunique() > _FEW))
        plan[name] = treatment, how
    if per_column:
        positions = {name: i for i, name in enumerate(feature_types)}
        parts = [(f"c{positions[name]}", _part(*plan[name], [name], frame), [name]) for name in used]
    else:
        parts = _grouped(plan, frame)
    encoder = ColumnTransformer(parts, remainder="drop", sparse_threshold=0.0)
    if per_column:
        # Not ColumnTransformer.set_output, which passes the setting on to the steps, some of them sparse.
        super(ColumnTransformer, encoder).set_output(transform="pandas")
    steps = [("index", FunctionTransformer(pd.DataFrame.reset_index))] if set(index_names) & set(used) else []
    if any(name.lstrip("-").isdigit() for name in used):
        # A frame from a Parquet file or a matrix has integers where a CSV file has their texts.
        steps.append(("names", FunctionTransformer(pd.DataFrame.rename, kw_args={"columns": str})))
    return Pipeline([*steps, ("columns", encoder)]) if steps else encoder


def build_encoders(
    feature_types: Mapping[str, FeatureType],
    *,
    frame: pd.DataFrame,
    formats: Mapping[str, ColumnFormat] | None = None,
    index_names: Sequence[str] = (),
    per_column: bool = False,
    classes: int = 0,
) -> dict[Encoding, ColumnTransformer | Pipeline]:
    """Return the encoder of each encoding that makes another matrix of this table, the dense one first.

    Parameters are those of `build_encoder`. With `per_column` there is only the dense one, whose columns a
    search space that chooses raw columns was written for.
    """
    plan = plan_widths(_used(feature_types), frame)
    categories = [name for name, treatment in plan.items() if treatment.kind in _CATEGORIES]
    found = [Encoding.DENSE]
    if not per_column and any(frame[name].nunique() > _TWO for name in categories):
        if len(categories) * (1 + (classes if classes > _TWO else 1)) <= _budget(frame):
            found.append(Encoding.TARGET)
        if any(plan[name].kind != "code" for name in categories):
            found.append(Encoding.ORDINAL)
    build = partial(build_encoder, feature_types, frame=frame, formats=formats, index_names=index_names)
    return {encoding: build(per_column=per_column, encoding=encoding, classes=classes) for encoding in found}


def _used(feature_types: Mapping[str, FeatureType]) -> dict[str, FeatureType]:
    return {name: kind for name, kind in feature_types.items() if kind is not FeatureType.IGNORE}


def _grouped(
    plan: Mapping[str, tuple[Treatment, ColumnFormat]], frame: pd.DataFrame
) -> list[tuple[str, Pipeline, list[str]]]:
    """Put columns of the same treatment together, where the steps take many columns at once."""
    together: dict[tuple[Treatment, ColumnFormat], list[str]] = {}
    alone = []
    for position, (name, (treatment, how)) in enumerate(plan.items()):
        if how.long or treatment.kind in {"text", "date", "many", "clock", "duration"}:
            part = _part(treatment, how, [name], frame)
            alone.append((f"{treatment.kind}-{position}", part, [name]))
        elif treatment.kind == "number":
            together.setdefault((treatment, replace(how, labels=(), date=None)), []).append(name)
        else:
            relevant = replace(how, number=PLAIN, date=None, whole=False)
            together.setdefault((treatment, relevant), []).append(name)
    groups = [
        (f"{treatment.kind}-{number}", _part(treatment, how, names, frame), names)
        for number, ((treatment, how), names) in enumerate(together.items())
    ]
    return groups + alone


def _part(treatment: Treatment, how: ColumnFormat, names: list[str], frame: pd.DataFrame) -> Pipeline:
    column, rows = frame[names[0]], len(frame)
    match treatment.kind:
        case "number":
            steps = number_steps(how.number.rules(), whole=how.whole)
        case "truth":
            steps = truth_steps()
        case "duration" | "clock":
            steps = duration_steps(TIME_OF_DAY if treatment.kind == "clock" else ())
        case "date":
            steps = date_steps(how.date or infer_date_format(column), column)
        case "few":
            steps = [*label_steps(how), ("one_hot", frequent_categories(treatment.width, rows))]
        case "code":
            steps = code_steps(how)
        case "mean":
            steps = mean_steps(how, treatment.width, coded=treatment.coded)
        case "many":
            steps = many_categories_steps(how, width=treatment.width, grams=treatment.grams, rows=rows)
        case "text":
            steps = text_steps(column, how, treatment.width)
    pattern, value = how.missing_rule
    missing = call(pd.DataFrame.replace, to_replace=pattern, value=value, regex=True)
    return Pipeline([("placeholders", missing), *steps])


def plan_widths(feature_types: Mapping[str, FeatureType], frame: pd.DataFrame) -> dict[str, Treatment]:
    """Choose the treatment of each column so that the encoded table stays narrow.

    At most about 800 columns come out beside the numeric ones, fewer for tables of more than 62,500 rows; a
    column with more than 300 or so neighbours of its kind becomes one column of codes. No feature type is
    ``ignore``.
    """
    kinds = {name: _kind(kind, frame[name]) for name, kind in feature_types.items()}
    counts = {
        name: int(frame[name].nunique()) + bool(frame[name].hasnans)
        for name, kind in kinds.items()
        if kind == "few"
    }
    budget = _budget(frame)
    level = next((level for level in _LEVELS if _total(level, kinds, counts) <= budget), _LEVELS[-1])
    plan = {name: _treat(kind, counts.get(name, 0), level) for name, kind in kinds.items()}
    return _limit_grams(plan, frame)


def _budget(frame: pd.DataFrame) -> int:
    """Return the most columns beside the numeric ones."""
    return int(np.clip(_CELLS / max(len(frame), 1), _NARROWEST, _WIDEST))


def _is_truth(column: pd.Series) -> bool:
    if pd.api.types.is_bool_dtype(column):
        return True
    return column.dtype == object and pd.api.types.infer_dtype(column, skipna=True) == "boolean"


def _kind(feature_type: FeatureType, column: pd.Series) -> Kind:
    match feature_type:
        case FeatureType.TEXT:
            return "text"
        case FeatureType.DATETIME:
            return "date"
        case _ if _is_truth(column):
            return "truth"
        case FeatureType.CATEGORICAL:
            return "few"
        case _ if pd.api.types.is_timedelta64_dtype(column):
            return "duration"
        case _:
            return "number"


def _total(level: _Level, kinds: Mapping[str, Kind], counts: Mapping[str, int]) -> int:
    columns = list(kinds.values())
    categories = (min(n, level.few) if n <= _FEW else level.top + level.grams for n in counts.values())
    return level.words * columns.count("text") + _DATE_WIDTH * columns.count("date") + sum(categories)


def _treat(kind: Kind, count: int, level: _Level) -> Treatment:
    if kind == "text":
        return Treatment("text", width=level.words)
    if kind != "few":
        return Treatment(kind)
    if level.few == 1:
        return Treatment("code")
    if count <= _FEW:
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
    return plan | {name: replace(plan[name], grams=0) for name in covered.keys() - chosen}
