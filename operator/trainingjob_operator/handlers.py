"""Kopf's handlers: each event of a job or of its children queues the job, nothing more.

Only this module and ``main`` know Kopf. The handlers only watch (``on.event``): they keep no state on the
objects, add no finalizer and are not retried; the work queue retries.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import kopf

from trainingjob_api import GROUP, PLURAL, VERSION
from trainingjob_operator.children import JOB_ANNOTATION, LABEL_SELECTOR, MANAGED_BY, JobKey
from trainingjob_operator.settings import Settings

CHILDREN = (("", "v1", "configmaps"), ("", "v1", "pods"), ("batch", "v1", "jobs"))
_MANAGED = {"app.kubernetes.io/managed-by": MANAGED_BY}

Wake = Callable[[JobKey, str | None], None]
"""Queues a job; for an event of the job itself, with its new ``resourceVersion``."""


def build_registry(wake: Wake, stop: Callable[[], Awaitable[None]]) -> kopf.OperatorRegistry:
    """Return the handlers, which call *wake* for each event; it must not block Kopf's event loop.

    Kopf calls *stop* when it has stopped watching. It waits for every task of the loop before it returns, so
    the operator's own tasks have to end there.
    """
    registry = kopf.OperatorRegistry()

    def on_job(*, namespace: str | None, name: str | None, meta: kopf.Meta, **_: Any) -> None:
        wake(JobKey(namespace or "", name or ""), meta.get("resourceVersion"))

    def on_child(*, namespace: str | None, annotations: kopf.Annotations, **_: Any) -> None:
        job = annotations.get(JOB_ANNOTATION)
        if job:
            wake(JobKey(namespace or "", job), None)

    kopf.on.event(GROUP, VERSION, PLURAL, registry=registry, id=PLURAL)(_async(on_job))
    for group, version, plural in CHILDREN:
        decorate = kopf.on.event(group, version, plural, labels=_MANAGED, registry=registry, id=plural)
        decorate(_async(on_child))

    async def on_cleanup(**_: Any) -> None:
        await stop()

    kopf.on.login(registry=registry)(_login)
    kopf.on.cleanup(registry=registry)(on_cleanup)
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


def _async(function: Callable[..., None]) -> Callable[..., Any]:
    """Return *function* as a coroutine: Kopf would call a plain function in a thread."""

    async def call(**kwargs: Any) -> None:
        function(**kwargs)

    return call


def _login(**kwargs: Any) -> kopf.ConnectionInfo | None:
    return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)
