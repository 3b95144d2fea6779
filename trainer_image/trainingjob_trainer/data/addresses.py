"""Connections of ``https://`` datasets, to just the addresses that were checked."""

import urllib.request

import httpx

from trainingjob_api import Reason
from trainingjob_trainer.errors import SpecInvalid
from trainingjob_trainer.storage.addresses import AddressRefused, Resolve, look_up, resolve
from trainingjob_trainer.storage.retry import Again

__all__ = ["CheckedTransport"]


class CheckedTransport(httpx.BaseTransport):
    """Resolves the host of each request, refuses addresses that it must not have, and connects to the others.

    The name is looked up once for each request and the connection goes to an address from that answer, so
    that a name server cannot give one answer to the check and another to the connection. The certificate is
    that of the name. A proxy that the environment names connects by itself: there, only what resolves here
    can be checked.

    Parameters
    ----------
    allow_private
        Whether addresses of this machine and of private networks are allowed.
    network
        Replaces the network, and the proxies that the environment names.
    resolve
        Looks names up.
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
        """Send a request; see the class.

        Raises
        ------
        SpecInvalid
            With reason ``AddressNotAllowed``.
        Again
            If the name does not resolve.
        """
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
                f"spec.dataset.uri leads to the host {host}, whose address is not one of the internet; use "
                "s3:// or pvc:// for data inside, or ask the administrator to allow hosts of private "
                "networks (TRAININGJOB_ALLOW_PRIVATE_HTTPS=true; link-local addresses are never allowed)",
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
