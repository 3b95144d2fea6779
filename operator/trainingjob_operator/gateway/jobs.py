"""Calls about jobs and their children.

Every write can be repeated: an object that exists is handed back to be checked, one that is gone is gone,
and a status is written only over the version it was made from.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final

from kubernetes.aio.client import ApiClient

from trainingjob_api import API_VERSION, PLURAL
from trainingjob_operator.errors import ApiFault
from trainingjob_operator.gateway.dask import DaskGateway, DaskQuestion
from trainingjob_operator.gateway.transport import Transport, path_of
from trainingjob_operator.names import (
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
from trainingjob_operator.observe import Snapshot, mounts_since
from trainingjob_operator.step import Suspension

__all__ = ["Gateway"]

_log = logging.getLogger(__name__)

PAGE_SIZE: Final = 100
"""Objects in one answer of a list: a status may have 32 KiB."""
SMALLER: Final = 10
"""By how much a page shrinks whose answer is too large."""
MERGE_PATCH: Final = "application/merge-patch+json"
MOUNT_SECONDS: Final = 5.0
"""Volumes are usually mounted by then: a pod that starts costs no look at its events."""
_MOUNT_EVENTS: Final = ("FailedMount", "FailedAttachVolume")
_ACCESS = (Child.SERVICE_ACCOUNT, Child.ROLE, Child.ROLE_BINDING)
_ALWAYS = (Child.RUN, Child.REPORT, Child.JOB)


class Gateway:
    """Calls to the API server.

    Parameters
    ----------
    client
        The library's client; it knows addresses, certificates and tokens.
    timeout_seconds
        Time-out of each call.

    Attributes
    ----------
    dask : DaskGateway
        Calls about Dask clusters.
    """

    def __init__(self, client: ApiClient, *, timeout_seconds: float) -> None:
        self._api = Transport(client, timeout_seconds=timeout_seconds)
        self.dask = DaskGateway(self._api)

    def now(self) -> datetime:
        """Return the API server's time."""
        return self._api.now()

    async def read_job(self, namespace: str, name: str) -> dict[str, Any] | None:
        """Return the TrainingJob, ``None`` if there is none."""
        return await self._api.read(path_of(API_VERSION, PLURAL, namespace, name))

    def list_jobs(self, namespace: str | None) -> AsyncIterator[dict[str, Any]]:
        """Return every TrainingJob of *namespace*, or of all of them, page by page.

        A list that expires between two pages is read again, so that a job may come twice.
        """
        return self._items(path_of(API_VERSION, PLURAL, namespace), {})

    async def snapshot(
        self,
        owner: Owner,
        *,
        access: bool,
        now: datetime,
        space: tuple[str, str] | None = None,
        dask: DaskQuestion | None = None,
    ) -> Snapshot:
        """Return the job's children as they are now.

        Parameters
        ----------
        owner
            The job.
        access
            Whether to look for ServiceAccount, Role and RoleBinding, too.
        now
            The time: a pod that has been mounting its volumes for some seconds is asked why.
        space
            Name and key of the ConfigMap with the search space, if it is wanted.
        dask
            What to find out about its Dask cluster, if anything.
        """
        wanted = (*_ALWAYS, *(_ACCESS if access else ()))
        found, pods, text, cluster = await asyncio.gather(
            asyncio.gather(*(self._child(owner, child) for child in wanted)),
            self.pods(owner.namespace, owner.name),
            self._space(owner, space),
            self.dask.snapshot(owner, dask),
        )
        objects = {child: raw for child, raw in zip(wanted, found, strict=True) if raw is not None}
        job = objects.get(Child.JOB)
        namesakes = tuple(pod for pod in pods if _uid(pod) != owner.uid)
        pods = tuple(pod for pod in pods if _uid(pod) == owner.uid)
        waits = job is not None and not pods and not (job.get("status") or {}).get("conditions")
        return Snapshot(
            objects=objects,
            access_read=access,
            pods=pods,
            namesakes=namesakes,
            dask=cluster,
            failed_creates=await self._events(job, "FailedCreate") if waits and job is not None else (),
            failed_mounts={
                pod["metadata"]["uid"]: await self._events(pod, *_MOUNT_EVENTS)
                for pod in pods
                if mounts_since(pod, now) >= MOUNT_SECONDS
            },
            space_text=text,
        )

    async def create(self, child: Child, manifest: Mapping[str, Any]) -> dict[str, Any] | None:
        """Make a child; return what is there instead if its name is taken, ``None`` if it was made.

        Raises
        ------
        ApiFault
            If it cannot be made; also (409) if the name was taken a moment ago and is free now.
        """
        meta = manifest["metadata"]
        path = path_of(child.api_version, child.plural, meta["namespace"])
        try:
            await self._api.call("POST", path, body=manifest)
        except ApiFault as fault:
            if not fault.conflict:
                raise
            there = await self._api.read(f"{path}/{meta['name']}")
            if there is None:
                raise
            return there
        return None

    async def create_secret(self, manifest: Mapping[str, Any]) -> None:
        """Make a Secret, which nothing of the operator ever reads.

        Raises
        ------
        ApiFault
            If it cannot be made.
        """
        path = path_of("v1", "secrets", manifest["metadata"]["namespace"])
        await self._api.call("POST", path, body=manifest)

    async def delete(self, child: Child, owner: Owner) -> None:
        """Delete a child of *owner* and its pods; one that is gone, or another's, is left alone."""
        raw = await self._own(owner, child)
        if raw is None:
            return
        options = {"propagationPolicy": "Background", "preconditions": {"uid": raw["metadata"]["uid"]}}
        try:
            await self._api.call("DELETE", _path(owner, child), body=options)
        except ApiFault as fault:
            # 409: another object has the name by now.
            if not (fault.not_found or fault.conflict):
                raise

    async def pods(self, namespace: str, name: str) -> tuple[dict[str, Any], ...]:
        """Return the trainer's pods of all jobs that have, or had, a name."""
        query = {"labelSelector": f"{TRAINER_SELECTOR},{JOB_LABEL}={job_label(name)}"}
        return await self._first(path_of("v1", "pods", namespace), query)

    async def delete_pod(self, namespace: str, pod: PodKey) -> None:
        """Delete a pod with its grace period; a missing pod is no error.

        A refusal is logged and does not block the job; the status names the pod.
        """
        options = {"preconditions": {"uid": pod.uid}}
        try:
            await self._api.call("DELETE", path_of("v1", "pods", namespace, pod.name), body=options)
        except ApiFault as fault:
            if fault.refusal:
                _log.warning("pod not deleted", extra={"pod": pod.name, **fault.fields})
            elif not (fault.not_found or fault.conflict):
                raise

    async def suspend(self, owner: Owner, change: Suspension) -> None:
        """Suspend or resume the Job of *owner*; one that is gone, or another's, is left alone.

        Raises
        ------
        ApiFault
            With status 409 if another object has taken the name since it was read.
        """
        raw = await self._own(owner, Child.JOB)
        if raw is None:
            return
        spec: dict[str, Any] = {"suspend": change.suspend}
        if change.deadline_seconds is not None:
            spec["activeDeadlineSeconds"] = change.deadline_seconds
        body = {"metadata": {"uid": raw["metadata"]["uid"]}, "spec": spec}
        try:
            await self._api.call("PATCH", _path(owner, Child.JOB), body=body, content=MERGE_PATCH)
        except ApiFault as fault:
            if not fault.not_found:
                raise

    async def write_status(self, owner: Owner, change: Mapping[str, Any], version: str) -> str | None:
        """Merge *change* into the status; return the new version, ``None`` if the job is gone.

        Parameters
        ----------
        owner
            The job.
        change
            A merge patch of the status.
        version
            The ``resourceVersion`` that the change was made from. Without it an operator that read
            before another one wrote could take a terminal phase back.

        Raises
        ------
        ApiFault
            With status 409 if the job has changed since.
        """
        path = path_of(API_VERSION, PLURAL, owner.namespace, owner.name) + "/status"
        meta = {"uid": owner.uid} | ({"resourceVersion": version} if version else {})
        try:
            new = await self._api.call(
                "PATCH", path, body={"metadata": meta, "status": change}, content=MERGE_PATCH
            )
        except ApiFault as fault:
            if fault.not_found:
                return None
            raise
        return str((new.get("metadata") or {}).get("resourceVersion") or "")

    async def post_event(self, event: Mapping[str, Any]) -> None:
        """Post an Event; one of the name has been posted before and is left as it is."""
        try:
            await self._api.call("POST", path_of("v1", "events", event["metadata"]["namespace"]), body=event)
        except ApiFault as fault:
            if not fault.conflict:
                raise

    async def _child(self, owner: Owner, child: Child) -> dict[str, Any] | None:
        return await self._api.read(_path(owner, child))

    async def _own(self, owner: Owner, child: Child) -> dict[str, Any] | None:
        """Return a child that *owner* controls; ``None`` if the name is free or another's."""
        raw = await self._child(owner, child)
        return raw if raw is not None and owned_by(raw, owner.uid) else None

    async def _space(self, owner: Owner, space: tuple[str, str] | None) -> str | None:
        if space is None:
            return None
        raw = await self._api.read(path_of("v1", "configmaps", owner.namespace, space[0]))
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
                page = await self._api.call("GET", path, query={**query, **paging})
            except ApiFault as fault:
                if fault.too_large and limit > 1:
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


def _uid(pod: dict[str, Any]) -> str | None:
    """Return the uid of the job that a pod is of."""
    uid = (pod["metadata"].get("labels") or {}).get(UID_LABEL)
    return uid if isinstance(uid, str) else None


def _path(owner: Owner, child: Child) -> str:
    return path_of(child.api_version, child.plural, owner.namespace, name_of(owner, child))
