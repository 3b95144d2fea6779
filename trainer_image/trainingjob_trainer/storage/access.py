"""Whom a connection may reach, and with which keys: addresses, credentials and the S3 client.

Addresses are those of the internet, and private ones where they are allowed.
"""

import ipaddress
import os
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

import certifi
import urllib3
from minio import Minio
from minio.credentials import Credentials, IamAwsProvider, Provider
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from trainingjob_api import Reason
from trainingjob_trainer.errors import RunFailed, SpecInvalid, TrainingError
from trainingjob_trainer.settings import TrainerSettings

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str], Sequence[str]]
"""From a host name or a written address to its addresses, in order of preference; raises `OSError`."""

_MOST_ADDRESSES = 8
_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")  # IPv4 behind NAT64, RFC 6052
_UNICAST = ipaddress.IPv6Network("2000::/3")  # all that is handed out so far, RFC 4291
_LOCAL = ipaddress.IPv6Network("fc00::/7")  # RFC 4193
_PROTOCOL = ipaddress.IPv4Network("192.0.0.0/24")  # RFC 6890; a cloud has its metadata here
_METADATA = frozenset(
    ipaddress.ip_address(address)
    for address in ("100.100.100.200", "168.63.129.16", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254")
)
"""Metadata services outside the link-local range: Alibaba, Azure, AWS (two) and Google."""
_PRIVATE = tuple(
    ipaddress.IPv4Network(network)
    for network in ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
)
_AWS = "https://s3.amazonaws.com"
_KEY, _SECRET, _TOKEN = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"
_MAX_SECRET_BYTES = 16 * 1024
_IDENTITY, _ROLE = "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN"
_CONTAINER = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
_ROLE_SECONDS = 10.0
_OUTAGE = (408, 429, 500, 502, 503, 504)
_STATUS = re.compile(r"HTTP status code (\d{3})$")


def resolve(host: str) -> tuple[str, ...]:
    """Return the addresses that the system's resolver has for *host*, each once."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


def is_public(text: str) -> bool:
    """Return whether an address is on the internet, in whatever notation it is given."""
    address = _unwrapped(text)
    if address in _METADATA:
        return False
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not address.is_multicast and address not in _PROTOCOL
    # 6to4 reaches any IPv4 address, where it reaches anything at all.
    return address in _UNICAST and address.is_global and address.sixtofour is None


def is_private(text: str) -> bool:
    """Return whether an address is of this machine or of a private network.

    Link-local addresses and others where clouds hand out their credentials are neither private nor public.
    """
    address = _unwrapped(text)
    if address in _METADATA:
        return False
    if isinstance(address, ipaddress.IPv4Address):
        return any(address in network for network in _PRIVATE)
    return address.is_loopback or address in _LOCAL


def _unwrapped(text: str) -> IPAddress:
    """Return the IPv4 address that an IPv6 address embeds."""
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _TRANSLATED:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address


def look_up(host: str, resolve: Resolve, *, allow_private: bool) -> tuple[str, ...]:
    """Return the first addresses of *host*, none if it has none.

    Raise `AddressRefused` if one of them is neither of the internet nor, with *allow_private*, private.
    """
    try:
        addresses = tuple(resolve(host))[:_MOST_ADDRESSES]
    except (OSError, UnicodeError):
        return ()
    if all(is_public(address) or (allow_private and is_private(address)) for address in addresses):
        return addresses
    raise AddressRefused(host)


class AddressRefused(Exception):  # noqa: N818  # named by what happens
    """A host has an address that no connection may go to; ``str()`` is the host as it was asked for."""


def _checked_pools(allowed: Callable[[str], Sequence[str]]) -> dict[str, type[HTTPConnectionPool]]:
    """Return pools whose connections go to what *allowed* returns for a host, and nowhere else.

    A name is looked up once for each connection, so that a name server cannot give one answer to the check
    and another to the connection. The certificate is that of the name. What *allowed* raises reaches the
    caller of the client; no address means that the host has none.
    """

    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return _connected(self, super()._new_conn, allowed)

    class Encrypted(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return _connected(self, super()._new_conn, allowed)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class EncryptedPool(HTTPSConnectionPool):
        ConnectionCls = Encrypted

    return {"http": PlainPool, "https": EncryptedPool}


def _connected(
    connection: HTTPConnection, connect: Callable[[], socket.socket], allowed: Callable[[str], Sequence[str]]
) -> socket.socket:
    """Return a socket to the first address that answers."""
    host = connection.host
    addresses = allowed(host)
    if not addresses:
        raise NameResolutionError(host, connection, socket.gaierror("no address"))
    try:
        for address in addresses[:-1]:
            connection.host = address
            try:
                return connect()
            except (NewConnectionError, ConnectTimeoutError):
                continue
        connection.host = addresses[-1]
        return connect()
    finally:
        # The name is what the certificate is compared with.
        connection.host = host


def endpoint_of(endpoint: str | None, settings: TrainerSettings) -> str:
    """Return the endpoint in force: the spec's, else the environment's, else AWS's."""
    return (endpoint or settings.s3_endpoint or _AWS).rstrip("/")


def s3_client(
    endpoint: str | None,
    credentials_dir: Path | None,
    settings: TrainerSettings,
    environment: Mapping[str, str] = os.environ,
    *,
    field: str,
    lookup: Resolve = resolve,
) -> Minio:
    """Return an S3 client with explicit time-outs that neither retries nor follows redirects.

    Parameters
    ----------
    endpoint
        ``https://host[:port]``; None takes that of the settings, else AWS.
    credentials_dir
        Folder with ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY`` and, optionally,
        ``AWS_SESSION_TOKEN`` as files, read again for each request; what is missing there is taken from the
        environment. Without a folder and keys the pod's cloud role is asked; without a role requests are
        anonymous.
    field
        The part of the spec that asks, ``spec.dataset`` or ``spec.output``; errors name it.

    Raises
    ------
    SpecInvalid
        With reason ``InvalidEndpoint``, ``EndpointNotAllowed`` or ``CredentialsMissing``.
    RunFailed
        With reason ``CredentialsMissing`` if the folder lacks a key: another pod mounts the Secret again.
    """
    host, secure = _host(endpoint_of(endpoint, settings), settings, field)

    def allowed(name: str) -> tuple[str, ...]:
        try:
            return look_up(name, lookup, allow_private=settings.allow_private_endpoints)
        except AddressRefused:
            way = (
                "link-local addresses and metadata services are never allowed"
                if settings.allow_private_endpoints
                else "ask the administrator to allow private networks (TRAININGJOB_ALLOW_PRIVATE_ENDPOINTS)"
            )
            raise SpecInvalid(
                Reason.ADDRESS_NOT_ALLOWED,
                f"{field}.endpoint: the host {name} has an address that S3 may not be asked at ({way}); "
                "use another endpoint",
            ) from None

    seconds = settings.s3_timeout_seconds
    pool = _pool(environment, urllib3.Timeout(connect=min(seconds, 10.0), read=seconds))
    pool.pool_classes_by_scheme = _checked_pools(allowed)
    has_keys = any(environment.get(name, "").strip() for name in (_KEY, _SECRET))
    if credentials_dir is None and not has_keys:
        provider = _role(environment, field)
    else:
        provider = _Reread(lambda: _read(credentials_dir, environment, field))
    region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or None
    return Minio(host, credentials=provider, secure=secure, region=region, http_client=pool)


def _pool(environment: Mapping[str, str], timeout: urllib3.Timeout, **retry: Any) -> urllib3.PoolManager:
    # The caller retries: it knows how long that may take. A redirect could leave the allowed endpoints.
    retries = urllib3.Retry(total=0, redirect=0, raise_on_redirect=False, **retry)
    authorities = trusted(environment)
    return urllib3.PoolManager(
        timeout=timeout, retries=retries, maxsize=4, cert_reqs="CERT_REQUIRED", ca_certs=authorities
    )


def _host(address: str, settings: TrainerSettings, field: str) -> tuple[str, bool]:
    """Return host[:port] of an endpoint and whether it is https."""
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    plain = not (parts.path or parts.query or parts.fragment or parts.username or parts.password)
    if parts.scheme not in {"http", "https"} or not parts.hostname or not plain:
        # The address itself stays out of the message: it may hold a password.
        raise SpecInvalid(
            Reason.INVALID_ENDPOINT,
            f"the S3 endpoint of {field} must look like https://host or https://host:port; correct it",
        )
    if settings.allowed_endpoints and parts.hostname not in settings.allowed_endpoints:
        raise SpecInvalid(
            Reason.ENDPOINT_NOT_ALLOWED,
            f"the S3 endpoint {parts.hostname} of {field} is not among the allowed ones "
            f"({', '.join(settings.allowed_endpoints)}); use one of these",
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return (f"{host}:{port}" if port else host), parts.scheme == "https"


def trusted(environment: Mapping[str, str]) -> str:
    """Return the file with the authorities that sign servers' certificates."""
    return environment.get("SSL_CERT_FILE") or certifi.where()


class _Reread(Provider):
    """Reads the keys for each request, since a mounted Secret changes when it is rotated."""

    def __init__(self, read: Callable[[], Credentials]) -> None:
        self._read = read
        self._last = read()

    def retrieve(self) -> Credentials:
        # Storage may still take the last pair; if it does not, its refusal is the better message.
        with suppress(TrainingError, OSError):
            self._last = self._read()
        return self._last


class _Role(Provider):
    """Temporary credentials of a cloud role, renewed when they expire."""

    def __init__(self, provider: Provider, field: str) -> None:
        self._provider = provider
        self._field = field

    def retrieve(self) -> Credentials:
        try:
            return self._provider.retrieve()
        except (ValueError, KeyError, TypeError, AttributeError, ET.ParseError) as error:
            # The text of the error holds the token.
            status = _STATUS.search(str(error))
            cause = f"HTTP status {status.group(1)}" if status else "no usable token file or answer"
            raise SpecInvalid(
                Reason.CREDENTIALS_REFUSED,
                f"{self._field}: the cloud gives no credentials for the pod's service account ({cause}); "
                "check the role in spec.trainer.serviceAccountAnnotations and whom its trust policy names, "
                f"or name a Secret in {self._field}.credentialsSecretRef",
            ) from None


def _role(environment: Mapping[str, str], field: str) -> Provider | None:
    identity = bool(environment.get(_IDENTITY) and environment.get(_ROLE))
    # Without any of these the library would ask the node's metadata service for the node's own role.
    if not identity and not any(environment.get(name) for name in _CONTAINER):
        return None
    # An outage is raised as such; the caller retries.
    timeout = urllib3.Timeout(connect=_ROLE_SECONDS, read=_ROLE_SECONDS)
    pool = _pool(environment, timeout, status_forcelist=_OUTAGE, allowed_methods=None)
    sts = (environment.get("AWS_ENDPOINT_URL_STS") or "").rstrip("/") or None
    provider = IamAwsProvider(
        custom_endpoint=sts if identity else None,
        http_client=pool,
        token_file=environment.get(_IDENTITY) if identity else None,
        role_arn=environment.get(_ROLE),
        role_session_name=environment.get("AWS_ROLE_SESSION_NAME"),
        region=environment.get("AWS_REGION"),
        full_uri=environment.get(_CONTAINER[0]),
        relative_uri=environment.get(_CONTAINER[1]),
    )
    return _Role(provider, field)


def _read(folder: Path | None, environment: Mapping[str, str], field: str) -> Credentials:
    """Return the keys as they are now."""
    values = read_keys((_KEY, _SECRET, _TOKEN), folder, environment, field=field, required=(_KEY, _SECRET))
    return Credentials(values[_KEY], values[_SECRET], values[_TOKEN] or None)


def read_keys(
    names: Sequence[str],
    folder: Path | None,
    environment: Mapping[str, str],
    *,
    field: str,
    required: Sequence[str],
    lines: bool = False,
) -> dict[str, str]:
    """Return the keys of a mounted Secret, else of the environment, as they are now; "" for a missing one.

    Raise ``CredentialsMissing`` if a required key is missing, or one is not printable ASCII or, without
    `lines`, has several lines: `RunFailed` if there is a folder, else `SpecInvalid`.
    """
    error = SpecInvalid if folder is None else RunFailed
    if folder is not None and (folder / "..data").is_dir():
        # The kubelet exchanges this link: all keys are to come from one version of the Secret.
        folder = (folder / "..data").resolve()
    values = {name: _value(name, folder, environment) for name in names}
    missing = [name for name in required if not values[name]]
    if missing:
        raise error(
            Reason.CREDENTIALS_MISSING,
            f"{' and '.join(missing)} is neither in the Secret of {field}.credentialsSecretRef nor in the "
            "environment; add it",
        )
    for name, value in values.items():
        shown = "".join(value.splitlines()) if lines else value
        if not (shown.isascii() and shown.isprintable()):
            raise error(
                Reason.CREDENTIALS_MISSING,
                f"{name} of {field} holds characters that no access key has; write it again",
            )
    return values


def _value(name: str, folder: Path | None, environment: Mapping[str, str]) -> str:
    text = ""
    if folder is not None and (folder / name).is_file():
        with (folder / name).open("rb") as stream:
            text = stream.read(_MAX_SECRET_BYTES).decode("utf-8", errors="replace").strip()
    return text or environment.get(name, "").strip()
