"""Bytes on their way to disk: size limit, digest, decompression, and what kind of file it is."""

import hashlib
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from trainingjob_api import Reason
from trainingjob_api.vocabulary import DatasetFormat
from trainingjob_trainer.errors import DataError, RunFailed

__all__ = ["CHUNK", "Fetched", "fetch", "human", "inflate", "new_file", "sniff", "too_large"]

CHUNK = 1 << 20
"""Bytes that are held at once."""

_GZIP = b"\x1f\x8b"
_PARQUET = b"PAR1"
_PIECE = 16 * 1024
_FREE_MEMBERS = 1000
_MEMBER_BYTES = 1024
"""Of content that a gzip member has on average, beyond the first thousand; tools give each 64 KiB or more."""
_GZIP_WINDOW = 31  # zlib's largest window, plus 16 for a gzip header and its checksum
_FOREIGN = {
    b"PK\x03\x04": "a zip archive (or an Excel workbook)",
    b"\x28\xb5\x2f\xfd": "compressed with zstd",
    b"BZh": "compressed with bzip2",
    b"\xfd7zXZ": "compressed with xz",
    b"%PDF": "a PDF document",
    b"ARROW1": "an Arrow (Feather) file",
    b"Obj\x01": "an Avro file",
    b"\x89HDF": "an HDF5 file",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
}


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file on the scratch disk and the digest of its bytes."""

    path: Path
    sha256: str
    size_bytes: int


def human(size: int) -> str:
    """Return *size* (bytes) in a unit that people read."""
    for unit, scale in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= scale:
            return f"{size / scale:.4g} {unit}"
    return f"{size} bytes"


def fetch(chunks: Iterable[bytes], path: Path, *, limit: int, uri: str) -> Fetched:
    """Write *chunks* to *path*, with the digest computed on the way.

    Raises
    ------
    DataError
        ``DatasetTooLarge`` as soon as more than *limit* bytes have come, ``DatasetEmpty`` if none came.
    """
    digest = hashlib.sha256()
    size = 0
    with new_file(path) as file:
        for chunk in chunks:
            size += len(chunk)
            if size > limit:
                raise DataError(
                    Reason.DATASET_TOO_LARGE,
                    f"{uri} is larger than the limit of {human(limit)}; train on a sample of the rows, or "
                    "ask the administrator to raise the limit (TRAININGJOB_MAX_BYTES)",
                )
            digest.update(chunk)
            file.write(chunk)
    if size == 0:
        raise DataError(Reason.DATASET_EMPTY, f"{uri} is an empty file; write a header line and rows to it")
    return Fetched(path=path, sha256=digest.hexdigest(), size_bytes=size)


class _Scratch:
    """A file on the scratch disk, whose failures are those of the disk and not of the dataset."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, chunk: bytes) -> None:
        try:
            self._file.write(chunk)
        except OSError as error:
            raise _scratch_failed(error) from error


@contextmanager
def new_file(path: Path) -> Iterator[_Scratch]:
    """Open a file that must not exist yet on the scratch disk."""
    try:
        file = path.open("xb")
    except OSError as error:
        raise _scratch_failed(error) from error
    with file:
        yield _Scratch(file)


def _scratch_failed(error: OSError) -> RunFailed:
    return RunFailed(
        Reason.SCRATCH_UNUSABLE,
        f"the scratch disk cannot be written ({error.strerror}); give the trainer more ephemeral storage",
    )


def inflate(stored: Path, plain: Path, *, limit: int) -> Path:
    """Return a decompressed copy of *stored*, or *stored* itself if it is not gzip.

    The size in a gzip trailer is written by whoever made the file, so the bytes are counted as they come
    out, and no more than one chunk of them is in memory.

    Raises
    ------
    DataError
        ``DecompressedTooLarge`` or ``DatasetCorrupt``.
    """
    with stored.open("rb") as source:
        if source.read(len(_GZIP)) != _GZIP:
            if stored.stat().st_size > limit:
                raise too_large(limit)
            return stored
        source.seek(0)
        with new_file(plain) as target:
            size = 0
            for chunk in _members(iter(lambda: source.read(CHUNK), b"")):
                size += len(chunk)
                if size > limit:
                    raise too_large(limit)
                target.write(chunk)
    if size == 0:
        raise DataError(
            Reason.DATASET_EMPTY, "the gzip file holds no bytes; write a header line and rows to it"
        )
    return plain


def too_large(limit: int) -> DataError:
    """Return the error of a dataset that is larger than *limit* (bytes) once decompressed."""
    return DataError(
        Reason.DECOMPRESSED_TOO_LARGE,
        f"the dataset decompresses to more than the limit of {human(limit)}; train on a sample of the rows, "
        "or ask the administrator to raise the limit (TRAININGJOB_MAX_DECOMPRESSED_BYTES)",
    )


def _members(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the content of all gzip members, in chunks of at most ``CHUNK`` bytes."""
    member = zlib.decompressobj(_GZIP_WINDOW)
    begun = False
    members = size = 0
    # What follows a member is copied for the next one, so a short piece keeps many short ones cheap.
    for piece in (block[at : at + _PIECE] for block in blocks for at in range(0, len(block), _PIECE)):
        rest = piece
        while rest:
            if not begun:
                # Tools that write whole tape blocks pad the end with zeros.
                rest = rest.lstrip(b"\0")
                if not rest:
                    break
            begun = True
            try:
                chunk = member.decompress(rest, CHUNK)
            except zlib.error as error:
                raise DataError(
                    Reason.DATASET_CORRUPT, f"the gzip file is damaged ({error}); upload it again"
                ) from error
            if chunk:
                size += len(chunk)
                yield chunk
            rest = member.unconsumed_tail
            if member.eof:
                rest = member.unused_data
                member, begun = zlib.decompressobj(_GZIP_WINDOW), False
                members += 1
                if members > _FREE_MEMBERS + size // _MEMBER_BYTES:
                    raise DataError(
                        Reason.DATASET_CORRUPT,
                        f"the gzip file has {members} members for {human(size)} of content; "
                        "compress it as one",
                    )
    if begun:
        raise DataError(Reason.DATASET_CORRUPT, "the gzip file ends too early; upload it again")


def sniff(path: Path, asked: DatasetFormat) -> DatasetFormat:
    """Tell CSV from Parquet by the first bytes.

    Raises
    ------
    DataError
        ``DatasetFormatInvalid`` if the bytes are those of another format, or not those of the format *asked*.
    """
    with path.open("rb") as file:
        head = file.read(8)
    for magic, name in _FOREIGN.items():
        if head.startswith(magic):
            raise DataError(
                Reason.DATASET_FORMAT_INVALID,
                f"the dataset is {name}; give it as CSV (plain or gzip) or Parquet",
            )
    is_parquet = head.startswith(_PARQUET)
    if asked is DatasetFormat.CSV and is_parquet:
        raise DataError(
            Reason.DATASET_FORMAT_INVALID,
            "spec.dataset.format is csv, but the file is Parquet; set it to parquet or auto",
        )
    if asked is DatasetFormat.PARQUET and not is_parquet:
        raise DataError(
            Reason.DATASET_FORMAT_INVALID,
            "spec.dataset.format is parquet, but the file does not start as Parquet does; set it to csv or "
            "auto",
        )
    return DatasetFormat.PARQUET if is_parquet else DatasetFormat.CSV
