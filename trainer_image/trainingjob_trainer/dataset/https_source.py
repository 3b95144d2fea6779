"""Tables over HTTPS: off unless allowed, every redirect checked like the first address."""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

import httpx

from trainingjob_trainer.dataset.files import CHUNK
from trainingjob_trainer.errors import DataError, SpecInvalid
from trainingjob_trainer.settings import TrainerSettings

__all__ = ["https_chunks"]

_REDIRECTS = 5
_CONNECT_RETRIES = 2


@contextmanager
def https_chunks(
    uri: str, settings: TrainerSettings, *, transport: httpx.BaseTransport | None = None
) -> Iterator[Iterator[bytes]]:
    """Yield the body at *uri*, chunk by chunk, as the server stores it.

    Parameters
    ----------
    uri
        An ``https://`` address without user information.
    settings
        ``allow_https``, ``https_timeout_seconds`` and ``allowed_endpoints``.
    transport
        Replaces the network.

    Raises
    ------
    SpecInvalid
        ``HttpsNotAllowed`` or ``EndpointNotAllowed``, after a redirect too.
    DataError
        ``DatasetNotFound``, ``AccessDenied`` or ``StorageUnreachable``.
    """
    if not settings.allow_https:
        raise SpecInvalid(
            "HttpsNotAllowed",
            "spec.dataset.uri: https:// datasets are switched off here; use s3:// or pvc://, or ask the "
            "administrator "
            "to allow them (TRAININGJOB_ALLOW_HTTPS=true)",
        )
    # The environment's proxies and .netrc are not read: the allow-list must see the host that answers, and
    # no password may follow a redirect.
    with httpx.Client(
        transport=transport or httpx.HTTPTransport(retries=_CONNECT_RETRIES),
        timeout=settings.https_timeout_seconds,
        follow_redirects=False,
        trust_env=False,
        headers={"Accept-Encoding": "identity"},
    ) as client:
        url = httpx.URL(uri)
        try:
            for _ in range(_REDIRECTS + 1):
                _check(url, settings)
                with client.stream("GET", url) as response:
                    if response.has_redirect_location:
                        url = response.url.join(response.headers["Location"])
                        continue
                    _check_status(response, uri)
                    # Raw, since a transparent decoder would inflate a bomb before it can be counted.
                    yield response.iter_raw(CHUNK)
                    return
        except httpx.InvalidURL as error:
            raise SpecInvalid("DatasetUriInvalid", f"spec.dataset.uri: {error}") from error
        except httpx.HTTPError as error:
            raise DataError(
                "StorageUnreachable",
                f"{_shown(url)} cannot be downloaded ({type(error).__name__}); check the address and the "
                "network policy",
            ) from error
    raise DataError("StorageUnreachable", f"{_shown(httpx.URL(uri))} redirects more than {_REDIRECTS} times")


def _check(url: httpx.URL, settings: TrainerSettings) -> None:
    if url.scheme != "https" or not url.host or url.userinfo:
        raise SpecInvalid(
            "DatasetUriInvalid",
            f"spec.dataset.uri leads to {_shown(url)}; it must be https:// all the way, without user name "
            "or password",
        )
    if settings.allowed_endpoints and url.host not in settings.allowed_endpoints:
        raise SpecInvalid(
            "EndpointNotAllowed",
            f"spec.dataset.uri leads to the host {url.host}, which is not among the allowed ones; use one of "
            f"{', '.join(settings.allowed_endpoints)}",
        )


def _check_status(response: httpx.Response, uri: str) -> None:
    shown = _shown(httpx.URL(uri))
    status = response.status_code
    if status in {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}:
        raise DataError(
            "DatasetNotFound", f"{shown} does not exist (status {status}); correct spec.dataset.uri"
        )
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        raise DataError(
            "AccessDenied",
            f"{shown} may not be read (status {status}); make it public or use s3:// with credentials",
        )
    if status != HTTPStatus.OK:
        raise DataError("StorageUnreachable", f"{shown} answered with status {status}; try again later")


def _shown(url: httpx.URL) -> str:
    """Return *url* without what may be secret in it: user information, query and fragment."""
    return f"{url.scheme}://{url.host}{url.path}"
