"""The record of a job's attempts: one entry for each pod of the trainer, which outlives the pod.

An attempt is open until its pod has ended or is gone; then its outcome never changes. Nothing is remembered
outside the status.
"""

from datetime import datetime

from trainingjob_api import Attempt, AttemptOutcome, Failure, Phase, shorten
from trainingjob_api.reasons import Cause, Reason
from trainingjob_operator.decision import Decision
from trainingjob_operator.facts import Observed, PodSeen
from trainingjob_operator.job_view import JobView

MAX_ATTEMPTS = 10
MAX_ATTEMPT_MESSAGE = 200
_OUTCOMES: dict[str, AttemptOutcome] = {
    Reason.OUT_OF_MEMORY: AttemptOutcome.OOM_KILLED,
    Reason.TRAINER_EVICTED: AttemptOutcome.EVICTED,
}
_ASKED = frozenset({AttemptOutcome.SUSPENDED, AttemptOutcome.DEADLINE_EXCEEDED})


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
    report = seen.report
    updated = []
    for attempt in entries:
        why = report.failure if report is not None and report.pod_uid == attempt.pod_uid else None
        pod = pods.get(attempt.pod_uid)
        updated.append(_updated(attempt, pod, why, decision, stopping=stopping, now=now))
    if updated and report is not None and report.pod_uid == updated[-1].pod_uid:
        number = max(updated[-1].number, report.attempt)
        updated[-1] = updated[-1].model_copy(update={"number": number})
    return tuple(updated[-MAX_ATTEMPTS:])


def _new(known: tuple[Attempt, ...], pods: tuple[PodSeen, ...], attempts: int) -> list[Attempt]:
    """Return an entry for each pod that has none, except those dropped for their age."""
    uids = {attempt.pod_uid for attempt in known}
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
    attempt: Attempt,
    pod: PodSeen | None,
    why: Failure | None,
    decision: Decision,
    *,
    stopping: bool,
    now: datetime,
) -> Attempt:
    """Return the entry with what is known now; *why* is the trainer's own word for its failure."""
    if attempt.outcome is not None:
        # The trainer's own message may be read later than its pod's end.
        late = why if attempt.outcome is AttemptOutcome.FAILED else None
        return attempt if late is None else attempt.model_copy(update=_words(late))
    outcome = _outcome(pod, why, decision, stopping=stopping)
    found: dict[str, object] = {"outcome": outcome}
    if pod is not None:
        evicted = pod.trouble is not None and pod.trouble.reason == Reason.TRAINER_EVICTED
        # The outcome already says it.
        said = outcome is AttemptOutcome.SUCCEEDED or (evicted and outcome in _ASKED)
        found |= {"node": pod.node or attempt.node, "exit_code": pod.exit_code}
        found |= _words(None if said else pod.trouble)
    if outcome is AttemptOutcome.FAILED and why is not None:
        found |= _words(why)
    if outcome is not None:
        found["end_time"] = ((pod.ended if pod is not None else None) or now).replace(microsecond=0)
    return attempt.model_copy(update=found)


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


def _words(said: Cause | Failure | None) -> dict[str, object]:
    message = None if said is None else shorten(said.message, MAX_ATTEMPT_MESSAGE)
    return {"reason": said and said.reason, "message": message}
