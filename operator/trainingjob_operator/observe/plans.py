"""Which plan is in force: one whose digest is in the status, wherever it is read from.

The operator records the digest before it makes anything. ConfigMaps can be written by others: a plan that is
read from one counts only if it has that digest. A run that has begun keeps its plan or ends.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from trainingjob_api import PlanRecord, Resolved, reasons
from trainingjob_operator.desired import read_copy, read_run
from trainingjob_operator.errors import Refused
from trainingjob_operator.names import Child, name_of
from trainingjob_operator.observe.observed import Obstacle
from trainingjob_operator.resolution import Plan, check_places, plan
from trainingjob_operator.settings import Settings
from trainingjob_operator.subject import Subject

__all__ = ["FoundPlan", "changed_plan", "find_plan"]

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
    before = subject.status.plan
    kept = read_run(fence) if fence is not None else None
    copy = read_copy(job) if job is not None else None
    found = next((one for one in (kept, copy) if one is not None and not _differences(subject, one)), None)
    if fence is not None and (kept is None or found is not kept):
        return FoundPlan(_with_key(found, before), before, changed_plan(name_of(subject.owner, Child.RUN)))
    record = before
    if found is None:
        begun = job is not None or bool(subject.status.attempts)
        found, obstacle = _today(subject, settings, space_text, begun=begun, waits=job is not None)
        if found is None:
            return FoundPlan(None, before, obstacle)
        if before is not None:
            record = before.model_copy(update={"digest": found.digest})
        elif subject.owner.legacy and begun:
            record = PlanRecord(digest=found.digest)
    elif before is None:
        record = PlanRecord(digest=found.digest)
    return FoundPlan(
        _with_key(found, before), record, None if subject.ended else _not_allowed(found, settings)
    )


def changed_plan(name: str) -> Obstacle:
    """Return what it means that the ConfigMap *name* is not what the operator recorded."""
    return Obstacle(
        reasons.PLAN_CHANGED,
        f"ConfigMap {name} does not hold the plan that status.plan.digest records: it was not "
        "written by the operator and is not used; delete it, and the operator makes it again",
    )


def _with_key(found: Plan | None, record: PlanRecord | None) -> Plan | None:
    return replace(found, report_key=record.report_key) if found is not None and record is not None else found


def _today(
    subject: Subject, settings: Settings, space_text: str | None, *, begun: bool, waits: bool
) -> tuple[Plan | None, Obstacle | None]:
    """Return the plan that today's settings give, unless the job has begun with another one."""
    lost = "ConfigMap " + name_of(subject.owner, Child.RUN) + " was deleted while the job was under way, and "
    if subject.job is None:
        problem = subject.problem or "the spec cannot be read"
        return None, Obstacle(reasons.SPEC_INVALID, problem, final=True)
    try:
        found = plan(subject.job, settings, space_text)
    except Refused as refused:
        if waits:
            text = f"{lost}its plan cannot be made again ({refused.message}); create the job anew"
            return None, Obstacle(reasons.PLAN_LOST, text)
        return None, Obstacle(refused.reason, refused.message, final=refused.final)
    different = _differences(subject, found) if begun else ()
    output = subject.job.spec.output
    if begun and subject.status.plan is None and (output is None or output.uri is None):
        # Neither digest nor status say where the model was to go.
        different = (*different, "spec.output.uri")
    if not different:
        return found, None
    if subject.ended:
        return None, None
    text = (
        f"{lost}today's settings are not, or may not be, what it began with ({', '.join(different)}); create "
        "the job anew"
    )
    # A pod that runs has its plan already; without a Job there is nothing left to wait for.
    return None, Obstacle(reasons.PLAN_LOST, text, final=not waits)


def _differences(subject: Subject, found: Plan) -> tuple[str, ...]:
    """Return in what *found* differs from what the status has recorded.

    A job that has recorded nothing has begun nothing, so that whatever is read differs.
    """
    status = subject.status
    if status.plan is not None and status.plan.digest == found.digest:
        return ()
    fields = _changes(status.resolved, found.run.summary(image=found.image)) if status.resolved else ()
    if status.plan is None and subject.owner.legacy:
        return fields
    return fields or ("status.plan.digest",)


def _changes(begun: Resolved, today: Resolved) -> tuple[str, ...]:
    return tuple(name for name in _OF_THE_PLAN if getattr(begun, name) != getattr(today, name))


def _not_allowed(found: Plan, settings: Settings) -> Obstacle | None:
    """Return why this operator does not allow what a plan asks for: its lists may be narrower by now."""
    try:
        check_places(found.run, settings)
    except Refused as refused:
        return Obstacle(refused.reason, refused.message, final=refused.final)
    return None
