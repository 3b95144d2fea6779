"""The columns that a model expects, as data."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from trainingjob_api.vocabulary import FeatureType

__all__ = ["ColumnSchema", "InputSchema", "describe_input"]


@dataclass(frozen=True, slots=True)
class ColumnSchema:
    """One raw column that a model uses.

    Parameters
    ----------
    name
        Name of the column in the raw table.
    dtype
        pandas dtype that it had when it was learnt from; others that hold the same values are taken too.
    type
        ``numeric``, ``categorical``, ``text`` or ``datetime``.
    missing
        Values that were missing.
    categories
        Distinct values, for a categorical column.
    """

    name: str
    dtype: str
    type: str
    missing: int
    categories: int | None


@dataclass(frozen=True, slots=True)
class InputSchema:
    """What a model takes and what it answers.

    Parameters
    ----------
    columns
        The raw columns, in the order of the table.
    target
        Name of the target column.
    task
        ``classification`` or ``regression``.
    classes
        The labels, as text, or None for regression.
    positive_label
        The positive one of two labels, as text.
    """

    columns: tuple[ColumnSchema, ...]
    target: str
    task: str
    classes: tuple[str, ...] | None
    positive_label: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that JSON can hold."""
        data = asdict(self)
        data["columns"] = [asdict(column) for column in self.columns]
        data["classes"] = None if self.classes is None else list(self.classes)
        return data


def describe_input(frame: pd.DataFrame, types: Mapping[str, FeatureType]) -> tuple[ColumnSchema, ...]:
    """Describe the columns of *frame*, none of whose values are kept."""
    return tuple(
        ColumnSchema(
            name=name,
            dtype=str(frame[name].dtype),
            type=kind.value,
            missing=int(frame[name].isna().sum()),
            categories=int(frame[name].nunique()) if kind is FeatureType.CATEGORICAL else None,
        )
        for name, kind in types.items()
    )
