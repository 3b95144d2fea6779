"""The operator's only access to the API server: plain objects in and out.

Every write can be repeated: an object that exists is returned to be checked, a deletion accepts that there is
nothing to delete, and a status is written only over the version that it was made from.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import replace
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final

from trainingjob_api import API_VERSION, PLURAL
from trainingjob_operator.children import (
    DASK_CLUSTER_LABEL,
    DASK_COMPONENT_LABEL,
    JOB_LABEL,
    TRAINER_SELECTOR,
    UID_LABEL,
    Child,
    Owner,
    PodKey,
    job_label,
    name_of,
    owned_by,
)
from trainingjob_operator.decision import Suspension
from trainingjob_operator.facts import Snapshot
from trainingjob_operator.pods import mounts_since, no_dask
from trainingjob_operator.transport import ApiFault, Transport, path_of

_log = logging.getLogger(__name__)

PAGE_SIZE: Final = 100
"""Objects in one page of a list: a status may have 32 KiB."""
SMALLER: Final = 10
"""Divisor of the page size after an answer that is too large."""
MOUNT_SECONDS: Final = 5.0
"""Most volumes are mounted by then, so that the events of a pod that starts are not read."""
_MOUNT_EVENTS: Final = ("FailedMount", "FailedAttachVolume")
_DASK_SAMPLE: Final = "50"
"""Deployments and pods that are read for each role: what is wrong with one worker is wrong with all."""
_DASK_ROLES: Final = ("scheduler", "worker")


class Api(Transport):
    """Every kind of call that the operator makes to the API server."""

    async def read_job(self, namespace: str, name: str) -> dict[str, Any] | None:
        """Return the TrainingJob, ``None`` if there is none."""
        return await self.find(path_of(API_VERSION, PLURAL, namespace, name))

    def list_jobs(self, namespace: str | None) -> AsyncIterator[dict[str, Any]]:
        """Return every TrainingJob of *namespace*, or of all namespaces, page by page.

        A list that expires between two pages is read again, so that a job may come twice.
        """
        return self._items(path_of(API_VERSION, PLURAL, namespace), {})

    async def snapshot(
        self,
        owner: Owner,
        *,
        children: Collection[Child],
        now: datetime,
        space: tuple[str, str] | None = None,
        dask_health: bool = False,
    ) -> Snapshot:
        """Return the job's pods and those of its *children* that are looked for, as they are now.

        The events of a pod that has been mounting its volumes for some seconds at the time *now* are read,
        too; so are *space*, name and key of the ConfigMap with the search space, and with *dask_health* the
        Deployments and pods of the Dask cluster.
        """
        wanted = tuple(child for child in children if child is not Child.DASK_CLUSTER)
        dask: Snapshot
        found, pods, text, dask = await asyncio.gather(
            asyncio.gather(
                *(self._read_child(child, owner.namespace, name_of(owner, child)) for child in wanted)
            ),
            self.pods(owner.namespace, owner.name),
            self._space(owner, space),
            self._dask(owner, health=dask_health if Child.DASK_CLUSTER in children else None),
        )
        objects: dict[Child, dict[str, Any]] = dict(dask.objects) | {
            child: raw for child, raw in zip(wanted, found, strict=True) if raw is not None
        }
        own = tuple(pod for pod in pods if (pod["metadata"].get("labels") or {}).get(UID_LABEL) == owner.uid)
        job = objects.get(Child.JOB)
        waits = job is not None and not own and not (job.get("status") or {}).get("conditions")
        return replace(
            dask,
            objects=objects,
            looked_for=frozenset(children),
            pods=own,
            namesakes=tuple(pod for pod in pods if pod not in own),
            failed_creates=await self._events(job, "FailedCreate") if waits and job is not None else (),
            failed_mounts={
                pod["metadata"]["uid"]: await self._events(pod, *_MOUNT_EVENTS)
                for pod in own
                if mounts_since(pod, now) >= MOUNT_SECONDS
            },
            space_text=text,
        )

    async def create(self, child: Child, manifest: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Create a child; return what already has its name, ``None`` if it was created.

        An object that the operator may not read is taken for the job's: its name is made from the job's uid.
        A name that was taken a moment ago and is free now is a fault (409).
        """
        meta = manifest["metadata"]
        try:
            await self.call("POST", _path(child, meta["namespace"]), body=manifest)
        except ApiFault as fault:
            if not fault.conflict:
                raise
            there = (
                await self._read_child(child, meta["namespace"], meta["name"]) if child.readable else manifest
            )
            if there is None:
                raise
            return there
        return None

    async def delete(self, child: Child, owner: Owner) -> None:
        """Delete a child of *owner* with its dependents; ignore a child that is gone or has another owner."""
        # In the foreground, nothing of a cluster is left when its name is free again.
        options: dict[str, Any] = {"propagationPolicy": "Foreground" if child.dask else "Background"}
        name = name_of(owner, child)
        try:
            if child.readable:
                raw = await self._read_child(child, owner.namespace, name)
                if raw is None or not owned_by(raw, owner.uid):
                    return
                options["preconditions"] = {"uid": raw["metadata"]["uid"]}
            await self.call("DELETE", _path(child, owner.namespace, name), body=options)
        except ApiFault as fault:
            if child.dask and fault.forbidden:
                # The operator has made none, then, and the end of a job does not depend on it.
                _log.warning("part of the Dask cluster not deleted", extra=fault.fields)
            elif not fault.not_found and (child.dask or not fault.conflict):
                # A conflict: another object has taken the name since it was read.
                raise

    async def pods(self, namespace: str, name: str) -> tuple[dict[str, Any], ...]:
        """Return the trainer's pods of all jobs that have, or had, this name."""
        query = {"labelSelector": f"{TRAINER_SELECTOR},{JOB_LABEL}={job_label(name)}"}
        return await self._first(path_of("v1", "pods", namespace), query)

    async def delete_pod(self, namespace: str, pod: PodKey) -> None:
        """Delete a pod with its grace period; a missing pod is not an error.

        A refusal is logged and does not block the job; the status names the pod.
        """
        options = {"preconditions": {"uid": pod.uid}}
        try:
            await self.call("DELETE", path_of("v1", "pods", namespace, pod.name), body=options)
        except ApiFault as fault:
            if fault.refusal:
                _log.warning("pod not deleted", extra={"pod": pod.name, **fault.fields})
            elif not (fault.not_found or fault.conflict):
                raise

    async def suspend(self, owner: Owner, change: Suspension) -> bool:
        """Suspend or resume the Job of *owner*; return whether there is one."""
        name = name_of(owner, Child.JOB)
        raw = await self._read_child(Child.JOB, owner.namespace, name)
        if raw is None or not owned_by(raw, owner.uid):
            return False
        spec: dict[str, Any] = {"suspend": change.suspend}
        if change.deadline_seconds is not None:
            spec["activeDeadlineSeconds"] = change.deadline_seconds
        body = {"metadata": {"uid": raw["metadata"]["uid"]}, "spec": spec}
        path = _path(Child.JOB, owner.namespace, name)
        return await self.find(path, "PATCH", body=body) is not None

    async def write_status(self, owner: Owner, change: Mapping[str, Any], version: str) -> str | None:
        """Apply a merge patch to the status; return the new version, ``None`` if the job is gone.

        *version* is the ``resourceVersion`` that *change* was made from: without it an operator that read
        before another operator wrote could revert a terminal phase. A job that has changed is a fault (409).
        """
        path = path_of(API_VERSION, PLURAL, owner.namespace, owner.name) + "/status"
        # The uid, too: a job that was deleted and created again has another one.
        meta = {"uid": owner.uid} | ({"resourceVersion": version} if version else {})
        body = {"metadata": meta, "status": change}
        new = await self.find(path, "PATCH", body=body)
        return None if new is None else str((new.get("metadata") or {}).get("resourceVersion") or "")

    async def post_event(self, event: Mapping[str, Any]) -> None:
        """Post an Event; one of the same name has been posted before and is left as it is."""
        path = path_of("v1", "events", event["metadata"]["namespace"])
        try:
            await self.call("POST", path, body=event)
        except ApiFault as fault:
            if not fault.conflict:
                raise

    async def _read_child(self, child: Child, namespace: str, name: str) -> dict[str, Any] | None:
        if child is not Child.DASK_CLUSTER:
            return await self.find(_path(child, namespace, name))
        # List rather than get: distinguishes 'none' from 'kind not installed', which is a fault (404).
        query = {"fieldSelector": f"metadata.name={name}"}
        page = await self.call("GET", _path(child, namespace), query=query)
        return next(
            (cluster for cluster in page.get("items") or () if cluster["metadata"]["name"] == name), None
        )

    async def _dask(self, owner: Owner, *, health: bool | None) -> Snapshot:
        """Return the part of the snapshot about the Dask cluster; nothing where *health* is ``None``."""
        child = Child.DASK_CLUSTER
        if health is None:
            return Snapshot()
        try:
            cluster = await self._read_child(child, owner.namespace, name_of(owner, child))
        except ApiFault as fault:
            # A kind that is not installed or may not be read is not a fault: the job then runs locally.
            if not (fault.not_found or fault.forbidden):
                raise
            return Snapshot(dask_problem=no_dask(None if fault.not_found else fault.message))
        objects = {} if cluster is None else {child: cluster}
        if not (objects and health):
            return Snapshot(objects=objects)
        deployments, pods = await asyncio.gather(
            self._of_cluster("apps/v1", "deployments", owner), self._of_cluster("v1", "pods", owner)
        )
        return Snapshot(objects=objects, dask_deployments=deployments, dask_pods=pods or ())

    async def _of_cluster(
        self, api_version: str, plural: str, owner: Owner
    ) -> tuple[dict[str, Any], ...] | None:
        """Return some objects of scheduler and workers; ``None`` where RBAC forbids reading them."""
        path, label = path_of(api_version, plural, owner.namespace), DASK_COMPONENT_LABEL
        cluster = f"{DASK_CLUSTER_LABEL}={name_of(owner, Child.DASK_CLUSTER)}"
        queries = [
            {"labelSelector": f"{cluster},{label}={role}", "limit": _DASK_SAMPLE} for role in _DASK_ROLES
        ]
        try:
            pages = await asyncio.gather(*(self.call("GET", path, query=query) for query in queries))
        except ApiFault as fault:
            if fault.forbidden:
                return None
            raise
        return tuple(raw for page in pages for raw in page.get("items") or ())

    async def _space(self, owner: Owner, space: tuple[str, str] | None) -> str | None:
        if space is None:
            return None
        raw = await self.find(path_of("v1", "configmaps", owner.namespace, space[0]))
        text = ((raw or {}).get("data") or {}).get(space[1])
        return text if isinstance(text, str) else None

    async def _events(self, raw: dict[str, Any], *wanted: str) -> tuple[str, ...]:
        """Return the messages of an object's events with one of the reasons, the newest last."""
        meta = raw["metadata"]
        query = {"fieldSelector": f"involvedObject.uid={meta['uid']}"}
        events = await self._first(path_of("v1", "events", meta["namespace"]), query)
        found = [event for event in events if event.get("reason") in wanted]
        found.sort(key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""))
        return tuple(str(event.get("message") or "") for event in found)

    async def _first(self, path: str, query: Mapping[str, str]) -> tuple[dict[str, Any], ...]:
        """Return the first 100 objects of a list."""
        found: list[dict[str, Any]] = []
        async for item in self._items(path, query):
            found.append(item)
            if len(found) == PAGE_SIZE:
                break
        return tuple(found)

    async def _items(self, path: str, query: Mapping[str, str]) -> AsyncIterator[dict[str, Any]]:
        """Yield the objects of a list, page by page, and in smaller pages where they are large."""
        token, limit = "", PAGE_SIZE
        while True:
            paging = {"limit": str(limit)} | ({"continue": token} if token else {})
            try:
                page = await self.call("GET", path, query={**query, **paging})
            except ApiFault as fault:
                if fault.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE and limit > 1:
                    limit = max(1, limit // SMALLER)
                elif fault.status == HTTPStatus.GONE and token:
                    token = ""
                else:
                    raise
                continue
            for item in page.get("items") or []:
                yield item
            token = (page.get("metadata") or {}).get("continue") or ""
            if not token:
                return


def _path(child: Child, namespace: str, name: str = "") -> str:
    return path_of(child.api_version, child.plural, namespace, name)
