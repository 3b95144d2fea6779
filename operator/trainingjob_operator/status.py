"""The status of a job, conditions and attempts included; the operator alone writes it.

Conditions are as metav1 and kstatus read them; their table is in ``docs/reference``. An attempt is one pod of
the trainer, and its record outlives the pod: it is open until the pod has ended or is gone, then its outcome
never changes. Nothing is remembered outside the status: equal observations of an equal status give equal
statuses.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from trainingjob_api import (
    Attempt,
    AttemptOutcome,
    Condition,
    ConditionStatus,
    ConditionType,
    Failure,
    Fallback,
    LastReport,
    ParallelMode,
    Phase,
    Report,
    Resolved,
    Stage,
    TrainingJobStatus,
    judge,
    trim_status,
)
from trainingjob_api.reasons import Cause, Reason
from trainingjob_api.text import shorten
from trainingjob_operator.decision import Decision
from trainingjob_operator.frozen_plan import Plan
from trainingjob_operator.job_view import JobView
from trainingjob_operator.observe.facts import Observed, PodSeen

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
        if seen.report is not None:
            fields |= _reported(old, seen.report)
        fields["plan"] = seen.record or old.plan
        fields["resolved"] = _resolved(old, seen.plan, seen.report)
    status = old.model_copy(update=fields)
    before = {condition.type: condition for condition in old.conditions or ()}
    rows = [
        *_main_conditions(view, decision, status),
        *(_kept(before) if view.ended else _side_conditions(before, seen, decision, status)),
    ]
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


def _resolved(old: TrainingJobStatus, plan: Plan | None, report: Report | None) -> Resolved | None:
    """Return the plan's values, refined by what the trainer found in data and pod."""
    if plan is None:
        return old.resolved
    summary = plan.run.summary(image=plan.image)
    return summary if report is None or report.resolved is None else summary.refined(report.resolved)


def _main_conditions(view: JobView, decision: Decision, status: TrainingJobStatus) -> Iterator[_Row]:
    """Yield the conditions that follow from the phase and from acceptance."""
    phase, cause = decision.phase, decision.cause
    succeeded, failed, suspended = (
        phase is wanted for wanted in (Phase.SUCCEEDED, Phase.FAILED, Phase.SUSPENDED)
    )
    at_rest = phase.terminal or (suspended and decision.settled)
    verdict = judge(view.acceptance, status.best)
    accepted = verdict.accepted is not False
    if succeeded and not accepted:
        ready, stalled = FALSE, TRUE
        why_ready: Cause = Cause(verdict.reason, f"{verdict.message}; {cause.message}")
        why_stalled: Cause = verdict
    else:
        new = phase is Phase.PENDING and not decision.trouble
        ready, stalled = TRUE if succeeded else UNKNOWN if new else FALSE, _flag(failed)
        why_ready = why_stalled = cause
    yield ConditionType.READY, ready, why_ready
    yield ConditionType.COMPLETE, _flag(succeeded), cause
    yield ConditionType.FAILED, _flag(failed), cause
    yield ConditionType.SUSPENDED, _flag(suspended and decision.settled), cause
    yield ConditionType.RECONCILING, _flag(not at_rest), cause
    yield ConditionType.STALLED, stalled, why_stalled
    if phase.terminal:
        yield ConditionType.ACCEPTANCE_MET, _flag(succeeded and accepted), verdict
    else:
        yield ConditionType.ACCEPTANCE_MET, UNKNOWN, Cause(Reason.PENDING, "Known when the run has ended")


def _flag(value: bool) -> ConditionStatus:  # noqa: FBT001  # converts it
    return TRUE if value else FALSE


def _side_conditions(
    before: dict[ConditionType, Condition], seen: Observed, decision: Decision, status: TrainingJobStatus
) -> Iterator[_Row]:
    """Yield the conditions about fallbacks, the Dask cluster and the artifacts."""
    if status.fallbacks:
        yield ConditionType.DEGRADED, TRUE, fallback_cause(status.fallbacks[-1])
    else:
        yield ConditionType.DEGRADED, FALSE, Cause(Reason.AS_REQUESTED)
    yield ConditionType.DASK_READY, *_dask(before.get(ConditionType.DASK_READY), seen, decision, status)
    yield ConditionType.ARTIFACTS_UPLOADED, *_artifacts(seen, decision)


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


def _artifacts(seen: Observed, decision: Decision) -> tuple[ConditionStatus, Cause]:
    report = seen.report
    if decision.phase is Phase.SUCCEEDED:
        return TRUE, Cause(Reason.UPLOADED)
    if report is not None and report.failure is not None and report.failure.reason == Reason.UPLOAD_FAILED:
        return FALSE, Cause(Reason.UPLOAD_FAILED, report.failure.message)
    if decision.phase is Phase.SAVING and report is not None and report.stage is Stage.UPLOADING:
        return FALSE, Cause(Reason.UPLOADING)
    return FALSE, Cause(Reason.PENDING)


def _kept(before: dict[ConditionType, Condition]) -> Iterator[_Row]:
    """Yield the conditions that a job which has ended keeps as they are."""
    for kind in (ConditionType.DEGRADED, ConditionType.DASK_READY, ConditionType.ARTIFACTS_UPLOADED):
        old = before.get(kind)
        if old is not None:
            yield kind, old.status, Cause(old.reason, old.message)


