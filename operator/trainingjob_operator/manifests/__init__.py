"""Pure builders: a plan and its owner in, one complete manifest out; nobody changes it afterwards."""

from collections.abc import Callable
from typing import Any

from trainingjob_operator.children import Child, Owner
from trainingjob_operator.frozen_plan import Plan
from trainingjob_operator.manifests.access import (
    build_report,
    build_role,
    build_role_binding,
    build_run,
    build_service_account,
)
from trainingjob_operator.manifests.dask import build_certificates, build_dask_cluster, build_network_policy
from trainingjob_operator.manifests.trainer import build_job
from trainingjob_operator.settings import Settings

__all__ = ["build"]

_BUILDERS: dict[Child, Callable[[Owner, Plan, Settings], dict[str, Any]]] = {
    Child.RUN: build_run,
    Child.SERVICE_ACCOUNT: build_service_account,
    Child.ROLE: build_role,
    Child.ROLE_BINDING: build_role_binding,
    Child.REPORT: build_report,
    Child.DASK_CERTIFICATES: build_certificates,
    Child.DASK_POLICY: build_network_policy,
    Child.JOB: build_job,
    Child.DASK_CLUSTER: build_dask_cluster,
}


def build(child: Child, owner: Owner, plan: Plan, settings: Settings) -> dict[str, Any]:
    """Return the manifest of *child*; certificates are made anew each time."""
    return _BUILDERS[child](owner, plan, settings)
