"""The store behind HTTP, for clients that watch."""

import asyncio
import json
import threading
from contextlib import suppress

from aiohttp import web

from support.fake_kubernetes.store import RESOURCES, WITH_STATUS, failure, parse

VERBS = ["create", "delete", "get", "list", "patch", "update", "watch"]
NOTICE_SECONDS = 0.01
"""How soon a watch notices what has changed."""


class Server:
    """An API server on a free port of this machine, in a thread of its own.

    Kopf waits for every task of its loop when it ends, so that a server must not share it.

    ``drop`` names events, as (plural, type), of which the next one is lost; ``expire`` how many watches
    are answered with 410; ``deaf`` whether watches lose everything, as behind a half-open connection.
    """

    def __init__(self, store):
        self.store = store
        self.drop = set()
        self.dropped = set()
        self.expire = 0
        self.deaf = False
        self.watches = 0
        self.agents = set()
        self.address = ""
        self._started = threading.Event()

    def __enter__(self):
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        assert self._started.wait(30)
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)

    async def _serve(self):
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.address = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
        self._started.set()
        await self._stop.wait()
        await runner.cleanup()

    async def _answer(self, request):
        self.agents.add(request.headers.get("User-Agent", ""))
        known = discovery(request.path)
        if known is not None:
            return web.json_response(known)
        if request.query.get("watch"):
            return await self._watch(request)
        body = await request.json() if request.can_read_body else None
        status, data = self.store.handle(
            request.method, request.path, dict(request.query), body, request.content_type
        )
        return web.json_response(data, status=status)

    async def _watch(self, request):
        _, plural, namespace, _, _ = parse(request.path)
        since = int(request.query.get("resourceVersion") or 0)
        response = web.StreamResponse()
        await response.prepare(request)
        self.watches += 1
        if self.expire:
            self.expire -= 1
            gone = {"type": "ERROR", "object": failure(410, "too old")}
            await response.write(json.dumps(gone).encode() + b"\n")
            return response
        loop = asyncio.get_running_loop()
        end = loop.time() + float(request.query.get("timeoutSeconds") or 60)
        while loop.time() < end and not self._stop.is_set() and request.transport is not None:
            events, now = self.store.since(plural, namespace, since, request.query.get("labelSelector"))
            lines = [json.dumps(event) for event in events if not self._lost(plural, event["type"])]
            with suppress(ConnectionError):
                await response.write("".join(f"{line}\n" for line in lines).encode())
            since = now
            await asyncio.sleep(NOTICE_SECONDS)
        return response

    def _lost(self, plural, kind):
        if self.deaf:
            return True
        if (plural, kind) not in self.drop:
            return False
        self.drop.discard((plural, kind))
        self.dropped.add((plural, kind))
        return True


def discovery(path):
    """Return what clients ask first: which kinds there are."""
    path = path.rstrip("/")
    if path == "/version":
        return {"major": "1", "minor": "36", "gitVersion": "v1.36.0"}
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        versions = [root.removeprefix("/apis/") for root in RESOURCES if root.startswith("/apis/")]
        groups = [
            {
                "name": version.split("/")[0],
                "versions": [{"groupVersion": version, "version": version.split("/")[1]}],
                "preferredVersion": {"groupVersion": version, "version": version.split("/")[1]},
            }
            for version in versions
        ]
        return {"kind": "APIGroupList", "groups": groups}
    if path not in RESOURCES:
        return None
    found = [
        {
            "name": plural + sub,
            "singularName": kind.lower(),
            "namespaced": plural != "namespaces",
            "kind": kind,
            "verbs": VERBS,
        }
        for plural, kind in RESOURCES[path].items()
        for sub in (("", "/status") if plural in WITH_STATUS else ("",))
    ]
    version = path.removeprefix("/apis/").removeprefix("/api/")
    return {"kind": "APIResourceList", "groupVersion": version, "resources": found}
