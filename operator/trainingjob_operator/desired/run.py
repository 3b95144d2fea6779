"""The ConfigMap ``<job>-run``: what is in force, and the fence against beginning a job twice."""

from typing import Any

from pydantic import ValidationError

from trainingjob_api import ResolvedRun
from trainingjob_operator.names import Child, Owner, metadata
from trainingjob_operator.resolution import Plan
from trainingjob_operator.settings import Settings

__all__ = ["IMAGE_KEY", "RUN_KEY", "build_run", "read_run"]

RUN_KEY = "run.json"
IMAGE_KEY = "image"


def build_run(owner: Owner, plan: Plan, _: Settings) -> dict[str, Any]:
    """Return the immutable ConfigMap with the plan."""
    return {
        "apiVersion": Child.RUN.api_version,
        "kind": Child.RUN.kind,
        "metadata": metadata(owner, Child.RUN),
        "immutable": True,
        "data": {RUN_KEY: plan.run.model_dump_json(by_alias=True), IMAGE_KEY: plan.image},
    }


def read_run(raw: dict[str, Any]) -> Plan | None:
    """Return the plan that such a ConfigMap holds, ``None`` if it cannot be read."""
    data = raw.get("data") or {}
    try:
        return Plan(run=ResolvedRun.model_validate_json(data[RUN_KEY]), image=data[IMAGE_KEY])
    except (KeyError, ValidationError):
        return None
