"""The ConfigMap ``<job>-<uid hash>-run``: what is in force, and the fence against beginning a job twice.

The Job carries the plan once more, so that a fence that somebody deletes is made again as it was.
"""

from typing import Any

from pydantic import ValidationError

from trainingjob_api import ResolvedRun
from trainingjob_operator.desired.pod import trainer_container
from trainingjob_operator.names import PLAN_ANNOTATION, Child, Owner, metadata
from trainingjob_operator.resolution import Plan
from trainingjob_operator.settings import Settings

__all__ = ["IMAGE_KEY", "RUN_KEY", "build_run", "plan_annotation", "read_copy", "read_run"]

RUN_KEY = "run.json"
IMAGE_KEY = "image"
MAX_COPY_BYTES = 200 * 1024
"""All annotations of an object may have 256 KiB; only a search space that was written to be huge has more."""


def build_run(owner: Owner, plan: Plan, _: Settings) -> dict[str, Any]:
    """Return the immutable ConfigMap with the plan."""
    return {
        "apiVersion": Child.RUN.api_version,
        "kind": Child.RUN.kind,
        "metadata": metadata(owner, Child.RUN),
        "immutable": True,
        "data": {RUN_KEY: plan.text, IMAGE_KEY: plan.image},
    }


def plan_annotation(plan: Plan) -> dict[str, str]:
    """Return the annotation of the Job that holds the plan, empty if it would be too large."""
    return {PLAN_ANNOTATION: plan.text} if len(plan.text.encode()) <= MAX_COPY_BYTES else {}


def read_run(raw: dict[str, Any]) -> Plan | None:
    """Return the plan that such a ConfigMap holds, ``None`` if it cannot be read."""
    data = raw.get("data") or {}
    return _plan(data.get(RUN_KEY), data.get(IMAGE_KEY))


def read_copy(raw: dict[str, Any]) -> Plan | None:
    """Return the plan that a Job was made from, ``None`` if it cannot be read from it."""
    template = (raw.get("spec") or {}).get("template") or {}
    annotations = raw["metadata"].get("annotations") or {}
    return _plan(annotations.get(PLAN_ANNOTATION), trainer_container(template).get("image"))


def _plan(text: str | None, image: str | None) -> Plan | None:
    try:
        run = ResolvedRun.model_validate_json(text) if text and image else None
    except ValidationError:
        return None
    return Plan(run=run, image=image, written=text) if run is not None and image else None
