"""The ConfigMap ``<job>-<uid hash>-report``: made empty by the operator, written by the trainer alone."""

from typing import Any

from trainingjob_operator.names import Child, Owner, metadata
from trainingjob_operator.resolution import Plan
from trainingjob_operator.settings import Settings

__all__ = ["REPORT_KEY", "SIGNATURE_KEY", "build_report"]

REPORT_KEY = "report.json"
SIGNATURE_KEY = "report.sig"


def build_report(owner: Owner, _plan: Plan, _: Settings) -> dict[str, Any]:
    """Return the ConfigMap that the trainer writes its report into."""
    return {
        "apiVersion": Child.REPORT.api_version,
        "kind": Child.REPORT.kind,
        "metadata": metadata(owner, Child.REPORT),
    }
