"""One pass over one job: read, observe, decide, apply, write the status, requeue."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Any, TypeVar, TypeVarTuple

from trainingjob_api import ConditionType, ParallelMode, Phase, TrainingJobStatus
from trainingjob_api.reasons import Cause, Reason
from trainingjob_certificates import ReportKey
from trainingjob_operator.api import Api
from trainingjob_operator.children import ACCESS_CHILDREN, Child, JobKey, Owner, owned_by
from trainingjob_operator.decision import Decision, earliest
from trainingjob_operator.facts import Observed
from trainingjob_operator.job_view import (
    JobView,
    Plan,
    changed_plan,
    condition_of,
    parse_spec,
    read_job_view,
    read_run,
    space_reference,
)
from trainingjob_operator.manifests import build, build_report_key
from trainingjob_operator.observe import foreign_object, observe
from trainingjob_operator.pods import not_admitted, strays
from trainingjob_operator.policies import decide
from trainingjob_operator.settings import Settings
from trainingjob_operator.status import (
    Event,
    build_event,
    build_status,
    events_of,
    merge_patch,
    rejection_event,
)
from trainingjob_operator.telemetry import Metrics, set_log_context
from trainingjob_operator.transport import ApiFault

_log = logging.getLogger(__name__)
Arguments = TypeVarTuple("Arguments")
Result = TypeVar("Result")

PARALLEL_MODE = "TPOT_PARALLEL_MODE"
PROGRESS_SECONDS = 10.0
"""Between two writes of progress alone. A trainer reports every 15 s, but nothing holds it to that."""
MAX_SPECS = 256
"""Parsed specs that are cached."""
MAX_READERS = 2
"""Threads that parse what users write. More of them would make the event loop wait longer for the GIL."""
_READERS = ThreadPoolExecutor(MAX_READERS, "reader")
_PROGRESS = frozenset({"progress", "best", "leaderboard", "paretoFront", "lastReport"})
_ALWAYS = (Child.RUN, Child.REPORT, Child.JOB)
_OLD_DEFINITION = Cause(
    Reason.FORBIDDEN,
    "The API server drops status.plan: the installed definition of TrainingJobs is of an earlier release; "
    "install this release's definitions (chart trainingjob-crds)",
)


@dataclass(slots=True)
class _Memory:
    """The operator's memory of a job between passes; losing it costs a read, never correctness."""

    key: JobKey
    uid: str
    changed: bool = False
    """Whether the last pass created, suspended or resumed something."""
    written_version: str = ""
    written_at: datetime | None = None
    rejected: str = ""
    """Digest of the last rejected report."""
    report: tuple[str | None, int] | None = None
    """Pod and sequence of the last report."""
    reported_at: datetime | None = None
    report_key: str = ""
    """Public half of the key that was made: if the API server drops it from the status, no other is made."""
    recorded_version: str = ""
    """The version in which the status named it."""


