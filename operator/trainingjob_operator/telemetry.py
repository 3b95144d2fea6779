"""The operator's log, metrics, liveness and readiness.

The log has JSON lines with the job that is being reconciled. Gauges are computed from the resources at each
scrape, so that a restart changes nothing. Counters count changes of a status that this process has written:
each change is written once. ``docs/metrics.md`` says what each means with many jobs.

Live: the loop answers and no pass hangs. Ready: all jobs have been listed once, and what a list shows also
arrives by the watch, which would not be so behind a half-open connection.
"""

import logging
import sys
from collections import Counter as Tally
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from types import MappingProxyType
from typing import Any, Final, TextIO

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from trainingjob_api import KIND, JsonLines, ModelSource, Phase, TrainingJobStatus, install_log
from trainingjob_operator.children import JobKey
from trainingjob_operator.facts import Rejection
from trainingjob_operator.status import new_fallbacks

_KOPF = frozenset({"k8s_ref", "k8s_skip", "settings"})
_context: ContextVar[Mapping[str, Any]] = ContextVar("context", default=MappingProxyType({}))


def set_log_context(**fields: Any) -> None:
    """Add *fields* (``job``, ``uid``, ``attempt``) to every log line of this task until the next call."""
    _context.set({name: value for name, value in fields.items() if value is not None})


def configure_logs(stream: TextIO | None = None) -> None:
    """Write the log lines of this process and its libraries to *stream*, by default standard error."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines(_context_of, hidden=_KOPF))
    install_log(handler, logging.INFO)
    # Kopf logs each event that it handled; the reconciler logs the result.
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)


def _context_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return the fields of the task, and the object that a log line of Kopf is about."""
    found, reference = dict(_context.get()), getattr(record, "k8s_ref", None)
    if reference:
        where = f"{reference.get('namespace')}/{reference.get('name')}"
        job = reference.get("kind") == KIND
        found |= (
            {"job": where, "uid": reference.get("uid")}
            if job
            else {"object": f"{reference.get('kind')} {where}"}
        )
    return found


OVERRUN_FRACTION = 0.05
OVERRUN_SECONDS = 5
_EPOCH = datetime.min.replace(tzinfo=UTC)
_DURATIONS = (10, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 43_200, 86_400)
_RECONCILES = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


@dataclass(frozen=True, slots=True)
class _Row:
    """The values of a job that the gauges show."""

    namespace: str
    name: str
    phase: str
    metric: str | None
    score: float | None
    generation: int | None
    population: int | None
    updated: datetime
    completed: datetime
    tpot_failed: bool | None


