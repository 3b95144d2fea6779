"""`trainingjob certs` signs certificates, limits who can read them and overwrites no file."""

import ipaddress
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID
from typer.testing import CliRunner, Result

from trainingjob_trainer.cli import app

ROLES = ("scheduler", "worker", "client")


def certs(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["certs", *arguments])


def load(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_each_role_has_a_key_and_a_certificate_of_one_authority(tmp_path: Path) -> None:
    folder = tmp_path / "tls"
    hosts = ("--host", "scheduler.example", "--host", "10.0.0.7")
    done = certs(str(folder), "--days", "30", *hosts, "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert {Path(name).name for name in document["files"]} == {path.name for path in folder.iterdir()}
    assert folder.stat().st_mode & 0o777 == 0o700
    authority = load(folder / "ca.crt")
    authority.verify_directly_issued_by(authority)
    assert authority.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    for role in ROLES:
        certificate = load(folder / f"{role}.crt")
        certificate.verify_directly_issued_by(authority)
        assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        left = certificate.not_valid_after_utc - datetime.now(UTC)
        assert timedelta(days=29) < left <= timedelta(days=30)
        key = load_pem_private_key((folder / f"{role}.key").read_bytes(), None)
        assert key.public_key() == certificate.public_key()
        assert (folder / f"{role}.key").stat().st_mode & 0o777 == 0o600
        usage = set(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
        serves = ExtendedKeyUsageOID.SERVER_AUTH in usage
        assert serves == (role != "client")
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        listed = "scheduler.example" in names.get_values_for_type(x509.DNSName)
        addressed = ipaddress.ip_address("10.0.0.7") in names.get_values_for_type(x509.IPAddress)
        assert listed == addressed == (role != "client")


def test_files_are_overwritten_only_on_request(tmp_path: Path) -> None:
    assert certs(str(tmp_path), "--keep-ca-key").exit_code == 0
    assert (tmp_path / "ca.key").stat().st_mode & 0o777 == 0o600
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    refused = certs(str(tmp_path))
    assert refused.exit_code == 2
    assert "reason: CertificatesExist" in refused.stderr
    assert "--force overwrites" in refused.stderr
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    again = certs(str(tmp_path), "--force", "--quiet")
    assert again.exit_code == 0
    assert len(again.stdout.splitlines()) == 1
    # The first authority's key would be of no use.
    assert not (tmp_path / "ca.key").exists()
    assert all((tmp_path / name).read_bytes() != before[name] for name in before if name != "ca.key")


def test_a_link_in_the_way_is_replaced_and_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("kept")
    folder = tmp_path / "tls"
    folder.mkdir()
    (folder / "worker.key").symlink_to(precious)
    assert certs(str(folder), "--force").exit_code == 0
    assert precious.read_text() == "kept"
    assert not (folder / "worker.key").is_symlink()


def test_the_output_names_the_options_of_each_role(tmp_path: Path) -> None:
    text = certs(str(tmp_path)).stdout
    assert f"trainingjob worker --tls-ca-file {tmp_path}/ca.crt --tls-cert {tmp_path}/worker.crt" in text
    assert f"DASK_DISTRIBUTED__COMM__TLS__CLIENT__KEY={tmp_path}/client.key" in text
    assert "the authority's key was deleted" in text


@pytest.mark.parametrize("host", ["", "a b", "tcp://host", "-x-", "höst", "x" * 300])
def test_an_invalid_host_is_rejected(tmp_path: Path, host: str) -> None:
    refused = certs(str(tmp_path), f"--host={host}")
    assert refused.exit_code == 2
    assert "reason: HostInvalid" in refused.stderr
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused = certs(str(tmp_path / "file" / "tls"))
    assert refused.exit_code == 1
    assert "Not a directory" in refused.stderr
