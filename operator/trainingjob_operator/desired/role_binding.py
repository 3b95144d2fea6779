"""The RoleBinding that gives the trainer's ServiceAccount its Role."""

from typing import Any

from trainingjob_operator.names import Child, Owner, metadata, name_of
from trainingjob_operator.resolution import Plan
from trainingjob_operator.settings import Settings

__all__ = ["build_role_binding"]


def build_role_binding(owner: Owner, _plan: Plan, _: Settings) -> dict[str, Any]:
    """Return the RoleBinding."""
    return {
        "apiVersion": Child.ROLE_BINDING.api_version,
        "kind": Child.ROLE_BINDING.kind,
        "metadata": metadata(owner, Child.ROLE_BINDING),
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": Child.ROLE.kind,
            "name": name_of(owner, Child.ROLE),
        },
        "subjects": [
            {
                "kind": Child.SERVICE_ACCOUNT.kind,
                "name": name_of(owner, Child.SERVICE_ACCOUNT),
                "namespace": owner.namespace,
            }
        ],
    }
