"""A job's Dask cluster, and why it does not come up: each cause has one reason and one way out.

What its own status says is not read: its phase tells that a Service exists, no more, and not always that.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from trainingjob_api import Reason
from trainingjob_operator.names import DASK_COMPONENT_LABEL, Owner, dask_name, owned_by
from trainingjob_operator.observe.observed import DaskSeen, DaskSnapshot, Trouble
from trainingjob_operator.observe.pods import cannot_start, container_status, exit_words, short, unscheduled
from trainingjob_operator.subject import read_time

__all__ = ["dask_refusal", "read_dask"]

GROUP = "kubernetes.dask.org"
_OWN_FINALIZER = "foregroundDeletion"
_ROLES = {"scheduler": "the Dask scheduler", "worker": "a Dask worker"}
_QUOTA = ("exceeded quota", "failed quota")


def read_dask(owner: Owner, snapshot: DaskSnapshot, secrets: Mapping[str, str]) -> DaskSeen:
    """Return what *snapshot* says; *secrets* says which field asks for which Secret."""
    if not snapshot.installed:
        text = (
            f"this cluster does not know DaskClusters ({GROUP}); install the Dask operator, "
            "or use parallelMode: local"
        )
        return DaskSeen(impossible=Trouble(Reason.DASK_UNAVAILABLE, text))
    if snapshot.unreadable:
        text = f"the operator may not read DaskClusters: {short(snapshot.unreadable)}"
        return DaskSeen(impossible=Trouble(Reason.FORBIDDEN, text))
    raw = snapshot.cluster
    if raw is None:
        return DaskSeen()
    meta = raw["metadata"]
    if not owned_by(raw, owner.uid):
        text = f"a DaskCluster {dask_name(owner)} belongs to somebody else; delete it"
        return DaskSeen(impossible=Trouble(Reason.NAME_CONFLICT, text))
    # What may not be read is nobody's fault.
    made = set(_ROLES) if snapshot.deployments is None else {_component(one) for one in snapshot.deployments}
    return DaskSeen(
        present=True,
        going=meta.get("deletionTimestamp") is not None,
        touched=max(_times(raw, snapshot.deployments or ()), default=None),
        noticed=any(one != _OWN_FINALIZER for one in meta.get("finalizers") or ()),
        scheduler="scheduler" in made,
        workers="worker" in made,
        trouble=next(_troubles(snapshot, secrets), None),
    )


def _times(cluster: dict[str, Any], deployments: tuple[dict[str, Any], ...]) -> Iterator[datetime]:
    """Yield when cluster and Deployments were made, and when the cluster was changed."""
    texts = [one["metadata"].get("creationTimestamp") for one in (cluster, *deployments)]
    texts += [one.get("time") for one in cluster["metadata"].get("managedFields") or ()]
    for text in texts:
        time = read_time(text)
        if time is not None:
            yield time


def dask_refusal(kind: str, message: str) -> Trouble:
    """Return what it means that the API server does not take an object of a Dask cluster."""
    if any(words in message for words in _QUOTA):
        text = f"the quota of the namespace does not admit the {kind} of the Dask cluster: {short(message)}"
        return Trouble(Reason.QUOTA_EXCEEDED, text)
    text = f"the API server does not take the {kind} of the Dask cluster: {short(message)}"
    return Trouble(Reason.FORBIDDEN, text)


def _troubles(snapshot: DaskSnapshot, secrets: Mapping[str, str]) -> Iterator[Trouble]:
    """Yield causes, those of the scheduler first: without it no worker gets far."""
    for role, who in _ROLES.items():
        for deployment in snapshot.deployments or ():
            if _component(deployment) == role:
                yield from _not_created(deployment, who)
        for pod in snapshot.pods:
            if _component(pod) == role:
                yield from _not_running(pod.get("status") or {}, role, who, secrets)


def _not_created(deployment: dict[str, Any], who: str) -> Iterator[Trouble]:
    for one in (deployment.get("status") or {}).get("conditions") or ():
        if one.get("type") == "ReplicaFailure" and one.get("status") == "True":
            text = str(one.get("message") or "")
            if any(words in text for words in _QUOTA):
                why = "the quota of the namespace does not admit"
                way = "raise it, or lower dask.workers, memoryLimitMb or dask.workerResources"
                yield Trouble(Reason.QUOTA_EXCEEDED, f"{why} {who}'s pod; {way} ({short(text)})")
            else:
                yield Trouble(Reason.FORBIDDEN, f"{who}'s pod is not admitted: {short(text)}")


def _not_running(
    status: dict[str, Any], role: str, who: str, secrets: Mapping[str, str]
) -> Iterator[Trouble]:
    container = container_status(status, role)
    state = container.get("state") or {}
    waiting, ended = state.get("waiting"), state.get("terminated")
    last = ended or (container.get("lastState") or {}).get("terminated")
    found = cannot_start(waiting, secrets, who) or unscheduled(status, who)
    if found is not None:
        yield found
    elif last and not container.get("started"):
        if last.get("reason") == "OOMKilled":
            what = "memoryLimitMb" if role == "worker" else "dask.schedulerResources.limits.memory"
            yield Trouble(Reason.OUT_OF_MEMORY, f"{who} was killed for its memory; raise {what}")
        elif last.get("exitCode"):
            said = f": {short(last['message'])}" if last.get("message") else ""
            text = f"{who} ended with exit status {exit_words(last['exitCode'])} and is started again{said}"
            yield Trouble(Reason.DASK_CRASHED, text)


def _component(raw: dict[str, Any]) -> str:
    return str((raw["metadata"].get("labels") or {}).get(DASK_COMPONENT_LABEL) or "")
