"""The operator's only client of the API server: plain objects in and out, one kind of error.

Every call has a time-out, and every write can be repeated: an object that exists is handed back to be
checked, one that is gone is gone, and a status is written only over the version it was made from.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus
from typing import Any, Final

import aiohttp
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

from trainingjob_api import API_VERSION, PLURAL
from trainingjob_api.text import shorten
from trainingjob_operator.errors import ApiFault, OperatorError
from trainingjob_operator.names import LABEL_SELECTOR, UID_LABEL, Child, Owner, child_name
from trainingjob_operator.observe import Snapshot
from trainingjob_operator.step import Suspension

__all__ = ["Gateway", "connect"]

PAGE_SIZE: Final = 100
"""Jobs in one answer of a list: a status may have 32 KiB."""
MAX_ANSWER_TEXT: Final = 500
MERGE_PATCH: Final = "application/merge-patch+json"
_ACCESS = (Child.SERVICE_ACCOUNT, Child.ROLE, Child.ROLE_BINDING)
_ALWAYS = (Child.RUN, Child.REPORT, Child.JOB)


async def connect() -> ApiClient:
    """Return a client for the cluster that the process runs in, or that the kubeconfig names.

    Raises
    ------
    OperatorError
        If there is neither.
    """
    configuration = Configuration()
    try:
        load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    except ConfigException:
        try:
            await load_kube_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        except ConfigException as error:
            raise OperatorError(f"no cluster: neither a service account nor a kubeconfig: {error}") from error
    return ApiClient(configuration)


class Gateway:
    """Calls to the API server.

    Parameters
    ----------
    client
        The library's client; it knows addresses, certificates and tokens.
    timeout_seconds
        Time-out of each call.
    """

    def __init__(self, client: ApiClient, *, timeout_seconds: float) -> None:
        self._client = client
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)

    async def read_job(self, namespace: str, name: str) -> dict[str, Any] | None:
        """Return the TrainingJob, ``None`` if there is none."""
        return await self._read(_path(API_VERSION, PLURAL, namespace, name))

    async def list_jobs(self, namespace: str | None) -> AsyncIterator[dict[str, Any]]:
        """Yield every TrainingJob of *namespace*, or of all of them, page by page.

        A list that has grown too old on its way is begun anew, so that a job may come twice.
        """
        token = ""
        while True:
            query = {"limit": str(PAGE_SIZE)} | ({"continue": token} if token else {})
            try:
                page = await self._call("GET", _path(API_VERSION, PLURAL, namespace), query=query)
            except ApiFault as fault:
                if fault.status != HTTPStatus.GONE or not token:
                    raise
                token = ""
                continue
            for item in page.get("items") or []:
                yield item
            token = (page.get("metadata") or {}).get("continue") or ""
            if not token:
                return

    async def snapshot(self, owner: Owner, *, access: bool, space: tuple[str, str] | None = None) -> Snapshot:
        """Return the job's children as they are now.

        Parameters
        ----------
        owner
            The job.
        access
            Whether to look for ServiceAccount, Role and RoleBinding, too.
        space
            Name and key of the ConfigMap with the search space, if it is wanted.
        """
        wanted = (*_ALWAYS, *(_ACCESS if access else ()))
        found, pods, text = await asyncio.gather(
            asyncio.gather(*(self._child(owner, child) for child in wanted)),
            self._pods(owner),
            self._space(owner, space),
        )
        objects = {child: raw for child, raw in zip(wanted, found, strict=True) if raw is not None}
        job = objects.get(Child.JOB)
        waits = job is not None and not pods and not (job.get("status") or {}).get("conditions")
        return Snapshot(
            objects=objects,
            access_read=access,
            pods=pods,
            failed_creates=await self._failed_creates(owner, job) if waits and job is not None else (),
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
        try:
            await self._call("POST", _path(child.api_version, child.plural, meta["namespace"]), body=manifest)
        except ApiFault as fault:
            if not fault.conflict:
                raise
            there = await self._read(_path(child.api_version, child.plural, meta["namespace"], meta["name"]))
            if there is None:
                raise
            return there
        return None

    async def delete(self, child: Child, owner: Owner) -> None:
        """Delete a child of *owner* and its pods; one that is gone, or another's, is left alone."""
        path = _path(child.api_version, child.plural, owner.namespace, child_name(owner.name, child.suffix))
        raw = await self._read(path)
        if raw is None:
            return
        options = {
            "propagationPolicy": "Background",
            "preconditions": {"uid": raw["metadata"]["uid"]},
        }
        references = raw["metadata"].get("ownerReferences") or []
        if not any(one.get("uid") == owner.uid for one in references):
            return
        try:
            await self._call("DELETE", path, body=options)
        except ApiFault as fault:
            # 409: another object has the name by now.
            if not (fault.not_found or fault.conflict):
                raise

    async def suspend(self, owner: Owner, change: Suspension) -> None:
        """Suspend or resume the Job of *owner*; one that is gone is left alone."""
        spec: dict[str, Any] = {"suspend": change.suspend}
        if change.deadline_seconds is not None:
            spec["activeDeadlineSeconds"] = change.deadline_seconds
        name = child_name(owner.name, Child.JOB.suffix)
        path = _path(Child.JOB.api_version, Child.JOB.plural, owner.namespace, name)
        try:
            await self._call("PATCH", path, body={"spec": spec}, content=MERGE_PATCH)
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
        path = _path(API_VERSION, PLURAL, owner.namespace, owner.name) + "/status"
        meta = {"uid": owner.uid} | ({"resourceVersion": version} if version else {})
        try:
            new = await self._call(
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
            await self._call("POST", _path("v1", "events", event["metadata"]["namespace"]), body=event)
        except ApiFault as fault:
            if not fault.conflict:
                raise

    async def _child(self, owner: Owner, child: Child) -> dict[str, Any] | None:
        name = child_name(owner.name, child.suffix)
        return await self._read(_path(child.api_version, child.plural, owner.namespace, name))

    async def _pods(self, owner: Owner) -> tuple[dict[str, Any], ...]:
        query = {"labelSelector": f"{LABEL_SELECTOR},{UID_LABEL}={owner.uid}", "limit": str(PAGE_SIZE)}
        page = await self._call("GET", _path("v1", "pods", owner.namespace), query=query)
        return tuple(page.get("items") or ())

    async def _space(self, owner: Owner, space: tuple[str, str] | None) -> str | None:
        if space is None:
            return None
        raw = await self._read(_path("v1", "configmaps", owner.namespace, space[0]))
        text = ((raw or {}).get("data") or {}).get(space[1])
        return text if isinstance(text, str) else None

    async def _failed_creates(self, owner: Owner, job: dict[str, Any]) -> tuple[str, ...]:
        selector = f"involvedObject.uid={job['metadata']['uid']},reason=FailedCreate"
        query = {"fieldSelector": selector, "limit": str(PAGE_SIZE)}
        page = await self._call("GET", _path("v1", "events", owner.namespace), query=query)
        events = sorted(page.get("items") or (), key=lambda one: str(one.get("lastTimestamp") or ""))
        return tuple(str(one.get("message") or "") for one in events)

    async def _read(self, path: str) -> dict[str, Any] | None:
        try:
            return await self._call("GET", path)
        except ApiFault as fault:
            if fault.not_found:
                return None
            raise

    async def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content: str = "application/json",
    ) -> dict[str, Any]:
        """Call and return the answer; every trouble becomes an :class:`ApiFault`."""
        headers = {"Content-Type": content, "Accept": "application/json"}
        try:
            method, url, headers, _, _ = await self._client.param_serialize(
                method,
                path,
                query_params=list((query or {}).items()),
                header_params=headers,
                auth_settings=["BearerToken"],
            )
            answer = await self._client.call_api(
                method, url, header_params=headers, body=body, _request_timeout=self._timeout
            )
            data = await answer.response.read()
        except (aiohttp.ClientError, ApiException, ConfigException, OSError) as error:
            # A time-out is an OSError. Its text may be empty, its kind never is.
            raise ApiFault(0, shorten(f"{type(error).__name__}: {error}", MAX_ANSWER_TEXT)) from error
        return _checked(answer.status, data, answer.headers.get("Retry-After"))


def _path(api_version: str, plural: str, namespace: str | None, name: str = "") -> str:
    root = f"/api/{api_version}" if "/" not in api_version else f"/apis/{api_version}"
    scope = f"/namespaces/{namespace}" if namespace else ""
    return f"{root}{scope}/{plural}" + (f"/{name}" if name else "")


def _checked(status: int, data: bytes, retry: str | None) -> dict[str, Any]:
    """Return the object in *data*, or raise what the status says."""
    try:
        parsed = json.loads(data) if data else {}
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        parsed = {"message": data[: 4 * MAX_ANSWER_TEXT].decode(errors="replace")}
        status = status if status >= HTTPStatus.BAD_REQUEST else 0
    elif status < HTTPStatus.BAD_REQUEST:
        return parsed
    seconds = (parsed.get("details") or {}).get("retryAfterSeconds") or retry
    try:
        wait = float(seconds) if seconds else None
    except (TypeError, ValueError):
        wait = None
    raise ApiFault(status, shorten(str(parsed.get("message") or "no message"), MAX_ANSWER_TEXT), wait)
