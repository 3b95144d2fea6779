"""From a step to calls: what is made, changed and removed, each of which can be done again."""

from dataclasses import dataclass

from trainingjob_api import Reason
from trainingjob_certificates.signing import ReportKey
from trainingjob_operator.desired import build, build_dask, build_report_key, read_run
from trainingjob_operator.errors import ApiFault
from trainingjob_operator.gateway import Gateway
from trainingjob_operator.names import Child, DaskPart, Owner, owned_by
from trainingjob_operator.observe import Obstacle, Trouble, changed_plan, dask_refusal, foreign_obstacle
from trainingjob_operator.resolution import Plan
from trainingjob_operator.settings import Settings
from trainingjob_operator.step import DaskChange, Step

__all__ = ["Applied", "Applier"]


@dataclass(frozen=True, slots=True)
class Applied:
    """What came of a step.

    Parameters
    ----------
    obstacle
        What is in the job's way, if anything is.
    dask
        Why no Dask cluster could be made; the job goes on.
    report_key
        Public half of the key that was made.
    """

    obstacle: Obstacle | None = None
    dask: Trouble | None = None
    report_key: str = ""


class _Blocked(Exception):  # noqa: N818  # ends a sequence, is no error
    def __init__(self, obstacle: Obstacle) -> None:
        super().__init__(obstacle.message)
        self.obstacle = obstacle


class Applier:
    """Applies steps.

    Parameters
    ----------
    gateway
        The API server.
    settings
        The operator's settings.
    """

    def __init__(self, gateway: Gateway, settings: Settings) -> None:
        self._gateway = gateway
        self._settings = settings

    async def apply(self, owner: Owner, plan: Plan | None, step: Step) -> Applied:
        """Make, change and remove what *step* says.

        The trainer's pod comes after the certificates that it mounts, and before the workers, which might
        take the quota that it needs.

        Raises
        ------
        ApiFault
            If the API server did not take part.
        """
        makes_dask = step.cluster.change is DaskChange.MAKE
        refused: Trouble | None = None
        try:
            if step.make_key:
                return Applied(report_key=await self._make_key(owner))
            await self._make(owner, plan, [child for child in step.ensure if child is not Child.JOB])
            if makes_dask and plan is not None:
                refused = await self._make_dask(owner, plan, (DaskPart.SECRET, DaskPart.POLICY))
            await self._make(owner, plan, [child for child in step.ensure if child is Child.JOB])
        except _Blocked as blocked:
            return Applied(blocked.obstacle, refused)
        if step.suspension is not None:
            await self._gateway.suspend(owner, step.suspension)
        for child in step.remove:
            await self._gateway.delete(child, owner)
        for pod in step.remove_pods:
            await self._gateway.delete_pod(owner.namespace, pod)
        if makes_dask and plan is not None and refused is None:
            refused = await self._make_dask(owner, plan, (DaskPart.CLUSTER,))
        if step.cluster.change in {DaskChange.REMOVE, DaskChange.CLEAR}:
            await self._gateway.dask.delete(DaskPart.CLUSTER, owner)
        if step.cluster.change is DaskChange.CLEAR:
            await self._gateway.dask.delete(DaskPart.POLICY, owner)
            await self._gateway.dask.delete(DaskPart.SECRET, owner)
        return Applied(dask=refused)

    async def _make_key(self, owner: Owner) -> str:
        """Make the key of a run; return its public half.

        The Secret is made before the status names it: a restart in between leaves a Secret that nothing uses,
        and that goes with the job.
        """
        key = ReportKey.generate()
        try:
            await self._gateway.create_secret(build_report_key(owner, key))
        except ApiFault as fault:
            if fault.refusal:
                raise _Blocked(_refused("Secret", fault)) from fault
            raise
        return key.public

    async def _make(self, owner: Owner, plan: Plan | None, children: list[Child]) -> None:
        for child in children:
            if plan is None:
                break
            try:
                there = await self._gateway.create(child, build(child, owner, plan, self._settings))
            except ApiFault as fault:
                if fault.refusal:
                    raise _Blocked(_refused(child.kind, fault)) from fault
                raise
            if there is None:
                continue
            if not owned_by(there, owner.uid):
                raise _Blocked(foreign_obstacle(owner.name, child, there))
            kept = read_run(there) if child is Child.RUN else plan
            if kept is None or kept.digest != plan.digest:
                raise _Blocked(changed_plan(there["metadata"]["name"]))

    async def _make_dask(self, owner: Owner, plan: Plan, parts: tuple[DaskPart, ...]) -> Trouble | None:
        for part in parts:
            try:
                await self._gateway.dask.create(part, build_dask(part, owner, plan, self._settings))
            except ApiFault as fault:
                # A webhook that fails is somebody's, too, who has a say in Dask clusters only.
                if fault.refusal or fault.not_found or "webhook" in fault.message:
                    return dask_refusal(part.kind, fault.message)
                raise
        return None


def _refused(kind: str, fault: ApiFault) -> Obstacle:
    quota = "exceeded quota" in fault.message
    return Obstacle(
        Reason.QUOTA_EXCEEDED if quota else Reason.FORBIDDEN,
        f"the API server does not take the {kind} of this job: {fault.message}",
    )
