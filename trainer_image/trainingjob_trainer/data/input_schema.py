"""What a model takes and how new rows are read for it: the content of ``input_schema.json``."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import pandas as pd

from trainingjob_api.spec import Csv
from trainingjob_api.vocabulary import FeatureType, Task
from trainingjob_trainer.data.column_format import ColumnFormat
from trainingjob_trainer.data.csv_file import CsvLayout
from trainingjob_trainer.data.load import Table

__all__ = ["FileSchema", "describe_input"]


@dataclass(frozen=True, slots=True)
class FileSchema:
    """How the file was read.

    Parameters
    ----------
    format
        ``csv`` or ``parquet``.
    layout
        Of a CSV file.
    missing_values
        The texts that count as missing everywhere; None: the usual ones.
    index
        Columns that pandas makes the index of a frame.
    """

    format: str = "csv"
    layout: CsvLayout = field(default_factory=CsvLayout)
    missing_values: tuple[str, ...] | None = None
    index: tuple[str, ...] = ()

    @classmethod
    def of(cls, table: Table, csv: Csv | None) -> Self:
        """Describe the file of a *table*, read as *csv* of the job says."""
        missing = None if csv is None or csv.missing_values is None else tuple(csv.missing_values)
        return cls(table.format, table.csv or CsvLayout(), missing, table.index_names)

    @property
    def example(self) -> str:
        """The call of pandas that reads new rows from such a file for the model."""
        path = f'"new-rows.{self.format}"'
        return f"pd.read_parquet({path})" if self.format == "parquet" else self.csv_call(path)

    def csv_call(self, path: str) -> str:
        """Return the call of pandas that reads a CSV file for the model; *path* is source.

        Values stay texts, since the model knows how they are written.
        """
        usual, layout = CsvLayout(), self.layout
        arguments = ["dtype=str", "keep_default_na=False"]
        if layout.separator != usual.separator:
            arguments.insert(0, f"sep={json.dumps(layout.separator)}")
        if layout.skipped_lines:
            arguments.append(f"skiprows={layout.skipped_lines}")
        if layout.encoding != usual.encoding:
            arguments.append(f"encoding={json.dumps(layout.encoding)}")
        return f"pd.read_csv({path}, {', '.join(arguments)})"

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that JSON can hold."""
        data: dict[str, Any] = {"format": self.format, "readWith": self.example}
        if self.format == "csv":
            layout = self.layout
            data |= {
                "separator": layout.separator,
                "encoding": layout.encoding,
                "skippedLines": layout.skipped_lines,
            }
        if self.missing_values is not None:
            data["missingValues"] = list(self.missing_values)
        return data | ({"index": list(self.index)} if self.index else {})


def describe_input(
    frame: pd.DataFrame,
    types: Mapping[str, FeatureType],
    formats: Mapping[str, ColumnFormat],
    *,
    target: str,
    task: Task,
    classes: Sequence[str] | None,
    positive_label: str | None,
    file: FileSchema,
) -> dict[str, Any]:
    """Return plain data about the columns of *frame*, without their values, and a model's answer."""
    columns = [
        {
            "name": name,
            "dtype": str(frame[name].dtype),
            "type": kind.value,
            "missing": int(frame[name].isna().sum()),
            "categories": int(frame[name].nunique()) if kind is FeatureType.CATEGORICAL else None,
            "reading": formats.get(name, ColumnFormat()).to_dict(),
        }
        for name, kind in types.items()
    ]
    return {
        "columns": columns,
        "target": target,
        "task": task.value,
        "classes": None if classes is None else list(classes),
        "file": file.to_dict(),
        "positiveLabel": positive_label,
    }
