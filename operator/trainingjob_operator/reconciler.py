"""One pass over one job: read, observe, decide, apply, tell."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from trainingjob_api import TrainingJobStatus, reasons
from trainingjob_operator.decide import decide
from trainingjob_operator.desired import build, read_run
from trainingjob_operator.errors import ApiFault
from trainingjob_operator.events import Note, build_event, notes, refusal_note
from trainingjob_operator.gateway import Gateway
from trainingjob_operator.merge import merge_patch
from trainingjob_operator.metrics import Metrics
from trainingjob_operator.names import Child, owned_by
from trainingjob_operator.observe import Observed, Obstacle, Refusal, Watermark, foreign_obstacle, observe
from trainingjob_operator.project import project
from trainingjob_operator.resolution import minds, space_reference
from trainingjob_operator.settings import Settings
from trainingjob_operator.step import Step
from trainingjob_operator.subject import Subject, read_subject

__all__ = ["JobKey", "Reconciler"]

_log = logging.getLogger(__name__)

PROGRESS_SECONDS = 10.0
"""Between two writes that tell of progress only. A trainer reports every 15 s; its word is no promise."""
_PROGRESS = frozenset({"progress", "best", "leaderboard", "paretoFront"})


class JobKey(NamedTuple):
    """Which job."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class _Memory:
    """What is remembered of a job between passes; forgetting it costs a look, never a mistake."""

    uid: str
    watermark: Watermark | None = None
    written_version: str = ""
    written_at: datetime | None = None
    refusal: str = ""


