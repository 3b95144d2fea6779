"""CSV files: every check that needs no values comes before the values are parsed."""

import codecs
import io
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from csv import Error as CsvError
from csv import field_size_limit, reader
from dataclasses import dataclass
from itertools import islice
from operator import add
from pathlib import Path
from typing import TextIO

import pandas as pd
from pandas.errors import ParserWarning

from trainingjob_api import Reason
from trainingjob_api.storage import Csv
from trainingjob_api.vocabulary import Encoding
from trainingjob_trainer.data.scratch import CHUNK, limited, over_limit, too_large, write_new
from trainingjob_trainer.errors import DataError
from trainingjob_trainer.settings import TrainerSettings

_SEPARATORS = (",", ";", "\t", "|")
_SAMPLE_RECORDS = 20
_HEAD = 1 << 22  # characters that are read to find separator and header
_LINE_LIMIT = 1 << 24  # characters; the csv module's own limit for a field, 131,072, is too small for text
_BOMS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
_SEPARATOR_LINE = re.compile(r"sep=(.)\r?\n", re.IGNORECASE)
_JSON = re.compile(r"\s*(\{\s*\"|\[\s*[\[{])")


@dataclass(frozen=True, slots=True)
class CsvLayout:
    """Separator, encoding (as Python names it) and lines before the header, such as ``sep=;``."""

    separator: str = ","
    encoding: str = Encoding.UTF_8.value
    skipped_lines: int = 0


def read_csv(path: Path, settings: TrainerSettings, csv: Csv | None = None) -> tuple[pd.DataFrame, CsvLayout]:
    """Return the table in the CSV file *path* with every value as the text that it is.

    Only empty fields are missing. The separator is that of *csv* or of a first line ``sep=;``, else the
    comma, or a semicolon, a tab or a bar where the header has no comma and the first rows agree on it.

    Raises
    ------
    DataError
        ``EncodingInvalid``, ``DatasetFormatInvalid``, ``DatasetEmpty``, ``TooManyColumns``,
        ``DuplicateColumns``, ``RaggedRows`` or ``TooManyRows``.
    """
    csv = csv or Csv()
    encoding = (csv.encoding or Encoding.UTF_8).value
    if encoding != Encoding.UTF_8:
        path = _as_utf8(path, encoding, limit=settings.max_decompressed_bytes)
    field_size_limit(_LINE_LIMIT)
    _check_encoding(path)
    with _open(path) as file:
        head = file.read(_HEAD)
    named = _SEPARATOR_LINE.match(head)
    head = head[named.end() :] if named else head
    if _JSON.match(head):  # JSON lines and arrays often carry the name of a CSV file
        raise _malformed(
            'The file holds JSON, not CSV; convert it with: pandas.read_json("data.json", lines=True)'
            '.to_csv("data.csv", index=False) (lines=False for one array)'
        )
    separator = csv.separator or (named.group(1) if named else _separator(head))
    layout = CsvLayout(separator=separator, encoding=encoding, skipped_lines=1 if named else 0)
    width = _check_header(head, separator, settings.max_columns)
    rows, characters = _check_records(path, layout, width, settings.max_rows)
    try:
        with warnings.catch_warnings():
            # pandas only warns where it drops values of a row that is longer than the header.
            warnings.simplefilter("error", ParserWarning)
            frame = pd.read_csv(
                path,
                sep=separator,
                skiprows=layout.skipped_lines,
                encoding="utf-8-sig",
                index_col=False,
                dtype="str",
                keep_default_na=False,
                na_values=[""],
            )
    except (ValueError, OverflowError, ParserWarning) as error:
        raise _malformed(f"The CSV file cannot be parsed ({error}); check its quotes") from error
    frame.columns = frame.columns.astype(str)
    if width > 1:  # pandas skips the blank values of a single column
        found = [int(column.str.len().sum()) for _, column in frame.items()]
        if len(frame) != rows or found != characters:
            raise _malformed(
                "pandas reads other rows or values than the lines of the CSV file hold, as it does after a "
                "blank line that ends in a carriage return alone; write the file with LF as its line end"
            )
    check_row_count(len(frame), settings.max_rows)
    return frame, layout


def check_names(names: Sequence[str], limit: int) -> None:
    """Reject a header without columns, with more than *limit* columns or with a duplicate name."""
    if not names:
        raise DataError(Reason.DATASET_EMPTY, "The table has no columns; write a header line and rows to it")
    if len(names) > limit:
        what = f"The table has {len(names):,} columns, more than the limit of {limit:,}"
        setting = "TRAININGJOB_MAX_COLUMNS"
        raise over_limit(Reason.TOO_MANY_COLUMNS, what, setting, instead="leave columns out")
    twice = [name for name, count in Counter(names).items() if count > 1 and name]
    if twice:
        # Positions, not names: the user may have no right to see this file, and its first line is content.
        first, second, *_ = [number for number, name in enumerate(names, start=1) if name == twice[0]]
        more = f", and so have columns of {len(twice) - 1:,} other names" if len(twice) > 1 else ""
        raise DataError(
            Reason.DUPLICATE_COLUMNS,
            f"Columns {first:,} and {second:,} of the table have the same name{more}; rename them",
        )


def check_row_count(rows: int, limit: int, *, final: bool = True) -> None:
    """Reject more rows than *limit* and, once the count is *final*, none."""
    if rows > limit:
        what = f"The table has more rows than the limit of {limit:,}"
        raise over_limit(Reason.TOO_MANY_ROWS, what, "TRAININGJOB_MAX_ROWS")
    if final and rows == 0:
        raise DataError(Reason.DATASET_EMPTY, "The table has a header but no rows; add rows to it")


