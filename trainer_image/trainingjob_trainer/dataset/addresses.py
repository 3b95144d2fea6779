"""Which addresses an ``https://`` dataset may have, and connections to just those that were checked."""

import ipaddress
import socket
import urllib.request
from collections.abc import Callable, Sequence

import httpx

from trainingjob_trainer.errors import SpecInvalid
from trainingjob_trainer.storage.retry import Again

__all__ = ["CheckedTransport", "Resolve", "is_private", "is_public", "resolve"]

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str], Sequence[str]]
"""From a host name or a written address to its addresses, in order of preference; raises `OSError`."""

_MOST_ADDRESSES = 8
_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")  # IPv4 behind NAT64, RFC 6052
_UNICAST = ipaddress.IPv6Network("2000::/3")  # all that is handed out so far, RFC 4291
_LOCAL = ipaddress.IPv6Network("fc00::/7")  # RFC 4193
_PROTOCOL = ipaddress.IPv4Network("192.0.0.0/24")  # RFC 6890; a cloud has its metadata here
_PRIVATE = tuple(
    ipaddress.IPv4Network(network)
    for network in ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
)


def resolve(host: str) -> tuple[str, ...]:
    """Return the addresses that the system's resolver has for *host*, each once."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


def is_public(text: str) -> bool:
    """Tell whether an address is of the internet, whatever notation it hides in."""
    address = _unwrapped(text)
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not address.is_multicast and address not in _PROTOCOL
    # 6to4 reaches any IPv4 address, where it reaches anything at all.
    return address in _UNICAST and address.is_global and address.sixtofour is None


def is_private(text: str) -> bool:
    """Tell whether an address is of this machine or of a private network.

    Link-local addresses, where clouds hand out their credentials, are neither private nor public.
    """
    address = _unwrapped(text)
    if isinstance(address, ipaddress.IPv4Address):
        return any(address in network for network in _PRIVATE)
    return address.is_loopback or address in _LOCAL


def _unwrapped(text: str) -> IPAddress:
    """Return the IPv4 address inside an IPv6 one that stands for it."""
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _TRANSLATED:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address


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
            addresses = tuple(self._resolve(host))[:_MOST_ADDRESSES]
        except (OSError, UnicodeError):
            addresses = ()
        if not addresses and must_resolve:
            raise Again(f"the host name {host} does not resolve")
        if all(is_public(one) or (self._allow_private and is_private(one)) for one in addresses):
            return addresses
        raise SpecInvalid(
            "AddressNotAllowed",
            f"spec.dataset.uri leads to the host {host}, whose address is not one of the internet; use s3:// "
            "or pvc:// for data inside, or ask the administrator to allow hosts of private networks "
            "(TRAININGJOB_ALLOW_PRIVATE_HTTPS=true; link-local addresses are never allowed)",
        )


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
