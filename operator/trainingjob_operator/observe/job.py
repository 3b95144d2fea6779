"""From raw objects to :class:`Observed`; nothing else in the operator interprets them."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from trainingjob_api import KIND, Report, ResolvedRun
from trainingjob_api.reasons import Cause, Reason
from trainingjob_api.text import shorten
from trainingjob_operator.children import Child, Owner, name_of, owned_by
from trainingjob_operator.frozen_plan import FoundPlan, find_plan
from trainingjob_operator.job_view import JobView, read_time
from trainingjob_operator.observe.dask import read_dask
from trainingjob_operator.observe.facts import JobOutcome, Observed, PodSeen, Snapshot, TrainerJob
from trainingjob_operator.observe.pods import cannot_mount, read_pod, secrets_of, strays, waiting_for_pod
from trainingjob_operator.observe.report import (
    REPORT_KEY,
    SIGNATURE_KEY,
    check_report,
    digest_of,
    most_attempts,
)
from trainingjob_operator.settings import Settings

MAX_MESSAGE = 500
_VERBS = ("get", "patch")


def observe(view: JobView, snapshot: Snapshot, settings: Settings) -> Observed:
    """Return what *snapshot* says about the job; *settings* are those that a new job is resolved with."""
    uid = view.owner.uid
    owned = {child: raw for child, raw in snapshot.objects.items() if owned_by(raw, uid)}
    # A job that has ended keeps its status: nothing that could change it, or cost time, is read.
    found = FoundPlan() if view.ended else find_plan(view, owned, settings, snapshot.space_text)
    run = found.plan.run if found.plan is not None else None
    secrets = secrets_of(run)
    lost = _lost_key(view, snapshot, found)
    pods = tuple(sorted((_pod(raw, secrets, snapshot, run) for raw in snapshot.pods), key=_age))
    if lost is not None:
        pods = tuple(pod if pod.running or pod.finished else replace(pod, trouble=lost) for pod in pods)
    job = _job(owned[Child.JOB]) if Child.JOB in owned else None
    data = {} if view.ended else owned.get(Child.REPORT, {}).get("data") or {}
    verdict = check_report(
        data.get(REPORT_KEY),
        data.get(SIGNATURE_KEY),
        # Without a record nothing has been created that could report.
        key=found.record.report_key if found.record is not None else "",
        uid=uid,
        pods=pods,
        last=view.status.last_report,
        most_attempts=most_attempts(view.status, pods, job.pods_counted if job is not None else 0),
    )
    rejected = verdict if isinstance(verdict, Cause) else None
    return Observed(
        plan=found.plan,
        record=found.record,
        committed=found.plan is not None and view.status.plan == found.record is not None,
        begun=_created(owned.get(Child.RUN)),
        missing=tuple(
            child for child in Child if child in snapshot.looked_for and not child.dask and child not in owned
        ),
        job=job,
        pods=pods,
        strays=strays(snapshot.namesakes),
        report=verdict if isinstance(verdict, Report) else None,
        rejected=rejected,
        rejected_digest=digest_of(rejected, data[REPORT_KEY]) if rejected is not None else "",
        waiting=waiting_for_pod(snapshot.failed_creates) if job is not None and not pods else None,
        obstacle=_foreign(view.owner, snapshot, dask=False) or found.obstacle,
        dask=read_dask(snapshot, owned, secrets, _foreign(view.owner, snapshot, dask=True)),
        account_made=_created(owned.get(Child.SERVICE_ACCOUNT)),
        access_problem=_access_problem(view.owner, owned),
    )


def foreign_object(owner: Owner, child: Child, raw: Mapping[str, Any]) -> Cause:
    """Return why *owner* cannot use the name of *child*: the object *raw* has it and another owner."""
    meta = raw["metadata"]
    owners = meta.get("ownerReferences") or []
    # The names of Dask's parts are made from the job's uid: no earlier job had them.
    if not child.dask and any(
        reference.get("kind") == KIND and reference.get("name") == owner.name for reference in owners
    ):
        text = f"{child.kind} {meta['name']} of an earlier job of this name is still being deleted"
        return Cause(Reason.WAITING_FOR_PREDECESSOR, text)
    text = f"{child.kind} {meta['name']} is owned by another resource; delete or rename it"
    return Cause(Reason.NAME_CONFLICT, text if child.dask else f"{text}, or give the job another name")


def _foreign(owner: Owner, snapshot: Snapshot, *, dask: bool) -> Cause | None:
    """Return the obstacle that the name of a child, of the trainer or of its Dask cluster, is taken."""
    for child, raw in snapshot.objects.items():
        if child.dask is dask and not owned_by(raw, owner.uid):
            return foreign_object(owner, child, raw)
    return None


def _lost_key(view: JobView, snapshot: Snapshot, found: FoundPlan) -> Cause | None:
    """Return why no pod can start once the Secret with the run's key is gone."""
    key = found.plan.report_key if found.plan is not None else None
    if key is None:
        return None
    name = name_of(view.owner, Child.REPORT_KEY, key)
    if not any(
        f'"{name}" not found' in text for messages in snapshot.failed_mounts.values() for text in messages
    ):
        return None
    return Cause(
        Reason.REPORT_KEY_LOST,
        f"Secret {name} was deleted. It held the key that this run signs its reports with and cannot be "
        "created again, so no further attempt can start; recreate the job",
    )


