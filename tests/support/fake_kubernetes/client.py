"""A client whose requests go straight to the store, or fail if a test says so."""

import json
from dataclasses import dataclass, field
from types import SimpleNamespace
from urllib.parse import parse_qsl, urlsplit

from support.fake_kubernetes.store import failure, parse


class Stopped(BaseException):
    """The operator's process ended here."""


@dataclass
class Fault:
    """What happens to a request.

    ``error`` is an HTTP status or an exception; ``at`` the number of the matching request (from 0) that it
    happens to, ``times`` to how many; ``after`` whether the store takes the request first.
    """

    error: object
    method: str | None = None
    plural: str | None = None
    at: int = 0
    times: int = 1
    after: bool = False
    writes_only: bool = False
    message: str = "as the test asked for"
    retry_after: float | None = None
    seen: int = field(default=0, init=False)

    def hits(self, method, plural):
        if self.method not in {None, method} or self.plural not in {None, plural}:
            return False
        if self.writes_only and method == "GET":
            return False
        self.seen += 1
        return self.at < self.seen <= self.at + self.times


class DirectClient:
    """Stands in for the library's ApiClient."""

    def __init__(self, store, *faults):
        self.store = store
        self.faults = list(faults)
        self.requests = []
        self.queries = []
        self.stale = {}
        """Paths that are answered from the past: an API server's cache may lag."""
        self.headers = {}
        """Of each answer that is not a fault."""

    async def param_serialize(self, method, path, query_params=(), header_params=None, auth_settings=()):
        query = "&".join(f"{name}={value}" for name, value in query_params or ())
        return method, path + (f"?{query}" if query else ""), header_params, None, None

    async def call_api(self, method, url, header_params=None, body=None, _request_timeout=None):
        assert _request_timeout.total, "every call has a time-out"
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query))
        self.requests.append((method, parts.path))
        self.queries.append((method, query))
        _, plural, _, _, sub = parse(parts.path)
        plural = f"{plural}/{sub}" if sub else plural
        fault = next((fault for fault in self.faults if fault.hits(method, plural)), None)
        if fault is not None and not fault.after:
            return self._fail(fault)
        if method == "GET" and parts.path in self.stale:
            return answer(200, self.stale[parts.path])
        status, data = self.store.handle(method, parts.path, query, body, header_params["Content-Type"])
        if fault is not None:
            return self._fail(fault)
        return answer(status, data, self.headers)

    @staticmethod
    def _fail(fault):
        if isinstance(fault.error, BaseException):
            raise fault.error
        details = {"retryAfterSeconds": fault.retry_after} if fault.retry_after else {}
        return answer(fault.error, failure(fault.error, fault.message, **details))


def answer(status, data, headers=None):
    async def read():
        return json.dumps(data).encode()

    return SimpleNamespace(status=status, headers=headers or {}, response=SimpleNamespace(read=read))
