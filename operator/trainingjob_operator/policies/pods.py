"""Pods that the operator deletes itself: those that no Job ends or deletes."""

from dataclasses import replace
from datetime import datetime, timedelta

from trainingjob_operator.children import PodKey
from trainingjob_operator.decision import Decision, Input, earliest
from trainingjob_operator.job_view import JobView
from trainingjob_operator.observe.facts import Observed, PodSeen

__all__ = ["LEFTOVER_SECONDS", "SILENCE_SECONDS", "end_of_life", "with_deleted_pods"]

LEFTOVER_SECONDS = 30.0
"""How long a sidecar may run after the trainer has ended."""

SILENCE_SECONDS = 45.0
"""A trainer reports every 15 s; after three missing reports something prevents them."""


def with_deleted_pods(given: Input, decision: Decision) -> Decision:
    """Add the pods to delete now, and the time at which the next one is due."""
    if given.view.deleting:
        return decision
    delete, waits = list(given.seen.strays), list[float]()
    for pod in given.seen.pods:
        due = None if pod.going else _due(given.view, given.seen, pod, given.now)
        if due is not None and due > given.now:
            waits.append((due - given.now).total_seconds())
        elif due is not None:
            delete.append(PodKey(pod.name, pod.uid))
    return replace(
        decision, delete_pods=tuple(delete), requeue_after=earliest(decision.requeue_after, *waits)
    )


def end_of_life(view: JobView) -> datetime | None:
    """Return when pods and Job of a job that has ended are deleted; ``None``: never."""
    ended = view.status.completion_time
    return None if ended is None else ended + timedelta(seconds=view.ttl_seconds)


def _due(view: JobView, seen: Observed, pod: PodSeen, now: datetime) -> datetime | None:
    """Return when to delete *pod*; ``None`` if it ends by itself or its Job deletes it."""
    if pod.finished:
        return end_of_life(view) if pod.orphan and view.ended else None
    if not pod.working:
        alone = (pod.ended or pod.created) + timedelta(seconds=LEFTOVER_SECONDS)
        return alone if pod.beside or pod.orphan else None
    if not pod.orphan:
        return now if _has_stale_token(seen, pod, now) else None
    # A running trainer is waited for; a pod that never started, or has a successor, blocks the next attempt.
    unwanted = view.ended or view.suspend or seen.job is not None or not pod.running
    return now if unwanted else None


def _has_stale_token(seen: Observed, pod: PodSeen, now: datetime) -> bool:
    """Return whether a silent pod has the token of a deleted ServiceAccount, which is never replaced."""
    renewed = seen.account_made is not None and seen.account_made > pod.created
    return renewed and pod.running and seen.silence(pod, now) >= SILENCE_SECONDS
