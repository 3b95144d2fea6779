import io
import string
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from support.data_runs import SETTINGS, write
from trainingjob_api.storage import Csv
from trainingjob_trainer.data import csv_file
from trainingjob_trainer.data.columns import read_columns, read_texts
from trainingjob_trainer.data.csv_file import CsvLayout, read_csv
from trainingjob_trainer.errors import DataError

SMALL = replace(SETTINGS, max_rows=5, max_columns=3)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("a,b\n1,x\n2,y\n", {"a": [1, 2], "b": ["x", "y"]}, id="comma"),
        pytest.param("a;b\n1;x\n2;y\n", {"a": [1, 2], "b": ["x", "y"]}, id="semicolon"),
        pytest.param("a\tb\n1\tx,z\n2\ty\n", {"a": [1, 2], "b": ["x,z", "y"]}, id="tab"),
        pytest.param("a|b\n1|x\n2|y\n", {"a": [1, 2], "b": ["x", "y"]}, id="bar"),
        pytest.param("a;b\n1,5;x\n2,25;y\n", {"a": [1.5, 2.25], "b": ["x", "y"]}, id="decimal comma"),
        pytest.param("a;b\n1,5;2.5\n2,2;3\n", {"a": [1.5, 2.2], "b": [2.5, 3.0]}, id="mixed marks"),
        pytest.param('a,b\n"1,5;x",2\n"y;z",3\n', {"a": ["1,5;x", "y;z"], "b": [2, 3]}, id="quoted marks"),
        pytest.param(
            'name;"price, EUR"\nx;1\ny;2\n', {"name": ["x", "y"], "price, EUR": [1, 2]}, id="header mark"
        ),
        pytest.param("a,b\r\n1,x\r\n2,y\r\n", {"a": [1, 2], "b": ["x", "y"]}, id="windows line ends"),
        pytest.param("a,b\n1,x\n2,y", {"a": [1, 2], "b": ["x", "y"]}, id="no last line end"),
        pytest.param("a,b\n\n1,x\n\n2,y\n\n", {"a": [1, 2], "b": ["x", "y"]}, id="blank lines"),
        pytest.param('a,b\n1,"x\nz"\n2,"say ""y"""\n', {"a": [1, 2], "b": ["x\nz", 'say "y"']}, id="quotes"),
        pytest.param("\ufeffa,b\n1,x\n2,y\n", {"a": [1, 2], "b": ["x", "y"]}, id="byte order mark"),
        pytest.param(",b\n0,x\n1,y\n", {"Unnamed: 0": [0, 1], "b": ["x", "y"]}, id="nameless index"),
        pytest.param("a\n1\n2\n", {"a": [1, 2]}, id="one column"),
        pytest.param("größe,名\n1,é\n2,ü\n", {"größe": [1, 2], "名": ["é", "ü"]}, id="umlauts"),
    ],
)
def test_valid_csv_files_are_read(tmp_path: Path, text: str, expected: dict[str, list[object]]) -> None:
    frame, layout = read_csv(write(tmp_path / "t.csv", text), SETTINGS)
    texts = read_texts(frame, None, layout.separator)
    assert_frame_equal(read_columns(frame, texts, {}, skip="").frame, pd.DataFrame(expected))


