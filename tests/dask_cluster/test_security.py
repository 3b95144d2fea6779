"""Which certificates are used, and that half of them is an error."""

from pathlib import Path

import pytest

from trainingjob_trainer.dask_cluster.security import CertificateFiles, client_security, role_security
from trainingjob_trainer.errors import RunFailed, SpecInvalid

TLS = "DASK_DISTRIBUTED__COMM__TLS__"


@pytest.fixture
def named(tmp_path: Path) -> dict[str, str]:
    names = {"CA_FILE": "ca.crt", "CLIENT__CERT": "client.crt", "CLIENT__KEY": "client.key"}
    for file in names.values():
        (tmp_path / file).touch()
    return {TLS + name: str(tmp_path / file) for name, file in names.items()}


def test_without_certificates_there_is_none() -> None:
    assert client_security({}) is None
    assert client_security({"PATH": "/bin", "DASK_SCHEDULER_ADDRESS": "tcp://x"}) is None


def test_certificates_of_the_environment_are_used_and_encryption_is_demanded(named: dict[str, str]) -> None:
    security = client_security(named)
    assert security is not None
    assert security.require_encryption
    assert security.tls_ca_file == named[TLS + "CA_FILE"]
    assert security.tls_client_cert == named[TLS + "CLIENT__CERT"]
    assert security.tls_client_key == named[TLS + "CLIENT__KEY"]


def test_options_come_before_the_environment(named: dict[str, str], tmp_path: Path) -> None:
    other = tmp_path / "other.crt"
    other.touch()
    security = role_security("client", CertificateFiles(cert=other), named)
    assert security is not None
    assert security.tls_client_cert == str(other)
    assert security.tls_client_key == named[TLS + "CLIENT__KEY"]


@pytest.mark.parametrize("missing", ["CA_FILE", "CLIENT__CERT", "CLIENT__KEY"])
def test_half_of_them_is_refused(named: dict[str, str], missing: str) -> None:
    del named[TLS + missing]
    with pytest.raises(SpecInvalid, match=f"missing: .*{TLS}{missing}") as caught:
        client_security(named)
    assert caught.value.reason == "CertificatesInvalid"


def test_a_file_that_cannot_be_read_is_named(named: dict[str, str]) -> None:
    Path(named[TLS + "CLIENT__KEY"]).unlink()
    with pytest.raises(SpecInvalid, match=r"client\.key cannot be read: No such file"):
        client_security(named)


def test_certificates_none_of_which_is_there_mean_that_no_cluster_is(named: dict[str, str]) -> None:
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


def test_encryption_without_certificates_is_refused() -> None:
    with pytest.raises(SpecInvalid, match="DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION is set"):
        client_security({"DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "True"})
