"""Which reports are believed: the trainer runs what users ask for, so that its word is checked."""

import hashlib
from dataclasses import dataclass

from trainingjob_api import Report, ReportError, TrainingJobStatus, parse_report
from trainingjob_api.report import MAX_REPORT_BYTES
from trainingjob_api.text import shorten
from trainingjob_operator.observe.observed import PodSeen, Refusal, RefusalKind

__all__ = ["Verdict", "Watermark", "check_report"]

MAX_MESSAGE = 500
_Why = tuple[RefusalKind, str]


@dataclass(frozen=True, slots=True, order=True)
class Watermark:
    """The last report that was believed."""

    attempt: int
    sequence: int
    pod_uid: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The report, if it is believed, or why not; neither where there is none."""

    report: Report | None = None
    refused: Refusal | None = None

    @property
    def watermark(self) -> Watermark | None:
        """What the next report is held against."""
        report = self.report
        return None if report is None else Watermark(report.attempt, report.sequence, report.pod_uid or "")


def check_report(
    text: str | None,
    *,
    uid: str,
    pods: tuple[PodSeen, ...],
    watermark: Watermark | None,
    status: TrainingJobStatus,
) -> Verdict:
    """Return whether the report in *text* is believed.

    Parameters
    ----------
    text
        What the ConfigMap holds; ``None`` before the first report.
    uid
        The job's uid.
    pods
        The job's pods that exist. A pod that is gone may have left the last word: the operator may
        have been down for the whole run.
    watermark
        The last report believed in this process.
    status
        The status until now, which stands in for the watermark after a restart.
    """
    if text is None:
        return Verdict()
    try:
        report = parse_report(text)
    except ReportError as error:
        large = len(text.encode(errors="replace")) > MAX_REPORT_BYTES
        kind = RefusalKind.TOO_LARGE if large else RefusalKind.MALFORMED
        return _refused(text, (kind, shorten(str(error), MAX_MESSAGE)))
    found = (
        _identity(report, uid)
        or (_order(report, watermark) if watermark is not None else _age(report, status))
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
    return None


def _order(report: Report, last: Watermark) -> _Why | None:
    if report.attempt < last.attempt:
        return (
            RefusalKind.STALE,
            f"the report is of attempt {report.attempt}, attempt {last.attempt} has reported",
        )
    if report.attempt == last.attempt and report.pod_uid != last.pod_uid:
        return RefusalKind.TWO_PODS, f"two pods claim to be attempt {report.attempt}"
    if report.attempt == last.attempt and report.sequence < last.sequence:
        return RefusalKind.STALE, f"the report has sequence {report.sequence}, {last.sequence} has been seen"
    return None


def _age(report: Report, status: TrainingJobStatus) -> _Why | None:
    known = status.progress.updated_at if status.progress is not None else None
    told = report.progress.updated_at if report.progress is not None else None
    if known is not None and told is not None and told < known:
        return RefusalKind.STALE, "the report is older than the status"
    return None


def _pod(report: Report, pods: tuple[PodSeen, ...]) -> _Why | None:
    """Refuse what a pod wrote that was replaced and is gone (its node may be cut off, and live)."""
    if report.pod_uid in {pod.uid for pod in pods} or report.written_at is None:
        return None
    successor = next((pod for pod in reversed(pods) if pod.running), None)
    if successor is not None and report.written_at > successor.created:
        return RefusalKind.REPLACED_POD, "the report is of a pod that was replaced"
    return None
