"""The status of a job, which the operator alone writes, and the Kubernetes Events of its changes.

Conditions are as metav1 and kstatus read them; their table is in ``docs/reference``. Equal observations of an
equal status give equal statuses. Each event is posted once, even across restarts.
"""

import hashlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from trainingjob_api import (
    API_VERSION,
    KIND,
    Condition,
    ConditionStatus,
    ConditionType,
    Fallback,
    LastReport,
    ParallelMode,
    Phase,
    Report,
    Stage,
    TrainingJobStatus,
    judge,
    shorten,
    trim_status,
)
from trainingjob_api.reasons import Cause, Reason
from trainingjob_operator.attempts import record_attempts
from trainingjob_operator.children import MANAGED_BY, Owner, child_name, labels
from trainingjob_operator.decision import Decision
from trainingjob_operator.facts import Observed
from trainingjob_operator.job_view import JobView, condition_of

MAX_MESSAGE = 1000
MAX_FALLBACKS = 8
MAX_LEADERBOARD = 10
MAX_FRONT = 20
MAX_ARTIFACTS = 16
TRUE, FALSE, UNKNOWN = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN
DASK_CAUSES = frozenset(
    {
        Reason.DASK_CRASHED,
        Reason.DASK_UNAVAILABLE,
        Reason.FORBIDDEN,
        Reason.IMAGE_UNAVAILABLE,
        Reason.NAME_CONFLICT,
        Reason.OUT_OF_MEMORY,
        Reason.QUOTA_EXCEEDED,
        Reason.SECRET_NOT_FOUND,
        Reason.UNSCHEDULABLE,
    }
)
"""Why a Dask cluster does not come up, as the operator sees it."""
_ALWAYS_WITH_MESSAGE = frozenset(
    {
        ConditionType.READY,
        ConditionType.ACCEPTANCE_MET,
        ConditionType.ARTIFACTS_UPLOADED,
        ConditionType.DASK_READY,
    }
)
_SIDE = (ConditionType.DEGRADED, ConditionType.DASK_READY, ConditionType.ARTIFACTS_UPLOADED)
_Row = tuple[ConditionType, ConditionStatus, Cause]
"""A condition before it has its times."""


def build_status(view: JobView, seen: Observed, decision: Decision, now: datetime) -> TrainingJobStatus:
    """Return the status that a job should have.

    Equal arguments give equal statuses. What did not change keeps its times, so that a status that says
    the same as before *is* the same and is not written.
    """
    old = view.status
    fields: dict[str, Any] = {"observed_generation": view.generation, "phase": decision.phase}
    if not view.ended:
        fields |= _course(view, seen, decision, now)
        if seen.plan is not None:
            fields["plan"] = seen.plan.record or old.plan
            fields["resolved"] = seen.plan.run.summary(image=seen.plan.image)
        if seen.report is not None:
            fields |= _reported(old, seen.report)
            if seen.plan is not None and seen.report.resolved is not None:
                # The trainer refines what the plan says by what it found in data and pod.
                fields["resolved"] = fields["resolved"].refined(seen.report.resolved)
    status = old.model_copy(update=fields)
    before = {condition.type: condition for condition in old.conditions or ()}
    # A job that has ended keeps the others.
    kept = [before[kind] for kind in _SIDE if kind in before]
    side = [(old.type, old.status, Cause(old.reason, old.message)) for old in kept]
    if not view.ended:
        side = [*_side_conditions(before, seen, decision, status)]
    rows = [*_main_conditions(view, decision, status), *side]
    conditions = tuple(_condition(row, before.get(row[0]), view.generation, now) for row in rows)
    return trim_status(status.model_copy(update={"conditions": conditions}))


