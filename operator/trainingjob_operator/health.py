"""Liveness, readiness and metrics on one port.

Live: the loop answers and no pass hangs. Ready: all jobs have been listed once, and what a list shows also
arrives by the watch, which would not be so behind a half-open connection.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from trainingjob_operator.reconciler import JobKey

__all__ = ["Health", "serve"]

WATCH_LAG_SECONDS: Final = 60.0
"""How much later than a list the watch may deliver the same version."""
STUCK_SECONDS: Final = 300.0
"""A pass has a bounded number of calls, each with a time-out: one this long hangs."""


class Health:
    """State of the watch, for readiness; *clock* returns monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._delivered: dict[JobKey, str] = {}
        self._awaited: dict[JobKey, float] = {}
        self._last_event = float("-inf")
        self._listed = False

    def delivered(self, key: JobKey, version: str | None) -> None:
        """Record what the watch delivered."""
        self._last_event = self._clock()
        if version is not None:
            self._delivered[key] = version
            self._awaited.pop(key, None)

    def listed(self, versions: dict[JobKey, str]) -> None:
        """Record what a whole list showed: versions that the watch has to deliver, too."""
        now = self._clock()
        self._listed = True
        self._delivered = {key: version for key, version in self._delivered.items() if key in versions}
        late = [key for key, version in versions.items() if _behind(self._delivered.get(key), version)]
        self._awaited = {key: self._awaited.get(key, now) for key in late}

    def stalled(self) -> bool:
        """Return whether the watch delivers nothing although something has changed."""
        oldest = min(self._awaited.values(), default=None)
        if oldest is None:
            return False
        # The next list makes up for one lost event; a watch that delivers others is alive.
        return self._clock() - oldest > WATCH_LAG_SECONDS and self._last_event < oldest

    @property
    def ready(self) -> bool:
        """Whether the operator sees changes."""
        return self._listed and not self.stalled()


async def serve(
    port: int, health: Health, longest_pass: Callable[[], float], registry: CollectorRegistry
) -> Callable[[], Awaitable[None]]:
    """Start the server on *port*; return what stops it, which may be called twice."""

    async def healthz(_: web.Request) -> web.Response:
        stuck = longest_pass() > STUCK_SECONDS
        return web.Response(status=500 if stuck else 200, text="a pass hangs" if stuck else "ok")

    async def readyz(_: web.Request) -> web.Response:
        if health.ready:
            return web.Response(text="ok")
        text = "the watch delivers nothing" if health.stalled() else "jobs have not been listed yet"
        return web.Response(status=503, text=text)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, port=port).start()
    return runner.cleanup


def _behind(delivered: str | None, listed: str) -> bool:
    """Return whether the watch has yet to deliver *listed*; it may be ahead of a list by now."""
    if delivered is None or not (delivered.isdecimal() and listed.isdecimal()):
        return delivered != listed
    return int(delivered) < int(listed)
