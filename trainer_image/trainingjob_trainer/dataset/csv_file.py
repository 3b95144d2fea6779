"""CSV: every check that needs no values comes before the values are parsed."""

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TextIO

import pandas as pd

from trainingjob_trainer.dataset.files import CHUNK
from trainingjob_trainer.errors import DataError
from trainingjob_trainer.settings import TrainerSettings

__all__ = ["check_names", "check_row_count", "read_csv"]

_DELIMITERS = (",", ";", "\t", "|")
_SAMPLE_RECORDS = 20
_SHOWN = 5
_HEAD = 1 << 22  # characters that are looked at to understand the file
_LINE_LIMIT = (
    1 << 24
)  # characters in one line; the csv module's own limit for a field, 131,072, is too small for text
_BOMS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
_DECIMAL_POINT = re.compile(r"[+-]?\d+\.\d+")


def read_csv(path: Path, settings: TrainerSettings) -> pd.DataFrame:
    """Return the table in the UTF-8 CSV file *path*.

    The delimiter is the comma, or a semicolon, a tab or a bar where the header has no comma and the first
    rows agree on it; with another delimiter, a decimal comma is understood.

    Raises
    ------
    DataError
        ``EncodingInvalid``, ``DatasetFormatInvalid``, ``DatasetEmpty``, ``TooManyColumns``,
        ``DuplicateColumns``, ``RaggedRows`` or ``TooManyRows``.
    """
    csv.field_size_limit(_LINE_LIMIT)
    _check_encoding(path)
    head = _head(path)
    delimiter = _delimiter(head)
    width = _check_header(head, delimiter, settings.max_columns)
    _check_records(path, delimiter, width, settings.max_rows)
    try:
        frame = pd.read_csv(
            path,
            sep=delimiter,
            decimal=_decimal(head, delimiter),
            encoding="utf-8-sig",
            index_col=False,
            low_memory=False,
        )
    except (ValueError, OverflowError) as error:
        raise DataError(
            "DatasetFormatInvalid", f"the CSV file cannot be parsed ({error}); check its quotes"
        ) from error
    frame.columns = frame.columns.astype(str)
    check_row_count(len(frame), settings.max_rows)
    return frame


def check_names(names: Sequence[str], limit: int) -> None:
    """Refuse too many columns and names that stand twice.

    Raises
    ------
    DataError
        ``TooManyColumns``, ``DuplicateColumns``, or ``DatasetEmpty`` if there is no column.
    """
    if not names:
        raise DataError("DatasetEmpty", "the table has no columns; write a header line and rows to it")
    if len(names) > limit:
        raise DataError(
            "TooManyColumns",
            f"the table has {len(names):,} columns, more than the limit of {limit:,}; leave columns out, or "
            "ask the administrator to raise the limit (TRAININGJOB_MAX_COLUMNS)",
        )
    twice = [name for name, count in Counter(names).items() if count > 1 and name]
    if twice:
        shown = ", ".join(repr(name) for name in twice[:_SHOWN])
        more = f" and {len(twice) - _SHOWN} more" if len(twice) > _SHOWN else ""
        raise DataError(
            "DuplicateColumns", f"columns stand in the table more than once: {shown}{more}; rename them"
        )


def check_row_count(rows: int, limit: int, *, final: bool = True) -> None:
    """Refuse too many rows and, once the count is *final*, none.

    Raises
    ------
    DataError
        ``TooManyRows`` or ``DatasetEmpty``.
    """
    if rows > limit:
        raise DataError(
            "TooManyRows",
            f"the table has more rows than the limit of {limit:,}; train on a sample of the rows, or ask the "
            "administrator to raise the limit (TRAININGJOB_MAX_ROWS)",
        )
    if final and rows == 0:
        raise DataError("DatasetEmpty", "the table has a header but no rows; add rows to it")


