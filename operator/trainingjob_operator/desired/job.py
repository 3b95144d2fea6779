"""The Job that runs the trainer's pod, one at a time."""

from typing import Any

from trainingjob_api import EXIT_INVALID
from trainingjob_operator.desired.pod import CONTAINER, build_pod_template
from trainingjob_operator.desired.run import plan_annotation
from trainingjob_operator.names import Child, Owner, metadata
from trainingjob_operator.resolution import Plan
from trainingjob_operator.settings import Settings

__all__ = ["EXIT_TERMINATED", "build_job"]

EXIT_TERMINATED = 143
"""Its exit status after SIGTERM, its work saved."""


def build_job(owner: Owner, plan: Plan, settings: Settings) -> dict[str, Any]:
    """Return the Job.

    It has no time to live of its own: the operator would make a Job anew that has deleted itself.
    """
    run, meta = plan.run, metadata(owner, Child.JOB)
    return {
        "apiVersion": Child.JOB.api_version,
        "kind": Child.JOB.kind,
        "metadata": meta | {"annotations": meta["annotations"] | plan_annotation(plan)},
        "spec": {
            "parallelism": 1,
            "completions": 1,
            "completionMode": "NonIndexed",
            "suspend": False,
            "backoffLimit": run.backoff_limit,
            "activeDeadlineSeconds": run.active_deadline_seconds,
            # Never two pods at once: the next one starts when the last one is gone.
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {"rules": _failure_rules()},
            "template": build_pod_template(owner, plan, settings),
        },
    }


def _failure_rules() -> list[dict[str, Any]]:
    return [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {
            "action": "FailJob",
            "onExitCodes": {"containerName": CONTAINER, "operator": "In", "values": [EXIT_INVALID]},
        },
        {
            # Asked to go and gone in order (a drained node, a deleted pod): no failure of the run.
            "action": "Ignore",
            "onExitCodes": {"containerName": CONTAINER, "operator": "In", "values": [EXIT_TERMINATED]},
        },
    ]