class Reconciler:
    """Brings jobs to the state that their specs ask for, one pass at a time; *clock* returns aware times."""

    def __init__(self, api: Api, settings: Settings, metrics: Metrics, clock: Callable[[], datetime]) -> None:
        self._api = api
        self._settings = settings
        self._metrics = metrics
        self._clock = clock
        self._memory: dict[JobKey, _Memory] = {}
        self._parse_spec = lru_cache(MAX_SPECS)(parse_spec)

    def is_echo(self, key: JobKey, version: str | None) -> bool:
        """Return whether this process wrote *version* itself."""
        memory = self._memory.get(key)
        return memory is not None and bool(version) and memory.written_version == version

    async def reconcile(self, key: JobKey) -> float | None:
        """Make one pass over a job; return the seconds to the next one although nothing happens.

        Every pass can be repeated, and is to be repeated after an :class:`ApiFault`.
        """
        set_log_context(job=str(key))
        raw = await self._api.read_job(*key)
        if raw is None or not self._settings.handles(raw["metadata"].get("labels") or {}):
            self._forget(key)
            if raw is None:
                # Deleting its Job with --cascade=orphan has left pods that nothing else deletes.
                for pod in strays(await self._api.pods(*key)):
                    await self._api.delete_pod(key.namespace, pod)
            return None
        view = await _in_thread(read_job_view, raw, self._parse_spec)
        set_log_context(job=str(key), uid=view.owner.uid, attempt=view.status.attempts)
        if key not in self._memory or self._memory[key].uid != view.owner.uid:
            self._forget(key)
            self._memory[key] = _Memory(key, view.owner.uid)
        self._metrics.seen(view.owner.uid, *key, view.status)
        return await self._pass(self._memory[key], view)

    async def _pass(self, memory: _Memory, view: JobView) -> float | None:
        seen = _with_made_key(memory, view, await self._observe(memory, view))
        now = self._clock()
        decision = decide(view, seen, now)
        try:
            applied = await apply(self._api, self._settings, view.owner, seen.plan, decision)
        except ApiFault:
            if view.status.phase is None:
                # kstatus takes a job without conditions for current: say at once that it is not.
                await self._write_status(memory, view, seen, decision, now)
            raise
        if applied.report_key:
            memory.report_key = applied.report_key
            seen = _with_made_key(memory, view, seen)
        decision = decision.with_refusals(applied.refused, applied.dask_refused)
        if applied.refused is not None and decision.cause != applied.refused:
            # The status says that the run continues.
            extra = {"reason": applied.refused.reason, "detail": applied.refused.message}
            _log.warning("child not created", extra=extra)
        # The next pass observes at once what was created, suspended or resumed, but not pass after pass while
        # something else reverts it.
        observe_next = applied.changed and not (applied.refused or applied.dask_refused or memory.changed)
        memory.changed = applied.changed
        if observe_next and decision.phase in {Phase.PENDING, Phase.SUSPENDED}:
            # That pass writes the status, too.
            return 0.0
        wait = await self._write_status(memory, view, seen, decision, now) if decision.write else None
        if seen.rejected is not None and not (view.ended or view.deleting):
            # Once for each rejected report.
            if memory.rejected != seen.rejected_digest:
                await self._report_rejection(view, seen.rejected, now)
            memory.rejected = seen.rejected_digest
        ends = decision.write and decision.phase.terminal and not view.ended
        # Nothing else starts the pass after a job's end, which counts its time to live: the event of this
        # process's own write is ignored.
        return earliest(decision.requeue_after, wait, 0.0 if observe_next or ends else None)

    async def _observe(self, memory: _Memory, view: JobView) -> Observed:
        active = not (view.ended or view.suspend or view.deleting)
        has_dask = _has_dask_cluster(view, self._settings)
        dask_ready = condition_of(view.status, ConditionType.DASK_READY)
        ready = dask_ready is not None and dask_ready.status == "True"
        snapshot = await self._api.snapshot(
            view.owner,
            children=(
                *_ALWAYS,
                *(ACCESS_CHILDREN if active else ()),
                *((Child.DASK_CLUSTER,) if has_dask else ()),
            ),
            now=self._clock(),
            space=space_reference(view.job) if view.job is not None and active else None,
            dask_health=active and not ready,
        )
        seen = await _in_thread(observe, view, snapshot, self._settings)
        report = seen.report
        latest = (report.pod_uid, report.sequence) if report is not None else None
        if memory.reported_at is None or latest != memory.report:
            memory.report, memory.reported_at = latest, self._clock()
        return replace(seen, reported_at=memory.reported_at)

    async def _write_status(
        self, memory: _Memory, view: JobView, seen: Observed, decision: Decision, now: datetime
    ) -> float | None:
        """Post events and write a changed status; return the delay of progress that came too soon."""
        status, change = await _in_thread(_change, view, seen, decision, now)
        if not change:
            return None
        since = PROGRESS_SECONDS if memory.written_at is None else (now - memory.written_at).total_seconds()
        if change.keys() <= _PROGRESS and 0 <= since < PROGRESS_SECONDS:
            return PROGRESS_SECONDS - since
        # Before the status: after a restart in between they are posted again, under the same names.
        for event in events_of(view.status, status, seen, decision):
            await self._post(view, event, now)
        version = await self._api.write_status(view.owner, change, view.resource_version)
        if version is None:
            return None
        memory.written_version, memory.written_at = version, now
        memory.recorded_version = version if status.plan is not None else ""
        self._metrics.changed(view.status, status)
        self._metrics.seen(memory.uid, *memory.key, status)
        if view.status.phase is not status.phase:
            _log.info("phase changed", extra={"phase": status.phase, "reason": decision.cause.reason})
        return None

    async def _report_rejection(self, view: JobView, rejected: Cause, now: datetime) -> None:
        await self._post(view, rejection_event(rejected, view.status), now)
        _log.warning("report rejected", extra={"reason": rejected.reason, "detail": rejected.message})
        self._metrics.refusals.labels(reason=rejected.reason).inc()

    async def _post(self, view: JobView, event: Event, now: datetime) -> None:
        try:
            await self._api.post_event(build_event(view.owner, event, now))
        except ApiFault as fault:
            if not fault.refusal:
                raise
            _log.warning("event refused", extra=fault.fields)

    def _forget(self, key: JobKey) -> None:
        memory = self._memory.pop(key, None)
        if memory is not None:
            self._metrics.gone(memory.uid)


async def _in_thread(function: Callable[[*Arguments], Result], *args: *Arguments) -> Result:
    """Call *function* in a thread: user input may take seconds to parse, and the watches must not wait."""
    return await asyncio.get_running_loop().run_in_executor(_READERS, function, *args)


