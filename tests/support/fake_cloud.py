"""Servers on this machine that speak as much of Google's and Azure's storage as a store needs."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, unquote, urlsplit

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from support.loopback import Answer, Asked, Server, serving

SERVER_TEXT = "text-of-the-server"
"""What no message may repeat."""
_STAMPS = {
    "ETag": '"tag"',
    "Last-Modified": "Sun, 06 Nov 1994 08:49:37 GMT",
    "x-goog-generation": "1",
}


def service_account(**changed: str) -> dict[str, str]:
    """Return the JSON key of a service account."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    found = {"type": "service_account", "private_key_id": "k1", "private_key": pem.decode()}
    return found | {"client_email": "runs@project.example"} | changed


class FakeCloud:
    """Buckets and their objects.

    Parameters
    ----------
    scheme
        ``gs`` or ``az``.
    buckets
        Those that exist.
    """

    def __init__(self, scheme: str, *buckets: str) -> None:
        self.scheme = scheme
        self.buckets = buckets
        self.objects: dict[str, bytes] = {}
        self.labels: dict[str, dict[str, str]] = {}
        self.trouble: Callable[[Asked], Answer | None] = lambda _asked: None
        self._parts: dict[str, dict[str, bytes]] = {}

    @contextmanager
    def running(self) -> Iterator[Server]:
        with serving(self.answer, keeps_connections=True) as server:
            yield server

    def answer(self, asked: Asked) -> Answer:
        """Return the answer of the service."""
        if (trouble := self.trouble(asked)) is not None:
            return trouble
        url = urlsplit(asked.path)
        path = unquote(url.path).lstrip("/")
        query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        if path.partition("/")[0] not in self.buckets:
            code = "NoSuchBucket" if self.scheme == "gs" else "ContainerNotFound"
            return _refusal(404, code)
        if query.get("comp") == "batch":
            return self._delete_batch(asked)
        if {"uploads", "uploadId", "comp"} & set(query):
            return self._upload(path, query, asked)
        match asked.method:
            case "PUT":
                return self._store(path, asked.body, asked.headers)
            case "DELETE":
                return Answer(204) if self._remove(path) else _refusal(404, "NoSuchKey")
            case _ if path in self.objects:
                return Answer(200, _STAMPS, self.objects[path])
            case _:
                return _refusal(404, "NoSuchKey")

    def _store(self, path: str, body: bytes, headers: dict[str, str]) -> Answer:
        self.objects[path] = body
        self.labels[path] = headers
        return Answer(200 if self.scheme == "gs" else 201, _STAMPS)

    def _remove(self, path: str) -> bool:
        return self.objects.pop(path, None) is not None

    def _upload(self, path: str, query: dict[str, str], asked: Asked) -> Answer:
        """Take an upload in parts."""
        parts = self._parts.setdefault(path, {})
        if "uploads" in query:
            self.labels[path] = asked.headers
            body = b"<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>"
            return Answer(200, _STAMPS, body)
        number = query.get("partNumber") or query.get("blockid")
        if number is not None:
            parts[number] = asked.body
            return Answer(200 if self.scheme == "gs" else 201, _STAMPS)
        order = re.findall(r"<(?:Latest|Uncommitted|PartNumber)>([^<]+)<", asked.body.decode())
        self._store(path, b"".join(parts[name] for name in order), self.labels.get(path, asked.headers))
        result = b"<CompleteMultipartUploadResult><ETag>tag</ETag></CompleteMultipartUploadResult>"
        return Answer(200 if self.scheme == "gs" else 201, _STAMPS, result if self.scheme == "gs" else b"")

    def _delete_batch(self, asked: Asked) -> Answer:
        answers = []
        for number, path in enumerate(re.findall(rb"DELETE /?(\S+) HTTP", asked.body)):
            done = self._remove(unquote(path.decode()).partition("?")[0])
            status = "202 Accepted" if done else "404 The specified blob does not exist."
            head = f"--b\r\nContent-Type: application/http\r\nContent-ID: {number}\r\n\r\n"
            answers.append(f"{head}HTTP/1.1 {status}\r\n\r\n")
        body = "".join([*answers, "--b--"]).encode()
        return Answer(202, {"Content-Type": "multipart/mixed; boundary=b"}, body)


def _refusal(status: int, code: str) -> Answer:
    return Answer(status, {}, f"<Error><Code>{code}</Code><Message>{SERVER_TEXT}</Message></Error>".encode())
