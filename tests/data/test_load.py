import gzip
import hashlib
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from support.data_runs import SETTINGS, write
from trainingjob_api.storage import Dataset
from trainingjob_trainer.data.load import SAMPLES, Table, load_table, make_sample
from trainingjob_trainer.errors import TrainingError
from trainingjob_trainer.settings import TrainerSettings

TEXT = "a,b\n1,x\n2,y\n"


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


def load(uri: str, scratch: Path, settings: TrainerSettings = SETTINGS, **fields: str) -> Table:
    return load_table(Dataset.model_validate({"uri": uri, **fields}), settings=settings, scratch=scratch)


def test_plain_gzip_and_parquet_are_the_same_table(tmp_path: Path, scratch: Path) -> None:
    write(tmp_path / "t.csv", TEXT)
    write(tmp_path / "t.csv.gz", gzip.compress(TEXT.encode(), mtime=0))
    pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}).to_parquet(tmp_path / "t.parquet")
    tables = [load(f"file://{tmp_path}/{name}", scratch) for name in ("t.csv", "t.csv.gz", "t.parquet")]
    assert [table.file.format for table in tables] == ["csv", "csv", "parquet"]
    # Of CSV every value is text until the columns are looked at.
    firsts = [table.frame.to_dict("list")["a"] for table in tables]
    assert firsts == [["1", "2"], ["1", "2"], [1, 2]]
    assert all(list(table.frame["b"]) == ["x", "y"] for table in tables)
    for table, name in zip(tables, ("t.csv", "t.csv.gz", "t.parquet"), strict=True):
        stored = (tmp_path / name).read_bytes()
        assert table.sha256 == hashlib.sha256(stored).hexdigest()
        assert table.size_bytes == len(stored)


def test_the_pin_is_checked(tmp_path: Path, scratch: Path) -> None:
    write(tmp_path / "t.csv", TEXT)
    digest = hashlib.sha256(TEXT.encode()).hexdigest()
    assert load(f"file://{tmp_path}/t.csv", scratch, sha256=digest).sha256 == digest
    with pytest.raises(TrainingError) as caught:
        load(f"file://{tmp_path}/t.csv", scratch, sha256="0" * 64)
    assert caught.value.reason == "DigestMismatch"
    assert digest in caught.value.message


@pytest.mark.parametrize(
    ("content", "limits", "reason"),
    [
        (TEXT, {}, None),
        ("", {}, "DatasetEmpty"),
        ("a,b\n1\n", {}, "RaggedRows"),
        (TEXT, {"max_bytes": 5}, "DatasetTooLarge"),
        (
            gzip.compress(b"a,b\n" + b"1,2\n" * 10_000, mtime=0),
            {"max_decompressed_bytes": 1000},
            "DecompressedTooLarge",
        ),
        (gzip.compress(TEXT.encode(), mtime=0)[:-4], {}, "DatasetCorrupt"),
    ],
)
def test_nothing_is_left_behind(
    tmp_path: Path, scratch: Path, content: str | bytes, limits: dict[str, int], reason: str | None
) -> None:
    write(tmp_path / "t.csv", content)
    settings = replace(SETTINGS, **limits)  # type: ignore[arg-type]
    if reason is None:
        load(f"file://{tmp_path}/t.csv", scratch, settings)
    else:
        with pytest.raises(TrainingError) as caught:
            load(f"file://{tmp_path}/t.csv", scratch, settings)
        assert caught.value.reason == reason
        assert caught.value.exit_code == 2
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_are_the_same_each_time(name: str, scratch: Path) -> None:
    first, again = load(f"sample://{name}", scratch), make_sample(name)
    assert first.sha256 == again.sha256
    assert first.size_bytes == again.size_bytes
    pd.testing.assert_frame_equal(first.frame, again.frame)
    assert first.frame.columns[-1] in {"target", "churned", "price"}


def test_a_sample_can_be_pinned(scratch: Path) -> None:
    digest = make_sample("iris").sha256
    assert load("sample://iris", scratch, sha256=digest).sha256 == digest
    with pytest.raises(TrainingError, match="changed"):
        load("sample://iris", scratch, sha256="0" * 64)


def test_an_unknown_sample_names_the_nearest() -> None:
    with pytest.raises(TrainingError) as caught:
        make_sample("messy_chrun")
    assert caught.value.reason == "UnknownSample"
    assert "use messy_churn" in caught.value.message


def test_the_messy_table_is_messy() -> None:
    frame = make_sample("messy_churn").frame
    assert 3500 < len(frame) < 6000
    assert frame.duplicated().sum() >= 40
    assert frame["charge_per_half_year"].isin([float("inf")]).any()
    assert 0.1 < (frame["churned"] == "yes").mean() < 0.2
    assert frame["town"].nunique() > 200
    assert (frame["usage_gb"] == "?").any()
    assert set(frame["country"]) == {"GB"}
    assert frame.isna().any().sum() >= 6
