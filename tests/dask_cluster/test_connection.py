"""The address of the scheduler and the certificates; incomplete certificates are an error."""

import json
from pathlib import Path

import pytest

from trainingjob_trainer.dask_cluster.connection import client_security, resolve_address, role_security
from trainingjob_trainer.errors import RunFailed, SpecInvalid

TLS = "DASK_DISTRIBUTED__COMM__TLS__"


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
def test_an_invalid_address_is_rejected(given: str) -> None:
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
def test_a_file_without_an_address_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    file = tmp_path / "scheduler.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(RunFailed, match=message) as caught:
        resolve_address(file)
    assert caught.value.reason == "SchedulerUnavailable"
    assert str(file) in caught.value.message


def test_a_folder_is_rejected_as_scheduler_file(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match="cannot be read: Is a directory"):
        resolve_address(tmp_path)


@pytest.fixture
def named(tmp_path: Path) -> dict[str, str]:
    names = {"CA_FILE": "ca.crt", "CLIENT__CERT": "client.crt", "CLIENT__KEY": "client.key"}
    for file in names.values():
        (tmp_path / file).touch()
    return {TLS + name: str(tmp_path / file) for name, file in names.items()}


def test_an_environment_without_certificates_means_no_encryption() -> None:
    assert client_security({}) is None
    assert client_security({"PATH": "/bin", "DASK_SCHEDULER_ADDRESS": "tcp://x"}) is None


def test_certificates_of_the_environment_are_used_and_encryption_is_required(named: dict[str, str]) -> None:
    security = client_security(named)
    assert security is not None
    assert security.require_encryption
    assert security.tls_ca_file == named[TLS + "CA_FILE"]
    assert security.tls_client_cert == named[TLS + "CLIENT__CERT"]
    assert security.tls_client_key == named[TLS + "CLIENT__KEY"]


def test_options_take_precedence_over_the_environment(named: dict[str, str], tmp_path: Path) -> None:
    other = tmp_path / "other.crt"
    other.touch()
    security = role_security("client", named, cert=other)
    assert security is not None
    assert security.tls_client_cert == str(other)
    assert security.tls_client_key == named[TLS + "CLIENT__KEY"]


@pytest.mark.parametrize("missing", ["CA_FILE", "CLIENT__CERT", "CLIENT__KEY"])
def test_incomplete_certificates_are_rejected(named: dict[str, str], missing: str) -> None:
    del named[TLS + missing]
    with pytest.raises(SpecInvalid, match=f"missing: .*{TLS}{missing}") as caught:
        client_security(named)
    assert caught.value.reason == "CertificatesInvalid"


def test_a_file_that_cannot_be_read_is_named(named: dict[str, str]) -> None:
    Path(named[TLS + "CLIENT__KEY"]).unlink()
    with pytest.raises(SpecInvalid, match=r"client\.key cannot be read: No such file"):
        client_security(named)


def test_missing_certificates_mean_that_there_is_no_cluster(named: dict[str, str]) -> None:
    for path in named.values():
        Path(path).unlink()
    with pytest.raises(RunFailed, match=r"no Dask cluster for this run: .*client\.key") as caught:
        client_security(named)
    assert caught.value.reason == "SchedulerUnavailable"


def test_a_key_in_place_of_a_path_is_not_shown(named: dict[str, str]) -> None:
    named[TLS + "CLIENT__KEY"] = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----"
    with pytest.raises(SpecInvalid, match="must be the path of a file") as caught:
        client_security(named)
    assert "c2VjcmV0" not in caught.value.message


def test_encryption_without_certificates_is_rejected() -> None:
    with pytest.raises(SpecInvalid, match="DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION is set"):
        client_security({"DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "True"})
