"""Calls about a job's Dask cluster. Certificates are made and deleted, and never read."""

import asyncio
import logging
from collections.abc import Mapping
from enum import Enum, auto
from http import HTTPStatus
from typing import Any

from trainingjob_operator.errors import ApiFault
from trainingjob_operator.gateway.transport import Transport, path_of
from trainingjob_operator.names import (
    DASK_CLUSTER_LABEL,
    DASK_COMPONENT_LABEL,
    UID_LABEL,
    DaskPart,
    Owner,
    dask_name,
    owned_by,
)
from trainingjob_operator.observe import DaskSnapshot

__all__ = ["DaskGateway", "DaskQuestion"]

_log = logging.getLogger(__name__)

_SAMPLE = "50"
"""Deployments and pods that are looked at: what is wrong with one worker is wrong with all of them."""
_ROLES = ("scheduler", "worker")


class DaskQuestion(Enum):
    """What to find out about a Dask cluster."""

    EXISTENCE = auto()
    """Whether it is there."""
    HEALTH = auto()
    """Also what the Dask operator has made of it, and how that does."""


class DaskGateway:
    """Calls about Dask clusters.

    Parameters
    ----------
    api
        The API server.
    """

    def __init__(self, api: Transport) -> None:
        self._api = api

    async def snapshot(self, owner: Owner, question: DaskQuestion | None) -> DaskSnapshot | None:
        """Return what there is of the cluster of *owner*; ``None`` if nothing was asked.

        That the kind does not exist, or may not be read, is an answer and no fault: local jobs do without,
        and distributed ones become local.
        """
        if question is None:
            return None
        try:
            cluster = await self._cluster(owner)
        except ApiFault as fault:
            if fault.not_found:
                return DaskSnapshot(installed=False)
            if fault.status == HTTPStatus.FORBIDDEN:
                return DaskSnapshot(unreadable=fault.message)
            raise
        if cluster is None or question is DaskQuestion.EXISTENCE:
            return DaskSnapshot(cluster=cluster)
        deployments, pods = await asyncio.gather(
            self._of_cluster("apps/v1", "deployments", owner), self._of_cluster("v1", "pods", owner)
        )
        return DaskSnapshot(cluster=cluster, deployments=deployments, pods=pods or ())

    async def create(self, part: DaskPart, manifest: Mapping[str, Any]) -> bool:
        """Make a part; return whether it was made, as opposed to there already.

        One that is there is taken for the job's: the name has the job's uid in it.
        """
        path = path_of(part.api_version, part.plural, manifest["metadata"]["namespace"])
        try:
            await self._api.call("POST", path, body=manifest)
        except ApiFault as fault:
            if not fault.conflict:
                raise
            return False
        return True

    async def delete(self, part: DaskPart, owner: Owner) -> None:
        """Delete a part, with all that it owns first; one that is gone, or another's, is left alone.

        Secret and NetworkPolicy may not be read: their name alone, which has the job's uid in it, tells whose
        they are. Where the operator may not, or the kind is not known, it has made none: the end of a job is
        not held up by that.

        Raises
        ------
        ApiFault
            With status 409 if another DaskCluster has taken the name since it was read.
        """
        path = path_of(part.api_version, part.plural, owner.namespace, dask_name(owner))
        options: dict[str, Any] = {"propagationPolicy": "Foreground"}
        try:
            if part is DaskPart.CLUSTER:
                raw = await self._cluster(owner)
                if raw is None or not owned_by(raw, owner.uid):
                    return
                options["preconditions"] = {"uid": raw["metadata"]["uid"]}
            await self._api.call("DELETE", path, body=options)
        except ApiFault as fault:
            if fault.status == HTTPStatus.FORBIDDEN:
                _log.warning("part of the Dask cluster not deleted", extra=fault.fields)
            elif not fault.not_found:
                raise

    async def _cluster(self, owner: Owner) -> dict[str, Any] | None:
        """Return the DaskCluster with the name of the one of *owner*, whoever made it.

        List rather than get: distinguishes 'none' from 'kind not installed', which is a fault (404).
        """
        kind, name = DaskPart.CLUSTER, dask_name(owner)
        path = path_of(kind.api_version, kind.plural, owner.namespace)
        page = await self._api.call("GET", path, query={"labelSelector": f"{UID_LABEL}={owner.uid}"})
        return next((one for one in page.get("items") or () if one["metadata"]["name"] == name), None)

    async def _of_cluster(
        self, api_version: str, plural: str, owner: Owner
    ) -> tuple[dict[str, Any], ...] | None:
        """Return a sample of scheduler's and workers' objects; ``None`` where they may not be read."""
        try:
            pages = await asyncio.gather(*(self._sample(api_version, plural, owner, role) for role in _ROLES))
        except ApiFault as fault:
            if fault.status == HTTPStatus.FORBIDDEN:
                return None
            raise
        return tuple(one for page in pages for one in page)

    async def _sample(self, api_version: str, plural: str, owner: Owner, role: str) -> list[dict[str, Any]]:
        selector = f"{DASK_CLUSTER_LABEL}={dask_name(owner)},{DASK_COMPONENT_LABEL}={role}"
        query = {"labelSelector": selector, "limit": _SAMPLE}
        page = await self._api.call("GET", path_of(api_version, plural, owner.namespace), query=query)
        return page.get("items") or []
