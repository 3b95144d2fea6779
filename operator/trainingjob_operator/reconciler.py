"""One pass over one job: read, observe, decide, apply, tell."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache, partial
from typing import Any, NamedTuple, ParamSpec, TypeVar

from trainingjob_api import ConditionType, ParallelMode, PlanRecord, Reason, TrainingJobStatus
from trainingjob_operator.applying import Applier
from trainingjob_operator.decide import decide
from trainingjob_operator.errors import ApiFault
from trainingjob_operator.events import Note, build_event, notes, refusal_note
from trainingjob_operator.gateway import DaskQuestion, Gateway
from trainingjob_operator.logs import speak_of
from trainingjob_operator.merge import merge_patch
from trainingjob_operator.metrics import Metrics
from trainingjob_operator.observe import DaskSeen, Observed, Obstacle, Refusal, observe, strays
from trainingjob_operator.project import project
from trainingjob_operator.resolution import minds, space_reference
from trainingjob_operator.settings import Settings
from trainingjob_operator.step import DaskChange, Step
from trainingjob_operator.subject import Subject, parse_spec, read_subject

__all__ = ["JobKey", "Reconciler"]

_log = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")

PARALLEL_MODE = "TPOT_PARALLEL_MODE"
PROGRESS_SECONDS = 10.0
"""Between two writes that tell of progress only. A trainer reports every 15 s; its word is no promise."""
MAX_SPECS = 256
"""Parsed specs that are remembered."""
MAX_READERS = 2
"""Threads that read what users write. With more of them the loop would wait longer for its turn."""
_READERS = ThreadPoolExecutor(MAX_READERS, "reader")
_PROGRESS = frozenset({"progress", "best", "leaderboard", "paretoFront", "lastReport"})
_OLD_DEFINITION = Obstacle(
    Reason.FORBIDDEN,
    "the API server drops status.plan: the definition of TrainingJobs that is installed is of an "
    "earlier release; install the definitions of this one (chart trainingjob-crds)",
)


class JobKey(NamedTuple):
    """Which job."""

    namespace: str
    name: str

    def __str__(self) -> str:
        """Return it as the log has it."""
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class _Memory:
    """What is remembered of a job between passes; forgetting it costs a look, never a mistake."""

    uid: str
    written_version: str = ""
    written_at: datetime | None = None
    refusal: str = ""
    heard: tuple[str | None, int] | None = None
    """Pod and sequence of the last report."""
    heard_at: datetime | None = None
    report_key: str = ""
    """Of the key that was made; a status that the API server does not take makes no other one."""
    recorded_version: str = ""
    """The version in which the status has named it."""


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
        self._applier = Applier(gateway, settings)
        self._settings = settings
        self._metrics = metrics
        self._clock = clock
        self._memory: dict[JobKey, _Memory] = {}
        self._parse_spec = lru_cache(MAX_SPECS)(parse_spec)

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
        speak_of(job=str(key))
        raw = await self._gateway.read_job(*key)
        if raw is None or not minds(self._settings, (raw["metadata"].get("labels") or {})):
            self._forget(key)
            if raw is None:
                await self._remove_strays(key)
            return None
        subject = await _apart(read_subject, raw, self._parse_spec)
        speak_of(job=str(key), uid=subject.owner.uid, attempt=subject.status.attempts)
        memory = self._memory.get(key)
        if memory is None or memory.uid != subject.owner.uid:
            self._forget(key)
            self._memory[key] = _Memory(subject.owner.uid)
        self._metrics.seen(subject.owner.uid, *key, subject.status)
        return await self._advance(key, subject)

    async def _remove_strays(self, key: JobKey) -> None:
        """Remove the pods that a job which is gone has left; its Job's deletion has orphaned them."""
        for pod in strays(await self._gateway.pods(*key)):
            await self._gateway.delete_pod(key.namespace, pod)

    async def _advance(self, key: JobKey, subject: Subject) -> float | None:
        seen = self._with_made_key(key, subject, await self._observe(key, subject))
        now = self._clock()
        step = decide(subject, seen, now)
        try:
            applied = await self._applier.apply(subject.owner, seen.plan, step)
        except ApiFault:
            if subject.status.phase is None:
                # A job without conditions counts as current for kstatus: say at once that it is not.
                await self._tell(key, subject, seen, step, now)
            raise
        if applied.report_key:
            self._memory[key] = replace(self._memory[key], report_key=applied.report_key)
            seen = self._with_made_key(key, subject, seen)
        if applied.obstacle is not None:
            seen = replace(seen, obstacle=applied.obstacle)
        elif step.ensure or step.suspension or step.cluster.change is DaskChange.MAKE:
            # What is told is what there is now, not the step that led there.
            seen = await self._observe(key, subject)
        if applied.dask is not None:
            seen = replace(seen, dask=replace(seen.dask or DaskSeen(), impossible=applied.dask))
        if applied.obstacle or applied.dask or step.ensure or step.suspension or step.cluster.change:
            step = decide(subject, seen, now)
        wait = await self._tell(key, subject, seen, step, now) if step.write else None
        if seen.report_refused is not None and not (subject.ended or subject.deleting):
            await self._tell_refusal(key, subject, seen.report_refused, now)
        # What comes after the end counts from it, and the event of this pass's own write is no news.
        next_pass = 0.0 if step.write and step.phase.terminal and not subject.ended else None
        due = (step.again_after, step.cluster.again_after, wait, next_pass)
        return min((one for one in due if one is not None), default=None)

    def _with_made_key(self, key: JobKey, subject: Subject, seen: Observed) -> Observed:
        """Return *seen* with the key that this process has made and the status does not name yet."""
        memory = self._memory[key]
        if seen.record is not None or seen.plan is None or not memory.report_key:
            return seen
        dropped = bool(memory.recorded_version) and memory.recorded_version == subject.resource_version
        record = PlanRecord(digest=seen.plan.digest, report_key=memory.report_key)
        return replace(seen, record=record, obstacle=_OLD_DEFINITION if dropped else seen.obstacle)

    async def _observe(self, key: JobKey, subject: Subject) -> Observed:
        active = not subject.ended and not subject.suspend and not subject.deleting
        space = space_reference(subject.job) if subject.job is not None and active else None
        dask = _dask_question(subject, self._settings)
        snapshot = await self._gateway.snapshot(
            subject.owner, access=active, now=self._clock(), space=space, dask=dask
        )
        seen = await _apart(observe, subject, snapshot, self._settings)
        return replace(seen, heard_at=self._listen(key, seen))

    def _listen(self, key: JobKey, seen: Observed) -> datetime | None:
        """Return when the report has changed last."""
        memory, report = self._memory[key], seen.report
        heard = (report.pod_uid, report.sequence) if report is not None else None
        if memory.heard_at is None or heard != memory.heard:
            memory = self._memory[key] = replace(memory, heard=heard, heard_at=self._clock())
        return memory.heard_at

    async def _tell(
        self, key: JobKey, subject: Subject, seen: Observed, step: Step, now: datetime
    ) -> float | None:
        """Post events, write the status if it says anything new, count; return when to come back, if ever."""
        status, change = await _apart(_change, subject, seen, step, now)
        if not change:
            return None
        written = self._memory[key].written_at
        since = PROGRESS_SECONDS if written is None else (now - written).total_seconds()
        if change.keys() <= _PROGRESS and 0 <= since < PROGRESS_SECONDS:
            return PROGRESS_SECONDS - since
        # Before the status: a restart in between posts them again, and their names tell that they are there.
        for note in notes(subject.status, status, seen, step):
            await self._post(subject, note, now)
        version = await self._gateway.write_status(subject.owner, change, subject.resource_version)
        if version is not None:
            self._remember(key, version, now, recorded=status.plan is not None)
            self._metrics.changed(subject.status, status)
            self._metrics.seen(subject.owner.uid, *key, status)
            _report_step(subject.status, status, step)
        return None

    async def _tell_refusal(self, key: JobKey, subject: Subject, refusal: Refusal, now: datetime) -> None:
        """Make a report that is not believed visible, once."""
        if self._memory[key].refusal == refusal.digest:
            return
        await self._post(subject, refusal_note(refusal, subject.status), now)
        _log.warning("report refused", extra={"reason": refusal.kind, "detail": refusal.message})
        self._metrics.refusals.labels(reason=refusal.kind).inc()
        self._memory[key] = replace(self._memory[key], refusal=refusal.digest)

    async def _post(self, subject: Subject, note: Note, now: datetime) -> None:
        try:
            await self._gateway.post_event(build_event(subject.owner, note, now))
        except ApiFault as fault:
            if not fault.refusal:
                raise
            _log.warning("event refused", extra=fault.fields)

    def _remember(self, key: JobKey, version: str, now: datetime, *, recorded: bool) -> None:
        self._memory[key] = replace(
            self._memory[key],
            written_version=version,
            written_at=now,
            recorded_version=version if recorded else "",
        )

    def _forget(self, key: JobKey) -> None:
        memory = self._memory.pop(key, None)
        if memory is not None:
            self._metrics.gone(memory.uid)