class Metrics(Collector):
    """Counters, histograms, and the table that gauges are computed from.

    With *job_label*, gauges of one job carry its namespace and name.
    """

    def __init__(self, registry: CollectorRegistry, *, job_label: bool = False) -> None:
        self.registry = registry
        self._job_label = job_label
        self._rows: dict[str, _Row] = {}
        counter, histogram = partial(Counter, registry=registry), partial(Histogram, registry=registry)
        self.duration = histogram(
            "training_duration_seconds",
            "Seconds from start to end of a job that succeeded, by source of its model.",
            ["mode"],
            buckets=_DURATIONS,
        )
        self.fallbacks = counter("tpot_parallel_fallbacks", "Fallbacks from parallel evaluation.", ["reason"])
        self.overruns = counter("training_budget_overruns", "Runs that exceeded their budget.")
        self.evaluations = counter("training_evaluations", "Pipelines evaluated, by outcome.", ["outcome"])
        self.finished = counter("training_jobs_finished", "Jobs ended, by phase.", ["phase"])
        self.reconciles = histogram(
            "trainingjob_reconcile_seconds", "Seconds of one pass.", buckets=_RECONCILES
        )
        self.errors = counter(
            "trainingjob_reconcile_errors", "Passes that failed, by HTTP status.", ["status"]
        )
        self.refusals = counter(
            "trainingjob_reports_refused", "Trainer reports that were rejected.", ["reason"]
        )
        for kind in Rejection:
            self.refusals.labels(reason=kind)
        registry.register(self)

    def seen(self, uid: str, namespace: str, name: str, status: TrainingJobStatus) -> None:
        """Record the status of a resource."""
        progress, resolved, best = status.progress, status.resolved, status.best
        score = (best.score if best else None) or (progress.best_score if progress else None)
        ended = status.phase is not None and status.phase.terminal
        searched = ended and resolved is not None and resolved.automl_enabled
        self._rows[uid] = _Row(
            namespace=namespace,
            name=name,
            phase=status.phase or Phase.PENDING,
            metric=resolved.metric if resolved else None,
            score=float(score) if score is not None else None,
            generation=progress.generation if progress else None,
            population=(progress.population_size if progress else None)
            or (resolved.population_size if resolved else None),
            updated=(progress.updated_at if progress else None) or _EPOCH,
            completed=status.completion_time or _EPOCH,
            tpot_failed=status.model_source is not ModelSource.TPOT if searched else None,
        )

    def gone(self, uid: str) -> None:
        """Drop a resource that was deleted."""
        self._rows.pop(uid, None)

    def changed(self, old: TrainingJobStatus, new: TrainingJobStatus) -> None:
        """Count the change from *old* to *new*; called once the API server has accepted it."""
        for fallback in new_fallbacks(old.fallbacks, new.fallbacks):
            # Falling back to the baseline is a failure of the search, not of its parallelism.
            if fallback.to != "baseline":
                self.fallbacks.labels(reason=fallback.reason).inc()
        for outcome, name in (("ok", "evaluated"), ("failed", "failed"), ("timeout", "timed_out")):
            before = getattr(old.progress, name) if old.progress else 0
            after = getattr(new.progress, name) if new.progress else 0
            self.evaluations.labels(outcome=outcome).inc(max(0, after - before))
        if new.phase is not None and new.phase.terminal and new.phase is not old.phase:
            self._ended(new)

    def _ended(self, status: TrainingJobStatus) -> None:
        self.finished.labels(phase=status.phase).inc()
        start, end = status.start_time, status.completion_time
        if status.phase is Phase.SUCCEEDED and start is not None and end is not None:
            mode = status.model_source or ModelSource.BASELINE
            self.duration.labels(mode=mode).observe(max(0.0, (end - start).total_seconds()))
        budget = status.resolved.time_left_seconds if status.resolved else None
        spent = status.progress.elapsed_seconds if status.progress else 0
        if budget and spent > budget + max(OVERRUN_SECONDS, budget * OVERRUN_FRACTION):
            self.overruns.inc()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Compute the gauges."""
        rows = tuple(self._rows.values())
        where = ("namespace", "job") if self._job_label else ()
        phases = GaugeMetricFamily("trainingjobs", "Jobs that exist, by phase.", labels=["phase"])
        scores = GaugeMetricFamily("training_best_score", "Best score of a job.", labels=["metric", *where])
        generation = GaugeMetricFamily("tp_generation", "Generations finished.", labels=where)
        population = GaugeMetricFamily("tp_population_size", "Pipelines in a generation.", labels=where)
        failures = GaugeMetricFamily(
            "tpot_consecutive_failures",
            "Most recent jobs in a row that asked for AutoML and got no TPOT model.",
        )
        counts: Mapping[str, int] = Tally(row.phase for row in rows)
        for phase in Phase:
            phases.add_metric([phase], counts.get(phase, 0))
        scored = sorted(rows, key=lambda row: max(row.completed, row.updated))
        finished = [
            row for row in scored if row.phase == Phase.SUCCEEDED and row.score is not None and row.metric
        ]
        searching = [row for row in scored if row.phase == Phase.SEARCHING and row.generation is not None]
        for row in self._shown(finished, lambda row: row.metric):
            scores.add_metric([row.metric or "", *self._where(row)], row.score or 0.0)
        for row in self._shown(searching, lambda _: None):
            generation.add_metric(self._where(row), row.generation or 0)
            population.add_metric(self._where(row), row.population or 0)
        by_end = sorted(rows, key=lambda row: row.completed, reverse=True)
        failed = [row.tpot_failed for row in by_end if row.tpot_failed is not None]
        failures.add_metric([], [*failed, False].index(False))
        yield from (phases, scores, generation, population, failures)

    def _where(self, row: _Row) -> list[str]:
        return [row.namespace, row.name] if self._job_label else []

    def _shown(self, rows: list[_Row], key: Callable[[_Row], object]) -> list[_Row]:
        """Return all rows if jobs have labels, else the newest for each key."""
        return rows if self._job_label else list({key(row): row for row in rows}.values())


WATCH_LAG_SECONDS: Final = 60.0
"""Seconds by which the watch may deliver a version later than a list."""
STUCK_SECONDS: Final = 300.0
"""A pass has a bounded number of calls, each with a time-out: one this long hangs."""


class Health:
    """State of the watch, for readiness; *clock* returns monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._delivered: dict[JobKey, str] = {}
        self._awaited: dict[JobKey, float] = {}
        self._last_event = float("-inf")
        self._listed = False

    def delivered(self, key: JobKey, version: str | None) -> None:
        """Record what the watch delivered."""
        self._last_event = self._clock()
        if version is not None:
            self._delivered[key] = version
            self._awaited.pop(key, None)

    def listed(self, versions: dict[JobKey, str]) -> None:
        """Record the versions that a list of all jobs showed: the watch has to deliver them, too."""
        now = self._clock()
        self._listed = True
        self._delivered = {key: version for key, version in self._delivered.items() if key in versions}
        late = [key for key, version in versions.items() if _behind(self._delivered.get(key), version)]
        self._awaited = {key: self._awaited.get(key, now) for key in late}

    def stalled(self) -> bool:
        """Return whether the watch delivers nothing although something has changed."""
        oldest = min(self._awaited.values(), default=None)
        if oldest is None:
            return False
        # The next list makes up for one lost event; a watch that delivers others is alive.
        return self._clock() - oldest > WATCH_LAG_SECONDS and self._last_event < oldest

    @property
    def ready(self) -> bool:
        """Whether jobs have been listed and the watch delivers changes."""
        return self._listed and not self.stalled()


async def serve(
    port: int, health: Health, longest_pass: Callable[[], float], registry: CollectorRegistry
) -> Callable[[], Awaitable[None]]:
    """Start the server on *port*; return a function that stops it, which may be called twice."""

    async def healthz(_: web.Request) -> web.Response:
        stuck = longest_pass() > STUCK_SECONDS
        return web.Response(status=500 if stuck else 200, text="a pass hangs" if stuck else "ok")

    async def readyz(_: web.Request) -> web.Response:
        if health.ready:
            return web.Response(text="ok")
        text = "the watch delivers nothing" if health.stalled() else "jobs have not been listed yet"
        return web.Response(status=503, text=text)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, port=port).start()
    return runner.cleanup


def _behind(delivered: str | None, listed: str) -> bool:
    """Return whether the watch has not delivered *listed* yet; it may be ahead of the list."""
    if delivered is None or not (delivered.isdecimal() and listed.isdecimal()):
        return delivered != listed
    return int(delivered) < int(listed)
