"""From raw objects to :class:`Observed`; nothing else of the operator reads them."""

from dataclasses import replace
from datetime import datetime
from typing import Any

from trainingjob_api import KIND, Reason, ResolvedRun
from trainingjob_api.text import shorten
from trainingjob_operator.desired.report import REPORT_KEY, SIGNATURE_KEY
from trainingjob_operator.names import Child, key_name, owned_by
from trainingjob_operator.observe.access import access_problem
from trainingjob_operator.observe.dask import read_dask
from trainingjob_operator.observe.observed import (
    JobOutcome,
    Observed,
    Obstacle,
    PodSeen,
    Snapshot,
    TrainerJob,
    Trouble,
)
from trainingjob_operator.observe.plans import FoundPlan, find_plan
from trainingjob_operator.observe.pods import cannot_mount, read_pod, secrets_of, strays, waiting_for_pod
from trainingjob_operator.observe.reports import check_report, most_attempts
from trainingjob_operator.settings import Settings
from trainingjob_operator.subject import Subject, read_time

__all__ = ["foreign_obstacle", "observe"]

MAX_MESSAGE = 500
_ACCESS = frozenset({Child.SERVICE_ACCOUNT, Child.ROLE, Child.ROLE_BINDING})


def observe(subject: Subject, snapshot: Snapshot, settings: Settings) -> Observed:
    """Return what *snapshot* says about *subject*.

    Parameters
    ----------
    subject
        The job.
    snapshot
        Raw objects.
    settings
        With which a job that has not begun is resolved.
    """
    uid = subject.owner.uid
    owned = {child: raw for child, raw in snapshot.objects.items() if owned_by(raw, uid)}
    obstacle = _foreign(subject, snapshot)
    # What has ended keeps its status: nothing is read for it that could change it, or cost time.
    ended = subject.ended
    found = FoundPlan() if ended else find_plan(subject, owned, settings, snapshot.space_text)
    run = found.plan.run if found.plan is not None else None
    secrets = secrets_of(run)
    lost = _lost_key(subject, snapshot, found)
    pods = tuple(sorted((_pod(raw, secrets, snapshot, run) for raw in snapshot.pods), key=_age))
    if lost is not None:
        pods = tuple(pod if pod.running or pod.finished else replace(pod, trouble=lost) for pod in pods)
    job = _job(owned[Child.JOB]) if Child.JOB in owned else None
    data = {} if ended else owned.get(Child.REPORT, {}).get("data") or {}
    verdict = check_report(
        data.get(REPORT_KEY),
        data.get(SIGNATURE_KEY),
        # Without a record nothing has been made that could report.
        key=found.record.report_key if found.record is not None else "",
        uid=uid,
        pods=pods,
        last=subject.status.last_report,
        most_attempts=most_attempts(subject.status, pods, job.pods_counted if job is not None else 0),
    )
    looked_for = [child for child in Child if snapshot.access_read or child not in _ACCESS]
    return Observed(
        plan=found.plan,
        record=found.record,
        committed=found.plan is not None and subject.status.plan == found.record is not None,
        begun=_created(owned.get(Child.RUN)),
        missing=tuple(child for child in looked_for if child not in owned),
        job=job,
        pods=pods,
        strays=strays(snapshot.namesakes),
        report=verdict.report,
        report_refused=verdict.refused,
        waiting=waiting_for_pod(snapshot.failed_creates) if job is not None and not pods else None,
        obstacle=obstacle or found.obstacle,
        dask=read_dask(subject.owner, snapshot.dask, secrets) if snapshot.dask is not None else None,
        account_made=_created(owned.get(Child.SERVICE_ACCOUNT)),
        access_problem=access_problem(subject.owner, owned),
    )


def _lost_key(subject: Subject, snapshot: Snapshot, found: FoundPlan) -> Trouble | None:
    """Return why a pod does not start if the Secret with the run's key is gone."""
    key = found.plan.report_key if found.plan is not None else None
    if key is None:
        return None
    name = key_name(subject.owner, key)
    if not any(
        f'"{name}" not found' in text for messages in snapshot.failed_mounts.values() for text in messages
    ):
        return None
    return Trouble(
        Reason.REPORT_KEY_LOST,
        f"Secret {name} was deleted; it held the key that this run signs its reports with and cannot be made "
        "again, so no further attempt can start; recreate the job",
    )


def _foreign(subject: Subject, snapshot: Snapshot) -> Obstacle | None:
    """Return the obstacle that a child's name is taken."""
    for child, raw in snapshot.objects.items():
        if owned_by(raw, subject.owner.uid):
            continue
        return foreign_obstacle(subject.owner.name, child, raw)
    return None


def foreign_obstacle(job: str, child: Child, raw: dict[str, Any]) -> Obstacle:
    """Return what it means that *raw* has the name of a child of *job* and another owner."""
    meta = raw["metadata"]
    owners = meta.get("ownerReferences") or []
    if any(one.get("kind") == KIND and one.get("name") == job for one in owners):
        return Obstacle(
            Reason.WAITING_FOR_PREDECESSOR,
            f"{child.kind} {meta['name']} of an earlier job of this name is still going away",
        )
    return Obstacle(
        Reason.NAME_CONFLICT,
        f"{child.kind} {meta['name']} exists and belongs to somebody else; delete or rename it, "
        "or give the job another name",
    )


def _pod(
    raw: dict[str, Any], secrets: dict[str, str], snapshot: Snapshot, run: ResolvedRun | None
) -> PodSeen:
    pod = read_pod(raw, secrets)
    trouble = pod.trouble or cannot_mount(snapshot.failed_mounts.get(pod.uid, ()), run)
    return replace(pod, trouble=trouble)


def _age(pod: PodSeen) -> tuple[datetime, bool, str]:
    # Times have whole seconds: of two pods of one second the finished one is the older.
    return pod.created, not pod.finished, pod.uid


def _created(raw: dict[str, Any] | None) -> datetime | None:
    return None if raw is None else read_time(raw["metadata"].get("creationTimestamp"))


def _job(raw: dict[str, Any]) -> TrainerJob:
    spec, status = raw.get("spec") or {}, raw.get("status") or {}
    outcome, condition, failing = JobOutcome.OPEN, dict[str, Any](), False
    for one in status.get("conditions") or []:
        failing |= one.get("type") == "FailureTarget" and one.get("status") == "True"
        if one.get("status") == "True" and one.get("type") in {JobOutcome.COMPLETE, JobOutcome.FAILED}:
            outcome, condition = JobOutcome(one["type"]), one
    return TrainerJob(
        suspended=bool(spec.get("suspend")),
        deadline_seconds=spec.get("activeDeadlineSeconds"),
        started=read_time(status.get("startTime")),
        pods_counted=sum(int(status.get(key) or 0) for key in ("active", "succeeded", "failed")),
        failing=failing,
        outcome=outcome,
        outcome_reason=str(condition.get("reason") or ""),
        outcome_message=shorten(str(condition.get("message") or ""), MAX_MESSAGE),
        ended=read_time(status.get("completionTime")) or read_time(condition.get("lastTransitionTime")),
    )
