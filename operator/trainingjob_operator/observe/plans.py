"""Which plan is in force: the fence's; without a fence the Job's copy; before the beginning, today's.

A run that has begun keeps its plan or ends: it never goes on with another one.
"""

from collections.abc import Mapping
from typing import Any

from trainingjob_api import Resolved, reasons
from trainingjob_operator.desired import read_copy, read_run
from trainingjob_operator.errors import Refused
from trainingjob_operator.names import Child, name_of
from trainingjob_operator.observe.observed import Obstacle
from trainingjob_operator.resolution import Plan, plan
from trainingjob_operator.settings import Settings
from trainingjob_operator.subject import Subject

__all__ = ["find_plan"]

_OF_THE_PLAN = (
    "image",
    "search_digest",
    "automl_enabled",
    "automl_fallback",
    "parallel_mode",
    "memory_limit_mb",
    "time_left_seconds",
    "per_run_limit_seconds",
    "generations",
    "population_size",
    "sources",
)
"""What the trainer's report does not refine in ``status.resolved``."""


def find_plan(
    subject: Subject, owned: Mapping[Child, dict[str, Any]], settings: Settings, space_text: str | None
) -> tuple[Plan | None, Obstacle | None]:
    """Return the plan of *subject*, or why there is none.

    Parameters
    ----------
    subject
        The job.
    owned
        Its children, as the API server has them.
    settings, space_text
        What a job that has not begun is resolved with.
    """
    fence, job = owned.get(Child.RUN), owned.get(Child.JOB)
    name = name_of(subject.owner, Child.RUN)
    if fence is not None:
        text = f"ConfigMap {name} was written by another version and cannot be read; create the job anew"
        found = read_run(fence)
        return found, None if found is not None else Obstacle(reasons.NAME_CONFLICT, text)
    if job is not None:
        text = f"ConfigMap {name} was deleted and its Job has no copy that can be read; create the job anew"
        found = read_copy(job)
        return found, None if found is not None else Obstacle(reasons.PLAN_LOST, text)
    if subject.job is None:
        return None, Obstacle(reasons.SPEC_INVALID, subject.problem or "the spec cannot be read", final=True)
    try:
        found = plan(subject.job, settings, space_text)
    except Refused as refused:
        return None, Obstacle(refused.reason, refused.message, final=refused.final)
    return _as_begun(subject, found, name)


def _as_begun(subject: Subject, found: Plan, name: str) -> tuple[Plan | None, Obstacle | None]:
    """Return the plan, unless the job has had an attempt with another one."""
    if not subject.status.attempts or subject.status.resolved is None or subject.ended:
        return found, None
    changed = _changes(subject.status.resolved, found.run.summary(image=found.image))
    if subject.job is not None and (subject.job.spec.output is None or subject.job.spec.output.uri is None):
        # The status does not say where the model was to go.
        changed = (*changed, "spec.output.uri")
    if not changed:
        return found, None
    return None, Obstacle(
        reasons.PLAN_LOST,
        f"ConfigMap {name} and the Job were deleted while the job was under way, and today's settings are "
        f"not, or may not be, what it began with ({', '.join(changed)}); create the job anew",
        final=True,
    )


def _changes(begun: Resolved, today: Resolved) -> tuple[str, ...]:
    return tuple(name for name in _OF_THE_PLAN if getattr(begun, name) != getattr(today, name))
