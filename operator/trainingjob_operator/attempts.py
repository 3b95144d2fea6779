"""The attempts of a job: one entry for each pod of the trainer, kept when the pod is gone.

An entry is open until the pod has ended or is gone; then its outcome never changes. Nothing is remembered
outside the status: equal observations of an equal status give equal entries.
"""

from datetime import datetime

from trainingjob_api import Attempt, AttemptOutcome, Failure, Phase, Report
from trainingjob_api.reasons import Reason
from trainingjob_api.text import shorten
from trainingjob_operator.decision import Decision
from trainingjob_operator.job_view import JobView
from trainingjob_operator.observe.facts import Observed, PodSeen

__all__ = ["MAX_ATTEMPTS", "record_attempts"]

MAX_ATTEMPTS = 10
MAX_MESSAGE = 200
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
        _updated(one, pods.get(one.pod_uid), seen.report, decision, stopping=stopping, now=now)
        for one in entries
    ]
    if updated and seen.report is not None and seen.report.pod_uid == updated[-1].pod_uid:
        number = max(updated[-1].number, seen.report.attempt)
        updated[-1] = updated[-1].model_copy(update={"number": number})
    return tuple(updated[-MAX_ATTEMPTS:])


def _new(known: tuple[Attempt, ...], pods: tuple[PodSeen, ...], attempts: int) -> list[Attempt]:
    """Return an entry for each pod that has none, except those dropped for their age."""
    uids = {one.pod_uid for one in known}
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
    one: Attempt,
    pod: PodSeen | None,
    report: Report | None,
    decision: Decision,
    *,
    stopping: bool,
    now: datetime,
) -> Attempt:
    """Return the entry with what is known now."""
    why = report.failure if report is not None and report.pod_uid == one.pod_uid else None
    if one.outcome is not None:
        # The trainer's own message may be read later than its pod's end.
        late = why if one.outcome is AttemptOutcome.FAILED else None
        return one if late is None else one.model_copy(update=_words(late.reason, late.message))
    outcome = _outcome(pod, why, decision, stopping=stopping)
    found: dict[str, object] = {"outcome": outcome}
    if pod is not None:
        found |= {"node": pod.node or one.node, "exit_code": pod.exit_code, **_trouble(pod, outcome)}
    if outcome is AttemptOutcome.FAILED and why is not None:
        found |= _words(why.reason, why.message)
    if outcome is not None:
        found["end_time"] = ((pod.ended if pod is not None else None) or now).replace(microsecond=0)
    return one.model_copy(update=found)


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
    return {"reason": reason, "message": None if message is None else shorten(message, MAX_MESSAGE)}
