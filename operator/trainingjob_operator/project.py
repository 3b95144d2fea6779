"""From step and report to the whole status; the operator alone writes it."""

from datetime import datetime
from typing import Any

from trainingjob_api import Fallback, LastReport, Phase, Report, Resolved, TrainingJobStatus, trim_status
from trainingjob_operator.conditions import build_conditions
from trainingjob_operator.history import record
from trainingjob_operator.observe import Observed
from trainingjob_operator.resolution import Plan
from trainingjob_operator.step import Step
from trainingjob_operator.subject import Subject

__all__ = ["project"]

MAX_FALLBACKS = 8
MAX_LEADERBOARD = 10
MAX_FRONT = 20
MAX_ARTIFACTS = 16


def project(subject: Subject, seen: Observed, step: Step, now: datetime) -> TrainingJobStatus:
    """Return the status that *subject* should have.

    Equal arguments give equal statuses; what did not change keeps its times, so that a status that says
    the same as before *is* the same and is not written.
    """
    old = subject.status
    fields: dict[str, Any] = {"observed_generation": subject.generation, "phase": step.phase}
    if not subject.ended:
        fields |= _course(subject, seen, step, now)
        if seen.report is not None:
            fields |= _told(old, seen.report)
        fields["plan"] = seen.record or old.plan
        fields["resolved"] = _resolved(old, seen.plan, seen.report)
    status = old.model_copy(update=fields)
    conditions = build_conditions(subject, seen, step, status, now)
    return trim_status(status.model_copy(update={"conditions": conditions}))


def _course(subject: Subject, seen: Observed, step: Step, now: datetime) -> dict[str, Any]:
    """Return start, end and attempts. A job that waits suspended from the first has not started."""
    old, report, job = subject.status, seen.report, seen.job
    waits = step.phase is Phase.SUSPENDED and seen.begun is None
    start = old.start_time or seen.begun or (None if waits else now)
    attempts = max(
        old.attempts or 0,
        report.attempt if report is not None else 0,
        len(seen.pods),
        job.pods_counted if job is not None else 0,
    )
    history = record(subject, seen, step, attempts, now)
    return {
        "start_time": start.replace(microsecond=0) if start is not None else None,
        "completion_time": step.ended.replace(microsecond=0) if step.ended is not None else None,
        "attempts": max(attempts, history[-1].number if history else 0) or None,
        "attempt_history": history or None,
    }


def _told(old: TrainingJobStatus, report: Report) -> dict[str, Any]:
    """Return what the report says; what it is silent about stays."""
    best, board, front = report.best, report.leaderboard, report.pareto_front
    return {
        "last_report": old.last_report
        if report.pod_uid is None
        else LastReport(attempt=report.attempt, sequence=report.sequence, pod_uid=report.pod_uid),
        "backend": report.backend or old.backend,
        "model_source": report.model_source or old.model_source,
        "fallbacks": _fallbacks(old.fallbacks or (), report.fallbacks) or None,
        "progress": report.progress or old.progress,
        "best": best or old.best,
        "leaderboard": board[:MAX_LEADERBOARD] or old.leaderboard,
        "pareto_front": front[:MAX_FRONT] or old.pareto_front,
        "artifacts": report.artifacts[:MAX_ARTIFACTS] or old.artifacts,
    }


def _fallbacks(old: tuple[Fallback, ...], told: tuple[Fallback, ...]) -> tuple[Fallback, ...]:
    """Return all steps down, each once, in the order in which they became known."""
    known = {(one.from_, one.to, one.reason) for one in old}
    new = [one for one in told if (one.from_, one.to, one.reason) not in known]
    return (*old, *new)[:MAX_FALLBACKS]


def _resolved(old: TrainingJobStatus, plan: Plan | None, report: Report | None) -> Resolved | None:
    """Return the plan's values, refined by what the trainer found in data and pod."""
    if plan is None:
        return old.resolved
    summary = plan.run.summary(image=plan.image)
    told = report.resolved if report is not None else None
    return summary if told is None else summary.refined(told)
