"""Parquet files: limits first from the metadata, then from what is decoded."""

import re
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from trainingjob_api import Reason
from trainingjob_trainer.data.csv_file import check_names, check_row_count
from trainingjob_trainer.data.scratch import too_large
from trainingjob_trainer.errors import DataError
from trainingjob_trainer.settings import TrainerSettings

__all__ = ["read_parquet"]

_BATCH_ROWS = 4096
_PANDAS_INDEX = re.compile(r"__index_level_\d+__")


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
