"""Which reports are accepted: anyone who may write ConfigMaps can forge a report, so each is checked."""

import hashlib

from trainingjob_api import LastReport, Report, ReportError, TrainingJobStatus, parse_report
from trainingjob_api.reasons import Cause
from trainingjob_api.report import MAX_REPORT_BYTES
from trainingjob_api.text import shorten
from trainingjob_certificates.signatures import is_signed
from trainingjob_operator.observe.facts import PodSeen, Rejection

REPORT_KEY = "report.json"
SIGNATURE_KEY = "report.sig"
MAX_MESSAGE = 500
UNSEEN_ATTEMPTS = 1000
"""Attempts that may have come and gone while no operator ran; nothing else counts evictions."""


def most_attempts(status: TrainingJobStatus, pods: tuple[PodSeen, ...], counted: int) -> int:
    """Return the highest plausible number of an attempt; *counted* are the pods that the Job counts."""
    history = status.attempt_history or ()
    known = (status.attempts or 0, len(pods), counted, *(attempt.number for attempt in history[-1:]))
    return max(known) + UNSEEN_ATTEMPTS


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

    Parameters
    ----------
    text, signature
        What the ConfigMap holds; no text before the first report.
    key
        Public half of the run's key.
    uid
        The job's uid.
    pods
        The job's pods that exist, oldest first. The report of a pod that is gone may be accepted: the
        operator may have been down for the whole run.
    last
        The last report that was accepted.
    most_attempts
        The highest plausible number of an attempt.
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
        _wrong_identity(report, uid)
        or _implausible(report, most_attempts)
        or (_out_of_order(report, last, pods) if last is not None else None)
        or _of_replaced_pod(report, pods)
        or report
    )


def digest_of(rejected: Cause, text: str) -> str:
    """Return what distinguishes a rejected report from another one."""
    return hashlib.sha256(f"{rejected.reason}\n{text}".encode(errors="replace")).hexdigest()[:16]


def _wrong_identity(report: Report, uid: str) -> Cause | None:
    if report.job_uid != uid:
        return Cause(Rejection.OTHER_JOB, "The report is of another job")
    if report.pod_uid is None:
        return Cause(Rejection.NO_POD, "The report names no pod")
    if report.written_at is None:
        return Cause(Rejection.MALFORMED, "writtenAt: the report does not say when it was written")
    return None


def _implausible(report: Report, most: int) -> Cause | None:
    if report.attempt <= most:
        return None
    return Cause(
        Rejection.IMPLAUSIBLE,
        f"The report claims to be of attempt {report.attempt}; at most {most} can exist",
    )


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
        return Cause(Rejection.REPLACED_POD, "The report is of a pod that was replaced")
    return None