def _malformed(message: str) -> DataError:
    return DataError(Reason.DATASET_FORMAT_INVALID, message)


def _as_utf8(path: Path, encoding: str, *, limit: int) -> Path:
    """Return a copy of *path* in UTF-8 beside it."""
    copy = path.with_name(f"{path.name}.utf-8")
    with path.open("rb") as file:
        chunks = iter(lambda: file.read(CHUNK), b"")
        texts = limited(_decoded(chunks, encoding), limit, too_large(limit))
        write_new(copy, (text.encode() for text in texts))
    return copy


def _decoded(chunks: Iterator[bytes], encoding: str) -> Iterator[str]:
    try:
        yield from codecs.iterdecode(chunks, encoding)
    except UnicodeError as error:
        raise DataError(
            Reason.ENCODING_INVALID,
            f"The CSV file is not {encoding}, which spec.dataset.csv.encoding names ({error}); name the "
            "encoding that it has, or leave the field out for UTF-8",
        ) from error


def _check_encoding(path: Path) -> None:
    """Reject what is not UTF-8 text, with the offset of the first bad byte."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset = 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            if offset == 0:
                _check_bom(chunk)
            zero = chunk.find(b"\0")
            if zero >= 0:
                raise _malformed(
                    f"The file holds a NUL byte at byte offset {offset + zero}, so it is not CSV text; give "
                    "the table as UTF-8 CSV (plain or gzip) or Parquet"
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
                Reason.ENCODING_INVALID,
                f"The CSV file is {name} from byte offset 0, not UTF-8; set spec.dataset.csv.encoding to "
                f"{name.lower()}, or convert it with: iconv -f {name} -t UTF-8",
            )


def _bad_byte(offset: int, byte: int) -> DataError:
    return DataError(
        Reason.ENCODING_INVALID,
        f"The CSV file is not UTF-8: byte 0x{byte:02x} at byte offset {offset}; set "
        "spec.dataset.csv.encoding to its encoding, such as windows-1252 (Excel), or convert it with: iconv "
        "-f WINDOWS-1252 -t UTF-8",
    )


def _open(path: Path) -> TextIO:
    return path.open(encoding="utf-8-sig", newline="")


def _lines(file: TextIO) -> Iterator[str]:
    """Yield the lines of *file*; a line without end is rejected before it fills the memory."""
    number = 0
    while line := file.readline(_LINE_LIMIT):
        number += 1
        if len(line) == _LINE_LIMIT:
            raise _malformed(
                f"Line {number} of the CSV file has {_LINE_LIMIT:,} characters or more; check its quotes and "
                "line ends"
            )
        yield line


def _records(lines: Iterable[str], separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the line on which each record begins and its fields, blank lines left out."""
    records = reader(lines, delimiter=separator)
    begin = 1
    try:
        for fields in records:
            if fields:
                yield begin, fields
            begin = records.line_num + 1
    except CsvError as error:
        raise _malformed(f"line {begin} of the CSV file: {error}; check its quotes") from error


def _head_records(head: str, separator: str) -> Iterator[list[str]]:
    return (fields for _, fields in _records(io.StringIO(head, newline=""), separator))


def _separator(head: str) -> str:
    """Return the first separator under which the first records agree on more than one field."""
    for separator in _SEPARATORS:
        records = list(islice(_head_records(head, separator), _SAMPLE_RECORDS))
        if len(head) == _HEAD and len(records) > 1:
            records.pop()  # may have been cut off
        widths = {len(fields) for fields in records}
        if len(widths) == 1 and widths.pop() > 1:
            return separator
    return ","


def _check_header(head: str, separator: str, max_columns: int) -> int:
    """Return the number of columns that the header names."""
    first = head.partition("\n")[0]
    if '"' not in first and first.count(separator) >= max_columns:
        check_names([""] * (first.count(separator) + 1), max_columns)
    if len(first) == _HEAD:
        raise _malformed(f"The CSV header has {_HEAD:,} characters or more; shorten it")
    header = next(_head_records(head, separator), [])
    if not any(name.strip() for name in header):
        raise DataError(
            Reason.DATASET_EMPTY, "The CSV file begins with no header line; write the column names to it"
        )
    check_names(header, max_columns)
    return len(header)


def _check_records(path: Path, layout: CsvLayout, width: int, max_rows: int) -> tuple[int, list[int]]:
    """Return the number of rows, and of the characters in each column.

    Rejects a row with more or fewer fields than the header, and more rows than *max_rows*.
    """
    rows = 0
    characters = [0] * width
    skipped = layout.skipped_lines
    with _open(path) as file:
        for _ in range(skipped):
            file.readline(_LINE_LIMIT)
        records = _records(_lines(file), layout.separator)
        next(records)  # the header is not a row
        for line, fields in records:
            rows += 1
            if len(fields) != width:
                raise DataError(
                    Reason.RAGGED_ROWS,
                    f"line {line + skipped} of the CSV file has {len(fields)} field(s), its header has "
                    f"{width}; correct the line (a separator inside a value needs quotes around the value), "
                    f"or set spec.dataset.csv.separator if the separator is not {layout.separator!r}",
                )
            if rows > max_rows:
                break
            characters = list(map(add, characters, map(len, fields)))
    check_row_count(rows, max_rows)
    return rows, characters
