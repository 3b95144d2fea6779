"""Pure builders: a plan and its owner in, one complete manifest out, which is never changed afterwards."""

from collections.abc import Callable
from typing import Any

from trainingjob_operator.children import Child, Owner
from trainingjob_operator.frozen_plan import Plan
from trainingjob_operator.manifests import access, dask, trainer
from trainingjob_operator.settings import Settings

__all__ = ["build"]

_BUILDERS: dict[Child, Callable[[Owner, Plan, Settings], dict[str, Any]]] = {
    Child.RUN: access.build_run,
    Child.SERVICE_ACCOUNT: access.build_service_account,
    Child.ROLE: access.build_role,
    Child.ROLE_BINDING: access.build_role_binding,
    Child.REPORT: access.build_report,
    Child.DASK_CERTIFICATES: dask.build_certificates,
    Child.DASK_POLICY: dask.build_network_policy,
    Child.JOB: trainer.build_job,
    Child.DASK_CLUSTER: dask.build_dask_cluster,
}


def build(child: Child, owner: Owner, plan: Plan, settings: Settings) -> dict[str, Any]:
    """Return the manifest of *child*; certificates are new each time."""
    return _BUILDERS[child](owner, plan, settings)
