"""Start-up (``python -m trainingjob_operator``) and Kopf, which only this module knows.

Each event of a job or of its children queues the job, nothing more. The handlers only watch (``on.event``):
they keep no state on the objects, add no finalizer and are not retried; the work queue retries.
"""

import asyncio
import logging
import os
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from importlib.metadata import version
from typing import Any

import kopf
from kubernetes.aio.client import ApiClient
from prometheus_client import CollectorRegistry

from trainingjob_api import GROUP, PLURAL, VERSION, SpecError
from trainingjob_operator.api import Api
from trainingjob_operator.children import JOB_ANNOTATION, LABEL_SELECTOR, MANAGED_BY, JobKey
from trainingjob_operator.reconciler import Reconciler
from trainingjob_operator.settings import Settings
from trainingjob_operator.telemetry import Health, Metrics, configure_logs, serve
from trainingjob_operator.transport import ApiFault, NoClusterError, connect
from trainingjob_operator.workqueue import WorkQueue

_log = logging.getLogger("trainingjob_operator")

FIRST_LIST_RETRY_SECONDS = 2.0
CHILDREN = (("", "v1", "configmaps"), ("", "v1", "pods"), ("batch", "v1", "jobs"))


class Operator:
    """The whole operator: watches, work queue, periodic list and health.

    The caller closes *client*; *clock* returns aware times, by default the API server's.
    """

    def __init__(
        self, settings: Settings, client: ApiClient, *, clock: Callable[[], datetime] | None = None
    ) -> None:
        self._settings = settings
        self.metrics = Metrics(CollectorRegistry(), job_label=settings.job_label)
        self.health = Health(time.monotonic)
        self.api = Api(client, timeout_seconds=settings.request_timeout_seconds)
        self.reconciler = Reconciler(self.api, settings, self.metrics, clock or self.api.now)
        self.queue = WorkQueue(self.reconciler.reconcile, workers=settings.workers, metrics=self.metrics)
        self._background: list[asyncio.Task[None]] = []
        self._close: Callable[[], Awaitable[None]] | None = None

    def wake(self, key: JobKey, version: str | None) -> None:
        """Queue a job for an event of a watch, unless this process caused the event."""
        self.health.delivered(key, version)
        if version is None or not self.reconciler.is_echo(key, version):
            self.queue.add(key)

    async def list_all(self) -> None:
        """Queue every job, which makes up for lost events."""
        versions: dict[JobKey, str] = {}
        for namespace in self._settings.namespaces or (None,):
            async for raw in self.api.list_jobs(namespace):
                meta = raw["metadata"]
                key = JobKey(meta["namespace"], meta["name"])
                versions[key] = meta.get("resourceVersion", "")
                if self._settings.handles(meta.get("labels") or {}):
                    self.queue.add(key)
        self.health.listed(versions)

    async def list_periodically(self) -> None:
        """List at once and then every ``resync_seconds``, until cancelled."""
        listed = False
        while True:
            try:
                await self.list_all()
                listed = True
            except ApiFault as fault:
                _log.warning("listing all jobs failed", extra=fault.fields)
            await asyncio.sleep(self._settings.resync_seconds if listed else FIRST_LIST_RETRY_SECONDS)

    async def run(self, watch: Callable[[], Awaitable[None]] | None = None) -> None:
        """Run until *watch*, by default Kopf, ends (a signal, a stop, a watch that fails for good)."""
        self._close = await serve(
            self._settings.port, self.health, self.queue.longest_seconds, self.metrics.registry
        )
        background = self._background = [
            asyncio.create_task(self.queue.run(), name="queue"),
            asyncio.create_task(self.list_periodically(), name="periodic list"),
        ]
        watching = asyncio.ensure_future((watch or self.watch)())
        for task in background:
            # Without queue or list the operator would look alive and do nothing.
            task.add_done_callback(lambda ended: ended.cancelled() or watching.cancel())
        try:
            await watching
        finally:
            await self._stop()
            for task in background:
                if not task.cancelled() and (error := task.exception()) is not None:
                    raise error

    async def _stop(self, **_: Any) -> None:
        """Stop the tasks beside the watches."""
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        if self._close is not None:
            await self._close()

    async def watch(self, stop_flag: asyncio.Event | None = None) -> None:
        """Run Kopf until a signal, *stop_flag*, or a watch that fails for good ends it."""
        # Kopf's own guess asks for the user's name, which a container's numeric one lacks.
        identity: Any = socket.gethostname()
        await kopf.operator(
            identity=identity,
            registry=self._handlers(),
            settings=kopf_settings(self._settings),
            standalone=True,
            clusterwide=not self._settings.namespaces,
            namespaces=self._settings.namespaces,
            stop_flag=stop_flag,
        )

    def _handlers(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()

        # Coroutines, which must not wait for anything: Kopf would call plain functions in a thread.
        async def on_job(*, namespace: str | None, name: str | None, meta: kopf.Meta, **_: Any) -> None:
            self.wake(JobKey(namespace or "", name or ""), meta.get("resourceVersion"))

        async def on_child(*, namespace: str | None, annotations: kopf.Annotations, **_: Any) -> None:
            job = annotations.get(JOB_ANNOTATION)
            if job:
                self.wake(JobKey(namespace or "", job), None)

        kopf.on.event(GROUP, VERSION, PLURAL, registry=registry, id=PLURAL)(on_job)
        managed = {"app.kubernetes.io/managed-by": MANAGED_BY}
        for group, served, plural in CHILDREN:
            kopf.on.event(group, served, plural, labels=managed, registry=registry, id=plural)(on_child)
        kopf.on.login(registry=registry)(_login)
        # Kopf waits for every task of the loop before it returns, so the operator's own tasks end here.
        kopf.on.cleanup(registry=registry)(self._stop)
        return registry


def kopf_settings(settings: Settings) -> kopf.OperatorSettings:
    """Return Kopf's settings: filters on the server, and watches that survive half-open connections."""
    result = kopf.OperatorSettings()
    for group, _, plural in CHILDREN:
        result.watching.label_selectors[group, plural] = LABEL_SELECTOR
    # The API server takes whole seconds only.
    result.watching.server_timeout = int(settings.watch_timeout_seconds)
    # The server ends a watch itself; a client that waits longer has a dead connection.
    result.watching.client_timeout = settings.watch_timeout_seconds + 30.0
    result.watching.connect_timeout = settings.request_timeout_seconds
    result.networking.request_timeout = settings.request_timeout_seconds * 4
    result.networking.connect_timeout = settings.request_timeout_seconds
    # Each worker of Kopf serves one object until it has been idle for this long. The number of workers is not
    # limited: the handlers only queue a name, and a limit would also limit the objects per second.
    result.queueing.idle_timeout = 1.0
    # Kopf posts no events and lists no CRDs and namespaces, which saves these rights.
    result.posting.enabled = False
    result.scanning.disabled = True
    result.peering.standalone = True
    return result


def _login(**kwargs: Any) -> kopf.ConnectionInfo | None:
    return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)


async def _serve(settings: Settings) -> None:
    async with await connect() as client:
        _log.info(
            "operator starts",
            extra={
                "version": version("trainingjob"),
                "scope": ",".join(settings.namespaces) or "cluster",
                "class": settings.operator_class,
                "image": settings.trainer_image,
                "workers": settings.workers,
            },
        )
        await Operator(settings, client).run()


def main(environment: Mapping[str, str] = os.environ) -> int:
    """Run the operator until it is asked to stop; return its exit status."""
    configure_logs()
    try:
        asyncio.run(_serve(Settings.from_environment(environment)))
    except (SpecError, NoClusterError) as error:
        _log.error("operator cannot start", extra={"detail": str(error)})
        return 2
    except Exception:  # noqa: BLE001  # the log format holds for it, too
        _log.exception("operator failed")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
