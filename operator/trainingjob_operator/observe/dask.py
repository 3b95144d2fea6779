"""A job's Dask cluster, and why it does not come up: each cause has one reason and one way out.

Its own status is not read: its phase says that a Service exists, and not always that.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from trainingjob_api.reasons import Cause, Reason
from trainingjob_operator.children import DASK_COMPONENT_LABEL, Child
from trainingjob_operator.job_view import read_time
from trainingjob_operator.observe.facts import DaskSeen, Snapshot
from trainingjob_operator.observe.pods import (
    cannot_start,
    container_status,
    exit_words,
    last_words,
    not_admitted,
    short,
    unscheduled,
)

GROUP = "kubernetes.dask.org"
_OWN_FINALIZER = "foregroundDeletion"
_ROLES = {"scheduler": "the Dask scheduler", "worker": "a Dask worker"}


def read_dask(
    snapshot: Snapshot,
    owned: Mapping[Child, dict[str, Any]],
    secrets: Mapping[str, str],
    foreign: Cause | None,
) -> DaskSeen | None:
    """Return what is known of the Dask cluster, ``None`` where it was not looked for.

    *secrets* has the field that asks for each Secret; *foreign* says why the DaskCluster's name is taken.
    """
    if Child.DASK_CLUSTER not in snapshot.looked_for:
        return None
    fault, raw = snapshot.dask_fault, owned.get(Child.DASK_CLUSTER)
    if fault is not None and fault.not_found:
        text = (
            f"DaskClusters ({GROUP}) are not installed; install the Dask operator, or use parallelMode: local"
        )
        return DaskSeen(impossible=Cause(Reason.DASK_UNAVAILABLE, text))
    if fault is not None:
        text = f"The operator may not list DaskClusters: {short(fault.message)}"
        return DaskSeen(impossible=Cause(Reason.FORBIDDEN, text))
    if raw is None:
        return DaskSeen(impossible=foreign)
    meta, deployments = raw["metadata"], snapshot.dask_deployments
    # What may not be read counts as present.
    made = set(_ROLES) if deployments is None else {_component(deployment) for deployment in deployments}
    return DaskSeen(
        present=True,
        going=meta.get("deletionTimestamp") is not None,
        touched=max(_times(raw, deployments or ()), default=None),
        noticed=any(finalizer != _OWN_FINALIZER for finalizer in meta.get("finalizers") or ()),
        scheduler="scheduler" in made,
        workers="worker" in made,
        trouble=next(_troubles(snapshot, secrets), None),
    )


def _times(cluster: dict[str, Any], deployments: tuple[dict[str, Any], ...]) -> Iterator[datetime]:
    """Yield when cluster and Deployments were created, and when the cluster was changed."""
    texts = [raw["metadata"].get("creationTimestamp") for raw in (cluster, *deployments)]
    texts += [entry.get("time") for entry in cluster["metadata"].get("managedFields") or ()]
    yield from (time for text in texts if (time := read_time(text)) is not None)


def _troubles(snapshot: Snapshot, secrets: Mapping[str, str]) -> Iterator[Cause]:
    """Yield causes, the scheduler's first: no worker gets far without it."""
    for role, who in _ROLES.items():
        for deployment in snapshot.dask_deployments or ():
            if _component(deployment) == role:
                yield from _not_created(deployment, who)
        for pod in snapshot.dask_pods:
            if _component(pod) == role:
                yield from _not_running(pod.get("status") or {}, role, who, secrets)


def _not_created(deployment: dict[str, Any], who: str) -> Iterator[Cause]:
    for condition in (deployment.get("status") or {}).get("conditions") or ():
        if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
            fields = "dask.workers, memoryLimitMb or dask.workerResources"
            yield not_admitted(f"the pod of {who}", str(condition.get("message") or ""), fields)


def _not_running(status: dict[str, Any], role: str, who: str, secrets: Mapping[str, str]) -> Iterator[Cause]:
    container = container_status(status, role)
    state = container.get("state") or {}
    waiting, ended = state.get("waiting"), state.get("terminated")
    last = ended or (container.get("lastState") or {}).get("terminated")
    found = cannot_start(waiting, secrets, who) or unscheduled(status, who)
    if found is not None:
        yield found
    elif last and not container.get("started"):
        subject = who[0].upper() + who[1:]
        if last.get("reason") == "OOMKilled":
            field = "memoryLimitMb" if role == "worker" else "dask.schedulerResources.limits.memory"
            yield Cause(Reason.OUT_OF_MEMORY, f"{subject} exceeded its memory limit; raise {field}")
        elif last.get("exitCode"):
            words = last_words(last.get("message") or "")
            said = f": {words}" if words else ""
            text = f"{subject} ended with exit code {exit_words(last['exitCode'])} and is restarted{said}"
            yield Cause(Reason.DASK_CRASHED, text)


def _component(raw: dict[str, Any]) -> str:
    return str((raw["metadata"].get("labels") or {}).get(DASK_COMPONENT_LABEL) or "")