@pytest.mark.parametrize(
    ("content", "reason", "words"),
    [
        pytest.param("a,b\n1,2\n3\n", "RaggedRows", ["line 3", "1 field", "has 2"], id="short row"),
        pytest.param("a,b\n1,2,3\n", "RaggedRows", ["line 2", "3 field", "has 2"], id="long row"),
        pytest.param("a,b\n1,2,\n3,4,\n", "RaggedRows", ["line 2"], id="trailing commas"),
        pytest.param('a,b\n1,"x\ny"\n\n3\n', "RaggedRows", ["line 5"], id="lines are counted, not records"),
        pytest.param("a,b,a\n1,2,3\n", "DuplicateColumns", ["1 and 3"], id="duplicate columns"),
        pytest.param("a,b\n", "DatasetEmpty", ["no rows"], id="header only"),
        pytest.param("a,b", "DatasetEmpty", ["no rows"], id="header without line end"),
        pytest.param("\n\n", "DatasetEmpty", ["header"], id="blank lines only"),
        pytest.param(",,\n1,2,3\n", "DatasetEmpty", ["header"], id="nameless header"),
        pytest.param(
            "a,b\n1,caf\xe9\n".encode("latin-1"), "EncodingInvalid", ["offset 9", "0xe9"], id="latin-1"
        ),
        pytest.param(b"a\n1\n" + b"\xc3", "EncodingInvalid", ["offset 4"], id="cut character"),
        pytest.param("a,b\n1,2\n".encode("utf-16"), "EncodingInvalid", ["UTF-16"], id="utf-16"),
        pytest.param(b"a,b\n1,\x002\n", "DatasetFormatInvalid", ["offset 6"], id="NUL byte"),
        pytest.param('a,b\n1,"2\n3,4\n', "DatasetFormatInvalid", ["quotes"], id="quote never closed"),
        pytest.param('a,b\n1,2\n3,"4\n', "DatasetFormatInvalid", ["quotes"], id="quote open at the end"),
        pytest.param("a,b,c,d\n1,2,3,4\n", "TooManyColumns", ["4", "3"], id="columns"),
        pytest.param("a\n" + "1\n" * 6, "TooManyRows", ["5"], id="rows"),
    ],
)
def test_invalid_csv_files_are_rejected(
    tmp_path: Path, content: str | bytes, reason: str, words: list[str]
) -> None:
    with pytest.raises(DataError) as caught:
        read_csv(write(tmp_path / "t.csv", content), SMALL)
    assert caught.value.reason == reason
    assert all(word in caught.value.message for word in words), caught.value.message


def test_columns_are_counted_before_anything_is_parsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("parsed")

    monkeypatch.setattr(pd, "read_csv", never)
    monkeypatch.setattr(csv_file, "_check_records", never)
    path = write(tmp_path / "t.csv", ",".join(f"c{i}" for i in range(20_000)) + "\n")
    with pytest.raises(DataError) as caught:
        read_csv(path, SETTINGS)
    assert caught.value.reason == "TooManyColumns"


def test_a_line_without_end_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_file, "_LINE_LIMIT", 1000)
    with pytest.raises(DataError, match="line 2") as caught:
        read_csv(write(tmp_path / "t.csv", "a,b\n" + "x" * 2000 + ",1\n"), SETTINGS)
    assert caught.value.reason == "DatasetFormatInvalid"


def test_a_header_without_end_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_file, "_HEAD", 1000)
    with pytest.raises(DataError) as caught:
        read_csv(write(tmp_path / "t.csv", "x" * 2000), SETTINGS)
    assert caught.value.reason == "DatasetFormatInvalid"


def test_a_bad_byte_is_found_across_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_file, "CHUNK", 4)
    good = "a\n" + "é" * 9  # two bytes each, so that chunks cut through them
    with pytest.raises(DataError, match=f"offset {len(good.encode())}:?"):
        read_csv(write(tmp_path / "t.csv", good.encode() + b"\xff\n"), SETTINGS)


CELLS = st.one_of(
    st.integers(-(10**9), 10**9).map(str),
    st.floats(allow_nan=False, allow_infinity=False, width=32).map(repr),
    st.text(string.ascii_letters + "äß '\",;\t\n|", max_size=8),
    st.just(""),
)


@given(
    rows=st.integers(1, 6).flatmap(
        lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width), min_size=1, max_size=12)
    )
)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_pandas_writes_is_read_as_pandas_reads_it(tmp_path: Path, rows: list[list[str]]) -> None:
    names = [f"col{i}" for i in range(len(rows[0]))]
    buffer = io.StringIO()
    pd.DataFrame(rows, columns=names).to_csv(buffer, index=False, lineterminator="\n")
    expected = pd.read_csv(io.StringIO(buffer.getvalue()), dtype="str", keep_default_na=False, na_values=[""])
    path = write(tmp_path / "t.csv", buffer.getvalue())
    if len(expected) == 0:
        with pytest.raises(DataError):
            read_csv(path, SETTINGS)
        return
    frame, _ = read_csv(path, SETTINGS)
    assert list(frame.columns) == names
    assert_frame_equal(frame, expected)


