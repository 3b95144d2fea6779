"""The S3 client, shared by dataset and output."""

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import urllib3
from minio import Minio

from trainingjob_api import Reason
from trainingjob_trainer.errors import SpecInvalid
from trainingjob_trainer.settings import TrainerSettings
from trainingjob_trainer.storage.addresses import AddressRefused, Resolve, look_up, resolve
from trainingjob_trainer.storage.connections import checked_pools
from trainingjob_trainer.storage.credentials import provider_of, trusted

__all__ = ["endpoint_of", "s3_client"]

_AWS = "https://s3.amazonaws.com"


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
    settings
        Time-out and allowed endpoints.
    environment
        Credentials and ``AWS_REGION``.
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
