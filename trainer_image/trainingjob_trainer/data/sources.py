"""The bytes of a dataset, by the scheme of its address: file, claim, bucket or HTTPS.

HTTPS is off unless the administrator allows it, and reads only from addresses that were checked, redirects
included.
"""

import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from http import HTTPStatus
from pathlib import Path
from urllib.parse import unquote

import httpx

from trainingjob_api import CLUSTER_SCHEMES, OBJECT_STORAGE, Place, Reason, parse_uri, public_uri
from trainingjob_api.storage import Dataset
from trainingjob_trainer.data.scratch import CHUNK
from trainingjob_trainer.errors import DataError, RunFailed, SpecInvalid
from trainingjob_trainer.settings import TrainerSettings
from trainingjob_trainer.storage import OBJECT_STORES, RetryPolicy, Store
from trainingjob_trainer.storage.access import AddressRefused, Resolve, look_up, resolve
from trainingjob_trainer.storage.store import Again, Hidden, Missing, Readable, StoreError

_RETRY = RetryPolicy(attempts=3, deadline_seconds=60.0)
_REDIRECTS = 5


def open_source(dataset: Dataset, settings: TrainerSettings) -> AbstractContextManager[Iterator[bytes]]:
    """Return a context that yields the bytes of the file, chunk by chunk.

    An address that cannot be used raises `SpecInvalid` at once; a file that cannot be read raises `DataError`
    or `RunFailed` on entry or while iterating.
    """
    try:
        place = parse_uri(dataset.uri)
    except ValueError as error:
        raise _uri_invalid(f": {error}") from error
    match place.scheme:
        case "file":
            return _file_chunks(Path(unquote(dataset.uri.removeprefix("file://"))), dataset.uri)
        case "pvc":
            return _file_chunks(_claim_path(place, settings.pvc_root), dataset.uri)
        case scheme if scheme in OBJECT_STORES:
            if not place.root or not place.path:
                raise _uri_invalid(f" must be {scheme}://{OBJECT_STORAGE[scheme].noun}/key; correct it")
            store = OBJECT_STORES[scheme](
                place.root,
                "",
                endpoint=dataset.endpoint,
                credentials_dir=settings.credentials_dir,
                settings=settings,
                field="spec.dataset",
            )
            return object_chunks(store, place.path, dataset.uri)
        case "https":
            return https_chunks(dataset.uri, settings)
        case "http":
            raise _uri_invalid(": http:// is not encrypted; use https://")
        case _:
            raise _uri_invalid(
                f" {dataset.uri!r} has none of the schemes {CLUSTER_SCHEMES}, https://, sample:// or file://"
            )


def _uri_invalid(what: str) -> SpecInvalid:
    return SpecInvalid(Reason.DATASET_URI_INVALID, f"spec.dataset.uri{what}")


def _claim_path(place: Place, root: Path) -> Path:
    claim, inside = place.root, place.path.lstrip("/")
    base = (root / claim).resolve()
    path = (base / inside).resolve()
    if not claim or not inside or base.parent != root.resolve() or not path.is_relative_to(base):
        raise _uri_invalid(" must be pvc://claim/path, with a path that stays inside the claim")
    return path


@contextmanager
def _file_chunks(path: Path, uri: str) -> Iterator[Iterator[bytes]]:
    try:
        if not path.exists():
            raise DataError(Reason.DATASET_NOT_FOUND, f"{uri} does not exist; correct spec.dataset.uri")
        if not path.is_file():
            raise DataError(
                Reason.DATASET_NOT_FOUND, f"{uri} is not a regular file; name a CSV or Parquet file"
            )
        with path.open("rb") as file:
            yield iter(lambda: file.read(CHUNK), b"")
    except OSError as error:
        raise DataError(
            Reason.DATASET_UNREADABLE,
            f"{uri} cannot be read ({error.strerror}); check the file and its permissions",
        ) from error


