"""Signatures of a run's reports, by an Ed25519 key that belongs to that run alone."""

import base64
import binascii
from dataclasses import dataclass, field
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

__all__ = ["ReportKey", "is_signed"]

_DOMAIN = b"trainingjob-report-v1\0"
"""No signature over anything else counts as one over a report."""


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
        """Return the key that *pem* holds, as written by :attr:`pem`.

        Raises
        ------
        ValueError
            If it is none.
        """
        key = serialization.load_pem_private_key(pem, password=None)
        if not isinstance(key, Ed25519PrivateKey):
            raise ValueError("the key is not an Ed25519 key")  # noqa: TRY004 - a value that was read, no argument
        return cls(key)

    @property
    def pem(self) -> bytes:
        """The private key, as PEM."""
        return self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

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
    except (InvalidSignature, ValueError, binascii.Error):
        return False
    return True
