import gzip
import hashlib
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.data_runs import write
from trainingjob_api.vocabulary import DatasetFormat
from trainingjob_trainer.data import scratch
from trainingjob_trainer.data.scratch import fetch, human, inflate, sniff
from trainingjob_trainer.errors import DataError, RunFailed


def test_the_digest_is_that_of_the_bytes(tmp_path: Path) -> None:
    digest, size = fetch([b"ab", b"", b"c"], tmp_path / "f", limit=3, uri="file://f")
    assert (tmp_path / "f").read_bytes() == b"abc"
    assert digest == hashlib.sha256(b"abc").hexdigest()
    assert size == 3


def test_a_stream_without_end_stops_at_the_limit(tmp_path: Path) -> None:
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield b"x" * 100

    with pytest.raises(DataError, match="1 KiB") as caught:
        fetch(endless(), tmp_path / "f", limit=1024, uri="file://f")
    assert caught.value.reason == "DatasetTooLarge"
    assert len(taken) == 11
    assert (tmp_path / "f").stat().st_size <= 1024


def test_an_empty_stream_is_not_a_table(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        fetch([], tmp_path / "f", limit=10, uri="file://f")
    assert caught.value.reason == "DatasetEmpty"


def test_a_failing_scratch_disk_is_not_an_error_of_the_data(tmp_path: Path) -> None:
    with pytest.raises(RunFailed) as caught:
        fetch([b"x"], tmp_path / "missing" / "f", limit=10, uri="file://f")
    assert caught.value.reason == "ScratchUnusable"


def test_plain_files_are_left_as_they_are(tmp_path: Path) -> None:
    stored = write(tmp_path / "stored", "a,b\n")
    assert inflate(stored, tmp_path / "plain", limit=4) == stored
    with pytest.raises(DataError) as caught:
        inflate(stored, tmp_path / "plain", limit=3)
    assert caught.value.reason == "DecompressedTooLarge"


@given(parts=st.lists(st.binary(max_size=2000), min_size=1, max_size=3), padding=st.integers(0, 30))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_gzip_file_may_have_any_number_of_members(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes], padding: int
) -> None:
    folder = tmp_path_factory.mktemp("gz")
    stored = write(folder / "s", b"".join(gzip.compress(part) for part in parts) + b"\0" * padding)
    whole = b"".join(parts)
    if not whole:
        with pytest.raises(DataError, match="no bytes"):
            inflate(stored, folder / "p", limit=10**6)
        return
    assert inflate(stored, folder / "p", limit=len(whole)).read_bytes() == whole


def test_a_bomb_is_found_by_what_comes_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch, "CHUNK", 4096)
    bomb = bytearray(gzip.compress(b"\0" * (50 << 20)))
    bomb[-4:] = struct.pack("<I", 10)  # the trailer lies about the size
    stored = write(tmp_path / "s", bytes(bomb))
    with pytest.raises(DataError) as caught:
        inflate(stored, tmp_path / "p", limit=1 << 20)
    assert caught.value.reason == "DecompressedTooLarge"
    assert (tmp_path / "p").stat().st_size <= 1 << 20


@pytest.mark.parametrize("cut", [5, 12, -3])
def test_a_truncated_gzip_file_is_rejected(tmp_path: Path, cut: int) -> None:
    stored = write(tmp_path / "s", gzip.compress(bytes(range(256)) * 40)[:cut])
    with pytest.raises(DataError) as caught:
        inflate(stored, tmp_path / "p", limit=1 << 20)
    assert caught.value.reason == "DatasetCorrupt"


def test_a_gzip_file_with_a_wrong_checksum_is_rejected(tmp_path: Path) -> None:
    damaged = bytearray(gzip.compress(b"hello hello hello"))
    damaged[-6] ^= 0xFF
    with pytest.raises(DataError) as caught:
        inflate(write(tmp_path / "s", bytes(damaged)), tmp_path / "p", limit=1 << 20)
    assert caught.value.reason == "DatasetCorrupt"


def test_formats_are_recognised_by_their_first_bytes(tmp_path: Path) -> None:
    csv, parquet = write(tmp_path / "c", "a,b\n"), write(tmp_path / "p", b"PAR1....")
    assert sniff(csv, DatasetFormat.AUTO) is DatasetFormat.CSV
    assert sniff(csv, DatasetFormat.CSV) is DatasetFormat.CSV
    assert sniff(parquet, DatasetFormat.AUTO) is DatasetFormat.PARQUET
    assert sniff(parquet, DatasetFormat.PARQUET) is DatasetFormat.PARQUET


@pytest.mark.parametrize(
    ("head", "asked", "word"),
    [
        (b"PAR1....", DatasetFormat.CSV, "Parquet"),
        (b"a,b\n1,2\n", DatasetFormat.PARQUET, "csv or auto"),
        (b"PK\x03\x04....", DatasetFormat.AUTO, "zip"),
        (b"\x28\xb5\x2f\xfd....", DatasetFormat.AUTO, "zstd"),
        (b"%PDF-1.7", DatasetFormat.CSV, "PDF"),
    ],
)
def test_other_formats_are_named(tmp_path: Path, head: bytes, asked: DatasetFormat, word: str) -> None:
    with pytest.raises(DataError, match=word) as caught:
        sniff(write(tmp_path / "f", head), asked)
    assert caught.value.reason == "DatasetFormatInvalid"


@pytest.mark.parametrize(
    ("size", "text"), [(1, "1 bytes"), (1024, "1 KiB"), (3 << 20, "3 MiB"), (2 << 30, "2 GiB")]
)
def test_sizes_are_readable(size: int, text: str) -> None:
    assert human(size) == text


def test_gzip_members_without_content_are_bounded(tmp_path: Path) -> None:
    empty = gzip.compress(b"")
    few = write(tmp_path / "few", empty * 999 + gzip.compress(b"a,b\n"))
    assert inflate(few, tmp_path / "plain", limit=100).read_bytes() == b"a,b\n"
    many = write(tmp_path / "many", empty * 1001)
    with pytest.raises(DataError, match="1001 members") as caught:
        inflate(many, tmp_path / "bomb", limit=100)
    assert caught.value.reason == "DatasetCorrupt"
