"""Tables over HTTPS: off unless allowed, every redirect checked like the first address."""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

import httpx

from trainingjob_api import Reason
from trainingjob_trainer.data.addresses import CheckedTransport
from trainingjob_trainer.data.files import CHUNK
from trainingjob_trainer.errors import DataError, RunFailed, SpecInvalid
from trainingjob_trainer.settings import TrainerSettings
from trainingjob_trainer.storage.addresses import Resolve, resolve
from trainingjob_trainer.storage.retry import Again, RetryPolicy

__all__ = ["https_chunks"]

_REDIRECTS = 5
_OPENING = RetryPolicy(attempts=3, deadline_seconds=60.0)


@contextmanager
def https_chunks(
    uri: str,
    settings: TrainerSettings,
    *,
    transport: httpx.BaseTransport | None = None,
    lookup: Resolve = resolve,
    retry: RetryPolicy = _OPENING,
) -> Iterator[Iterator[bytes]]:
    """Yield the body at *uri*, chunk by chunk, as the server stores it.

    Parameters
    ----------
    uri
        An ``https://`` address without user information.
    settings
        ``allow_https``, ``allow_private_https``, ``https_timeout_seconds`` and ``allowed_endpoints``.
    transport
        Replaces the network, and the proxies that the environment names.
    lookup
        Looks host names up.
    retry
        How often the address is asked for.

    Raises
    ------
    SpecInvalid
        ``HttpsNotAllowed``, or, after a redirect too, ``EndpointNotAllowed``, ``AddressNotAllowed`` or
        ``DatasetUriInvalid``.
    DataError
        ``DatasetNotFound``, ``CredentialsRefused``, or ``DatasetUnreachable`` if the server answers with
        something else than a table.
    RunFailed
        ``DatasetUnreachable`` if the server is away, or the connection breaks on the way.
    """
    if not settings.allow_https:
        raise SpecInvalid(
            Reason.HTTPS_NOT_ALLOWED,
            "spec.dataset.uri: https:// datasets are switched off here; use s3:// or pvc://, or ask the "
            "administrator to allow them (TRAININGJOB_ALLOW_HTTPS=true)",
        )
    with httpx.Client(
        transport=CheckedTransport(
            allow_private=settings.allow_private_https, network=transport, resolve=lookup
        ),
        timeout=settings.https_timeout_seconds,
        follow_redirects=False,
        headers={"Accept-Encoding": "identity"},
    ) as client:
        try:
            response = retry.call(lambda: _open(client, uri, settings))
        except Again as error:
            raise RunFailed(
                Reason.DATASET_UNREACHABLE,
                f"spec.dataset.uri: {_shown(uri)} cannot be downloaded ({error}); if this goes on, check the "
                "address and the network policy",
            ) from error
        try:
            # Raw, since a transparent decoder would inflate a bomb before it can be counted.
            yield response.iter_raw(CHUNK)
        except httpx.HTTPError as error:
            raise RunFailed(
                Reason.DATASET_UNREACHABLE,
                f"the connection broke while {_shown(uri)} was downloaded ({type(error).__name__})",
            ) from error
        finally:
            response.close()


def _open(client: httpx.Client, uri: str, settings: TrainerSettings) -> httpx.Response:
    """Follow redirects, checking each, to a response whose body is still to be read."""
    url = _parse(uri)
    for _ in range(_REDIRECTS + 1):
        _check(url, settings)
        try:
            response = client.send(client.build_request("GET", url), stream=True)
        except httpx.HTTPError as error:
            raise Again(type(error).__name__) from error
        if response.status_code == HTTPStatus.OK:
            return response
        response.close()
        if not response.has_redirect_location:
            raise _refused(response)
        url = _parse(str(response.url.join(_parse(response.headers["Location"]))))
    raise DataError(
        Reason.DATASET_UNREACHABLE, f"spec.dataset.uri redirects more than {_REDIRECTS} times; correct it"
    )


def _parse(uri: str) -> httpx.URL:
    try:
        return httpx.URL(uri)
    except httpx.InvalidURL as error:
        raise SpecInvalid(Reason.DATASET_URI_INVALID, f"spec.dataset.uri: {error}; correct it") from error


def _check(url: httpx.URL, settings: TrainerSettings) -> None:
    if url.scheme != "https" or not url.host or url.userinfo:
        raise SpecInvalid(
            Reason.DATASET_URI_INVALID,
            f"spec.dataset.uri leads to {_shown(url)}; it must be https:// all the way, without user name or "
            "password",
        )
    if settings.allowed_endpoints and url.host not in settings.allowed_endpoints:
        raise SpecInvalid(
            Reason.ENDPOINT_NOT_ALLOWED,
            f"spec.dataset.uri leads to the host {url.host}, which is not among the allowed ones; use one of "
            f"{', '.join(settings.allowed_endpoints)}",
        )


def _refused(response: httpx.Response) -> Exception:
    shown, status = _shown(response.url), response.status_code
    if status in {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}:
        return DataError(
            Reason.DATASET_NOT_FOUND,
            f"spec.dataset.uri: {shown} does not exist (status {status}); correct it",
        )
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return DataError(
            Reason.CREDENTIALS_REFUSED,
            f"spec.dataset.uri: {shown} may not be read (status {status}); use an address that needs no "
            "login, or s3:// with credentials",
        )
    if status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.REQUEST_TIMEOUT} or response.is_server_error:
        return Again(f"status {status}")
    return DataError(
        Reason.DATASET_UNREACHABLE,
        f"spec.dataset.uri: {shown} answers with status {status}; correct the address",
    )


def _shown(uri: httpx.URL | str) -> str:
    """Return *uri* without what may be secret in it: user information, query and fragment."""
    url = httpx.URL(uri)
    return f"{url.scheme}://{url.host}{url.path}"
