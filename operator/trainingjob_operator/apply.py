"""From a decision to calls: what is created, changed and deleted, each of which can be repeated."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trainingjob_api.reasons import Cause
from trainingjob_certificates.signatures import ReportKey
from trainingjob_operator.api import Api
from trainingjob_operator.children import Child, Owner, owned_by
from trainingjob_operator.decision import Decision
from trainingjob_operator.errors import ApiFault
from trainingjob_operator.frozen_plan import Plan, changed_plan, read_run
from trainingjob_operator.manifests import build
from trainingjob_operator.manifests.access import build_report_key
from trainingjob_operator.observe.job import foreign_object
from trainingjob_operator.observe.pods import not_admitted
from trainingjob_operator.settings import Settings

__all__ = ["Applied", "apply"]


@dataclass(slots=True)
class Applied:
    """Result of applying a decision.

    Parameters
    ----------
    changed
        Whether something was created, suspended or resumed, which the next pass observes.
    refused
        Why a child of the trainer could not be created; nothing after it was applied.
    dask_refused
        Why a part of the Dask cluster could not be created; the job runs without.
    report_key
        Public half of the key that was made.
    """

    changed: bool = False
    refused: Cause | None = None
    dask_refused: Cause | None = None
    report_key: str = ""


async def apply(api: Api, settings: Settings, owner: Owner, plan: Plan | None, decision: Decision) -> Applied:
    """Create, change and delete what *decision* says.

    Raises
    ------
    ApiFault
        If the API server failed: the pass is repeated later.
    """
    applied = Applied()
    if decision.make_key:
        await _make_key(api, owner, applied)
        return applied

    async def create(child: Child) -> bool:
        """Create *child*; return whether to continue: without a part of the Dask cluster the job does."""
        if plan is None or (child.dask and applied.dask_refused is not None):
            return True
        there, cause = await _create(api, child, build(child, owner, plan, settings))
        if there is not None:
            cause = _not_ours(owner, child, there, plan)
        elif cause is None:
            applied.changed = True
        if child.dask:
            applied.dask_refused = cause
        else:
            applied.refused = cause
        return applied.refused is None

    for child in decision.create:
        if child is not Child.DASK_CLUSTER and not await create(child):
            return applied
    if decision.suspension is not None:
        applied.changed |= await api.suspend(owner, decision.suspension)
    for child in decision.delete:
        await api.delete(child, owner)
    for pod in decision.delete_pods:
        await api.delete_pod(owner.namespace, pod)
    if Child.DASK_CLUSTER in decision.create:
        # After a Job that resumes, too: the workers could take the quota that it needs.
        await create(Child.DASK_CLUSTER)
    return applied


async def _make_key(api: Api, owner: Owner, applied: Applied) -> None:
    """Make the key of a run.

    The Secret is created before the status names it: a restart in between leaves a Secret that nothing uses,
    and that is deleted with the job.
    """
    key = ReportKey.generate()
    _, applied.refused = await _create(api, Child.REPORT_KEY, build_report_key(owner, key))
    if applied.refused is None:
        applied.report_key = key.public


async def _create(
    api: Api, child: Child, manifest: dict[str, Any]
) -> tuple[Mapping[str, Any] | None, Cause | None]:
    """Return what already has the child's name, and why the API server does not admit the child."""
    try:
        return await api.create(child, manifest), None
    except ApiFault as fault:
        cause = _refusal(child, fault)
        if cause is None:
            raise
        return None, cause


def _not_ours(owner: Owner, child: Child, there: Mapping[str, Any], plan: Plan) -> Cause | None:
    """Return why the object that has a child's name is not this job's, ``None`` if it is."""
    if not owned_by(there, owner.uid):
        return foreign_object(owner, child, there)
    kept = read_run(there) if child is Child.RUN else plan
    return changed_plan(there["metadata"]["name"]) if kept is None or kept.digest != plan.digest else None


def _refusal(child: Child, fault: ApiFault) -> Cause | None:
    """Return why the API server does not admit a child, ``None`` for a fault that a retry may help."""
    # A missing kind, or a webhook that fails, must not hold up a job that can run without.
    if not (fault.refusal or (child.dask and (fault.not_found or "webhook" in fault.message))):
        return None
    owner = "the Dask cluster" if child.dask else "this job"
    return not_admitted(f"the {child.kind} of {owner}", fault.message)