def merge_patch(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return the merge patch (RFC 7386) that turns *old* into *new*; empty if they are equal."""
    patch: dict[str, Any] = {name: None for name in old if name not in new}
    for name, value in new.items():
        before = old.get(name)
        if name in old and before == value:
            continue
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            patch[name] = merge_patch(before, value)
        else:
            patch[name] = value
    return patch


def _course(view: JobView, seen: Observed, decision: Decision, now: datetime) -> dict[str, Any]:
    """Return start, end and attempts. A job that was created suspended has not started."""
    old, report, job = view.status, seen.report, seen.job
    waits = decision.phase is Phase.SUSPENDED and seen.begun is None
    start = old.start_time or seen.begun or (None if waits else now)
    attempts = max(
        old.attempts or 0,
        report.attempt if report is not None else 0,
        len(seen.pods),
        job.pods_counted if job is not None else 0,
    )
    history = record_attempts(view, seen, decision, attempts, now)
    return {
        "start_time": start.replace(microsecond=0) if start is not None else None,
        "completion_time": decision.ended.replace(microsecond=0) if decision.ended is not None else None,
        "attempts": max(attempts, history[-1].number if history else 0) or None,
        "attempt_history": history or None,
    }


def _reported(old: TrainingJobStatus, report: Report) -> dict[str, Any]:
    """Return the fields of the status that the report sets; the others keep their values."""
    best, board, front = report.best, report.leaderboard, report.pareto_front
    return {
        "last_report": old.last_report
        if report.pod_uid is None
        else LastReport(attempt=report.attempt, sequence=report.sequence, pod_uid=report.pod_uid),
        "backend": report.backend or old.backend,
        "model_source": report.model_source or old.model_source,
        "fallbacks": (*(old.fallbacks or ()), *new_fallbacks(old.fallbacks, report.fallbacks))[:MAX_FALLBACKS]
        or None,
        "progress": report.progress or old.progress,
        "best": best or old.best,
        "leaderboard": board[:MAX_LEADERBOARD] or old.leaderboard,
        "pareto_front": front[:MAX_FRONT] or old.pareto_front,
        "artifacts": report.artifacts[:MAX_ARTIFACTS] or old.artifacts,
    }


def new_fallbacks(old: tuple[Fallback, ...] | None, new: tuple[Fallback, ...] | None) -> tuple[Fallback, ...]:
    """Return the fallbacks of *new* that are not among *old*, whatever their times and messages."""
    known = {(step.from_, step.to, step.reason) for step in old or ()}
    return tuple(step for step in new or () if (step.from_, step.to, step.reason) not in known)


def fallback_cause(fallback: Fallback) -> Cause:
    """Return a fallback as conditions and events show it."""
    text = f"{fallback.from_} → {fallback.to}" + (f": {fallback.message}" if fallback.message else "")
    return Cause(fallback.reason, text)


def _main_conditions(view: JobView, decision: Decision, status: TrainingJobStatus) -> Iterator[_Row]:
    """Yield the conditions that follow from the phase and from acceptance."""
    phase, cause = decision.phase, decision.cause
    succeeded, failed, suspended = (
        phase is wanted for wanted in (Phase.SUCCEEDED, Phase.FAILED, Phase.SUSPENDED)
    )
    stopped = suspended and decision.settled
    verdict = judge(view.acceptance, status.best)
    accepted = verdict.accepted is not False
    stalled: tuple[ConditionStatus, Cause] = _flag(failed), cause
    if succeeded and not accepted:
        yield ConditionType.READY, FALSE, Cause(verdict.reason, f"{verdict.message}; {cause.message}")
        stalled = TRUE, verdict
    else:
        new = phase is Phase.PENDING and not decision.trouble
        yield ConditionType.READY, TRUE if succeeded else UNKNOWN if new else FALSE, cause
    yield ConditionType.COMPLETE, _flag(succeeded), cause
    yield ConditionType.FAILED, _flag(failed), cause
    yield ConditionType.SUSPENDED, _flag(stopped), cause
    yield ConditionType.RECONCILING, _flag(not (phase.terminal or stopped)), cause
    yield ConditionType.STALLED, *stalled
    if phase.terminal:
        yield ConditionType.ACCEPTANCE_MET, _flag(succeeded and accepted), verdict
    else:
        yield ConditionType.ACCEPTANCE_MET, UNKNOWN, Cause(Reason.PENDING, "Known when the run has ended")


def _flag(value: bool) -> ConditionStatus:  # noqa: FBT001  # converts it
    return ConditionStatus(str(value))


def _side_conditions(
    before: dict[ConditionType, Condition], seen: Observed, decision: Decision, status: TrainingJobStatus
) -> Iterator[_Row]:
    """Yield the conditions about fallbacks, the Dask cluster and the artifacts."""
    if status.fallbacks:
        yield ConditionType.DEGRADED, TRUE, fallback_cause(status.fallbacks[-1])
    else:
        yield ConditionType.DEGRADED, FALSE, Cause(Reason.AS_REQUESTED)
    yield ConditionType.DASK_READY, *_dask(before.get(ConditionType.DASK_READY), seen, decision, status)
    yield ConditionType.ARTIFACTS_UPLOADED, *_artifacts(seen.report, decision)


def _dask(
    old: Condition | None, seen: Observed, decision: Decision, status: TrainingJobStatus
) -> tuple[ConditionStatus, Cause]:
    resolved, report, lost = status.resolved, seen.current_report, seen.left_dask
    if resolved is None or resolved.parallel_mode is not ParallelMode.DISTRIBUTED:
        return FALSE, Cause(Reason.NOT_REQUESTED)
    if not resolved.automl_enabled:
        return FALSE, Cause(Reason.NOT_REQUESTED, "The baseline needs no Dask cluster")
    if decision.phase is Phase.SUSPENDED:
        return FALSE, Cause(Reason.SUSPENDED, "A suspended job has no Dask cluster")
    if lost is not None and old is not None and old.status is FALSE and old.reason in DASK_CAUSES:
        # The trainer knows that it found nothing. Only the operator knew why, and cannot see it any more.
        return FALSE, Cause(old.reason, old.message)
    if lost is not None:
        return FALSE, Cause(lost.reason, lost.message or "")
    if report is not None and report.dask_ready:
        return TRUE, Cause(Reason.DASK_READY)
    cause = decision.dask or Cause(Reason.WAITING_FOR_DASK)
    if cause.reason in DASK_CAUSES:
        return FALSE, cause
    return UNKNOWN, Cause(Reason.WAITING_FOR_DASK, cause.message)


def _artifacts(report: Report | None, decision: Decision) -> tuple[ConditionStatus, Cause]:
    if decision.phase is Phase.SUCCEEDED:
        return TRUE, Cause(Reason.UPLOADED)
    if report is not None and report.failure is not None and report.failure.reason == Reason.UPLOAD_FAILED:
        return FALSE, Cause(Reason.UPLOAD_FAILED, report.failure.message)
    if decision.phase is Phase.SAVING and report is not None and report.stage is Stage.UPLOADING:
        return FALSE, Cause(Reason.UPLOADING)
    return FALSE, Cause(Reason.PENDING)


def _condition(row: _Row, old: Condition | None, generation: int, now: datetime) -> Condition:
    kind, status, cause = row
    # The same text in six conditions would fill the status: only those that people read carry it.
    shown = status is not FALSE or kind in _ALWAYS_WITH_MESSAGE
    same = old is not None and old.status is status
    return Condition(
        type=kind,
        status=status,
        observed_generation=generation,
        last_transition_time=old.last_transition_time if old and same else now.replace(microsecond=0),
        reason=cause.reason,
        message=shorten(cause.message, MAX_MESSAGE) if shown else "",
    )


class Event(NamedTuple):
    """An event before it has a name; *key* distinguishes it from an earlier one with the same text."""

    kind: Literal["Normal", "Warning"]
    cause: Cause
    key: str = ""
    once: bool = False
    """Whether *key* alone distinguishes occurrences, since the trainer determines the text."""


def events_of(
    old: TrainingJobStatus, new: TrainingJobStatus, seen: Observed, decision: Decision
) -> Iterator[Event]:
    """Yield the events of the change from *old* to *new*."""
    key = f"{new.observed_generation}/{new.attempts or 0}"
    headline = condition_of(old, ConditionType.RECONCILING)
    cause, before = decision.cause, headline.reason if headline is not None else None
    resumed = old.phase is Phase.SUSPENDED and new.phase not in {Phase.SUSPENDED, Phase.FAILED}
    if resumed:
        text = "Resuming with the remaining budget and deadline"
        yield Event("Normal", Cause(Reason.RESUMED, text), key)
    ended = old.phase is not None and old.phase.terminal
    # A job that has ended had its event then; that a resumed job has no pod yet is the ordinary course.
    silent = cause.reason in {Reason.CREATING_RESOURCES, before if ended else None}
    silent |= resumed and cause.reason in {Reason.RESUMED, Reason.WAITING_FOR_TRAINER}
    if not silent and (old.phase, before) != (new.phase, cause.reason):
        warning = decision.trouble and cause.reason != Reason.TRAINER_EVICTED
        yield Event("Warning" if warning else "Normal", cause, key)
    for fallback in new_fallbacks(old.fallbacks, new.fallbacks):
        yield Event("Warning", fallback_cause(fallback), fallback.time.isoformat())
    dask, dask_before = (_denial(status, ConditionType.DASK_READY) for status in (new, old))
    new_reason = dask_before is None or dask is None or dask.reason != dask_before.reason
    if dask is not None and dask.reason in DASK_CAUSES and new_reason:
        yield Event("Warning", dask, key)
    rejected, rejected_before = (_denial(status, ConditionType.ACCEPTANCE_MET) for status in (new, old))
    if new.phase is Phase.SUCCEEDED and rejected is not None and rejected != rejected_before:
        yield Event("Warning", rejected, key)
    if (new.attempts or 0) > max(old.attempts or 0, 1) and seen.last_trouble is not None:
        text = f"Attempt {new.attempts} begins; the previous one: {seen.last_trouble.message}"
        yield Event("Normal", Cause(seen.last_trouble.reason, text), key)


def _denial(status: TrainingJobStatus, kind: ConditionType) -> Cause | None:
    """Return why a condition is false, ``None`` if it is not."""
    found = condition_of(status, kind)
    return Cause(found.reason, found.message) if found is not None and found.status is FALSE else None


def rejection_event(rejected: Cause, status: TrainingJobStatus) -> Event:
    """Return the event of a rejected report; equal for all rejections of a kind in one attempt."""
    text = f"Trainer report rejected ({rejected.reason}); status unchanged: {rejected.message}"
    key = f"{rejected.reason}/{status.attempts or 0}"
    return Event("Warning", Cause(Reason.REPORT_REFUSED, text), key, once=True)


def build_event(owner: Owner, event: Event, now: datetime) -> dict[str, Any]:
    """Return the manifest; its name is made from its content, so that a second one is refused (409)."""
    cause = event.cause
    words = f"{owner.uid}\n{event.kind}\n{cause.reason}\n{'' if event.once else cause.message}\n{event.key}"
    digest = hashlib.sha256(words.encode()).hexdigest()[:16]
    time = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": f"{child_name(owner.name, '')}.{digest}",
            "namespace": owner.namespace,
            "labels": labels(owner),
        },
        "involvedObject": {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "name": owner.name,
            "namespace": owner.namespace,
            "uid": owner.uid,
        },
        "type": event.kind,
        "reason": cause.reason,
        "message": shorten(cause.message, MAX_MESSAGE),
        "source": {"component": MANAGED_BY},
        "reportingComponent": MANAGED_BY,
        "firstTimestamp": time,
        "lastTimestamp": time,
        "count": 1,
    }