@contextmanager
def object_chunks(
    store: Store, key: str, uri: str, *, retry: RetryPolicy = _RETRY
) -> Iterator[Iterator[bytes]]:
    """Yield the bytes of an object in a bucket, chunk by chunk; messages hold no credentials.

    Raises
    ------
    SpecInvalid
        ``DatasetUriInvalid``, ``BucketNotFound`` or ``CredentialsRefused``.
    DataError
        ``DatasetNotFound``, or ``DatasetUnreachable``: the storage does not serve this address.
    RunFailed
        ``DatasetUnreachable``: the storage does not answer, or the connection breaks.
    """
    try:
        with ExitStack() as stack:
            stream = _opened(store, key, retry, stack)
            yield iter(lambda: stream.read(CHUNK), b"")
    except StoreError as error:
        raise RunFailed(
            Reason.DATASET_UNREACHABLE, f"The connection broke while {uri} was read ({error})"
        ) from None


def _opened(store: Store, key: str, retry: RetryPolicy, stack: ExitStack) -> Readable:
    try:
        return retry.call(lambda: stack.enter_context(store.get(key)))
    except Hidden as error:
        raise error.refusal from None
    except Missing:
        raise DataError(
            Reason.DATASET_NOT_FOUND,
            f"spec.dataset.uri: {store.where} holds no object {key!r}; correct the key",
        ) from None
    except Again as error:
        raise RunFailed(
            Reason.DATASET_UNREACHABLE,
            f"spec.dataset: {store.where} cannot be reached ({error}); if this persists, check the endpoint "
            "and the network policy",
        ) from None
    except StoreError as error:
        raise DataError(
            Reason.DATASET_UNREACHABLE,
            f"spec.dataset.uri: {store.where} answers {error} for {key!r}; correct the address",
        ) from None
    except ValueError:  # the client checks names before it sends, and the answer after it
        raise _uri_invalid(
            f": the bucket or the key {key!r} is not a valid name, or {store.where} does not answer as its "
            "kind of storage does; correct it"
        ) from None


