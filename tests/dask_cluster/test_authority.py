"""The uses of the certificates of a cluster, and the uses that they do not allow."""

from datetime import UTC, datetime, timedelta
from itertools import combinations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import (
    ClientVerifier,
    PolicyBuilder,
    ServerVerifier,
    Store,
    VerificationError,
)

from trainingjob_certificates import ROLES, CertificateSet, make

VALID = timedelta(hours=2)


@pytest.fixture(scope="module")
def made() -> CertificateSet:
    return make(valid=VALID, hosts=("scheduler.example", "10.0.0.7"))


def load(made: CertificateSet, role: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(made.files[f"{role}.crt"])


def policy(made: CertificateSet, time: datetime | None = None) -> PolicyBuilder:
    return PolicyBuilder().store(Store([load(made, "ca")])).time(time or datetime.now(UTC))


def as_client(made: CertificateSet, time: datetime | None = None) -> ClientVerifier:
    return policy(made, time).build_client_verifier()


def as_server(made: CertificateSet, host: str = "scheduler.example") -> ServerVerifier:
    return policy(made).build_server_verifier(x509.DNSName(host))


def test_the_three_roles_have_files_and_the_authoritys_key_is_not_written(made: CertificateSet) -> None:
    assert set(made.files) == {"ca.crt", *(f"{role}.{end}" for role in ROLES for end in ("crt", "key"))}
    authority = load(made, "ca").public_key()
    keys = {role: load_pem_private_key(made.files[f"{role}.key"], None).public_key() for role in ROLES}
    assert authority not in keys.values(), "who had its key could sign for anybody"
    assert all(key != other for key, other in combinations(keys.values(), 2))
    assert set(make(valid=VALID, keep_ca_key=True).files) - set(made.files) == {"ca.key"}


def test_each_cluster_has_an_authority_of_its_own(made: CertificateSet) -> None:
    other = make(valid=VALID)
    assert load(other, "ca").public_key() != load(made, "ca").public_key()
    for role in ROLES:
        with pytest.raises(VerificationError):
            as_client(made).verify(load(other, role), [])


@pytest.mark.parametrize("role", ROLES)
def test_all_roles_may_connect_and_all_but_the_client_may_listen(made: CertificateSet, role: str) -> None:
    as_client(made).verify(load(made, role), [])
    if role != "client":
        as_server(made).verify(load(made, role), [])
        with pytest.raises(VerificationError):
            as_server(made, "elsewhere.example").verify(load(made, role), [])
        return
    with pytest.raises(VerificationError):
        as_server(made, "trainingjob-dask-client").verify(load(made, role), [])


def test_certificates_name_the_hosts_of_listening_roles(made: CertificateSet) -> None:
    names = {
        role: load(made, role).extensions.get_extension_for_class(x509.SubjectAlternativeName)
        for role in ROLES
    }
    found = {role: [name.value for name in extension.value] for role, extension in names.items()}
    assert found["client"] == ["trainingjob-dask-client"]
    assert "scheduler.example" in found["scheduler"]
    assert "scheduler.example" in found["worker"]


def test_no_role_can_sign_certificates(made: CertificateSet) -> None:
    authority = load(made, "ca").extensions
    assert authority.get_extension_for_class(x509.BasicConstraints).critical
    assert authority.get_extension_for_class(x509.BasicConstraints).value == x509.BasicConstraints(
        ca=True, path_length=0
    )
    for role in ROLES:
        constraints = load(made, role).extensions.get_extension_for_class(x509.BasicConstraints)
        usage = load(made, role).extensions.get_extension_for_class(x509.KeyUsage)
        assert constraints.critical
        assert usage.critical
        assert not constraints.value.ca
        assert usage.value.digital_signature
        assert not usage.value.key_cert_sign
        assert not usage.value.crl_sign


@pytest.mark.parametrize("role", ["ca", *ROLES])
def test_certificates_expire_with_their_job(made: CertificateSet, role: str) -> None:
    certificate = load(made, role)
    assert certificate.not_valid_after_utc == made.expires.replace(microsecond=0)
    lasts = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert VALID + timedelta(minutes=30) < lasts <= VALID + timedelta(hours=2), "clocks may differ"
    if role != "ca":
        as_client(made, made.expires - timedelta(minutes=1)).verify(certificate, [])
        with pytest.raises(VerificationError):
            as_client(made, made.expires + timedelta(minutes=1)).verify(certificate, [])


def test_certificates_allow_only_the_purpose_of_their_role(made: CertificateSet) -> None:
    client, server = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
    found = {
        role: set(load(made, role).extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
        for role in ROLES
    }
    assert found == {"client": {client}, "scheduler": {client, server}, "worker": {client, server}}
