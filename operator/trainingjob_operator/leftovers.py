"""Pods that the operator deletes itself: those that no Job ends or deletes."""

from datetime import datetime, timedelta

from trainingjob_api.resolved import DEFAULT_TTL_SECONDS
from trainingjob_operator.names import PodKey
from trainingjob_operator.observe import Observed, PodSeen
from trainingjob_operator.subject import Subject

__all__ = ["LEFTOVER_SECONDS", "SILENCE_SECONDS", "end_of_life", "leftovers"]

LEFTOVER_SECONDS = 30.0
"""How long a sidecar may run after the trainer has ended."""

SILENCE_SECONDS = 45.0
"""A trainer reports every 15 s; after three missing reports something prevents them."""


def leftovers(subject: Subject, seen: Observed, now: datetime) -> tuple[tuple[PodKey, ...], float | None]:
    """Return the pods to remove now, and after how many seconds the next one is due.

    Parameters
    ----------
    subject, seen
        The job, and what is there.
    now
        The time, aware.
    """
    if subject.deleting:
        return (), None
    remove, waits = list(seen.strays), list[float]()
    for pod in seen.pods:
        due = None if pod.going else _due(subject, seen, pod, now)
        if due is None:
            continue
        if due > now:
            waits.append((due - now).total_seconds())
        else:
            remove.append(PodKey(pod.name, pod.uid))
    return tuple(remove), min(waits, default=None)


def end_of_life(subject: Subject) -> datetime | None:
    """Return when pods and Job of a job that has ended are removed; ``None``: never."""
    ttl, ended = subject.ttl_seconds, subject.status.completion_time
    ttl = DEFAULT_TTL_SECONDS if ttl is None else ttl
    return None if ended is None else ended + timedelta(seconds=ttl)


def _due(subject: Subject, seen: Observed, pod: PodSeen, now: datetime) -> datetime | None:
    """Return when to delete *pod*; ``None`` if it ends by itself or its Job deletes it."""
    if pod.finished:
        return end_of_life(subject) if pod.orphan and subject.ended else None
    if not pod.working:
        alone = (pod.ended or pod.created) + timedelta(seconds=LEFTOVER_SECONDS)
        return alone if pod.beside or pod.orphan else None
    if not pod.orphan:
        return now if _is_mute(seen, pod, now) else None
    # A running trainer is waited for; a pod that never started, or has a successor, blocks the next attempt.
    unwanted = subject.ended or subject.suspend or seen.job is not None or not pod.running
    return now if unwanted else None


def _is_mute(seen: Observed, pod: PodSeen, now: datetime) -> bool:
    """Return whether a pod holds the token of a deleted ServiceAccount, which is never replaced."""
    renewed = seen.account_made is not None and seen.account_made > pod.created
    return renewed and pod.running and seen.silence(pod, now) >= SILENCE_SECONDS
