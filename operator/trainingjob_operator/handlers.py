"""What Kopf calls: each event of a job or of its children wakes the job up, nothing more.

Only this module and start-up know Kopf. The handlers watch (``on.event``): they keep no state on the
objects, add no finalizer and are not retried; the queue behind them is what tries again.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import kopf

from trainingjob_api import GROUP, PLURAL, VERSION
from trainingjob_operator.names import JOB_ANNOTATION, LABEL_SELECTOR, MANAGED_BY
from trainingjob_operator.reconciler import JobKey
from trainingjob_operator.settings import Settings

__all__ = ["build_registry", "kopf_settings"]

CHILDREN = (("", "v1", "configmaps"), ("", "v1", "pods"), ("batch", "v1", "jobs"))
_MANAGED = {"app.kubernetes.io/managed-by": MANAGED_BY}

Wake = Callable[[JobKey, str | None], None]
"""Takes a job and, if the event is about the job itself, the version that it has now."""


def build_registry(wake: Wake, ending: Callable[[], Awaitable[None]]) -> kopf.OperatorRegistry:
    """Return the handlers.

    Parameters
    ----------
    wake
        Called for each event, in the loop that Kopf runs in; must not block.
    ending
        Called when Kopf has stopped watching. Kopf waits for every task of the loop before it returns, so
        that what runs beside it has to end here.
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
        await ending()

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
    # The server ends a watch itself; a client that waits longer than that waits for a dead connection.
    result.watching.client_timeout = settings.watch_timeout_seconds + 30.0
    result.watching.connect_timeout = settings.request_timeout_seconds
    result.networking.request_timeout = settings.request_timeout_seconds * 4
    result.networking.connect_timeout = settings.request_timeout_seconds
    # A worker of Kopf's belongs to one object until it has been idle for this long. Its number is not
    # limited: the handlers only queue a name, and a limit would let through that many objects a second.
    result.queueing.idle_timeout = 1.0
    # Kopf posts nothing and asks for no CRDs and namespaces: rights that it then needs not have.
    result.posting.enabled = False
    result.scanning.disabled = True
    result.peering.standalone = True
    return result


def _async(function: Callable[..., None]) -> Callable[..., Any]:
    """Return *function* as a coroutine: a plain one is called in a thread, away from the loop's queue."""

    async def call(**kwargs: Any) -> None:
        function(**kwargs)

    return call


def _login(**kwargs: Any) -> kopf.ConnectionInfo | None:
    return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)
