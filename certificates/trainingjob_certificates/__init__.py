"""A certificate authority for one Dask cluster, with the certificates of scheduler, worker and client.

Dask checks that the authority has signed a peer's certificate, and that the certificate is for the peer's
side. A client's certificate is for connecting only: it cannot be used to impersonate a scheduler.
"""

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

__all__ = ["ROLES", "CertificateSet", "Role", "make"]

Role = Literal["scheduler", "worker", "client"]
ROLES: tuple[Role, ...] = ("scheduler", "worker", "client")
_HOST_NAME = r"(?=.{1,253}$)[A-Za-z0-9_*]([A-Za-z0-9_.-]*[A-Za-z0-9])?"
_SLACK = timedelta(hours=1)
_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateSet:
    """Files by name, as PEM.

    Parameters
    ----------
    files
        ``ca.crt``, and for each role ``<role>.crt`` and ``<role>.key``; ``ca.key`` only if it was asked for.
    expires
        When all of them do.
    """

    files: Mapping[str, bytes]
    expires: datetime


def make(*, valid: timedelta, hosts: Sequence[str] = (), keep_ca_key: bool = False) -> CertificateSet:
    """Make a certificate authority and a certificate for each role.

    Parameters
    ----------
    valid
        How long, from now on.
    hosts
        Names and addresses of scheduler and workers. Dask does not compare them; other programs may.
    keep_ca_key
        Whether the authority can sign more later.

    Raises
    ------
    ValueError
        If one of `hosts` is neither a name nor an address; the message says which.
    """
    names = [_general_name(host) for host in hosts]
    now = datetime.now(UTC)
    expires = now + valid
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name("trainingjob-dask-ca")
    builder = _builder(subject, subject, key.public_key(), now, expires)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    authority = builder.add_extension(_usage("key_cert_sign", "crl_sign"), critical=True).sign(
        key, hashes.SHA256()
    )
    files = {"ca.crt": _pem(authority)}
    if keep_ca_key:
        files["ca.key"] = _key_pem(key)
    for role in ROLES:
        own = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name(f"trainingjob-dask-{role}"), subject, own.public_key(), now, expires)
        for extension, critical in _leaf_extensions(role, names, key.public_key()):
            builder = builder.add_extension(extension, critical=critical)
        files[f"{role}.crt"] = _pem(builder.sign(key, hashes.SHA256()))
        files[f"{role}.key"] = _key_pem(own)
    return CertificateSet(files=files, expires=expires)


def _leaf_extensions(
    role: Role, names: Sequence[x509.GeneralName], authority: ec.EllipticCurvePublicKey
) -> Iterable[tuple[x509.ExtensionType, bool]]:
    yield x509.BasicConstraints(ca=False, path_length=None), True
    yield _usage("digital_signature"), True
    client, server = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
    yield x509.ExtendedKeyUsage([client] if role == "client" else [client, server]), False
    yield x509.AuthorityKeyIdentifier.from_issuer_public_key(authority), False
    listed = () if role == "client" else names
    yield x509.SubjectAlternativeName([x509.DNSName(f"trainingjob-dask-{role}"), *listed]), False


def _usage(*allowed: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{usage: usage in allowed for usage in _USAGES})


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    now: datetime,
    expires: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SLACK)  # clocks differ
        .not_valid_after(expires)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        if re.fullmatch(_HOST_NAME, host):
            return x509.DNSName(host)
    raise ValueError(f"{host!r} is neither a host name (in ASCII) nor an address")


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
