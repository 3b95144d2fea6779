"""From a raw table to a dense matrix, by scikit-learn and skrub alone.

A model that ships must load where this project is not installed, so that the encoder is put together from
classes of scikit-learn and skrub and from functions of pandas, which a pickle refers to by name. Nothing in
it looks at the target, and nothing is random but the seed of the projections, which is fixed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder
from skrub import DatetimeEncoder

from trainingjob_api.vocabulary import FeatureType
from trainingjob_trainer.data.column_format import TIME_OF_DAY, ColumnFormat, usual_format
from trainingjob_trainer.data.date_format import DateFormat, infer_date_format, parse_dates
from trainingjob_trainer.data.number_format import NOT_A_NUMBER, PLAIN, Rule
from trainingjob_trainer.data.readable import call, check_column, check_numbers
from trainingjob_trainer.data.widths import Treatment, plan_widths

__all__ = ["build_encoder"]

Step = tuple[str, Any]
_Plan = Mapping[str, tuple[Treatment, ColumnFormat]]

_MISSING = "(missing)"
_LARGEST = 1e38  # just inside float32, which scikit-learn's trees and boosters compute in
_HASHED = 4096  # columns of the hashed n-grams before they are projected
_SEED = 0
_WHOLE = r"^(-?\d+)\.0$"
_TEXT_SAMPLE = 1000
_DAY = 86_400e6  # microseconds
_PARTS = {"add_total_seconds": False, "add_weekday": True, "add_day_of_year": True}
_UNREADABLE = (
    "the column {{!r}} cannot be read: none of its values is {}; read new rows as input_schema.json says, or "
    "correct the column"
)
_FRACTIONS = (
    "the column {!r} holds fractions, where the table had whole numbers with a point between thousands: "
    "whatever has read these rows has taken 1.234 for a fraction; read new rows as input_schema.json says"
)
_ROUNDED = (
    "the column {!r} holds rounded numbers in place of codes of so many digits that some are lost; read new "
    "rows as input_schema.json says"
)
_POWER = r"^-?\d(?:[.]\d+)?e[+]\d+$"
_TRUTHS = {"True": "1", "true": "1", "TRUE": "1", "False": "0", "false": "0", "FALSE": "0"}


def build_encoder(
    feature_types: Mapping[str, FeatureType],
    *,
    frame: pd.DataFrame,
    formats: Mapping[str, ColumnFormat] | None = None,
    index_names: Sequence[str] = (),
    per_column: bool = False,
) -> ColumnTransformer | Pipeline:
    """Return an unfitted transformer from raw frames to a dense ``float64`` matrix without NaN or infinity.

    Numbers (also written as text) get the median where missing, and an indicator where the fitted rows had
    missing ones; booleans become 0 and 1; categories are one-hot with rare ones together, and those of a
    column with many get hashed n-grams beside the most frequent ones; free text becomes a few components of
    its hashed words; dates become parts of the calendar and days. Categories that were not seen count as
    rare ones. A column of numbers, booleans, dates or times in which no value can be read is refused with a
    ``ValueError`` that names it.

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

    Returns
    -------
    sklearn.compose.ColumnTransformer or sklearn.pipeline.Pipeline
        Extra columns in a frame are left out; a missing one is refused by name. One thread.
    """
    used = {name: kind for name, kind in feature_types.items() if kind is not FeatureType.IGNORE}
    formats = formats or {}
    clocks = {name for name, reading in formats.items() if reading.time_of_day}
    plan: _Plan = {
        name: (
            Treatment("clock") if name in clocks else treatment,
            formats.get(name) or usual_format(frame[name]),
        )
        for name, treatment in plan_widths(used, frame).items()
    }
    if per_column:
        positions = {name: i for i, name in enumerate(feature_types)}
        parts = [(f"c{positions[name]}", _part(*plan[name], [name], frame), [name]) for name in used]
    else:
        parts = _grouped(plan, frame)
    encoder = ColumnTransformer(parts, remainder="drop", sparse_threshold=0.0)
    if per_column:
        # Not ColumnTransformer.set_output: it would pass the setting on to the steps, some of which are
        # sparse.
        super(ColumnTransformer, encoder).set_output(transform="pandas")
    steps = [("index", FunctionTransformer(pd.DataFrame.reset_index))] if set(index_names) & set(used) else []
    if any(name.lstrip("-").isdigit() for name in used):
        # Whoever makes a frame of a Parquet file or a matrix has integers where a CSV file has their texts.
        steps.append(("names", FunctionTransformer(pd.DataFrame.rename, kw_args={"columns": str})))
    return Pipeline([*steps, ("columns", encoder)]) if steps else encoder


def _grouped(plan: _Plan, frame: pd.DataFrame) -> list[tuple[str, Pipeline, list[str]]]:
    """Put columns of the same treatment together, where the steps take many columns at once."""
    together: dict[tuple[Treatment, ColumnFormat], list[str]] = {}
    alone = []
    for position, (name, (treatment, reading)) in enumerate(plan.items()):
        if reading.long or treatment.kind in {"text", "date", "many", "clock", "duration"}:
            part = _part(treatment, reading, [name], frame)
            alone.append((f"{treatment.kind}-{position}", part, [name]))
        else:
            together.setdefault((treatment, _that_matters(treatment, reading)), []).append(name)
    groups = [
        (f"{treatment.kind}-{number}", _part(treatment, reading, names, frame), names)
        for number, ((treatment, reading), names) in enumerate(together.items())
    ]
    return groups + alone


def _that_matters(treatment: Treatment, reading: ColumnFormat) -> ColumnFormat:
    """Return what of a reading decides how columns of a treatment are read."""
    if treatment.kind == "number":
        return replace(reading, labels=(), date=None)
    return replace(reading, number=PLAIN, date=None, whole=False)


def _part(treatment: Treatment, reading: ColumnFormat, names: list[str], frame: pd.DataFrame) -> Pipeline:
    match treatment.kind:
        case "number":
            steps = [*_replacements(reading.number.rules()), *_numbers(whole=reading.whole)]
        case "truth":
            steps = [("text", call(pd.DataFrame.astype, dtype="str")), *_truths(), *_numbers()]
        case "duration" | "clock":
            steps = _durations(TIME_OF_DAY if treatment.kind == "clock" else ())
        case "date":
            steps = _dates(reading.date or infer_date_format(frame[names[0]]), frame[names[0]])
        case "few":
            steps = [*_labels(reading), ("one_hot", _one_hot(treatment.width, len(frame)))]
        case "code":
            steps = [*_labels(reading), ("code", _codes())]
        case "many":
            steps = _many(treatment, reading, len(frame))
        case "text":
            steps = _text(frame[names[0]], reading, treatment.width)
    pattern, value = reading.missing_rule
    return Pipeline(
        [("placeholders", call(pd.DataFrame.replace, to_replace=pattern, value=value, regex=True)), *steps]
    )


def _replacements(rules: Sequence[Rule], function: Any = pd.DataFrame.replace) -> list[Step]:
    """Return a step for each rule; what is no text stays as it is."""
    return [
        (f"rule_{number}", call(function, to_replace=pattern, value=value, regex=True))
        for number, (pattern, value) in enumerate(rules, start=1)
    ]


def _numbers(*, whole: bool = False) -> list[Step]:
    readable = check_numbers(
        _UNREADABLE.format("a number as the table had it"),
        fractions=_FRACTIONS if whole else "",
    )
    return [
        ("infinite", call(pd.DataFrame.replace, to_replace=[np.inf, -np.inf], value=np.nan)),
        ("unreadable", call(pd.DataFrame.replace, to_replace=NOT_A_NUMBER, value="inf", regex=True)),
        ("number", call(pd.DataFrame.apply, func=pd.to_numeric, errors="coerce")),
        ("float", call(pd.DataFrame.astype, dtype="float64")),
        readable,
        ("finite", call(pd.DataFrame.replace, to_replace=[np.inf, -np.inf], value=np.nan)),
        ("clip", call(pd.DataFrame.clip, lower=-_LARGEST, upper=_LARGEST)),
        ("impute", SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)),
    ]


def _truths() -> list[Step]:
    return [("truth", call(pd.DataFrame.replace, to_replace=_TRUTHS))]


def _durations(rules: Sequence[Rule]) -> list[Step]:
    """Return the steps from durations, or times of the day, to seconds."""
    texts: list[Step] = [("text", call(pd.DataFrame.astype, dtype="str"))] if rules else []
    read = [
        *texts,
        *_replacements(rules),
        ("duration", call(pd.DataFrame.apply, func=pd.to_timedelta, errors="coerce")),
    ]
    kind = "a time of the day" if rules else "a duration"
    return [
        check_column(read, _UNREADABLE.format(kind)),
        *read,
        ("unit", call(pd.DataFrame.astype, dtype="timedelta64[us]")),
        *_ticks(),
        ("seconds", call(pd.DataFrame.div, other=1e6)),  # type: ignore[misc]  # of pandas-stubs
        ("impute", SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)),
    ]


def _ticks() -> list[Step]:
    """Return the steps from dates or durations to numbers in their unit."""
    return [
        ("count", call(pd.DataFrame.apply, func=pd.to_numeric)),
        ("missing", call(pd.DataFrame.replace, to_replace=np.iinfo("int64").min, value=np.nan)),
        ("float", call(pd.DataFrame.astype, dtype="float64")),
    ]


def _dates(reading: DateFormat, column: pd.Series) -> list[Step]:
    apply = pd.DataFrame.apply
    read: list[Step]
    if reading.unit is not None:
        read = [
            ("number", call(apply, func=pd.to_numeric, errors="coerce")),
            ("date", call(apply, func=pd.to_datetime, unit=reading.unit, errors="coerce", utc=True)),
        ]
    else:
        # As objects, since pandas warns about numbers, which a column without any value is made of.
        read = [
            ("object", call(pd.DataFrame.astype, dtype="str" if reading.digits else "object")),
            *_replacements([(_WHOLE, r"\1")] if reading.digits else [(r"^\s+|\s+$", "")]),
            ("date", call(apply, func=pd.to_datetime, format=reading.format, errors="coerce", utc=True)),
        ]
    parsed = parse_dates(column, reading)
    first = parsed.min() if parsed.notna().any() else pd.Timestamp(0, tz="UTC")
    zone = [("zone", call(pd.Series.astype, dtype=f"datetime64[us, {reading.zone}]"))] if reading.zone else []
    parts = [
        ("column", call(pd.DataFrame.squeeze, axis=1)),
        *zone,
        ("parts", DatetimeEncoder(resolution=_resolution(parsed), **_PARTS)),
        ("float", call(pd.DataFrame.astype, dtype="float64")),
        ("impute", SimpleImputer(strategy="median", keep_empty_features=True)),
    ]
    # Seconds since 1970 would lose minutes in single precision, which trees compute in.
    days = [
        ("unit", call(pd.DataFrame.astype, dtype="datetime64[us, UTC]")),
        *_ticks(),
        (
            "since",
            call(
                pd.DataFrame.sub, other=float(first.normalize().asm8.astype("datetime64[us]").astype("int64"))
            ),
        ),
        ("days", call(pd.DataFrame.div, other=_DAY)),  # type: ignore[misc]  # as above
        ("impute", SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)),
    ]
    return [
        check_column(read, _UNREADABLE.format(f"a date as the table had it ({reading.describe()})")),
        *read,
        ("both", FeatureUnion([("date", Pipeline(parts)), ("days", Pipeline(days))])),
    ]


def _resolution(dates: pd.Series) -> str | None:
    """Return the smallest part that is not zero in all dates, as skrub names it."""
    times = dates.dropna().dt
    if times.second.any():
        return "second"
    if times.minute.any():
        return "minute"
    return "hour"


def _labels(reading: ColumnFormat) -> list[Step]:
    text = ("text", call(pd.DataFrame.astype, dtype="str"))
    rounded = ("rounded", call(pd.DataFrame.replace, to_replace=_POWER, value=np.nan, regex=True))
    return [
        *([check_column([text, rounded], _ROUNDED)] if reading.long else []),
        text,
        *_replacements(reading.labels),
        ("missing", call(pd.DataFrame.fillna, value=_MISSING)),
    ]


def _one_hot(width: int, rows: int) -> OneHotEncoder:
    return OneHotEncoder(
        handle_unknown="infrequent_if_exist",
        min_frequency=max(1, min(10, rows // 200)),
        max_categories=width,
        sparse_output=False,
    )


def _codes() -> OrdinalEncoder:
    return OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)


def _many(treatment: Treatment, reading: ColumnFormat, rows: int) -> list[Step]:
    frequent = ("frequent", _one_hot(treatment.width, rows))
    steps = _labels(reading)
    if treatment.grams == 0:
        return [*steps, frequent]
    grams = Pipeline(
        [("column", call(pd.DataFrame.squeeze, axis=1)), *_projected("char_wb", 3, treatment.grams, rows)]
    )
    return [*steps, ("both", FeatureUnion([frequent, ("grams", grams)]))]


def _text(column: pd.Series, reading: ColumnFormat, width: int) -> list[Step]:
    spaces = column.dropna().astype("str").head(_TEXT_SAMPLE).str.count(r"\s")
    # Scripts without spaces have no words to split at.
    words = spaces.empty or float(spaces.median()) >= 1
    return [
        *_labels(ColumnFormat(missing=reading.missing)),
        ("column", call(pd.DataFrame.squeeze, axis=1)),
        *(
            _projected("word", 1, width, len(column))
            if words
            else _projected("char_wb", 3, width, len(column))
        ),
    ]


def _projected(analyzer: str, size: int, width: int, rows: int) -> list[Step]:
    """Return the steps from strings to a few components of their hashed n-grams."""
    vectorizer = HashingVectorizer(
        analyzer=analyzer,
        ngram_range=(size, size),
        n_features=_HASHED,
        alternate_sign=False,
        dtype=np.float32,  # halves the time and the model
    )
    # The vectorizer knows no names of what it puts out, and those of the encoder are asked of every step. The
    # copy of an index takes two arguments, as a maker of names must, and a pickle holds it by name.
    names = pd.RangeIndex(_HASHED).copy
    return [
        ("hash", FunctionTransformer(vectorizer.transform, feature_names_out=names)),
        ("weigh", TfidfTransformer(sublinear_tf=True)),
        ("project", TruncatedSVD(n_components=max(1, min(width, rows // 4)), n_iter=3, random_state=_SEED)),
        ("float", call(np.asarray, dtype="float64")),
    ]
