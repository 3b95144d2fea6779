"""From raw objects to :class:`Observed`, the report included.

Anyone who may write ConfigMaps can forge a report, so each is checked.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from trainingjob_api import KIND, LastReport, Report, ReportError, parse_report, shorten
from trainingjob_api.reasons import Cause, Reason
from trainingjob_api.report import MAX_REPORT_BYTES
from trainingjob_certificates import is_signed
from trainingjob_operator.children import Child, Owner, name_of, owned_by
from trainingjob_operator.facts import JobOutcome, Observed, PodSeen, Rejection, Snapshot, TrainerJob
from trainingjob_operator.job_view import JobView, Plan, find_plan, read_time
from trainingjob_operator.pods import cannot_mount, not_admitted, read_dask, read_pod, secrets_of, strays
from trainingjob_operator.settings import Settings

REPORT_KEY = "report.json"
SIGNATURE_KEY = "report.sig"
MAX_MESSAGE = 500
UNSEEN_ATTEMPTS = 1000
"""Attempts that may have come and gone while no operator ran; nothing else counts evictions."""


def observe(view: JobView, snapshot: Snapshot, settings: Settings) -> Observed:
    """Return the facts in *snapshot* about the job; *settings* resolve a new job."""
    uid = view.owner.uid
    owned = {child: raw for child, raw in snapshot.objects.items() if owned_by(raw, uid)}
    # A job that has ended keeps its status: nothing that could change it, or cost time, is read.
    plan, obstacle = (None, None) if view.ended else find_plan(view, owned, settings, snapshot.space_text)
    secrets = secrets_of(plan.run if plan is not None else None)
    pods = _pods(view, snapshot, plan, secrets)
    job = _job(owned[Child.JOB]) if Child.JOB in owned else None
    data = {} if view.ended else owned.get(Child.REPORT, {}).get("data") or {}
    history = view.status.attempt_history or ()
    counted = (len(pods), job.pods_counted if job is not None else 0)
    verdict = check_report(
        data.get(REPORT_KEY),
        data.get(SIGNATURE_KEY),
        # Without a recorded key nothing has been created that could report.
        key=view.status.plan.report_key if view.status.plan is not None else "",
        uid=uid,
        pods=pods,
        last=view.status.last_report,
        most_attempts=UNSEEN_ATTEMPTS
        + max(view.status.attempts or 0, *counted, *(attempt.number for attempt in history[-1:])),
    )
    rejected = verdict if isinstance(verdict, Cause) else None
    waits = snapshot.failed_creates if job is not None and not pods else ()
    return Observed(
        plan=plan,
        committed=plan is not None and plan.record is not None and view.status.plan == plan.record,
        begun=_created(owned.get(Child.RUN)),
        missing=tuple(
            child for child in Child if child in snapshot.looked_for and not child.dask and child not in owned
        ),
        job=job,
        pods=pods,
        strays=strays(snapshot.namesakes),
        report=verdict if isinstance(verdict, Report) else None,
        rejected=rejected,
        rejected_digest=_digest(rejected, data[REPORT_KEY]) if rejected is not None else "",
        waiting=not_admitted("the trainer's pod", waits[-1], "nJobs or memoryLimitMb") if waits else None,
        obstacle=_foreign(view.owner, snapshot, dask=False) or obstacle,
        dask=read_dask(snapshot, owned, secrets, _foreign(view.owner, snapshot, dask=True)),
        account_made=_created(owned.get(Child.SERVICE_ACCOUNT)),
        access_problem=_access_problem(view.owner, owned),
    )


def _digest(rejected: Cause, text: str) -> str:
    """Return a digest that is the same for the same rejected report."""
    return hashlib.sha256(f"{rejected.reason}\n{text}".encode(errors="replace")).hexdigest()[:16]


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


def _pods(
    view: JobView, snapshot: Snapshot, plan: Plan | None, secrets: Mapping[str, str]
) -> tuple[PodSeen, ...]:
    """Return the trainer's pods, oldest first."""
    lost = _lost_key(view, snapshot, plan)
    pods = []
    for raw in snapshot.pods:
        pod = read_pod(raw, secrets)
        messages = snapshot.failed_mounts.get(pod.uid, ())
        trouble = pod.trouble or cannot_mount(messages, plan.run if plan is not None else None)
        if lost is not None and not (pod.running or pod.finished):
            trouble = lost
        pods.append(replace(pod, trouble=trouble))
    # Times have whole seconds: of two pods of one second the finished one is the older.
    return tuple(sorted(pods, key=lambda pod: (pod.created, not pod.finished, pod.uid)))


