"""The ServiceAccount of the trainer: a job's own, so that its Role reaches nobody else."""

from typing import Any

from trainingjob_operator.names import Child, Owner, metadata
from trainingjob_operator.resolution import Plan
from trainingjob_operator.settings import Settings

__all__ = ["build_service_account"]


def build_service_account(owner: Owner, plan: Plan, _: Settings) -> dict[str, Any]:
    """Return the ServiceAccount, with the annotations that the spec asks for (a cloud role)."""
    meta = metadata(owner, Child.SERVICE_ACCOUNT)
    trainer = plan.run.trainer
    return {
        "apiVersion": Child.SERVICE_ACCOUNT.api_version,
        "kind": Child.SERVICE_ACCOUNT.kind,
        # Ours last: they are what the operator finds the job by.
        "metadata": meta
        | {"annotations": {**(trainer.service_account_annotations or {}), **meta["annotations"]}},
        "automountServiceAccountToken": False,
        "imagePullSecrets": [{"name": one.name} for one in trainer.image_pull_secrets or ()],
    }
