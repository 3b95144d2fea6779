"""From a raw table to a dense matrix, by scikit-learn and skrub alone.

A model that ships must load where this project is not installed, so that the encoder is put together from
classes of scikit-learn and skrub and from functions of pandas, which a pickle refers to by name. Nothing in
it looks at the target, and nothing is random but the seed of the projections, which is fixed.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder
from skrub import DatetimeEncoder

from trainingjob_api.vocabulary import FeatureType
from trainingjob_trainer.features.dates import DateReading, read_dates_as
from trainingjob_trainer.features.widths import Treatment, plan_widths

__all__ = ["build_encoder"]

Step = tuple[str, Any]

_MISSING = "(missing)"
_LARGEST = 1e38  # just inside float32, which scikit-learn's trees and boosters compute in
_HASHED = 4096  # columns of the hashed n-grams before they are projected
_SEED = 0
_WHOLE = r"^(-?\d+)\.0$"
_TEXT_SAMPLE = 1000
_TRUTHS = {"True": "1", "true": "1", "TRUE": "1", "False": "0", "false": "0", "FALSE": "0"}


def build_encoder(
    feature_types: Mapping[str, FeatureType], *, frame: pd.DataFrame, per_column: bool = False
) -> ColumnTransformer:
    """Return an unfitted transformer from raw frames to a dense ``float64`` matrix without NaN or infinity.

    Numbers (also written as text) get the median where missing, and an indicator where the fitted rows had
    missing ones; booleans become 0 and 1; categories are one-hot with rare ones together, and those of a
    column with many get hashed n-grams beside the most frequent ones; free text becomes a few components of
    its hashed words; dates become parts of the calendar and seconds. Categories that were not seen count as
    rare ones.

    Parameters
    ----------
    feature_types
        The columns to use, in order; ``ignore`` leaves one out.
    frame
        The rows that the widths and the date formats are chosen from; nothing is fitted.
    per_column
        Return a pandas frame whose names are ``c<i>__...``, where *i* is the position of the raw column in
        *feature_types*, instead of an array.

    Returns
    -------
    sklearn.compose.ColumnTransformer
        Extra columns in a frame are left out; a missing one is refused by name. One thread.
    """
    used = {name: kind for name, kind in feature_types.items() if kind is not FeatureType.IGNORE}
    plan = plan_widths(used, frame)
    if per_column:
        positions = {name: i for i, name in enumerate(feature_types)}
        parts = [(f"c{positions[name]}", _part(plan[name], [name], frame), [name]) for name in used]
    else:
        parts = _grouped(plan, frame)
    encoder = ColumnTransformer(parts, remainder="drop", sparse_threshold=0.0)
    if per_column:
        # Not ColumnTransformer.set_output: it would pass the setting on to the steps, some of which are
        # sparse.
        super(ColumnTransformer, encoder).set_output(transform="pandas")
    return encoder


def _grouped(plan: Mapping[str, Treatment], frame: pd.DataFrame) -> list[tuple[str, Pipeline, list[str]]]:
    """Put columns of the same treatment together, where the steps take many columns at once."""
    together: dict[Treatment, list[str]] = {}
    alone = []
    for position, (name, treatment) in enumerate(plan.items()):
        if treatment.kind in {"text", "date", "many"}:
            alone.append((f"{treatment.kind}-{position}", _part(treatment, [name], frame), [name]))
        else:
            together.setdefault(treatment, []).append(name)
    groups = [
        (f"{treatment.kind}-{number}", _part(treatment, names, frame), names)
        for number, (treatment, names) in enumerate(together.items())
    ]
    return groups + alone


def _part(treatment: Treatment, names: list[str], frame: pd.DataFrame) -> Pipeline:
    match treatment.kind:
        case "number":
            steps = _numbers()
        case "truth":
            steps = [("text", _call(pd.DataFrame.astype, dtype="str")), *_truths(), *_numbers()]
        case "duration":
            steps = [*_durations(), *_numbers()]
        case "date":
            steps = _dates(read_dates_as(frame[names[0]]))
        case "few":
            steps = [*_labels(coded=treatment.coded), ("one_hot", _one_hot(treatment.width, len(frame)))]
        case "code":
            steps = [*_labels(coded=treatment.coded), ("code", _codes())]
        case "many":
            steps = _many(treatment, len(frame))
        case "text":
            steps = _text(frame[names[0]], treatment.width)
    return Pipeline(steps)


def _call(function: Callable[..., object], **arguments: object) -> FunctionTransformer:
    """Return a step that calls *function* of pandas, which a pickle names without holding it."""
    return FunctionTransformer(function, kw_args=arguments, feature_names_out="one-to-one")


def _numbers() -> list[Step]:
    return [
        ("number", _call(pd.DataFrame.apply, func=pd.to_numeric, errors="coerce")),
        ("float", _call(pd.DataFrame.astype, dtype="float64")),
        ("finite", _call(pd.DataFrame.replace, to_replace=[np.inf, -np.inf], value=np.nan)),
        ("clip", _call(pd.DataFrame.clip, lower=-_LARGEST, upper=_LARGEST)),
        ("impute", SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)),
    ]


def _truths() -> list[Step]:
    return [("truth", _call(pd.DataFrame.replace, to_replace=_TRUTHS))]


def _durations() -> list[Step]:
    return [
        ("duration", _call(pd.DataFrame.apply, func=pd.to_timedelta, errors="coerce")),
        ("unit", _call(pd.DataFrame.astype, dtype="timedelta64[us]")),
        ("count", _call(pd.DataFrame.apply, func=pd.to_numeric)),
        ("missing", _call(pd.DataFrame.replace, to_replace=np.iinfo("int64").min, value=np.nan)),
    ]


def _dates(reading: DateReading) -> list[Step]:
    steps: list[Step] = [("column", _call(pd.DataFrame.squeeze, axis=1))]
    if reading.unit is not None:
        steps.append(("number", _call(pd.to_numeric, errors="coerce")))
        steps.append(("date", _call(pd.to_datetime, unit=reading.unit, errors="coerce", utc=True)))
    else:
        # As objects, since pandas warns about numbers, which a column without any value is made of.
        steps.append(("object", _call(pd.Series.astype, dtype="str" if reading.digits else "object")))
        if reading.digits:
            steps.append(("whole", _call(pd.Series.replace, to_replace=_WHOLE, value=r"\1", regex=True)))
        steps.append(("date", _call(pd.to_datetime, format=reading.format, errors="coerce", utc=True)))
    parts = [
        ("parts", DatetimeEncoder(resolution="hour", add_weekday=True, add_day_of_year=True)),
        ("float", _call(pd.DataFrame.astype, dtype="float64")),
        ("impute", SimpleImputer(strategy="median", keep_empty_features=True)),
    ]
    # One indicator: with the imputer's own, each part of the date would bring the same one.
    missing = [
        ("seconds", DatetimeEncoder(resolution=None)),
        ("missing", MissingIndicator(features="missing-only", error_on_new=False)),
    ]
    return [*steps, ("both", FeatureUnion([("date", Pipeline(parts)), ("missing", Pipeline(missing))]))]


def _labels(*, coded: bool) -> list[Step]:
    steps: list[Step] = [("text", _call(pd.DataFrame.astype, dtype="str"))]
    if coded:
        # A column of whole numbers becomes one of floats as soon as a value is missing.
        steps.append(("whole", _call(pd.DataFrame.replace, to_replace=_WHOLE, value=r"\1", regex=True)))
    steps.append(("missing", _call(pd.DataFrame.fillna, value=_MISSING)))
    return steps


def _one_hot(width: int, rows: int) -> OneHotEncoder:
    return OneHotEncoder(
        handle_unknown="infrequent_if_exist",
        min_frequency=max(1, min(10, rows // 200)),
        max_categories=width,
        sparse_output=False,
    )


def _codes() -> OrdinalEncoder:
    return OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)


def _many(treatment: Treatment, rows: int) -> list[Step]:
    frequent = ("frequent", _one_hot(treatment.width, rows))
    steps = _labels(coded=treatment.coded)
    if treatment.grams == 0:
        return [*steps, frequent]
    grams = Pipeline(
        [("column", _call(pd.DataFrame.squeeze, axis=1)), *_projected("char_wb", 3, treatment.grams, rows)]
    )
    return [*steps, ("both", FeatureUnion([frequent, ("grams", grams)]))]


def _text(column: pd.Series, width: int) -> list[Step]:
    spaces = column.dropna().astype("str").head(_TEXT_SAMPLE).str.count(r"\s")
    # Scripts without spaces have no words to split at.
    words = spaces.empty or float(spaces.median()) >= 1
    return [
        *_labels(coded=False),
        ("column", _call(pd.DataFrame.squeeze, axis=1)),
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
        ("float", _call(np.asarray, dtype="float64")),
    ]
