"""From a dataset's address to a checked table in memory."""

import json
import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from trainingjob_api import Reason, public_uri
from trainingjob_api.storage import Dataset
from trainingjob_api.vocabulary import DatasetFormat
from trainingjob_trainer.data.csv_file import CsvLayout, check_names, check_row_count, read_csv
from trainingjob_trainer.data.samples import make_sample
from trainingjob_trainer.data.scratch import fetch, inflate, sniff, too_large
from trainingjob_trainer.data.sources import open_source
from trainingjob_trainer.errors import DataError
from trainingjob_trainer.settings import TrainerSettings

__all__ = ["Table", "TableFile", "load_table", "read_parquet"]

_SAMPLE = "sample://"
_BATCH_ROWS = 4096
_PANDAS_INDEX = re.compile(r"__index_level_\d+__")


@dataclass(frozen=True, slots=True)
class TableFile:
    """How the file of a table was read, and how new rows are read from such a file.

    Parameters
    ----------
    format
        ``csv`` or ``parquet``.
    layout
        Of a CSV file; None for Parquet and samples.
    missing_values
        The texts that count as missing everywhere; None: the usual ones.
    index
        Columns that pandas makes the index of a frame, such as those of a Parquet file.
    """

    format: str = "csv"
    layout: CsvLayout | None = None
    missing_values: tuple[str, ...] | None = None
    index: tuple[str, ...] = ()

    @property
    def example(self) -> str:
        """The call of pandas that reads new rows from such a file for the model."""
        path = f'"new-rows.{self.format}"'
        return f"pd.read_parquet({path})" if self.format == "parquet" else self.csv_call(path)

    def csv_call(self, path: str) -> str:
        """Return the call of pandas that reads a CSV file for the model; *path* is source.

        Values stay texts, since the model knows how they are written.
        """
        usual = CsvLayout()
        layout = self.layout or usual
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
            layout = self.layout or CsvLayout()
            data |= {
                "separator": layout.separator,
                "encoding": layout.encoding,
                "skippedLines": layout.skipped_lines,
            }
        if self.missing_values is not None:
            data["missingValues"] = list(self.missing_values)
        return data | ({"index": list(self.index)} if self.index else {})


@dataclass(frozen=True, slots=True)
class Table:
    """A table as it was read, before its text is understood.

    Parameters
    ----------
    frame
        All columns, target included; names are unique strings.
    sha256, size_bytes
        Of the file as stored (of the CSV text for ``sample://``).
    uri
        Where it was read from, without a query, which may hold a signature.
    """

    frame: pd.DataFrame
    sha256: str
    size_bytes: int
    uri: str
    file: TableFile = field(default_factory=TableFile)


def load_table(dataset: Dataset, *, settings: TrainerSettings, scratch: Path) -> Table:
    """Read the table that *dataset* names.

    The file is first copied to a new folder under *scratch*, so that the bytes that are parsed are
    those of the digest. The folder is deleted when the call returns or raises.

    Raises
    ------
    DataError
        If the table is missing, too large, malformed, or has another digest than the pin.
    SpecInvalid
        If the address cannot be used, such as ``https://`` where it is not allowed.
    """
    uri = public_uri(dataset.uri)
    if dataset.uri.startswith(_SAMPLE):
        sample = make_sample(dataset.uri.removeprefix(_SAMPLE))
        _check_pin(dataset, sample.sha256)
        return Table(sample.frame, sample.sha256, sample.size_bytes, uri)
    with tempfile.TemporaryDirectory(prefix="dataset-", dir=scratch) as folder:
        stored = Path(folder) / "stored"
        with open_source(dataset, settings) as chunks:
            sha256, size = fetch(chunks, stored, limit=settings.max_bytes, uri=uri)
        _check_pin(dataset, sha256)
        plain = inflate(stored, stored.with_name("plain"), limit=settings.max_decompressed_bytes)
        found = sniff(plain, dataset.format or DatasetFormat.AUTO)
        if found is DatasetFormat.PARQUET:
            frame, index = read_parquet(plain, settings)
            file = TableFile(found.value, index=index)
        else:
            frame, layout = read_csv(plain, settings, dataset.csv)
            file = TableFile(found.value, layout)
    return Table(frame, sha256, size, uri, file)


def _check_pin(dataset: Dataset, sha256: str) -> None:
    pin = dataset.sha256
    if pin is not None and pin.lower() != sha256:
        raise DataError(
            Reason.DIGEST_MISMATCH,
            f"spec.dataset.sha256 is {pin.lower()}, but {public_uri(dataset.uri)} has {sha256}: the file has "
            "changed; restore it, or set the new digest in the spec after checking the file",
        )


def read_parquet(path: Path, settings: TrainerSettings) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return the table in the Parquet file *path*, and which of its columns pandas makes the index of.

    A named index holds values like any other column. One without a name is left out.
    """
    try:
        with pq.ParquetFile(path) as file:
            names = list(file.schema_arrow.names)
            check_names(names, settings.max_columns)
            check_row_count(file.metadata.num_rows, settings.max_rows)
            groups = range(file.metadata.num_row_groups)
            _check_size(sum(file.metadata.row_group(i).total_byte_size for i in groups), settings)
            columns = [name for name in names if not _PANDAS_INDEX.fullmatch(name)]
            table = _read(file, columns, settings)
            index = _index_names(file)
    except (pa.ArrowException, OSError) as error:
        cause = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise DataError(
            Reason.DATASET_CORRUPT, f"The Parquet file cannot be read ({cause}); write it again"
        ) from error
    # pandas parses its own note of the table even where that is to be ignored.
    frame: pd.DataFrame = table.replace_schema_metadata(None).to_pandas(ignore_metadata=True)
    return frame, tuple(name for name in columns if name in index)


def _index_names(file: pq.ParquetFile) -> frozenset[str]:
    try:
        metadata = file.schema_arrow.pandas_metadata or {}
        return frozenset(name for name in metadata.get("index_columns", ()) if isinstance(name, str))
    except (ValueError, TypeError, AttributeError, RecursionError):
        # What pandas writes beside the table is JSON. Where it is not, no column is an index.
        return frozenset()


def _read(file: pq.ParquetFile, columns: list[str], settings: TrainerSettings) -> pa.Table:
    # A dictionary page is stored once and repeated by every row that names it, so that a small file with
    # honest metadata can still be a bomb: the limit is held against the batches as they are decoded.
    batches = []
    size = rows = 0
    for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=columns, use_threads=False):
        size += batch.nbytes
        rows += batch.num_rows
        check_row_count(rows, settings.max_rows, final=False)
        _check_size(size, settings)
        batches.append(batch)
    check_row_count(rows, settings.max_rows)
    return pa.Table.from_batches(batches)


def _check_size(size: int, settings: TrainerSettings) -> None:
    if size > settings.max_decompressed_bytes:
        raise too_large(settings.max_decompressed_bytes)