class Reconciler:
    """Brings jobs to where they should be, one pass at a time.

    Parameters
    ----------
    gateway
        The API server.
    settings
        The operator's settings.
    metrics
        What is counted.
    clock
        Returns the time, aware.
    """

    def __init__(
        self, gateway: Gateway, settings: Settings, metrics: Metrics, clock: Callable[[], datetime]
    ) -> None:
        self._gateway = gateway
        self._settings = settings
        self._metrics = metrics
        self._clock = clock
        self._memory: dict[JobKey, _Memory] = {}

    def is_echo(self, key: JobKey, version: str | None) -> bool:
        """Return whether *version* is the one that this process has written itself."""
        memory = self._memory.get(key)
        return memory is not None and bool(version) and memory.written_version == version

    async def reconcile(self, key: JobKey) -> float | None:
        """Take the next step for a job; every step can be taken again.

        Returns
        -------
        float or None
            Seconds after which to come back although nothing happens.

        Raises
        ------
        ApiFault
            If the API server did not take part; the pass is to be repeated later.
        """
        raw = await self._gateway.read_job(*key)
        if raw is None or not minds(self._settings, (raw["metadata"].get("labels") or {})):
            self._forget(key)
            return None
        subject = read_subject(raw)
        memory = self._memory.get(key)
        if memory is None or memory.uid != subject.owner.uid:
            self._forget(key)
            self._memory[key] = _Memory(subject.owner.uid)
        self._metrics.seen(subject.owner.uid, *key, subject.status)
        return await self._advance(key, subject)

    async def _advance(self, key: JobKey, subject: Subject) -> float | None:
        seen = await self._observe(key, subject)
        now = self._clock()
        step = decide(subject, seen, now)
        try:
            obstacle = await self._apply(subject, seen, step)
        except ApiFault:
            if subject.status.phase is None:
                # A job without conditions counts as current for kstatus: say at once that it is not.
                await self._tell(key, subject, seen, step, now)
            raise
        if obstacle is not None:
            seen = replace(seen, obstacle=obstacle)
            step = decide(subject, seen, now)
        elif step.ensure or step.suspension:
            # What is told is what there is now, not the step that led there.
            seen = await self._observe(key, subject)
            step = decide(subject, seen, now)
        wait = await self._tell(key, subject, seen, step, now) if step.write else None
        if seen.report_refused is not None and not (subject.ended or subject.deleting):
            await self._tell_refusal(key, subject, seen.report_refused, now)
        # What comes after the end counts from it, and the event of this pass's own write is no news.
        next_pass = 0.0 if step.write and step.phase.terminal and not subject.ended else None
        return min((one for one in (step.again_after, wait, next_pass) if one is not None), default=None)

    async def _observe(self, key: JobKey, subject: Subject) -> Observed:
        active = not subject.ended and not subject.suspend and not subject.deleting
        space = space_reference(subject.job) if subject.job is not None and active else None
        snapshot = await self._gateway.snapshot(subject.owner, access=active, space=space)
        memory = self._memory[key]
        seen = observe(subject, snapshot, self._settings, memory.watermark)
        if seen.report is not None:
            report = seen.report
            mark = Watermark(report.attempt, report.sequence, report.pod_uid or "")
            self._memory[key] = replace(memory, watermark=mark)
        return seen

    async def _apply(self, subject: Subject, seen: Observed, step: Step) -> Obstacle | None:
        """Make and remove what the step says; return what is in the way, if anything is."""
        owner, plan = subject.owner, seen.plan
        for child in step.ensure:
            if plan is None:
                break
            try:
                there = await self._gateway.create(child, build(child, owner, plan, self._settings))
            except ApiFault as fault:
                if fault.refusal:
                    return _refused(child, fault)
                raise
            if there is None:
                continue
            if not owned_by(there, owner.uid):
                return foreign_obstacle(owner.name, child, there)
            if child is Child.RUN:
                # Somebody was faster (another operator, or this one before a stale read): theirs is in force.
                plan = read_run(there) or plan
        if step.suspension is not None:
            await self._gateway.suspend(owner, step.suspension)
        for child in step.remove:
            await self._gateway.delete(child, owner)
        return None

    async def _tell(
        self, key: JobKey, subject: Subject, seen: Observed, step: Step, now: datetime
    ) -> float | None:
        """Post events, write the status if it says anything new, count; return when to come back, if ever."""
        status = project(subject, seen, step, now)
        change = merge_patch(
            subject.raw_status, status.model_dump(mode="json", by_alias=True, exclude_none=True)
        )
        if not change:
            return None
        written = self._memory[key].written_at
        since = PROGRESS_SECONDS if written is None else (now - written).total_seconds()
        if change.keys() <= _PROGRESS and 0 <= since < PROGRESS_SECONDS:
            return PROGRESS_SECONDS - since
        # Before the status: a restart in between posts them again, and their names tell that they are there.
        for note in notes(subject.status, status, seen, step):
            await self._post(key, subject, note, now)
        version = await self._gateway.write_status(subject.owner, change, subject.resource_version)
        if version is not None:
            self._remember(key, version, now)
            self._metrics.changed(subject.status, status)
            self._metrics.seen(subject.owner.uid, *key, status)
            _report_step(key, subject.status, status, step)
        return None

    async def _tell_refusal(self, key: JobKey, subject: Subject, refusal: Refusal, now: datetime) -> None:
        """Make a report that is not believed visible, once."""
        if self._memory[key].refusal == refusal.digest:
            return
        await self._post(key, subject, refusal_note(refusal, subject.status), now)
        _log.warning("%s/%s: report refused (%s): %s", *key, refusal.kind, refusal.message)
        self._metrics.refusals.labels(reason=refusal.kind).inc()
        self._memory[key] = replace(self._memory[key], refusal=refusal.digest)

    async def _post(self, key: JobKey, subject: Subject, note: Note, now: datetime) -> None:
        try:
            await self._gateway.post_event(build_event(subject.owner, note, now))
        except ApiFault as fault:
            if not fault.refusal:
                raise
            _log.warning("%s/%s: event refused: %s", *key, fault)

    def _remember(self, key: JobKey, version: str, now: datetime) -> None:
        self._memory[key] = replace(self._memory[key], written_version=version, written_at=now)

    def _forget(self, key: JobKey) -> None:
        memory = self._memory.pop(key, None)
        if memory is not None:
            self._metrics.gone(memory.uid)


def _refused(child: Child, fault: ApiFault) -> Obstacle:
    quota = "exceeded quota" in fault.message
    return Obstacle(
        reasons.QUOTA_EXCEEDED if quota else reasons.FORBIDDEN,
        f"the API server does not take the {child.kind} of this job: {fault.message}",
    )


def _report_step(key: JobKey, old: TrainingJobStatus, new: TrainingJobStatus, step: Step) -> None:
    if old.phase is not new.phase:
        _log.info("%s/%s: %s (%s)", *key, new.phase, step.reason)