def _change(
    view: JobView, seen: Observed, decision: Decision, now: datetime
) -> tuple[TrainingJobStatus, dict[str, Any]]:
    """Return the status that the job should have, and the merge patch to it."""
    status = build_status(view, seen, decision, now)
    new = status.model_dump(mode="json", by_alias=True, exclude_none=True)
    return status, merge_patch(view.raw_status, new)


def _with_made_key(memory: _Memory, view: JobView, seen: Observed) -> Observed:
    """Return *seen* with the key that this process has made and the status does not name yet."""
    if seen.plan is None or seen.plan.report_key is not None or not memory.report_key:
        return seen
    dropped = bool(memory.recorded_version) and memory.recorded_version == view.resource_version
    plan = replace(seen.plan, report_key=memory.report_key)
    return replace(seen, plan=plan, obstacle=_OLD_DEFINITION if dropped else seen.obstacle)


def _has_dask_cluster(view: JobView, settings: Settings) -> bool:
    """Return whether a job has a Dask cluster or may want one; nothing is asked about that of any other."""
    resolved, job = view.status.resolved, view.job
    if view.deleting:
        return False
    if resolved is not None:
        return resolved.parallel_mode is ParallelMode.DISTRIBUTED and bool(resolved.automl_enabled)
    if job is not None and "parallel_mode" in job.spec.model_fields_set:
        return job.spec.parallel_mode is ParallelMode.DISTRIBUTED
    mode = settings.defaults.get(PARALLEL_MODE)
    return str(mode).strip().lower() == ParallelMode.DISTRIBUTED


@dataclass(slots=True)
class Applied:
    """Result of applying a decision."""

    changed: bool = False
    """Whether something was created, suspended or resumed, which the next pass observes."""
    refused: Cause | None = None
    """Why a child of the trainer could not be created; nothing after it was applied."""
    dask_refused: Cause | None = None
    """Why a part of the Dask cluster could not be created; the job runs without."""
    report_key: str = ""
    """Public half of the key that was made."""


async def apply(api: Api, settings: Settings, owner: Owner, plan: Plan | None, decision: Decision) -> Applied:
    """Create, change and delete what *decision* says; an :class:`ApiFault` is for the next pass."""
    if decision.make_key:
        return await _make_key(api, owner)
    applied = Applied()

    async def create(child: Child) -> bool:
        """Create *child*; return whether to continue: without a part of the Dask cluster the job does."""
        if plan is None or (child.dask and applied.dask_refused is not None):
            return True
        there, cause = await _create(api, child, build(child, owner, plan, settings))
        if there is not None:
            cause = _not_ours(owner, child, there, plan)
        elif cause is None:
            applied.changed = True
        if child.dask:
            applied.dask_refused = cause
        else:
            applied.refused = cause
        return applied.refused is None

    for child in decision.create:
        if child is not Child.DASK_CLUSTER and not await create(child):
            return applied
    if decision.suspension is not None:
        applied.changed |= await api.suspend(owner, decision.suspension)
    for child in decision.delete:
        await api.delete(child, owner)
    for pod in decision.delete_pods:
        await api.delete_pod(owner.namespace, pod)
    if Child.DASK_CLUSTER in decision.create:
        # After a Job that resumes, too: the workers could take the quota that it needs.
        await create(Child.DASK_CLUSTER)
    return applied


async def _make_key(api: Api, owner: Owner) -> Applied:
    # The Secret is created before the status names it: a restart in between leaves a Secret that nothing
    # uses, and that is deleted with the job.
    key = ReportKey.generate()
    _, refused = await _create(api, Child.REPORT_KEY, build_report_key(owner, key))
    return Applied(refused=refused, report_key=key.public if refused is None else "")


async def _create(
    api: Api, child: Child, manifest: dict[str, Any]
) -> tuple[Mapping[str, Any] | None, Cause | None]:
    """Return an object that already has the child's name, and why the API server rejects the child."""
    try:
        return await api.create(child, manifest), None
    except ApiFault as fault:
        # A missing kind, or a webhook that fails, must not hold up a job that can run without.
        if not (fault.refusal or (child.dask and (fault.not_found or "webhook" in fault.message))):
            raise
        whose = "the Dask cluster" if child.dask else "this job"
        return None, not_admitted(f"the {child.kind} of {whose}", fault.message)


def _not_ours(owner: Owner, child: Child, there: Mapping[str, Any], plan: Plan) -> Cause | None:
    """Return why the object that has a child's name is not this job's, ``None`` if it is."""
    if not owned_by(there, owner.uid):
        return foreign_object(owner, child, there)
    kept = read_run(there) if child is Child.RUN else plan
    return changed_plan(there["metadata"]["name"]) if kept is None or kept.digest != plan.digest else None
