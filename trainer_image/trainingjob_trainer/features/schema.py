"""The columns that a model expects, as data."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd
from pydantic.alias_generators import to_camel

from trainingjob_api.spec import Csv
from trainingjob_api.vocabulary import FeatureType
from trainingjob_trainer.dataset import CsvLayout, Table
from trainingjob_trainer.features.reading import Reading

__all__ = ["ColumnSchema", "FileSchema", "InputSchema", "describe_file", "describe_input", "read_call"]


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
    reading
        How its texts are read, where that is not the usual way: marks of numbers, texts that are missing,
        the format of dates.
    """

    name: str
    dtype: str
    type: str
    missing: int
    categories: int | None
    reading: dict[str, Any]


@dataclass(frozen=True, slots=True)
class FileSchema:
    """How the file was read.

    Parameters
    ----------
    format
        ``csv`` or ``parquet``.
    separator, encoding, skipped_lines
        Layout of a CSV file, or None.
    missing_values
        The texts that count as missing everywhere; None: the usual ones.
    index
        Columns that pandas makes the index of a frame.
    read_with
        The call of pandas that reads such a file for the model.
    """

    format: str
    separator: str | None
    encoding: str | None
    skipped_lines: int | None
    missing_values: tuple[str, ...] | None
    index: tuple[str, ...]
    read_with: str


def describe_file(table: Table, csv: Csv | None) -> FileSchema:
    """Describe the file of a *table*, read as *csv* of the job says."""
    layout = table.csv
    return FileSchema(
        format=table.format,
        separator=None if layout is None else layout.separator,
        encoding=None if layout is None else layout.encoding,
        skipped_lines=None if layout is None else layout.skipped_lines,
        missing_values=None if csv is None or csv.missing_values is None else tuple(csv.missing_values),
        index=table.index_names,
        read_with=read_call(table, f'"new-rows.{table.format}"'),
    )


def read_call(table: Table, path: str) -> str:
    """Return the source of the call that reads a file like that of a *table*.

    Values of a CSV file stay texts, since the model knows how they are written.

    Parameters
    ----------
    table
        The table.
    path
        Source of the file's path.
    """
    if table.format == "parquet":
        return f"pd.read_parquet({path})"
    layout = table.csv or CsvLayout()
    arguments = ["dtype=str", "keep_default_na=False"]
    if layout.separator != ",":
        arguments.insert(0, f"sep={layout.separator!r}")
    if layout.skipped_lines:
        arguments.append(f"skiprows={layout.skipped_lines}")
    if layout.encoding != CsvLayout().encoding:
        arguments.append(f"encoding={layout.encoding!r}")
    return f"pd.read_csv({path}, {', '.join(arguments)})"


@dataclass(frozen=True, slots=True)
class InputSchema:
    """What a model takes and what it answers.

    Parameters
    ----------
    file
        How the file was read.
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

    file: FileSchema
    columns: tuple[ColumnSchema, ...]
    target: str
    task: str
    classes: tuple[str, ...] | None
    positive_label: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that JSON can hold."""
        data = asdict(self)
        data["file"] = {to_camel(key): value for key, value in asdict(self.file).items() if value is not None}
        data["file"]["index"] = list(self.file.index)
        data["columns"] = [asdict(column) for column in self.columns]
        data["classes"] = None if self.classes is None else list(self.classes)
        return data


def describe_input(
    frame: pd.DataFrame, types: Mapping[str, FeatureType], readings: Mapping[str, Reading]
) -> tuple[ColumnSchema, ...]:
    """Describe the columns of *frame*, none of whose values are kept."""
    return tuple(
        ColumnSchema(
            name=name,
            dtype=str(frame[name].dtype),
            type=kind.value,
            missing=int(frame[name].isna().sum()),
            categories=int(frame[name].nunique()) if kind is FeatureType.CATEGORICAL else None,
            reading=readings[name].to_dict(),
        )
        for name, kind in types.items()
    )