def _pod(
    raw: dict[str, Any], secrets: dict[str, str], snapshot: Snapshot, run: ResolvedRun | None
) -> PodSeen:
    pod = read_pod(raw, secrets)
    return replace(pod, trouble=pod.trouble or cannot_mount(snapshot.failed_mounts.get(pod.uid, ()), run))


def _age(pod: PodSeen) -> tuple[datetime, bool, str]:
    # Times have whole seconds: of two pods of one second the finished one is the older.
    return pod.created, not pod.finished, pod.uid


def _created(raw: dict[str, Any] | None) -> datetime | None:
    return None if raw is None else read_time(raw["metadata"].get("creationTimestamp"))


def _job(raw: dict[str, Any]) -> TrainerJob:
    spec, status = raw.get("spec") or {}, raw.get("status") or {}
    outcome, end, failing = JobOutcome.OPEN, dict[str, Any](), False
    for condition in status.get("conditions") or []:
        if condition.get("status") == "True":
            failing |= condition.get("type") == "FailureTarget"
            if condition.get("type") in {JobOutcome.COMPLETE, JobOutcome.FAILED}:
                outcome, end = JobOutcome(condition["type"]), condition
    return TrainerJob(
        suspended=bool(spec.get("suspend")),
        deadline_seconds=spec.get("activeDeadlineSeconds"),
        started=read_time(status.get("startTime")),
        pods_counted=sum(int(status.get(key) or 0) for key in ("active", "succeeded", "failed")),
        failing=failing,
        outcome=outcome,
        outcome_reason=str(end.get("reason") or ""),
        outcome_message=shorten(str(end.get("message") or ""), MAX_MESSAGE),
        ended=read_time(status.get("completionTime")) or read_time(end.get("lastTransitionTime")),
    )


def _access_problem(owner: Owner, owned: Mapping[Child, dict[str, Any]]) -> str:
    """Return which change of Role or RoleBinding prevents reports; empty if the trainer can report."""
    role, binding = owned.get(Child.ROLE), owned.get(Child.ROLE_BINDING)
    report = name_of(owner, Child.REPORT)
    if role is not None and not _grants(role, report):
        changed = Child.ROLE
    elif binding is not None and not _binds(binding, owner):
        changed = Child.ROLE_BINDING
    else:
        return ""
    return (
        f"{changed.kind} {name_of(owner, changed)} was changed and no longer lets the trainer get and patch "
        f"ConfigMap {report}, so it cannot report; delete the {changed.kind}, and the operator recreates it"
    )


def _grants(role: dict[str, Any], report: str) -> bool:
    rules = [rule for rule in role.get("rules") or [] if _covers(rule, report)]
    return all(any({verb, "*"} & set(rule.get("verbs") or []) for rule in rules) for verb in _VERBS)


def _covers(rule: dict[str, Any], report: str) -> bool:
    names = rule.get("resourceNames") or [report]
    return bool(
        {"", "*"} & set(rule.get("apiGroups") or [])
        and {Child.REPORT.plural, "*"} & set(rule.get("resources") or [])
        and report in names
    )


def _binds(binding: dict[str, Any], owner: Owner) -> bool:
    """Return whether a RoleBinding names the trainer's account; its ``roleRef`` cannot be changed."""
    wanted = (Child.SERVICE_ACCOUNT.kind, name_of(owner, Child.SERVICE_ACCOUNT), owner.namespace)
    subjects = binding.get("subjects") or []
    return any(
        tuple(subject.get(key) for key in ("kind", "name", "namespace")) == wanted for subject in subjects
    )
