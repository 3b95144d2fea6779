"""Certificates of one Dask cluster, and signatures of a run's reports by a key of that run alone.

Dask checks that the cluster's authority has signed a peer's certificate, and that the certificate is for the
peer's side. A client's certificate is for connecting only: it cannot be used to impersonate a scheduler.
"""

import base64
import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal, Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

__all__ = ["ROLES", "CertificateSet", "ReportKey", "Role", "is_signed", "make"]

Role = Literal["scheduler", "worker", "client"]
ROLES: tuple[Role, ...] = ("scheduler", "worker", "client")
_HOST_NAME = r"(?=.{1,253}$)[A-Za-z0-9_*]([A-Za-z0-9_.-]*[A-Za-z0-9])?"
_SLACK = timedelta(hours=1)
_DOMAIN = b"trainingjob-report-v1\0"
"""No signature over anything else counts as one over a report."""
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
    """PEM files: ``ca.crt``, ``<role>.crt`` and ``<role>.key`` of each role, and on request ``ca.key``."""

    files: Mapping[str, bytes]
    expires: datetime


def make(*, valid: timedelta, hosts: Sequence[str] = (), keep_ca_key: bool = False) -> CertificateSet:
    """Make a certificate authority and a certificate for each role.

    Parameters
    ----------
    valid
        Time from now until all certificates expire.
    hosts
        Names and addresses of scheduler and workers. Dask does not compare them; other programs may.
    keep_ca_key
        Whether ``ca.key`` is returned, which can sign more certificates.

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


@dataclass(frozen=True, slots=True)
class ReportKey:
    """The private key of a run."""

    _key: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def generate(cls) -> Self:
        """Return a new key."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_pem(cls, pem: bytes) -> Self:
        """Return the key that :attr:`pem` wrote.

        Raises
        ------
        ValueError
            If *pem* is not an Ed25519 key.
        """
        key = serialization.load_pem_private_key(pem, password=None)
        if not isinstance(key, Ed25519PrivateKey):
            raise ValueError("the key is not an Ed25519 key")  # noqa: TRY004 - a value that was read, no argument
        return cls(key)

    @property
    def pem(self) -> bytes:
        """The private key, as PEM."""
        return _key_pem(self._key)

    @property
    def public(self) -> str:
        """The public key: 32 bytes in base64."""
        return base64.b64encode(self._key.public_key().public_bytes_raw()).decode()

    def sign(self, text: str) -> str:
        """Return the signature over the report *text*, in base64."""
        return base64.b64encode(self._key.sign(_DOMAIN + text.encode())).decode()


def is_signed(public: str, text: str, signature: str) -> bool:
    """Return whether the key with the half *public* signed the report *text*."""
    try:
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public, validate=True))
        key.verify(base64.b64decode(signature, validate=True), _DOMAIN + text.encode())
    except (InvalidSignature, ValueError):
        return False
    return True


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


def _key_pem(key: ec.EllipticCurvePrivateKey | Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
