"""Which Kubernetes Events a job gets; each is posted once, even across restarts."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from trainingjob_api import API_VERSION, KIND, ConditionType, Phase, TrainingJobStatus
from trainingjob_api.reasons import Cause, Reason
from trainingjob_api.text import shorten
from trainingjob_operator.children import MANAGED_BY, Owner, child_name, labels
from trainingjob_operator.decision import Decision
from trainingjob_operator.job_view import condition_of
from trainingjob_operator.observe.facts import Observed
from trainingjob_operator.status import DASK_CAUSES, fallback_cause, new_fallbacks

MAX_MESSAGE = 1000


@dataclass(frozen=True, slots=True)
class Event:
    """An event before it has a name.

    Parameters
    ----------
    kind
        ``Normal`` or ``Warning``.
    cause
        As in a condition.
    key
        What distinguishes this occurrence from an earlier one with the same text.
    once
        Whether the key alone distinguishes occurrences, since the trainer determines the text.
    """

    kind: Literal["Normal", "Warning"]
    cause: Cause
    key: str = ""
    once: bool = False


def events_of(
    old: TrainingJobStatus, new: TrainingJobStatus, seen: Observed, decision: Decision
) -> Iterator[Event]:
    """Yield the events of the change from *old* to *new*."""
    key = f"{new.observed_generation}/{new.attempts or 0}"
    cause, before = decision.cause, _headline(old)
    resumed = old.phase is Phase.SUSPENDED and new.phase not in {Phase.SUSPENDED, Phase.FAILED}
    if resumed:
        text = "Resuming with the remaining budget and deadline"
        yield Event("Normal", Cause(Reason.RESUMED, text), key)
    ended = old.phase is not None and old.phase.terminal
    # A job that has ended had its event then; that a resumed job has no pod yet is the ordinary course.
    silent = cause.reason in {Reason.CREATING_RESOURCES, before if ended else None}
    silent |= resumed and cause.reason in {Reason.RESUMED, Reason.WAITING_FOR_TRAINER}
    if not silent and (old.phase, before) != (new.phase, cause.reason):
        warning = decision.trouble and cause.reason != Reason.TRAINER_EVICTED
        yield Event("Warning" if warning else "Normal", cause, key)
    for fallback in new_fallbacks(old.fallbacks, new.fallbacks):
        yield Event("Warning", fallback_cause(fallback), fallback.time.isoformat())
    dask, dask_before = _dask_cause(new), _dask_cause(old)
    if dask is not None and (dask_before is None or dask.reason != dask_before.reason):
        yield Event("Warning", dask, key)
    rejected = _not_accepted(new) if new.phase is Phase.SUCCEEDED else None
    if rejected is not None and rejected != _not_accepted(old):
        yield Event("Warning", rejected, key)
    if (new.attempts or 0) > max(old.attempts or 0, 1) and seen.last_trouble is not None:
        text = f"Attempt {new.attempts} begins; the previous one: {seen.last_trouble.message}"
        yield Event("Normal", Cause(seen.last_trouble.reason, text), key)


def rejection_event(rejected: Cause, status: TrainingJobStatus) -> Event:
    """Return the event of a rejected report; equal for all rejections of a kind in one attempt."""
    text = f"Trainer report rejected ({rejected.reason}); status unchanged: {rejected.message}"
    key = f"{rejected.reason}/{status.attempts or 0}"
    return Event("Warning", Cause(Reason.REPORT_REFUSED, text), key, once=True)


def build_event(owner: Owner, event: Event, now: datetime) -> dict[str, Any]:
    """Return the manifest; its name is made from its content, so that a second one is refused (409)."""
    cause = event.cause
    words = f"{owner.uid}\n{event.kind}\n{cause.reason}\n{'' if event.once else cause.message}\n{event.key}"
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
        "type": event.kind,
        "reason": cause.reason,
        "message": shorten(cause.message, MAX_MESSAGE),
        "source": {"component": MANAGED_BY},
        "reportingComponent": MANAGED_BY,
        "firstTimestamp": time,
        "lastTimestamp": time,
        "count": 1,
    }


def _headline(status: TrainingJobStatus) -> str | None:
    """Return the reason that a reader of the list sees beside the phase."""
    found = condition_of(status, ConditionType.RECONCILING)
    return found.reason if found is not None else None


def _not_accepted(status: TrainingJobStatus) -> Cause | None:
    found = condition_of(status, ConditionType.ACCEPTANCE_MET)
    return Cause(found.reason, found.message) if found is not None and found.status == "False" else None


def _dask_cause(status: TrainingJobStatus) -> Cause | None:
    found = condition_of(status, ConditionType.DASK_READY)
    return Cause(found.reason, found.message) if found is not None and found.reason in DASK_CAUSES else None
