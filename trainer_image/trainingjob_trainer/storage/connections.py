"""Connections of the S3 client, to just the addresses that were checked."""

import socket
from collections.abc import Callable, Sequence

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

__all__ = ["checked_pools"]


def checked_pools(allowed: Callable[[str], Sequence[str]]) -> dict[str, type[HTTPConnectionPool]]:
    """Return pools whose connections go to what *allowed* returns for a host, and nowhere else.

    A name is looked up once for each connection, so that a name server cannot give one answer to the check
    and another to the connection. The certificate is that of the name.

    Parameters
    ----------
    allowed
        From a host name, or a written address, to addresses; none if it has none. What it raises reaches the
        caller of the client.
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
