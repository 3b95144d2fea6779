"""The plan in force: the one whose digest is in the status, wherever it is read from.

The operator records the digest before it makes anything. ConfigMaps can be written by others: a plan that is
read from one counts only if it has that digest. A run that has begun keeps its plan or ends.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from trainingjob_api import PlanRecord, Reason
from trainingjob_operator.desired import read_copy, read_run
from trainingjob_operator.errors import Refused
from trainingjob_operator.names import Child, name_of
from trainingjob_operator.observe.observed import Obstacle
from trainingjob_operator.resolution import Plan, check_places, plan
from trainingjob_operator.settings import Settings
from trainingjob_operator.subject import Subject

__all__ = ["FoundPlan", "changed_plan", "find_plan"]


@dataclass(frozen=True, slots=True)
class FoundPlan:
    """What is known of a job's plan.

    Parameters
    ----------
    plan
        What is in force, or would be if the job began now; ``None`` if there is none.
    record
        What the status is to say of it; ``None`` until there is a key for its reports.
    obstacle
        Why it cannot be followed.
    """

    plan: Plan | None = None
    record: PlanRecord | None = None
    obstacle: Obstacle | None = None


def find_plan(
    subject: Subject, owned: Mapping[Child, dict[str, Any]], settings: Settings, space_text: str | None
) -> FoundPlan:
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
    record = subject.status.plan
    kept = _recorded(read_run(fence), record) if fence is not None else None
    found = kept or (_recorded(read_copy(job), record) if job is not None else None)
    if fence is not None and kept is None:
        return FoundPlan(_with_key(found, record), record, changed_plan(name_of(subject.owner, Child.RUN)))
    if found is None:
        found, obstacle = _today(subject, settings, space_text, has_job=job is not None)
        if found is None:
            return FoundPlan(None, record, obstacle)
        if record is not None:
            record = record.model_copy(update={"digest": found.digest})
    return FoundPlan(_with_key(found, record), record, _not_allowed(found, settings))


def _recorded(read: Plan | None, record: PlanRecord | None) -> Plan | None:
    """Return a plan that was read if it is the one that the status records."""
    return read if read is not None and record is not None and read.digest == record.digest else None


def changed_plan(name: str) -> Obstacle:
    """Return what it means that the ConfigMap *name* is not what the operator recorded."""
    return Obstacle(
        Reason.PLAN_CHANGED,
        f"ConfigMap {name} does not hold the plan that status.plan.digest records: it was not "
        "written by the operator and is not used; delete it, and the operator makes it again",
    )


def _with_key(found: Plan | None, record: PlanRecord | None) -> Plan | None:
    return replace(found, report_key=record.report_key) if found is not None and record is not None else found


def _today(
    subject: Subject, settings: Settings, space_text: str | None, *, has_job: bool
) -> tuple[Plan | None, Obstacle | None]:
    """Return the plan of today's settings, unless the job has begun with another one."""
    lost = f"ConfigMap {name_of(subject.owner, Child.RUN)} was deleted while the job was running, and "
    if subject.job is None:
        problem = subject.problem or "the spec cannot be read"
        return None, Obstacle(Reason.SPEC_INVALID, problem, final=True)
    try:
        found = plan(subject.job, settings, space_text)
    except Refused as refused:
        if has_job:
            text = f"{lost}its plan cannot be made again ({refused.message}); recreate the job"
            return None, Obstacle(Reason.PLAN_LOST, text)
        return None, Obstacle(refused.reason, refused.message, final=refused.final)
    status = subject.status
    same = status.plan is not None and status.plan.digest == found.digest
    if same or not (has_job or status.attempts):
        return found, None
    changed = status.resolved.changes(found.run.summary(image=found.image)) if status.resolved else ()
    text = (
        f"{lost}today's settings are not what it began with "
        f"({', '.join(changed or ('status.plan.digest',))}); recreate the job"
    )
    # A pod that runs has its plan already; without a Job there is nothing left to wait for.
    return None, Obstacle(Reason.PLAN_LOST, text, final=not has_job)


def _not_allowed(found: Plan, settings: Settings) -> Obstacle | None:
    """Return why the current settings forbid a plan; allow-lists may have become narrower."""
    try:
        check_places(found.run, settings)
    except Refused as refused:
        return Obstacle(refused.reason, refused.message, final=refused.final)
    return None
