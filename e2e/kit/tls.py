"""TLS in front of the bucket, with a certificate that no public authority has signed."""

import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from support.loopback import certificate

__all__ = ["tls_in_front"]

CHUNK = 64 * 1024


@contextmanager
def tls_in_front(endpoint: str, folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the ``https://`` address that leads to *endpoint* on this machine, and the authority as PEM."""
    address = urlsplit(endpoint)
    pem = certificate(str(address.hostname), folder / "server.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem)

    class Forward(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with (
                suppress(OSError),
                context.wrap_socket(self.request, server_side=True) as outside,
                socket.create_connection((address.hostname, address.port)) as inside,
            ):
                back = threading.Thread(target=_copy, args=(inside, outside), daemon=True)
                back.start()
                _copy(outside, inside)
                back.join()

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

    with Server((str(address.hostname), 0), Forward) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        text = pem.read_text()
        yield f"https://{address.hostname}:{server.server_address[1]}", text[text.index("-----BEGIN CERT") :]
        server.shutdown()


def _copy(source: socket.socket, goal: socket.socket) -> None:
    """Copy until *source* ends, then shut *goal* down."""
    with suppress(OSError):
        while data := source.recv(CHUNK):
            goal.sendall(data)
    with suppress(OSError):
        goal.shutdown(socket.SHUT_RDWR)
