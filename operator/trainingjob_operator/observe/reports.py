"""Which reports are accepted: whoever may write ConfigMaps can write one, so that each is checked."""

import hashlib
from dataclasses import dataclass

from trainingjob_api import LastReport, Report, ReportError, TrainingJobStatus, parse_report
from trainingjob_api.report import MAX_REPORT_BYTES
from trainingjob_api.text import shorten
from trainingjob_certificates.signing import is_signed
from trainingjob_operator.observe.observed import PodSeen, Refusal, RefusalKind

__all__ = ["Verdict", "check_report", "most_attempts"]

MAX_MESSAGE = 500
UNSEEN_ATTEMPTS = 1000
"""Attempts that may have come and gone while no operator looked; evictions are counted by nothing else."""
_Why = tuple[RefusalKind, str]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The report, if it is accepted, or why not; neither where there is none."""

    report: Report | None = None
    refused: Refusal | None = None


def most_attempts(status: TrainingJobStatus, pods: tuple[PodSeen, ...], counted: int) -> int:
    """Return the highest number that an attempt can have.

    Parameters
    ----------
    status
        The status until now.
    pods
        The job's pods that exist.
    counted
        Pods that the Job has counted.
    """
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
) -> Verdict:
    """Return whether the report in *text* is accepted.

    Parameters
    ----------
    text, signature
        What the ConfigMap holds; no text before the first report.
    key
        Public half of the run's key.
    uid
        The job's uid.
    pods
        The job's pods that exist, oldest first. A pod that is gone may have left the last word: the operator
        may have been down for the whole run.
    last
        The last report that was accepted.
    most_attempts
        The highest number that an attempt can have.
    """
    if text is None:
        return Verdict()
    if len(text) > MAX_REPORT_BYTES:
        return _refused(text, (RefusalKind.TOO_LARGE, f"the report is larger than {MAX_REPORT_BYTES} bytes"))
    if not is_signed(key, text, signature or ""):
        problem = "has no signature" if not signature else "is not signed with the key of this run"
        return _refused(text, (RefusalKind.BAD_SIGNATURE, f"the report {problem}; something else wrote it"))
    try:
        report = parse_report(text)
    except ReportError as error:
        large = len(text.encode(errors="replace")) > MAX_REPORT_BYTES
        kind = RefusalKind.TOO_LARGE if large else RefusalKind.MALFORMED
        return _refused(text, (kind, shorten(str(error), MAX_MESSAGE)))
    found = (
        _identity(report, uid)
        or _number(report, most_attempts)
        or (_order(report, last, pods) if last is not None else None)
        or _pod(report, pods)
    )
    return _refused(text, found) if found else Verdict(report=report)


def _refused(text: str, why: _Why) -> Verdict:
    kind, message = why
    digest = hashlib.sha256(f"{kind}\n{text}".encode(errors="replace")).hexdigest()[:16]
    return Verdict(refused=Refusal(kind, message, digest))


def _identity(report: Report, uid: str) -> _Why | None:
    if report.job_uid != uid:
        return RefusalKind.OTHER_JOB, "the report is of another job"
    if report.pod_uid is None:
        return RefusalKind.NO_POD, "the report names no pod"
    if report.written_at is None:
        return RefusalKind.MALFORMED, "writtenAt: the report does not say when it was written"
    return None


def _number(report: Report, most: int) -> _Why | None:
    if report.attempt > most:
        return (
            RefusalKind.IMPLAUSIBLE,
            f"attempt {report.attempt} is said to be running; at most {most} can be",
        )
    return None


def _order(report: Report, last: LastReport, pods: tuple[PodSeen, ...]) -> _Why | None:
    if report.pod_uid == last.pod_uid:
        if report.sequence >= last.sequence and report.attempt >= last.attempt:
            return None
        older = f"attempt {report.attempt} and sequence {report.sequence}"
        return RefusalKind.STALE, f"the report has {older}; {last.attempt} and {last.sequence} have been seen"
    if pods and report.pod_uid == pods[-1].uid:
        # The newest pod begins at 1 where the report before it was deleted.
        return None
    if report.attempt < last.attempt:
        text = f"the report is of attempt {report.attempt}, attempt {last.attempt} has reported"
        return RefusalKind.STALE, text
    if report.attempt == last.attempt:
        return RefusalKind.TWO_PODS, f"two pods claim to be attempt {report.attempt}"
    return None


def _pod(report: Report, pods: tuple[PodSeen, ...]) -> _Why | None:
    """Refuse what a pod wrote that was replaced and is gone (its node may be cut off, and live)."""
    if report.pod_uid in {pod.uid for pod in pods} or report.written_at is None:
        return None
    successor = next((pod for pod in reversed(pods) if pod.running), None)
    if successor is not None and report.written_at > successor.created:
        return RefusalKind.REPLACED_POD, "the report is of a pod that was replaced"
    return None