async def _apart(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call *function* in a thread: what users write may take seconds to read, and watches must not wait."""
    return await asyncio.get_running_loop().run_in_executor(_READERS, partial(function, *args, **kwargs))


def _change(
    subject: Subject, seen: Observed, step: Step, now: datetime
) -> tuple[TrainingJobStatus, dict[str, Any]]:
    """Return the status that the job should have, and the patch that makes it so."""
    status = project(subject, seen, step, now)
    new = status.model_dump(mode="json", by_alias=True, exclude_none=True)
    return status, merge_patch(subject.raw_status, new)


def _dask_question(subject: Subject, settings: Settings) -> DaskQuestion | None:
    """Return what to find out about a job's Dask cluster; nothing about that of a job that has none."""
    resolved, job = subject.status.resolved, subject.job
    if resolved is not None:
        wanted = resolved.parallel_mode is ParallelMode.DISTRIBUTED and resolved.automl_enabled
    else:
        mode = (job.spec.parallel_mode if job is not None else None) or settings.defaults.get(PARALLEL_MODE)
        wanted = str(mode).strip().lower() == ParallelMode.DISTRIBUTED
    if not wanted or subject.deleting:
        return None
    ready = any(
        one.type is ConditionType.DASK_READY and one.status == "True"
        for one in subject.status.conditions or ()
    )
    settled = subject.ended or subject.suspend or ready
    return DaskQuestion.EXISTENCE if settled else DaskQuestion.HEALTH


def _report_step(old: TrainingJobStatus, new: TrainingJobStatus, step: Step) -> None:
    if old.phase is not new.phase:
        _log.info("phase changed", extra={"phase": new.phase, "reason": step.reason})
