"""The S3 client, shared by dataset and output."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

import certifi
import urllib3
from minio import Minio
from minio.credentials import Credentials, IamAwsProvider, Provider

from trainingjob_api import Reason
from trainingjob_trainer.errors import RunFailed, SpecInvalid, TrainingError
from trainingjob_trainer.settings import TrainerSettings
from trainingjob_trainer.storage.addresses import AddressRefused, Resolve, checked_pools, look_up, resolve

__all__ = ["endpoint_of", "read_keys", "s3_client", "trusted"]

_AWS = "https://s3.amazonaws.com"
_KEY, _SECRET, _TOKEN = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"
_MAX_SECRET_BYTES = 16 * 1024
_IDENTITY, _ROLE = "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN"
_CONTAINER = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
_ROLE_SECONDS = 10.0
_OUTAGE = (408, 429, 500, 502, 503, 504)
_STATUS = re.compile(r"HTTP status code (\d{3})$")


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
    lookup
        Looks host names up.

    Raises
    ------
    SpecInvalid
        With reason ``InvalidEndpoint``, ``EndpointNotAllowed`` or ``CredentialsMissing``.
    RunFailed
        With reason ``CredentialsMissing`` if the folder lacks a key.
    """
    address = endpoint_of(endpoint, settings)
    host, secure = _host(address, settings, field)
    return Minio(
        host,
        credentials=provider_of(credentials_dir, environment, field=field),
        secure=secure,
        region=environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or None,
        http_client=_pool(settings, environment, field, lookup),
    )


def _pool(
    settings: TrainerSettings, environment: Mapping[str, str], field: str, lookup: Resolve
) -> urllib3.PoolManager:
    # Repeating is the caller's business, who knows how long it may take; a redirect could leave the
    # endpoints that are allowed.
    pool = urllib3.PoolManager(
        timeout=urllib3.Timeout(
            connect=min(settings.s3_timeout_seconds, 10.0), read=settings.s3_timeout_seconds
        ),
        retries=urllib3.Retry(total=0, redirect=0, raise_on_redirect=False),
        maxsize=4,
        cert_reqs="CERT_REQUIRED",
        ca_certs=trusted(environment),
    )

    def allowed(host: str) -> tuple[str, ...]:
        try:
            return look_up(host, lookup, allow_private=settings.allow_private_endpoints)
        except AddressRefused:
            way = (
                "link-local addresses and metadata services are never allowed"
                if settings.allow_private_endpoints
                else "ask the administrator to allow private networks (TRAININGJOB_ALLOW_PRIVATE_ENDPOINTS)"
            )
            raise SpecInvalid(
                Reason.ADDRESS_NOT_ALLOWED,
                f"{field}.endpoint: the host {host} has an address that S3 may not be asked at ({way}); "
                "use another endpoint",
            ) from None

    pool.pool_classes_by_scheme = checked_pools(allowed)
    return pool


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


def provider_of(folder: Path | None, environment: Mapping[str, str], *, field: str) -> Provider | None:
    """Return what gives each request its credentials, or None where requests are anonymous.

    A cloud role is asked only where there is no folder and no key.

    Raises
    ------
    RunFailed
        With reason ``CredentialsMissing`` if keys of a folder are missing or unusable: another pod mounts
        the Secret again.
    SpecInvalid
        With that reason if those of the environment are.
    """
    if folder is None and not any(environment.get(name, "").strip() for name in (_KEY, _SECRET)):
        return _role(environment, field)
    return _Reread(lambda: _read(folder, environment, field))


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
    pool = urllib3.PoolManager(
        timeout=urllib3.Timeout(connect=_ROLE_SECONDS, read=_ROLE_SECONDS),
        # An outage is raised as such; the caller repeats it.
        retries=urllib3.Retry(
            total=0, redirect=0, raise_on_redirect=False, status_forcelist=_OUTAGE, allowed_methods=None
        ),
        cert_reqs="CERT_REQUIRED",
        ca_certs=trusted(environment),
    )
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

    Parameters
    ----------
    lines
        Whether a value may have several lines.

    Raises
    ------
    RunFailed
        With reason ``CredentialsMissing`` if a required key is missing, or one is not printable ASCII.
    SpecInvalid
        With that reason if there is no folder.
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
