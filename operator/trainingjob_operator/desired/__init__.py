"""Pure builders: a plan and its owner in, one complete plain manifest out; nobody changes it afterwards."""

from collections.abc import Callable
from typing import Any

from trainingjob_certificates import make
from trainingjob_operator.desired.certificates import build_secret, service_names, validity
from trainingjob_operator.desired.dask_cluster import build_dask_cluster
from trainingjob_operator.desired.job import build_job
from trainingjob_operator.desired.network_policy import build_network_policy
from trainingjob_operator.desired.report import build_report
from trainingjob_operator.desired.report_key import build_report_key
from trainingjob_operator.desired.role import build_role
from trainingjob_operator.desired.role_binding import build_role_binding
from trainingjob_operator.desired.run import RUN_KEY, build_run, read_copy, read_run
from trainingjob_operator.desired.service_account import build_service_account
from trainingjob_operator.names import Child, DaskPart, Owner
from trainingjob_operator.resolution import Plan
from trainingjob_operator.settings import Settings

__all__ = ["RUN_KEY", "build", "build_dask", "build_report_key", "read_copy", "read_run"]

_BUILDERS: dict[Child, Callable[[Owner, Plan, Settings], dict[str, Any]]] = {
    Child.RUN: build_run,
    Child.SERVICE_ACCOUNT: build_service_account,
    Child.ROLE: build_role,
    Child.ROLE_BINDING: build_role_binding,
    Child.REPORT: build_report,
    Child.JOB: build_job,
}


def build(child: Child, owner: Owner, plan: Plan, settings: Settings) -> dict[str, Any]:
    """Return the manifest of *child*."""
    return _BUILDERS[child](owner, plan, settings)


def build_dask(part: DaskPart, owner: Owner, plan: Plan, settings: Settings) -> dict[str, Any]:
    """Return the manifest of *part*; certificates are made anew each time."""
    match part:
        case DaskPart.SECRET:
            made = make(valid=validity(plan.run), hosts=service_names(owner))
            return build_secret(owner, made.files)
        case DaskPart.POLICY:
            return build_network_policy(owner)
        case DaskPart.CLUSTER:
            return build_dask_cluster(owner, plan, settings)
