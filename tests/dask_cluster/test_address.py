"""Where the scheduler is."""

import json
from pathlib import Path

import pytest

from trainingjob_trainer.dask_cluster.address import resolve_address
from trainingjob_trainer.errors import RunFailed, SpecInvalid


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("tcp://10.0.0.7:1234", "tcp://10.0.0.7:1234"),
        ("tls://scheduler.example", "tls://scheduler.example:8786"),
        ("tcp://[::1]:8786/", "tcp://[::1]:8786"),
    ],
)
def test_an_address_is_taken_with_its_port(given: str, address: str, tmp_path: Path) -> None:
    assert resolve_address(given) == address
    file = tmp_path / "scheduler.json"
    file.write_text(json.dumps({"address": given}))
    assert resolve_address(file) == address
    assert resolve_address(str(file)) == address


@pytest.mark.parametrize(
    "given",
    [
        "http://host:8786",
        "inproc://1",
        "tcp://",
        "tcp://host:0",
        "tcp://host:99999",
        "tcp://host/x",
        "tcp://a@b",
    ],
)
def test_what_is_no_address_is_refused(given: str) -> None:
    with pytest.raises(SpecInvalid, match=r"must look like tcp://host:8786") as caught:
        resolve_address(given)
    assert caught.value.reason == "SchedulerAddressInvalid"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist"),
        (b"", "is not JSON"),
        (b'{"address": "tcp://', "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"\xff", "is not JSON"),
        (b"[1]", "holds no address"),
        (b'{"address": 7}', "holds no address"),
        (b'{"address": "file:///etc/passwd"}', "holds an address that must look like"),
        (b" " * (1024 * 1024 + 1), "is larger than"),
    ],
)
def test_a_file_without_an_address_says_so(tmp_path: Path, content: bytes | None, message: str) -> None:
    file = tmp_path / "scheduler.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(RunFailed, match=message) as caught:
        resolve_address(file)
    assert caught.value.reason == "SchedulerUnavailable"
    assert str(file) in caught.value.message


def test_a_folder_is_no_scheduler_file(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match="cannot be read: Is a directory"):
        resolve_address(tmp_path)
