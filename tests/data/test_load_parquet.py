from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from support.data_runs import SETTINGS, write
from trainingjob_trainer.data.load import read_parquet
from trainingjob_trainer.errors import DataError


def refused(path: Path, **limits: int) -> DataError:
    with pytest.raises(DataError) as caught:
        read_parquet(path, replace(SETTINGS, **limits))
    return caught.value


def test_types_of_parquet_are_kept(tmp_path: Path) -> None:
    table = pa.table(
        {
            "i": [1, None, 3],
            "s": ["x", None, "z"],
            "b": [True, False, None],
            "c": pa.array(["u", "v", "u"]).dictionary_encode(),
            "t": [datetime(2026, 1, 1, tzinfo=UTC)] * 3,
            "d": [Decimal("1.5"), None, Decimal(2)],
            "n": [[1], [2, 3], None],
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    frame, _ = read_parquet(tmp_path / "t.parquet", SETTINGS)
    assert list(frame.columns) == list("isbctdn")
    assert frame["i"].tolist()[::2] == [1, 3]
    assert isinstance(frame["c"].dtype, pd.CategoricalDtype)
    assert frame["b"].isna().tolist() == [False, False, True]


def test_the_default_index_of_pandas_is_not_a_column(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1, 2]}, index=["x", "y"])
    frame.to_parquet(tmp_path / "t.parquet")
    assert list(read_parquet(tmp_path / "t.parquet", SETTINGS)[0].columns) == ["a"]


def test_limits_hold_before_anything_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.parquet"
    pd.DataFrame(np.arange(400.0).reshape(100, 4), columns=list("abcd")).to_parquet(path)
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", lambda *_, **__: pytest.fail("read"))
    assert refused(path, max_columns=3).reason == "TooManyColumns"
    assert refused(path, max_rows=99).reason == "TooManyRows"
    assert refused(path, max_decompressed_bytes=1000).reason == "DecompressedTooLarge"


def test_a_dictionary_bomb_is_found_while_it_is_decoded(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"a": ["x" * 50_000] * 2_000}), path, use_dictionary=True)
    assert path.stat().st_size < 200_000
    limit = 16 << 20
    size = sum(pq.ParquetFile(path).metadata.row_group(i).total_byte_size for i in range(1))
    assert size < limit  # the metadata are honest and show nothing
    assert refused(path, max_decompressed_bytes=limit).reason == "DecompressedTooLarge"


def test_a_table_without_rows_or_columns_is_rejected(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": pa.array([], pa.int64())}), tmp_path / "rows.parquet")
    assert refused(tmp_path / "rows.parquet").reason == "DatasetEmpty"
    pq.write_table(pa.table({}), tmp_path / "columns.parquet")
    assert refused(tmp_path / "columns.parquet").reason == "DatasetEmpty"


def test_duplicate_column_names_are_rejected(tmp_path: Path) -> None:
    pq.write_table(pa.table([[1], [2]], names=["a", "a"]), tmp_path / "t.parquet")
    assert refused(tmp_path / "t.parquet").reason == "DuplicateColumns"


@pytest.mark.parametrize("content", [b"PAR1", b"PAR1" + b"\0" * 50 + b"PAR1", b"PAR1 nothing of the kind"])
def test_a_damaged_file_is_rejected(tmp_path: Path, content: bytes) -> None:
    error = refused(write(tmp_path / "t.parquet", content))
    assert error.reason == "DatasetCorrupt"
    assert "\n" not in error.message


def test_a_damaged_page_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pd.DataFrame({"a": np.random.default_rng(0).normal(size=5000)}).to_parquet(path, compression="zstd")
    data = bytearray(path.read_bytes())
    data[4:40] = b"\xff" * 36
    path.write_bytes(bytes(data))
    assert refused(path).reason == "DatasetCorrupt"


def test_a_named_index_is_a_column_like_any_other(tmp_path: Path) -> None:
    index = pd.date_range("2024-01-01", periods=3, tz="Europe/Berlin", name="at")
    pd.DataFrame({"a": [1, 2, 3]}, index=index).to_parquet(tmp_path / "t.parquet")
    frame, names = read_parquet(tmp_path / "t.parquet", SETTINGS)
    assert list(frame.columns) == ["a", "at"]
    assert names == ("at",)


@pytest.mark.parametrize("text", [b"[" * 100_000, b"no JSON", b"[1]", b'{"index_columns": 1}', b"\xff"])
def test_invalid_metadata_of_pandas_are_ignored(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "t.parquet"
    table = pa.table({"a": [1, 2]})
    pq.write_table(table.replace_schema_metadata({b"pandas": text}), path)
    frame, index = read_parquet(path, SETTINGS)
    assert (list(frame.columns), index) == (["a"], ())
