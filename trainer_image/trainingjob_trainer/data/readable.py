"""The step of a model that refuses a column of which nothing can be read.

A model that ships holds no code of this project, so the check is put together from functions of pandas and
scikit-learn: it computes one number for each column, infinity where no value could be read, puts a message in
its place and lets pandas read the messages as numbers, which fails with the first of them.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

__all__ = ["call", "check_column", "check_numbers"]

Step = tuple[str, Any]


def call(function: Callable[..., object], **arguments: object) -> FunctionTransformer:
    """Return a step that calls *function* of pandas, which a pickle names without holding it."""
    return FunctionTransformer(function, kw_args=arguments, feature_names_out="one-to-one")


def check_numbers(message: str, *, fractions: str = "") -> Step:
    """Return a step that gives back a frame of numbers as it is.

    It raises ``ValueError`` for a column that holds infinite and missing values alone, and not only missing.

    Parameters
    ----------
    message
        What the error says, with ``{!r}`` for the name of the column.
    fractions
        The same for a column with a number that is not whole; nothing: any number will do.
    """
    steps: list[Step] = []
    if fractions:
        # Minus infinity in the place of each fraction is the least value of its column.
        not_whole = Pipeline(
            [("rest", _apply(pd.DataFrame.mod, other=1)), ("some", _apply(pd.DataFrame.gt, other=0))]
        )
        steps.append(("whole", _apply(pd.DataFrame.mask, cond=not_whole.transform, other=-np.inf)))
    steps.append(("least", _apply(pd.DataFrame.min)))
    if fractions:
        steps.append(("fractions", _apply(pd.Series.mask, cond=np.isneginf, other=_messages(fractions))))
        steps.append(("numbers", _apply(pd.to_numeric)))
    return _check([*steps, *_fail(message)])


def check_column(read: list[Step], message: str) -> Step:
    """Return a step that gives back a frame of one column as it is.

    Parameters
    ----------
    read
        Steps from the values that are there to what is read of them, missing where that fails.
    message
        As of `check_numbers`.
    """
    least: list[Step] = [
        ("present", _apply(pd.DataFrame.dropna)),
        *((step, FunctionTransformer(one.func, kw_args=one.kw_args)) for step, one in read),
        ("readable", _apply(pd.DataFrame.notna)),
        ("float", _apply(pd.DataFrame.astype, dtype="float64")),
        ("any", _apply(pd.DataFrame.max)),
        ("none", _apply(pd.Series.replace, to_replace=0.0, value=np.inf)),
    ]
    return _check([*least, *_fail(message)])


def _apply(function: Callable[..., object], **arguments: object) -> FunctionTransformer:
    # Never fitted, so it knows no names of columns.
    return FunctionTransformer(function, kw_args=arguments)


def _messages(message: str) -> Callable[[pd.Series], Any]:
    """Return a function from values by column to a message for each column."""
    texts = [
        ("names", _apply(pd.Series.keys)),
        ("by_name", _apply(pd.Index.to_series)),
        ("text", _apply(pd.Series.map, func=message.format)),
    ]
    return Pipeline(texts).transform  # type: ignore[no-any-return]


def _fail(message: str) -> list[Step]:
    return [
        ("unreadable", _apply(pd.Series.mask, cond=np.isposinf, other=_messages(message))),
        ("fail", _apply(pd.to_numeric)),
        ("columns", _apply(pd.Series.keys)),
    ]


def _check(steps: list[Step]) -> Step:
    # pandas asks a function in the place of a key for the key: here for all columns, if none is refused.
    return "readable", call(pd.DataFrame.__getitem__, key=Pipeline(steps).transform)
