"""Which Kubernetes Events tell a user what happened; each is posted once, whoever restarts."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from trainingjob_api import API_VERSION, KIND, ConditionType, Phase, Reason, TrainingJobStatus
from trainingjob_api.text import shorten
from trainingjob_operator.conditions import DASK_CAUSES
from trainingjob_operator.names import MANAGED_BY, Owner, child_name, labels
from trainingjob_operator.observe import Observed, Refusal
from trainingjob_operator.step import Step

__all__ = ["Note", "build_event", "notes", "refusal_note"]

MAX_MESSAGE = 1000


@dataclass(frozen=True, slots=True)
class Note:
    """An event before it has a name.

    Parameters
    ----------
    kind
        ``Normal`` or ``Warning``.
    reason, message
        As in a condition.
    key
        What tells this occurrence from an earlier one with the same words.
    once
        Whether the key alone tells occurrences apart, since the words vary with what somebody else writes.
    """

    kind: Literal["Normal", "Warning"]
    reason: str
    message: str
    key: str = ""
    once: bool = False


def notes(old: TrainingJobStatus, new: TrainingJobStatus, seen: Observed, step: Step) -> Iterator[Note]:
    """Yield an event for each thing that the change from *old* to *new* tells."""
    key = f"{new.observed_generation}/{new.attempts or 0}"
    resumed = old.phase is Phase.SUSPENDED and new.phase not in {Phase.SUSPENDED, Phase.FAILED}
    if resumed:
        text = "the job goes on with what is left of its budget and deadline"
        yield Note("Normal", Reason.RESUMED, text, key)
    told = step.reason in {Reason.CREATING_RESOURCES, _latched_reason(old)}
    # That a job which goes on has no pod yet goes without saying.
    told |= resumed and step.reason in {Reason.RESUMED, Reason.WAITING_FOR_TRAINER}
    if not told and _headline(old) != (new.phase, step.reason):
        warning = step.trouble and step.reason != Reason.TRAINER_EVICTED
        yield Note("Warning" if warning else "Normal", step.reason, step.message, key)
    known = {(one.from_, one.to, one.reason) for one in old.fallbacks or ()}
    for one in new.fallbacks or ():
        if (one.from_, one.to, one.reason) not in known:
            text = f"{one.from_} → {one.to}" + (f": {one.message}" if one.message else "")
            yield Note("Warning", one.reason, text, one.time.isoformat())
    if (cause := _dask_cause(new)) and cause[0] != (_dask_cause(old) or ("",))[0]:
        yield Note("Warning", *cause, key)
    if new.phase is Phase.SUCCEEDED and (judged := _rejected(new)) and judged != _rejected(old):
        yield Note("Warning", judged[0], judged[1], key)
    if (new.attempts or 0) > max(old.attempts or 0, 1) and seen.last_trouble is not None:
        text = f"attempt {new.attempts} begins; the one before: {seen.last_trouble.message}"
        yield Note("Normal", seen.last_trouble.reason, text, key)


def refusal_note(refusal: Refusal, status: TrainingJobStatus) -> Note:
    """Return the event that tells of a refused report: one for each kind and attempt, however many come."""
    text = f"a report of the trainer is not believed ({refusal.kind}): {refusal.message}; the status stays"
    return Note("Warning", Reason.REPORT_REFUSED, text, f"{refusal.kind}/{status.attempts or 0}", once=True)


def build_event(owner: Owner, note: Note, now: datetime) -> dict[str, Any]:
    """Return the Event; its name is made from what it says, so that a second one is refused with 409."""
    words = f"{owner.uid}\n{note.kind}\n{note.reason}\n{'' if note.once else note.message}\n{note.key}"
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
        "type": note.kind,
        "reason": note.reason,
        "message": shorten(note.message, MAX_MESSAGE),
        "source": {"component": MANAGED_BY},
        "reportingComponent": MANAGED_BY,
        "firstTimestamp": time,
        "lastTimestamp": time,
        "count": 1,
    }


def _headline(status: TrainingJobStatus) -> tuple[Phase | None, str | None]:
    """Return phase and reason as a reader of the list sees them."""
    kind = ConditionType.RECONCILING
    reason = next((one.reason for one in status.conditions or () if one.type is kind), None)
    return status.phase, reason


def _latched_reason(status: TrainingJobStatus) -> str | None:
    """Return the reason that a job which has ended keeps; it was told when it ended."""
    return _headline(status)[1] if status.phase is not None and status.phase.terminal else None


def _rejected(status: TrainingJobStatus) -> tuple[str, str] | None:
    for one in status.conditions or ():
        if one.type is ConditionType.ACCEPTANCE_MET and one.status == "False":
            return one.reason, one.message
    return None


def _dask_cause(status: TrainingJobStatus) -> tuple[str, str] | None:
    for one in status.conditions or ():
        if one.type is ConditionType.DASK_READY and one.reason in DASK_CAUSES:
            return one.reason, one.message
    return None