def _condition(row: _Row, old: Condition | None, generation: int, now: datetime) -> Condition:
    kind, status, cause = row
    # The same text in six conditions would fill the status: only those that people read carry it.
    shown = status is not FALSE or kind in _ALWAYS_WITH_MESSAGE
    same = old is not None and old.status is status
    return Condition(
        type=kind,
        status=status,
        observed_generation=generation,
        last_transition_time=old.last_transition_time
        if old is not None and same
        else now.replace(microsecond=0),
        reason=cause.reason,
        message=shorten(cause.message, MAX_MESSAGE) if shown else "",
    )


MAX_ATTEMPTS = 10
MAX_ATTEMPT_MESSAGE = 200
_OUTCOMES: dict[str, AttemptOutcome] = {
    Reason.OUT_OF_MEMORY: AttemptOutcome.OOM_KILLED,
    Reason.TRAINER_EVICTED: AttemptOutcome.EVICTED,
}


def record_attempts(
    view: JobView, seen: Observed, decision: Decision, attempts: int, now: datetime
) -> tuple[Attempt, ...]:
    """Return the attempts after this pass, the newest last.

    *attempts* is their number as known otherwise: those that came and went unseen count, too. *now* is the
    end of an attempt whose end has no known time.
    """
    known = view.status.attempt_history or ()
    pods = {pod.uid: pod for pod in seen.pods}
    entries = [*known, *_new(known, seen.pods, attempts)]
    stopping = view.suspend or Phase.SUSPENDED in {decision.phase, view.status.phase}
    updated = [
        _updated(attempt, pods.get(attempt.pod_uid), seen.report, decision, stopping=stopping, now=now)
        for attempt in entries
    ]
    if updated and seen.report is not None and seen.report.pod_uid == updated[-1].pod_uid:
        number = max(updated[-1].number, seen.report.attempt)
        updated[-1] = updated[-1].model_copy(update={"number": number})
    return tuple(updated[-MAX_ATTEMPTS:])


def _new(known: tuple[Attempt, ...], pods: tuple[PodSeen, ...], attempts: int) -> list[Attempt]:
    """Return an entry for each pod that has none, except those dropped for their age."""
    uids = {attempt.pod_uid for attempt in known}
    full = len(known) >= MAX_ATTEMPTS
    new = [pod for pod in pods if pod.uid not in uids and not (full and pod.created <= known[0].start_time)]
    last = known[-1].number if known else 0
    first = max(last + 1, attempts - len(new) + 1)
    return [
        Attempt(
            number=number,
            pod=pod.name or None,
            pod_uid=pod.uid,
            node=pod.node or None,
            start_time=pod.created.replace(microsecond=0),
        )
        for number, pod in enumerate(new, first)
    ]


def _updated(
    attempt: Attempt,
    pod: PodSeen | None,
    report: Report | None,
    decision: Decision,
    *,
    stopping: bool,
    now: datetime,
) -> Attempt:
    """Return the entry with what is known now."""
    why = report.failure if report is not None and report.pod_uid == attempt.pod_uid else None
    if attempt.outcome is not None:
        # The trainer's own message may be read later than its pod's end.
        late = why if attempt.outcome is AttemptOutcome.FAILED else None
        return attempt if late is None else attempt.model_copy(update=_words(late.reason, late.message))
    outcome = _outcome(pod, why, decision, stopping=stopping)
    found: dict[str, object] = {"outcome": outcome}
    if pod is not None:
        found |= {"node": pod.node or attempt.node, "exit_code": pod.exit_code, **_trouble(pod, outcome)}
    if outcome is AttemptOutcome.FAILED and why is not None:
        found |= _words(why.reason, why.message)
    if outcome is not None:
        found["end_time"] = ((pod.ended if pod is not None else None) or now).replace(microsecond=0)
    return attempt.model_copy(update=found)


def _trouble(pod: PodSeen, outcome: AttemptOutcome | None) -> dict[str, object]:
    """Return reason and message of the pod's problem, unless the outcome already says it."""
    trouble = pod.trouble
    asked = trouble is not None and trouble.reason == Reason.TRAINER_EVICTED
    if trouble is None or outcome is AttemptOutcome.SUCCEEDED:
        return _words(None, None)
    if asked and outcome in {AttemptOutcome.SUSPENDED, AttemptOutcome.DEADLINE_EXCEEDED}:
        return _words(None, None)
    return _words(trouble.reason, trouble.message)


def _outcome(
    pod: PodSeen | None, why: Failure | None, decision: Decision, *, stopping: bool
) -> AttemptOutcome | None:
    """Return how the attempt has ended, ``None`` while it is under way."""
    ended = pod is not None and (pod.exit_code is not None or pod.finished)
    if pod is not None and not ended and not decision.phase.terminal:
        return None
    if pod is not None and ended:
        trouble = pod.trouble.reason if pod.trouble is not None else None
        found = _OUTCOMES.get(trouble or "", AttemptOutcome.FAILED)
        if pod.exit_code == 0:
            return AttemptOutcome.SUCCEEDED
        if found is not AttemptOutcome.EVICTED:
            return found
        if decision.cause.reason == Reason.DEADLINE_EXCEEDED:
            return AttemptOutcome.DEADLINE_EXCEEDED
        return AttemptOutcome.SUSPENDED if stopping else found
    if decision.phase is Phase.SUCCEEDED:
        return AttemptOutcome.SUCCEEDED
    if decision.cause.reason == Reason.DEADLINE_EXCEEDED:
        return AttemptOutcome.DEADLINE_EXCEEDED
    if why is not None or decision.phase is Phase.FAILED:
        return AttemptOutcome.FAILED
    return AttemptOutcome.SUSPENDED if stopping else AttemptOutcome.REMOVED


def _words(reason: str | None, message: str | None) -> dict[str, object]:
    return {"reason": reason, "message": None if message is None else shorten(message, MAX_ATTEMPT_MESSAGE)}
