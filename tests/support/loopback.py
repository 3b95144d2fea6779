"""HTTP servers on this machine, plain or with a certificate made for the test; each keeps its requests."""

import datetime as dt
import ipaddress
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOST = "127.0.0.1"


class Asked(NamedTuple):
    """A request that arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""


class Answer(NamedTuple):
    """What a server answers."""

    status: int = 200
    headers: dict[str, str] = {}  # noqa: RUF012  # a NamedTuple takes no factory, and no code writes to it
    body: bytes = b""


class Server(ThreadingHTTPServer):
    """Answers every request with `answer`, and keeps them all in `asked`."""

    def __init__(
        self, answer: Callable[[Asked], Answer], pem: Path | None, *, keeps_connections: bool
    ) -> None:
        self.answer = answer
        self.keeps_connections = keeps_connections
        self.asked: list[Asked] = []
        super().__init__((HOST, 0), _Handler)
        self.scheme = "http" if pem is None else "https"
        if pem is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(pem)
            self.socket = context.wrap_socket(self.socket, server_side=True)

    @property
    def port(self) -> int:
        return self.server_address[1]

    @property
    def uri(self) -> str:
        return f"{self.scheme}://{HOST}:{self.port}"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def setup(self) -> None:
        super().setup()
        self.protocol_version = "HTTP/1.1" if self.server.keeps_connections else "HTTP/1.0"

    def _reply(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(self.command, self.path, headers, body)
        self.server.asked.append(asked)
        answer = self.server.answer(asked)
        self.send_response(answer.status)
        for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = do_PATCH = _reply  # noqa: N815

    def log_message(self, *_args: object) -> None:
        pass


@contextmanager
def serving(
    answer: Callable[[Asked], Answer] = lambda _: Answer(),
    pem: Path | None = None,
    *,
    keeps_connections: bool = False,
) -> Iterator[Server]:
    """Serve, with TLS if *pem* holds a key and its certificate."""
    with Server(answer, pem, keeps_connections=keeps_connections) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def certificate(name: str, path: Path, *, ca: bool = True) -> Path:
    """Write a key and a certificate that it has signed itself, for the host or address *name* alone.

    Rustls takes no certificate of an authority (*ca*) as that of a host.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([_general_name(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + built.public_bytes(serialization.Encoding.PEM))
    return path


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


@contextmanager
def tunnelling(target: Server) -> Iterator[tuple[str, list[bytes]]]:
    """Be a proxy to *target*, whatever it is asked for; yield its address and the requests."""
    lines: list[bytes] = []

    class Tunnel(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            lines.append(self.rfile.readline().strip())
            while self.rfile.readline().strip():
                pass
            with socket.create_connection((HOST, target.port)) as there:
                self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                back = threading.Thread(target=_pump, args=(there, self.connection), daemon=True)
                back.start()
                _pump(self.connection, there)
                back.join(10)

    class Proxy(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Proxy((HOST, 0), Tunnel) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://{HOST}:{proxy.server_address[1]}", lines
        finally:
            proxy.shutdown()
            thread.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