def _lost_key(view: JobView, snapshot: Snapshot, plan: Plan | None) -> Cause | None:
    """Return why no pod can start once the Secret with the run's key is gone."""
    if plan is None or plan.report_key is None:
        return None
    name = name_of(view.owner, Child.REPORT_KEY, plan.report_key)
    messages = [text for texts in snapshot.failed_mounts.values() for text in texts]
    if not any(f'"{name}" not found' in text for text in messages):
        return None
    return Cause(
        Reason.REPORT_KEY_LOST,
        f"Secret {name} was deleted. It held the key that this run signs its reports with and cannot be "
        "created again, so no further attempt can start; recreate the job",
    )


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
    verbs: set[str] = set()
    for rule in role.get("rules") or []:
        groups, kinds = set(rule.get("apiGroups") or []), set(rule.get("resources") or [])
        named = report in (rule.get("resourceNames") or [report])
        if groups & {"", "*"} and kinds & {Child.REPORT.plural, "*"} and named:
            verbs.update(rule.get("verbs") or [])
    return "*" in verbs or verbs >= {"get", "patch"}


def _binds(binding: dict[str, Any], owner: Owner) -> bool:
    """Return whether a RoleBinding names the trainer's account; its ``roleRef`` cannot be changed."""
    wanted = (Child.SERVICE_ACCOUNT.kind, name_of(owner, Child.SERVICE_ACCOUNT), owner.namespace)
    subjects = binding.get("subjects") or []
    return any(
        tuple(subject.get(key) for key in ("kind", "name", "namespace")) == wanted for subject in subjects
    )


def check_report(
    text: str | None,
    signature: str | None,
    *,
    key: str,
    uid: str,
    pods: tuple[PodSeen, ...],
    last: LastReport | None,
    most_attempts: int,
) -> Report | Cause | None:
    """Return the report in *text*, why it is rejected (a :class:`Rejection`), or ``None`` if there is none.

    *key* is the public half of the run's key, *uid* the job's, *last* the last report that was accepted, and
    *most_attempts* the highest plausible number of an attempt. The report of a pod that is not among *pods*
    may be accepted: the operator may have been down for the whole run.
    """
    if text is None:
        return None
    if len(text) > MAX_REPORT_BYTES:
        return Cause(Rejection.TOO_LARGE, f"The report is larger than {MAX_REPORT_BYTES} bytes")
    if not is_signed(key, text, signature or ""):
        problem = "has no signature" if not signature else "is not signed with the key of this run"
        return Cause(Rejection.BAD_SIGNATURE, f"The report {problem}; something else wrote it")
    try:
        report = parse_report(text)
    except ReportError as error:
        large = len(text.encode(errors="replace")) > MAX_REPORT_BYTES
        kind = Rejection.TOO_LARGE if large else Rejection.MALFORMED
        return Cause(kind, shorten(str(error), MAX_MESSAGE))
    return (
        _impossible(report, uid, most_attempts)
        or (_out_of_order(report, last, pods) if last is not None else None)
        or _of_replaced_pod(report, pods)
        or report
    )


def _impossible(report: Report, uid: str, most_attempts: int) -> Cause | None:
    if report.job_uid != uid:
        return Cause(Rejection.OTHER_JOB, "The report belongs to another job")
    if report.pod_uid is None:
        return Cause(Rejection.NO_POD, "The report names no pod")
    if report.written_at is None:
        return Cause(Rejection.MALFORMED, "writtenAt: the report does not say when it was written")
    if report.attempt > most_attempts:
        text = f"The report claims to be of attempt {report.attempt}; at most {most_attempts} can exist"
        return Cause(Rejection.IMPLAUSIBLE, text)
    return None


def _out_of_order(report: Report, last: LastReport, pods: tuple[PodSeen, ...]) -> Cause | None:
    if report.pod_uid == last.pod_uid:
        if report.sequence >= last.sequence and report.attempt >= last.attempt:
            return None
        text = (
            f"The report has attempt {report.attempt} and sequence {report.sequence}; attempt {last.attempt} "
            f"and sequence {last.sequence} have been accepted"
        )
        return Cause(Rejection.STALE, text)
    if pods and report.pod_uid == pods[-1].uid:
        # The newest pod counts from 1 where the report before it was deleted.
        return None
    if report.attempt < last.attempt:
        text = f"The report is of attempt {report.attempt}; attempt {last.attempt} has reported"
        return Cause(Rejection.STALE, text)
    if report.attempt == last.attempt:
        return Cause(Rejection.TWO_PODS, f"Two pods claim to be attempt {report.attempt}")
    return None


def _of_replaced_pod(report: Report, pods: tuple[PodSeen, ...]) -> Cause | None:
    """Reject the report of a pod that was replaced and is gone, and may still run on a partitioned node."""
    if report.pod_uid in {pod.uid for pod in pods} or report.written_at is None:
        return None
    successor = next((pod for pod in reversed(pods) if pod.running), None)
    if successor is not None and report.written_at > successor.created:
        return Cause(Rejection.REPLACED_POD, "The report comes from a pod that was replaced")
    return None