class CheckedTransport(httpx.BaseTransport):
    """Resolves the host of each request, rejects forbidden addresses, and connects to the others.

    The name is looked up once for each request and the connection goes to an address from that answer, so
    that a name server cannot give one answer to the check and another to the connection. The certificate is
    that of the name. Where the environment names a proxy, the proxy connects, and only names that resolve
    here are checked. In tests, *network* replaces the network and the proxies.
    """

    def __init__(
        self, *, allow_private: bool, network: httpx.BaseTransport | None, resolve: Resolve = resolve
    ) -> None:
        self._allow_private = allow_private
        self._resolve = resolve
        # No connection is kept: one address may have several names, and each needs its own certificate.
        limits = httpx.Limits(max_keepalive_connections=0)
        self._network = network or httpx.HTTPTransport(limits=limits)
        proxy = None if network is not None else _proxy_address()
        self._proxy = httpx.HTTPTransport(proxy=proxy, limits=limits) if proxy else None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send *request* to the first allowed address that accepts a connection."""
        host = request.url.raw_host.decode("ascii")
        proxied = self._proxy is not None and not urllib.request.proxy_bypass(host)
        addresses = self._allowed(host, must_resolve=not proxied)
        if self._proxy is not None and proxied:
            return self._proxy.handle_request(request)
        for address in addresses[:-1]:
            try:
                return self._network.handle_request(_to(address, host, request))
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue
        return self._network.handle_request(_to(addresses[-1], host, request))

    def close(self) -> None:
        """Close all connections."""
        self._network.close()
        if self._proxy is not None:
            self._proxy.close()

    def _allowed(self, host: str, *, must_resolve: bool) -> tuple[str, ...]:
        try:
            addresses = look_up(host, self._resolve, allow_private=self._allow_private)
        except AddressRefused:
            raise SpecInvalid(
                Reason.ADDRESS_NOT_ALLOWED,
                f"spec.dataset.uri leads to the host {host}, whose address is not a public one; use s3:// or "
                "pvc:// for data inside, or ask the administrator to allow hosts of private networks "
                "(TRAININGJOB_ALLOW_PRIVATE_HTTPS=true; link-local addresses are never allowed)",
            ) from None
        if not addresses and must_resolve:
            raise Again(f"the host name {host} does not resolve")
        return addresses


def _proxy_address() -> str | None:
    proxies = urllib.request.getproxies()
    address = proxies.get("https") or proxies.get("all")
    return f"http://{address}" if address and "://" not in address else address


def _to(address: str, host: str, request: httpx.Request) -> httpx.Request:
    """Return *request* as one to *address*, with name and certificate of *host*."""
    return httpx.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=request.headers,
        stream=request.stream,
        extensions={**request.extensions, "sni_hostname": host},
    )


@contextmanager
def https_chunks(
    uri: str,
    settings: TrainerSettings,
    *,
    transport: httpx.BaseTransport | None = None,
    lookup: Resolve = resolve,
    retry: RetryPolicy = _RETRY,
) -> Iterator[Iterator[bytes]]:
    """Yield the body at *uri*, chunk by chunk, as the server stores it.

    Raises
    ------
    SpecInvalid
        ``HttpsNotAllowed``, or, also after a redirect, ``EndpointNotAllowed``, ``AddressNotAllowed`` or
        ``DatasetUriInvalid``.
    DataError
        ``DatasetNotFound``, ``CredentialsRefused``, or ``DatasetUnreachable``: the server answers with
        something else than a table.
    RunFailed
        ``DatasetUnreachable``: the server does not answer, or the connection breaks.
    """
    if not settings.allow_https:
        raise SpecInvalid(
            Reason.HTTPS_NOT_ALLOWED,
            "spec.dataset.uri: https:// datasets are switched off here; use s3:// or pvc://, or ask the "
            "administrator to allow them (TRAININGJOB_ALLOW_HTTPS=true)",
        )
    checked = CheckedTransport(allow_private=settings.allow_private_https, network=transport, resolve=lookup)
    with httpx.Client(
        transport=checked,
        timeout=settings.https_timeout_seconds,
        follow_redirects=False,
        headers={"Accept-Encoding": "identity"},
    ) as client:
        try:
            response = retry.call(lambda: _open(client, uri, settings))
        except Again as error:
            raise RunFailed(
                Reason.DATASET_UNREACHABLE,
                f"spec.dataset.uri: {public_uri(uri)} cannot be downloaded ({error}); if this persists, "
                "check the address and the network policy",
            ) from error
        try:
            # Raw, since a transparent decoder would inflate a bomb before it can be counted.
            yield response.iter_raw(CHUNK)
        except httpx.HTTPError as error:
            raise RunFailed(
                Reason.DATASET_UNREACHABLE,
                f"The connection broke while {public_uri(uri)} was downloaded ({type(error).__name__})",
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
            f"spec.dataset.uri leads to {public_uri(str(url))}; every address on the way "
            "must be https:// without user name or password",
        )
    if settings.allowed_endpoints and url.host not in settings.allowed_endpoints:
        raise SpecInvalid(
            Reason.ENDPOINT_NOT_ALLOWED,
            f"spec.dataset.uri leads to the host {url.host}, which is not allowed; use one of "
            f"{', '.join(settings.allowed_endpoints)}",
        )


def _refused(response: httpx.Response) -> Exception:
    status = response.status_code
    where = f"spec.dataset.uri: {public_uri(str(response.url))}"
    if status in {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}:
        return DataError(
            Reason.DATASET_NOT_FOUND, f"{where} does not exist (status {status}); correct the address"
        )
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return DataError(
            Reason.CREDENTIALS_REFUSED,
            f"{where} may not be read (status {status}); use an address that needs no login, or s3:// with "
            "credentials",
        )
    if status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.REQUEST_TIMEOUT} or response.is_server_error:
        return Again(f"status {status}")
    return DataError(Reason.DATASET_UNREACHABLE, f"{where} answers with status {status}; correct the address")
