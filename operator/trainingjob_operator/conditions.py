"""The conditions of a status, as metav1 and kstatus read them; the table is in ``docs/reference``."""

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from trainingjob_api import (
    Condition,
    ConditionStatus,
    ConditionType,
    ParallelMode,
    Phase,
    Reason,
    Stage,
    TrainingJobStatus,
    judge,
)
from trainingjob_api.text import shorten
from trainingjob_operator.observe import Observed
from trainingjob_operator.step import Step
from trainingjob_operator.subject import Subject

__all__ = ["DASK_CAUSES", "build_conditions"]

MAX_MESSAGE = 1000
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
_ALWAYS_TOLD = frozenset(
    {
        ConditionType.READY,
        ConditionType.ACCEPTANCE_MET,
        ConditionType.ARTIFACTS_UPLOADED,
        ConditionType.DASK_READY,
    }
)


class _Said(NamedTuple):
    """One condition before it has its times."""

    kind: ConditionType
    status: ConditionStatus
    reason: str
    message: str = ""


def build_conditions(
    subject: Subject, seen: Observed, step: Step, status: TrainingJobStatus, now: datetime
) -> tuple[Condition, ...]:
    """Return every condition. A time changes only where the condition's status does.

    Parameters
    ----------
    subject, seen, step
        What was decided, about what.
    status
        The rest of the new status.
    now
        Time of what changes.
    """
    before = {one.type: one for one in subject.status.conditions or ()}
    said = [
        *_course(subject, step, status),
        *(_kept(before) if subject.ended else _dask_and_artifacts(before, seen, step, status)),
    ]
    return tuple(_condition(_brief(one), before.get(one.kind), subject.generation, now) for one in said)


def _course(subject: Subject, step: Step, status: TrainingJobStatus) -> Iterator[_Said]:
    """Yield the conditions that follow from the phase and from acceptance."""
    phase, why = step.phase, (step.reason, step.message)
    succeeded, failed = phase is Phase.SUCCEEDED, phase is Phase.FAILED
    verdict = judge(subject.acceptance, status.best)
    accepted = verdict.accepted is not False
    if succeeded and not accepted:
        ready = _Said(ConditionType.READY, FALSE, verdict.reason, f"{verdict.message}; {step.message}")
        stalled = _Said(ConditionType.STALLED, TRUE, verdict.reason, verdict.message)
    else:
        new = phase is Phase.PENDING and not step.trouble
        ready = _Said(ConditionType.READY, TRUE if succeeded else UNKNOWN if new else FALSE, *why)
        stalled = _Said(ConditionType.STALLED, _flag(failed), *why)
    yield ready
    yield _Said(ConditionType.COMPLETE, _flag(succeeded), *why)
    yield _Said(ConditionType.FAILED, _flag(failed), *why)
    suspended = phase is Phase.SUSPENDED
    yield _Said(ConditionType.SUSPENDED, _flag(suspended and step.settled), *why)
    moving = not phase.terminal and not (suspended and step.settled)
    yield _Said(ConditionType.RECONCILING, _flag(moving), *why)
    yield stalled
    if phase.terminal:
        met = _flag(succeeded and accepted)
        yield _Said(ConditionType.ACCEPTANCE_MET, met, verdict.reason, verdict.message)
    else:
        yield _Said(ConditionType.ACCEPTANCE_MET, UNKNOWN, Reason.PENDING, "known when the run has ended")


def _flag(value: bool) -> ConditionStatus:  # noqa: FBT001  # what it turns into a word
    return TRUE if value else FALSE


def _dask_and_artifacts(
    before: dict[ConditionType, Condition], seen: Observed, step: Step, status: TrainingJobStatus
) -> Iterator[_Said]:
    fallbacks = status.fallbacks or ()
    if fallbacks:
        last = fallbacks[-1]
        text = f"{last.from_} → {last.to}" + (f": {last.message}" if last.message else "")
        yield _Said(ConditionType.DEGRADED, TRUE, last.reason, text)
    else:
        yield _Said(ConditionType.DEGRADED, FALSE, Reason.AS_REQUESTED)
    yield _dask(before.get(ConditionType.DASK_READY), seen, step, status)
    yield _artifacts(seen, step)


def _dask(old: Condition | None, seen: Observed, step: Step, status: TrainingJobStatus) -> _Said:
    kind, resolved = ConditionType.DASK_READY, status.resolved
    if resolved is None or resolved.parallel_mode is not ParallelMode.DISTRIBUTED:
        return _Said(kind, FALSE, Reason.NOT_REQUESTED)
    if not resolved.automl_enabled:
        return _Said(kind, FALSE, Reason.NOT_REQUESTED, "the baseline needs no Dask cluster")
    if step.phase is Phase.SUSPENDED:
        return _Said(kind, FALSE, Reason.SUSPENDED, "a suspended job has no Dask cluster")
    lost, report = seen.left_dask, seen.current_report
    if lost is not None:
        if old is not None and old.status is FALSE and old.reason in DASK_CAUSES:
            # The trainer knows that it found nothing; why there was nothing is known here, and gone by now.
            return _Said(kind, FALSE, old.reason, old.message)
        return _Said(kind, FALSE, lost.reason, lost.message or "")
    if report is not None and report.dask_ready:
        return _Said(kind, TRUE, Reason.DASK_READY)
    if step.cluster.reason in DASK_CAUSES:
        return _Said(kind, FALSE, step.cluster.reason, step.cluster.message)
    return _Said(kind, UNKNOWN, Reason.WAITING_FOR_DASK, step.cluster.message)


def _artifacts(seen: Observed, step: Step) -> _Said:
    kind, report = ConditionType.ARTIFACTS_UPLOADED, seen.report
    if step.phase is Phase.SUCCEEDED:
        return _Said(kind, TRUE, Reason.UPLOADED)
    if report is not None and report.failure is not None and report.failure.reason == Reason.UPLOAD_FAILED:
        return _Said(kind, FALSE, Reason.UPLOAD_FAILED, report.failure.message)
    if step.phase is Phase.SAVING and report is not None and report.stage is Stage.UPLOADING:
        return _Said(kind, FALSE, Reason.UPLOADING)
    return _Said(kind, FALSE, Reason.PENDING)


def _kept(before: dict[ConditionType, Condition]) -> Iterator[_Said]:
    """Yield the conditions that a job which has ended keeps as they are."""
    for kind in (ConditionType.DEGRADED, ConditionType.DASK_READY, ConditionType.ARTIFACTS_UPLOADED):
        old = before.get(kind)
        if old is not None:
            yield _Said(kind, old.status, old.reason, old.message)


def _brief(said: _Said) -> _Said:
    """Leave the message where it is looked for: the same words in six conditions would fill the status."""
    told = said.status is not FALSE or said.kind in _ALWAYS_TOLD
    return said if told else said._replace(message="")


def _condition(said: _Said, old: Condition | None, generation: int, now: datetime) -> Condition:
    same = old is not None and old.status is said.status
    return Condition(
        type=said.kind,
        status=said.status,
        observed_generation=generation,
        last_transition_time=old.last_transition_time
        if old is not None and same
        else now.replace(microsecond=0),
        reason=said.reason,
        message=shorten(said.message, MAX_MESSAGE),
    )
