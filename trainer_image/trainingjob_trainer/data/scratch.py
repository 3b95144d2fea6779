"""Copies of the dataset on the scratch disk: size limit, digest, decompression, and CSV or Parquet."""

import hashlib
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import AnyStr

from trainingjob_api import Reason
from trainingjob_api.vocabulary import DatasetFormat
from trainingjob_trainer.errors import DataError, RunFailed

CHUNK = 1 << 20
"""Bytes that are held at once."""

_GZIP = b"\x1f\x8b"
_PARQUET = b"PAR1"
_PIECE = 16 * 1024
_FREE_MEMBERS = 1000
_MEMBER_BYTES = 1024  # mean content of a gzip member beyond the first thousand; tools write 64 KiB or more
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


def human(size: int) -> str:
    """Return *size* (bytes) in GiB, MiB, KiB or bytes."""
    for unit, scale in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= scale:
            return f"{size / scale:.4g} {unit}"
    return f"{size} bytes"


def fetch(chunks: Iterable[bytes], path: Path, *, limit: int, uri: str) -> tuple[str, int]:
    """Write *chunks* to *path*; return their digest (SHA-256, hexadecimal) and size in bytes."""
    digest = hashlib.sha256()
    what = f"{uri} is larger than the limit of {human(limit)}"
    error = over_limit(Reason.DATASET_TOO_LARGE, what, "TRAININGJOB_MAX_BYTES")

    def digested() -> Iterator[bytes]:
        for chunk in limited(chunks, limit, error):
            digest.update(chunk)
            yield chunk

    write_new(path, digested())
    size = path.stat().st_size
    if size == 0:
        raise DataError(Reason.DATASET_EMPTY, f"{uri} is an empty file; write a header line and rows to it")
    return digest.hexdigest(), size


def write_new(path: Path, chunks: Iterable[bytes]) -> None:
    """Write *chunks* to a new file; errors of *chunks* pass, those of the disk are ``ScratchUnusable``."""
    with _scratch_disk():
        file = path.open("xb")
    with file:
        for chunk in chunks:
            with _scratch_disk():
                file.write(chunk)


@contextmanager
def _scratch_disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunFailed(
            Reason.SCRATCH_UNUSABLE,
            f"The scratch disk cannot be written ({error.strerror}); give the trainer more ephemeral storage",
        ) from error


def limited(chunks: Iterable[AnyStr], limit: int, error: DataError) -> Iterator[AnyStr]:
    """Yield *chunks*; raise *error* as soon as they have more than *limit* bytes or characters."""
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > limit:
            raise error
        yield chunk


def too_large(limit: int) -> DataError:
    """Return the error of a dataset that is larger than *limit* (bytes) once decompressed or decoded."""
    what = f"The dataset holds more than the limit of {human(limit)} once decompressed or decoded"
    return over_limit(Reason.DECOMPRESSED_TOO_LARGE, what, "TRAININGJOB_MAX_DECOMPRESSED_BYTES")


def over_limit(
    reason: Reason, what: str, setting: str, *, instead: str = "train on a sample of the rows"
) -> DataError:
    """Return the error of a dataset that exceeds the limit which the administrator sets by *setting*."""
    return DataError(reason, f"{what}; {instead}, or ask the administrator to raise the limit ({setting})")


def inflate(stored: Path, plain: Path, *, limit: int) -> Path:
    """Return a decompressed copy of *stored*, or *stored* itself if it is not gzip.

    The author of a gzip file also writes the size in its trailer, so the bytes are counted as they come out,
    and no more than one chunk of them is in memory.
    """
    with stored.open("rb") as source:
        if source.read(len(_GZIP)) != _GZIP:
            if stored.stat().st_size > limit:
                raise too_large(limit)
            return stored
        source.seek(0)
        members = _members(iter(lambda: source.read(CHUNK), b""))
        write_new(plain, limited(members, limit, too_large(limit)))
    if plain.stat().st_size == 0:
        raise DataError(
            Reason.DATASET_EMPTY, "The gzip file holds no bytes; write a header line and rows to it"
        )
    return plain


def _members(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the content of all gzip members, in chunks of at most ``CHUNK`` bytes."""
    member = zlib.decompressobj(_GZIP_WINDOW)
    begun = False
    members = size = 0
    # zlib copies what follows a member for the next one, so a short piece keeps many short ones cheap.
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
                raise _damaged(f"is damaged ({error}); upload it again") from error
            if chunk:
                size += len(chunk)
                yield chunk
            rest = member.unconsumed_tail
            if member.eof:
                rest = member.unused_data
                member, begun = zlib.decompressobj(_GZIP_WINDOW), False
                members += 1
                if members > _FREE_MEMBERS + size // _MEMBER_BYTES:
                    raise _damaged(f"has {members} members for {human(size)} of content; compress it as one")
    if begun:
        raise _damaged("ends too early; upload it again")


def _damaged(how: str) -> DataError:
    return DataError(Reason.DATASET_CORRUPT, f"The gzip file {how}")


def sniff(path: Path, asked: DatasetFormat) -> DatasetFormat:
    """Return CSV or Parquet, by the first bytes."""
    with path.open("rb") as file:
        head = file.read(8)
    found = DatasetFormat.PARQUET if head.startswith(_PARQUET) else DatasetFormat.CSV
    cause = next(
        (
            f"The dataset is {name}; give it as CSV (plain or gzip) or Parquet"
            for magic, name in _FOREIGN.items()
            if head.startswith(magic)
        ),
        None,
    )
    if cause is None and asked is not DatasetFormat.AUTO and asked is not found:
        what = "is Parquet" if found is DatasetFormat.PARQUET else "does not start as Parquet does"
        cause = f"spec.dataset.format is {asked.value}, but the file {what}; set it to {found.value} or auto"
    if cause is not None:
        raise DataError(Reason.DATASET_FORMAT_INVALID, cause)
    return found
