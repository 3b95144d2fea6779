"""The steps of the encoder, each made of scikit-learn, skrub and functions of pandas alone.

A model that ships holds no code of this project: a pickle refers to functions of pandas by name. So even the
step that rejects a column without a readable value is put together from such functions: it computes one
number for each column, infinity where no value could be read, puts a message in its place and lets pandas
read the messages as numbers, which fails with the first of them.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.impute import SimpleImputer
from sklearn.model_selection import KFold
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, TargetEncoder
from skrub import DatetimeEncoder

from trainingjob_trainer.data.column_format import NOT_A_NUMBER, ColumnFormat, DateFormat, Rule, parse_dates

_Step = tuple[str, Any]

_MISSING = "(missing)"
_LARGEST = 1e38  # just inside float32, which scikit-learn's trees and boosters compute in
_HASHED = 4096  # columns of the hashed n-grams before they are projected
_SEED = 0
_TEXT_SAMPLE = 1000
_MEAN_FOLDS = 5
_BINARY = 2
_DAY = 86_400e6  # microseconds
_POWER = r"^-?\d(?:[.]\d+)?e[+]\d+$"
_TRUTHS = {"True": "1", "true": "1", "TRUE": "1", "False": "0", "false": "0", "FALSE": "0"}
_UNREADABLE = (
    "the column {{!r}} cannot be read: none of its values is {}; read new rows as input_schema.json says, or "
    "correct the column"
)
_FRACTIONS = (
    "the column {!r} holds fractions, where the table had whole numbers with a point between thousands: "
    "the reader of these rows has taken 1.234 for a fraction; read new rows as input_schema.json says"
)
_ROUNDED = (
    "the column {!r} holds rounded numbers instead of codes, so digits are lost; read new rows as "
    "input_schema.json says"
)


def call(function: Callable[..., object], **arguments: object) -> FunctionTransformer:
    """Return a step that calls *function* of pandas, which a pickle names without holding it."""
    return FunctionTransformer(function, kw_args=arguments, feature_names_out="one-to-one")


def _apply(function: Callable[..., object], **arguments: object) -> FunctionTransformer:
    # Never fitted, so it knows no names of columns.
    return FunctionTransformer(function, kw_args=arguments)


def _replacements(rules: Sequence[Rule]) -> list[_Step]:
    """Return a step for each rule; what is not text stays as it is."""
    return [
        (f"rule_{number}", call(pd.DataFrame.replace, to_replace=pattern, value=value, regex=True))
        for number, (pattern, value) in enumerate(rules, start=1)
    ]


def _median(*, indicator: bool = True) -> _Step:
    imputer = SimpleImputer(strategy="median", add_indicator=indicator, keep_empty_features=True)
    return "impute", imputer


def number_steps(rules: Sequence[Rule] = (), *, whole: bool = False) -> list[_Step]:
    """Return the steps from numbers, also as text, to finite numbers; *whole* rejects fractions."""
    return [
        *_replacements(rules),
        ("infinite", call(pd.DataFrame.replace, to_replace=[np.inf, -np.inf], value=np.nan)),
        ("unreadable", call(pd.DataFrame.replace, to_replace=NOT_A_NUMBER, value="inf", regex=True)),
        ("number", call(pd.DataFrame.apply, func=pd.to_numeric, errors="coerce")),
        ("float", call(pd.DataFrame.astype, dtype="float64")),
        _check_numbers(whole=whole),
        ("finite", call(pd.DataFrame.replace, to_replace=[np.inf, -np.inf], value=np.nan)),
        ("clip", call(pd.DataFrame.clip, lower=-_LARGEST, upper=_LARGEST)),
        _median(),
    ]


def truth_steps() -> list[_Step]:
    """Return the steps from booleans, also as text, to 0 and 1."""
    return [
        ("text", call(pd.DataFrame.astype, dtype="str")),
        ("truth", call(pd.DataFrame.replace, to_replace=_TRUTHS)),
        *number_steps(),
    ]


def duration_steps(rules: Sequence[Rule] = ()) -> list[_Step]:
    """Return the steps from durations, or times of the day by *rules*, to seconds."""
    texts: list[_Step] = [("text", call(pd.DataFrame.astype, dtype="str"))] if rules else []
    read = [
        *texts,
        *_replacements(rules),
        ("duration", call(pd.DataFrame.apply, func=pd.to_timedelta, errors="coerce")),
    ]
    return [
        _check_column(read, _UNREADABLE.format("a time of the day" if rules else "a duration")),
        *read,
        ("unit", call(pd.DataFrame.astype, dtype="timedelta64[us]")),
        *_ticks(),
        ("seconds", call(pd.DataFrame.div, other=1e6)),  # type: ignore[misc]  # of pandas-stubs
        _median(),
    ]


def _ticks() -> list[_Step]:
    """Return the steps from dates or durations to numbers in their unit."""
    return [
        ("count", call(pd.DataFrame.apply, func=pd.to_numeric)),
        ("missing", call(pd.DataFrame.replace, to_replace=np.iinfo("int64").min, value=np.nan)),
        ("float", call(pd.DataFrame.astype, dtype="float64")),
    ]


def date_steps(how: DateFormat, column: pd.Series) -> list[_Step]:
    """Return the steps from dates to parts of the calendar and to days since the first one in *column*."""
    apply = pd.DataFrame.apply
    read: list[_Step]
    if how.unit is not None:
        read = [
            ("number", call(apply, func=pd.to_numeric, errors="coerce")),
            ("date", call(apply, func=pd.to_datetime, unit=how.unit, errors="coerce", utc=True)),
        ]
    else:
        # As objects, since pandas warns about numbers, which a column without any value is made of.
        read = [
            ("object", call(pd.DataFrame.astype, dtype="str" if how.digits else "object")),
            *_replacements([(r"^(-?\d+)\.0$", r"\1")] if how.digits else [(r"^\s+|\s+$", "")]),
            ("date", call(apply, func=pd.to_datetime, format=how.format, errors="coerce", utc=True)),
        ]
    parsed = parse_dates(column, how)
    first = parsed.min() if parsed.notna().any() else pd.Timestamp(0, tz="UTC")
    start = float(first.normalize().asm8.astype("datetime64[us]").astype("int64"))
    zone = [("zone", call(pd.Series.astype, dtype=f"datetime64[us, {how.zone}]"))] if how.zone else []
    calendar = DatetimeEncoder(
        resolution=_resolution(parsed), add_total_seconds=False, add_weekday=True, add_day_of_year=True
    )
    parts = [
        ("column", call(pd.DataFrame.squeeze, axis=1)),
        *zone,
        ("parts", calendar),
        ("float", call(pd.DataFrame.astype, dtype="float64")),
        _median(indicator=False),
    ]
    # Seconds since 1970 would lose minutes in single precision, which trees compute in.
    days = [
        ("unit", call(pd.DataFrame.astype, dtype="datetime64[us, UTC]")),
        *_ticks(),
        ("since", call(pd.DataFrame.sub, other=start)),
        ("days", call(pd.DataFrame.div, other=_DAY)),  # type: ignore[misc]  # as above
        _median(),
    ]
    return [
        _check_column(read, _UNREADABLE.format(f"a date as the table had it ({how.describe()})")),
        *read,
        ("both", FeatureUnion([("date", Pipeline(parts)), ("days", Pipeline(days))])),
    ]


def _resolution(dates: pd.Series) -> str:
    """Return the smallest part that is not zero in all dates, as skrub names it."""
    times = dates.dropna().dt
    if times.second.any():
        return "second"
    return "minute" if times.minute.any() else "hour"


def label_steps(how: ColumnFormat) -> list[_Step]:
    """Return the steps from raw values to labels as text."""
    text = ("text", call(pd.DataFrame.astype, dtype="str"))
    rounded = ("rounded", call(pd.DataFrame.replace, to_replace=_POWER, value=np.nan, regex=True))
    return [
        *([_check_column([text, rounded], _ROUNDED)] if how.long else []),
        text,
        *_replacements(how.labels),
        ("missing", call(pd.DataFrame.fillna, value=_MISSING)),
    ]


def frequent_categories(width: int, rows: int) -> OneHotEncoder:
    """Return the encoder of at most *width* categories, rare and unseen ones together."""
    return OneHotEncoder(
        handle_unknown="infrequent_if_exist",
        min_frequency=max(1, min(10, rows // 200)),
        max_categories=width,
        sparse_output=False,
    )


def code_steps(how: ColumnFormat) -> list[_Step]:
    """Return the steps to one code for each category, in the order of their texts; -1 for unseen ones."""
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    return [*label_steps(how), ("code", codes)]


def mean_steps(how: ColumnFormat, classes: int, *, coded: bool = False) -> list[_Step]:
    """Return the steps to the mean of the target in each category; that of all rows for unseen ones.

    A training row gets the mean of the other folds, so that it never sees its own target: a `Pipeline` calls
    ``fit_transform`` of its steps, which is cross-fitted. Micci-Barreca (2001), as in scikit-learn's
    `TargetEncoder`. There is a column for each class if there are more than two, and with *coded* one column
    of codes before the means.
    """
    # Not stratified: that refuses classes with fewer rows than folds.
    folds = KFold(_MEAN_FOLDS, shuffle=True, random_state=_SEED)
    kind = "continuous" if not classes else "binary" if classes <= _BINARY else "multiclass"
    means = TargetEncoder(target_type=kind, cv=folds)
    *labels, code = code_steps(how)
    return [*labels, ("both", FeatureUnion([code, ("mean", means)])) if coded else ("mean", means)]


def many_categories_steps(how: ColumnFormat, *, width: int, grams: int, rows: int) -> list[_Step]:
    """Return the steps to the most frequent categories and, beside them, hashed n-grams of all."""
    frequent = ("frequent", frequent_categories(width, rows))
    if grams == 0:
        return [*label_steps(how), frequent]
    column = ("column", call(pd.DataFrame.squeeze, axis=1))
    pieces = Pipeline([column, *_projected("char_wb", 3, grams, rows)])
    return [*label_steps(how), ("both", FeatureUnion([frequent, ("grams", pieces)]))]


def text_steps(column: pd.Series, how: ColumnFormat, width: int) -> list[_Step]:
    """Return the steps from free text to a few components of its hashed words."""
    spaces = column.dropna().astype("str").head(_TEXT_SAMPLE).str.count(r"\s")
    # Scripts without spaces have no words to split at.
    analyzer, size = ("word", 1) if spaces.empty or float(spaces.median()) >= 1 else ("char_wb", 3)
    return [
        *label_steps(ColumnFormat(missing=how.missing)),
        ("column", call(pd.DataFrame.squeeze, axis=1)),
        *_projected(analyzer, size, width, len(column)),
    ]


def _projected(analyzer: str, size: int, width: int, rows: int) -> list[_Step]:
    """Return the steps from strings to a few components of their hashed n-grams."""
    vectorizer = HashingVectorizer(
        analyzer=analyzer,
        ngram_range=(size, size),
        n_features=_HASHED,
        alternate_sign=False,
        dtype=np.float32,  # halves the time and the model
    )
    # The vectorizer does not name its output, and the encoder asks every step for names. The copy of an index
    # takes two arguments, as a maker of names must, and a pickle holds it by name.
    names = pd.RangeIndex(_HASHED).copy
    return [
        ("hash", FunctionTransformer(vectorizer.transform, feature_names_out=names)),
        ("weigh", TfidfTransformer(sublinear_tf=True)),
        ("project", TruncatedSVD(n_components=max(1, min(width, rows // 4)), n_iter=3, random_state=_SEED)),
        ("float", call(np.asarray, dtype="float64")),
    ]


def _check_numbers(*, whole: bool) -> _Step:
    """Return a step that rejects a column of infinite and missing values alone, if not only missing.

    With *whole*, also one with a fraction.
    """
    steps: list[_Step] = []
    if whole:
        # Minus infinity in the place of each fraction is the least value of its column.
        fraction = Pipeline(
            [("rest", _apply(pd.DataFrame.mod, other=1)), ("some", _apply(pd.DataFrame.gt, other=0))]
        )
        steps.append(("whole", _apply(pd.DataFrame.mask, cond=fraction.transform, other=-np.inf)))
    steps.append(("least", _apply(pd.DataFrame.min)))
    if whole:
        steps.append(("fractions", _apply(pd.Series.mask, cond=np.isneginf, other=_messages(_FRACTIONS))))
        steps.append(("numbers", _apply(pd.to_numeric)))
    return _check(steps, _UNREADABLE.format("a number as the table had it"))


def _check_column(read: list[_Step], message: str) -> _Step:
    """Return a step that rejects a column with values of which *read* leaves none."""
    steps: list[_Step] = [
        ("present", _apply(pd.DataFrame.dropna)),
        *((name, _apply(step.func, **step.kw_args)) for name, step in read),
        ("readable", _apply(pd.DataFrame.notna)),
        ("float", _apply(pd.DataFrame.astype, dtype="float64")),
        ("any", _apply(pd.DataFrame.max)),
        ("none", _apply(pd.Series.replace, to_replace=0.0, value=np.inf)),
    ]
    return _check(steps, message)


def _check(steps: list[_Step], message: str) -> _Step:
    fail = [
        ("unreadable", _apply(pd.Series.mask, cond=np.isposinf, other=_messages(message))),
        ("fail", _apply(pd.to_numeric)),
        ("columns", _apply(pd.Series.keys)),
    ]
    # pandas asks a function in the place of a key for the key: here for all columns, if none is rejected.
    return "readable", call(pd.DataFrame.__getitem__, key=Pipeline([*steps, *fail]).transform)


def _messages(message: str) -> Callable[[pd.Series], Any]:
    """Return a function from values by column to *message* with each column's name."""
    texts = [
        ("names", _apply(pd.Series.keys)),
        ("by_name", _apply(pd.Index.to_series)),
        ("text", _apply(pd.Series.map, func=message.format)),
    ]
    return Pipeline(texts).transform  # type: ignore[no-any-return]
