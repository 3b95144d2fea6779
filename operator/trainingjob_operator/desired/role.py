"""The Role of the trainer: get and patch of one ConfigMap, nothing else."""

from typing import Any

from trainingjob_operator.names import Child, Owner, metadata, name_of
from trainingjob_operator.resolution import Plan
from trainingjob_operator.settings import Settings

__all__ = ["build_role"]


def build_role(owner: Owner, _plan: Plan, _: Settings) -> dict[str, Any]:
    """Return the Role; ``resourceNames`` cannot limit ``create``, so the operator makes the report first."""
    return {
        "apiVersion": Child.ROLE.api_version,
        "kind": Child.ROLE.kind,
        "metadata": metadata(owner, Child.ROLE),
        "rules": [
            {
                "apiGroups": [""],
                "resources": [Child.REPORT.plural],
                "resourceNames": [name_of(owner, Child.REPORT)],
                "verbs": ["get", "patch"],
            }
        ],
    }
