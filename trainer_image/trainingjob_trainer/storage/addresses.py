"""Which addresses a connection may go to: those of the internet, and private ones where they are allowed."""

import ipaddress
import socket
from collections.abc import Callable, Sequence

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

__all__ = ["AddressRefused", "Resolve", "checked_pools", "is_private", "is_public", "look_up", "resolve"]

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


def resolve(host: str) -> tuple[str, ...]:
    """Return the addresses that the system's resolver has for *host*, each once."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


def is_public(text: str) -> bool:
    """Return whether an address is of the internet, whatever notation it hides in."""
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
    """Return the IPv4 address inside an IPv6 one that stands for it."""
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _TRANSLATED:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address


def look_up(host: str, resolve: Resolve, *, allow_private: bool) -> tuple[str, ...]:
    """Return the first addresses of *host*, none if it has none.

    Raises
    ------
    AddressRefused
        If one of them is neither of the internet nor, with *allow_private*, private.
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


def checked_pools(allowed: Callable[[str], Sequence[str]]) -> dict[str, type[HTTPConnectionPool]]:
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