def _check_encoding(path: Path) -> None:
    """Refuse what is not UTF-8 text, with the byte at fault."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset = 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            if offset == 0:
                _check_bom(chunk)
            zero = chunk.find(b"\0")
            if zero >= 0:
                raise DataError(
                    "DatasetFormatInvalid",
                    f"the file holds a NUL byte at byte offset {offset + zero}, so it is not CSV text; give "
                    "the table as UTF-8 CSV (plain or gzip) or Parquet",
                )
            held = len(decoder.getstate()[0])
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError as error:
                raise _bad_byte(offset - held + error.start, error.object[error.start]) from error
            offset += len(chunk)
    rest = decoder.getstate()[0]
    if rest:
        raise _bad_byte(offset - len(rest), rest[0])


def _check_bom(head: bytes) -> None:
    for bom, name in _BOMS.items():
        if head.startswith(bom):
            raise DataError(
                "EncodingInvalid",
                f"the CSV file is {name} from byte offset 0, not UTF-8; convert it with: iconv -f {name} -t "
                "UTF-8",
            )


def _bad_byte(offset: int, byte: int) -> DataError:
    return DataError(
        "EncodingInvalid",
        f"the CSV file is not UTF-8: byte 0x{byte:02x} at byte offset {offset}; if it was written as "
        "Windows-1252 (Excel), convert it with: iconv -f WINDOWS-1252 -t UTF-8",
    )


def _open(path: Path) -> TextIO:
    return path.open(encoding="utf-8-sig", newline="")


def _head(path: Path) -> str:
    with _open(path) as file:
        return file.read(_HEAD)


def _lines(file: TextIO) -> Iterator[str]:
    """Yield the lines of *file*; a line without end is refused before it fills the memory."""
    number = 0
    while line := file.readline(_LINE_LIMIT):
        number += 1
        if len(line) == _LINE_LIMIT:
            raise DataError(
                "DatasetFormatInvalid",
                f"line {number} of the CSV file has {_LINE_LIMIT:,} characters or more",
            )
        yield line


def _records(lines: Iterable[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the line on which each record begins and its fields, blank lines left out."""
    reader = csv.reader(lines, delimiter=delimiter)
    begin = 1
    try:
        for fields in reader:
            if fields:
                yield begin, fields
            begin = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            "DatasetFormatInvalid", f"line {begin} of the CSV file: {error}; check its quotes"
        ) from error


def _delimiter(head: str) -> str:
    """Choose the first delimiter under which the first records agree on more than one field."""
    for delimiter in _DELIMITERS:
        records = list(islice(_records(io.StringIO(head, newline=""), delimiter), _SAMPLE_RECORDS))
        if len(head) == _HEAD and len(records) > 1:
            records.pop()  # may have been cut off
        widths = {len(fields) for _, fields in records}
        if len(widths) == 1 and widths.pop() > 1:
            return delimiter
    return ","


def _check_header(head: str, delimiter: str, max_columns: int) -> int:
    """Return the number of columns that the header names."""
    first = head[: head.find("\n")] if "\n" in head else head
    if '"' not in first and first.count(delimiter) >= max_columns:
        check_names([""] * (first.count(delimiter) + 1), max_columns)
    if len(first) == _HEAD:
        raise DataError(
            "DatasetFormatInvalid", f"the CSV header has {_HEAD:,} characters or more; shorten it"
        )
    header = next((fields for _, fields in _records(io.StringIO(head, newline=""), delimiter)), [])
    if not any(name.strip() for name in header):
        raise DataError(
            "DatasetEmpty", "the CSV file begins with no header line; write the columns' names to it"
        )
    check_names(header, max_columns)
    return len(header)


def _check_records(path: Path, delimiter: str, width: int, max_rows: int) -> None:
    """Refuse a row with more or fewer fields than the header, and more rows than *max_rows*."""
    rows = -1  # the header is no row
    with _open(path) as file:
        for line, fields in _records(_lines(file), delimiter):
            rows += 1
            if len(fields) != width:
                raise DataError(
                    "RaggedRows",
                    f"line {line} of the CSV file has {len(fields)} field(s), its header has {width}; "
                    "correct the line (a delimiter inside a value needs quotes around the value)",
                )
            if rows > max_rows:
                break
    check_row_count(rows, max_rows)


def _decimal(head: str, delimiter: str) -> str:
    """Return the decimal mark: a comma only where no value of the first rows has a point."""
    if delimiter == ",":
        return "."
    cells = [
        cell
        for _, fields in islice(_records(io.StringIO(head, newline=""), delimiter), 1, 200)
        for cell in fields
    ]
    commas = any(_DECIMAL_COMMA.fullmatch(cell.strip()) for cell in cells)
    points = any(_DECIMAL_POINT.fullmatch(cell.strip()) for cell in cells)
    return "," if commas and not points else "."