@example(content=b'\r;\x01";\r;;\x01')
@given(content=st.binary(max_size=300) | st.text('ab1",;\n\t\r \ufeff', max_size=80).map(str.encode))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_a_table_within_the_limits_or_a_data_error(tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path / "t.csv", content)
    with suppress(DataError):  # which is what a table that cannot be read ends in, and nothing else
        frame, _ = read_csv(path, SMALL)
        assert 1 <= len(frame) <= SMALL.max_rows
        assert 1 <= frame.shape[1] <= SMALL.max_columns
        assert frame.columns.is_unique
        assert all(isinstance(name, str) for name in frame.columns)


@pytest.mark.filterwarnings("default")
def test_a_row_of_which_pandas_would_drop_values_is_rejected(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", '\r;\x01";\r;;\x01')
    with pytest.raises(DataError, match="cannot be parsed"):
        read_csv(path, SMALL)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("x,y\n\r,b\n", id="values shifted"),
        pytest.param("x,y,z,w\n\r,,b,\n", id="between empty fields"),
        pytest.param("x,y\n1,a\n\r,\n2,b\n", id="row lost"),
    ],
)
def test_a_file_in_which_pandas_finds_other_values_is_rejected(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError, match="carriage return") as caught:
        read_csv(write(tmp_path / "t.csv", text), SETTINGS)
    assert caught.value.reason == "DatasetFormatInvalid"


def test_every_value_stays_the_text_that_it_is(tmp_path: Path) -> None:
    frame, layout = read_csv(write(tmp_path / "t.csv", "zip,n,word\n01234,1.50,NA\n99,,None\n"), SETTINGS)
    assert layout == CsvLayout()
    assert frame.fillna("").to_numpy().tolist() == [["01234", "1.50", "NA"], ["99", "", "None"]]


@pytest.mark.parametrize("first", ["sep=;", "SEP=;"])
def test_the_separator_line_of_a_spreadsheet_is_followed(tmp_path: Path, first: str) -> None:
    path = write(tmp_path / "t.csv", f"{first}\r\na;b\r\n1,5;x\r\n2;y\r\n")
    frame, layout = read_csv(path, SETTINGS)
    assert layout == CsvLayout(separator=";", skipped_lines=1)
    assert frame.to_dict("list") == {"a": ["1,5", "2"], "b": ["x", "y"]}
    with pytest.raises(DataError, match="line 3 of the CSV file has 1 field"):
        read_csv(write(tmp_path / "u.csv", "sep=;\na;b\n1\n"), SETTINGS)


def test_the_job_names_separator_and_encoding(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "größe:b\nä:1\nö:2\n".encode("windows-1252"))
    csv = Csv.model_validate({"separator": ":", "encoding": "windows-1252"})
    frame, layout = read_csv(path, SETTINGS, csv)
    assert frame.to_dict("list") == {"größe": ["ä", "ö"], "b": ["1", "2"]}
    assert layout == CsvLayout(separator=":", encoding="windows-1252")
    with pytest.raises(DataError, match=r"spec\.dataset\.csv\.encoding") as caught:
        read_csv(path, SETTINGS)
    assert caught.value.reason == "EncodingInvalid"
    with pytest.raises(DataError, match="is not utf-16") as caught:
        read_csv(write(tmp_path / "u.csv", b"a,b,c"), SETTINGS, Csv.model_validate({"encoding": "utf-16"}))
    assert caught.value.reason == "EncodingInvalid"


@pytest.mark.parametrize(
    "text",
    ['{"a": 1, "b": 2}\n{"a": 3, "b": 4}\n', '[{"a": 1}, {"a": 2}]', '\n  {"a": 1}', "[[1, 2], [3, 4]]"],
)
def test_json_is_rejected_by_name(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError, match="holds JSON, not CSV; convert it") as caught:
        read_csv(write(tmp_path / "t.csv", text), SETTINGS)
    assert caught.value.reason == "DatasetFormatInvalid"
