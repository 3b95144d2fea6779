"""Turns a run's events into the report that a reader of the contract sees."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trainingjob_api import (
    Artifact,
    Backend,
    Digests,
    Fallback,
    ParallelMode,
    Reason,
    Report,
    ReportError,
    ResolvedRun,
    Severity,
    Stage,
    dump_report,
    parse_report,
)
from trainingjob_api import Failure as ReportedFailure
from trainingjob_api.report import MAX_FINDINGS
from trainingjob_trainer.errors import RunFailed, folder_unusable
from trainingjob_trainer.events import (
    BackendReady,
    BaselineReady,
    BoardChanged,
    DataReady,
    Event,
    Failed,
    FellBack,
    ModelReady,
    Progressed,
    Saved,
    StageChanged,
    Warned,
)

__all__ = ["Reporter", "file_sink"]

_MOST_WARNINGS = 20
_MOST_FALLBACKS = 8
_MESSAGE_CHARS = 1000
_OWN = frozenset(
    {"job_uid", "attempt", "pod_uid", "sequence", "written_at", "schema_version", "failure", "final"}
)


def file_sink(path: Path) -> Callable[[Report], None]:
    """Return a sink that keeps the newest report in a file."""

    def write(report: Report) -> None:
        partial = path.with_name(path.name + ".tmp")
        try:
            partial.write_text(dump_report(report))
            partial.replace(path)
        except OSError as error:
            # A later report holds more than this one, unless this is the last one of a model that stands.
            if report.final and report.failure is None:
                raise folder_unusable(path.parent, error) from error

    return write


class Reporter:
    """Keeps the report of a run and hands it to a sink.

    Parameters
    ----------
    run
        The job.
    uid
        The job's uid.
    attempt, pod_uid
        As in the report.
    sink
        Takes each report; what it raises is the caller's.
    interval_seconds
        Between two reports that differ only in progress; every transition is reported at once.

    Attributes
    ----------
    state_ : dict
        The report's fields as they stand.
    stopped_by_ : str
        What ended the search.
    """

    def __init__(
        self,
        run: ResolvedRun,
        *,
        uid: str,
        attempt: int,
        pod_uid: str | None,
        sink: Callable[[Report], None],
        interval_seconds: float,
    ) -> None:
        self._sink = sink
        self._interval = interval_seconds
        self._wants_dask = run.parallel_mode is ParallelMode.DISTRIBUTED
        self._written = float("-inf")
        self._sequence = 0
        self.stopped_by_ = ""
        self.state_: dict[str, Any] = {
            "job_uid": uid,
            "attempt": attempt,
            "pod_uid": pod_uid,
            "resolved": run.summary(),
            "findings": (),
            "warnings": (),
            "fallbacks": (),
            "digests": Digests(spec=run.search_digest()),
        }

    def take(self, event: Event) -> None:
        """Put an event into the report, and write it if it is time."""
        changed = self._changes(event)
        if changed is None:
            return
        self.state_.update(changed)
        quiet = isinstance(event, Progressed | BoardChanged)
        if not quiet or time.monotonic() - self._written >= self._interval:
            self.write()

    def restore(self, path: Path) -> None:
        """Take up the last report of an earlier attempt.

        Raises
        ------
        RunFailed
            If it cannot be read.
        """
        try:
            report = parse_report(path.read_text())
        except (OSError, ReportError) as error:
            raise RunFailed(
                Reason.REPORT_UNREADABLE, f"{path} cannot be read: {error}; start anew with --fresh"
            ) from error
        self._sequence = report.sequence
        self._take_up(report)

    def adopt(self, report: Report) -> None:
        """Take up the report of the attempt whose result stands in the output."""
        if report.pod_uid != self.state_["pod_uid"]:
            # Where the last report was lost, that attempt is the last one known.
            self.state_["attempt"] = max(self.state_["attempt"], report.attempt + 1)
        self._take_up(report)

    def snapshot(self) -> Report:
        """Return the report of a run that is done but for its publication."""
        fields = {name: value for name, value in self.state_.items() if value is not None}
        done = {"stage": Stage.FINISHED, "final": True, "written_at": datetime.now(UTC)}
        return Report(sequence=self._sequence, **{**fields, **done})

    def _take_up(self, report: Report) -> None:
        self.state_.update({name: value for name, value in report if name not in _OWN and value is not None})

    def trouble(self, reason: Reason, message: str) -> None:
        """Report what holds a run up that has not ended."""
        self.state_["failure"] = ReportedFailure(reason=reason, message=message[:_MESSAGE_CHARS])
        self.write()

    def finish(self, artifacts: tuple[Artifact, ...]) -> None:
        """Report the end of a run whose artifacts stand."""
        self.state_.update(stage=Stage.FINISHED, final=True, artifacts=artifacts, failure=None)
        self.write()

    def write(self) -> None:
        """Hand the report to the sink."""
        self._sequence += 1
        self._written = time.monotonic()
        fields = {name: value for name, value in self.state_.items() if value is not None}
        self._sink(Report(sequence=self._sequence, written_at=datetime.now(UTC), **fields))

    def _changes(self, event: Event) -> dict[str, Any] | None:
        match event:
            case StageChanged(stage=stage):
                return {"stage": stage}
            case DataReady(resolved=resolved, data_digest=digest, findings=findings):
                digests = self.state_["digests"].model_copy(update={"data": digest})
                # A second child finds the same again.
                ordered = sorted(findings, key=lambda one: one.severity is not Severity.WARNING)
                return {"resolved": resolved, "digests": digests, "findings": tuple(ordered[:MAX_FINDINGS])}
            case BackendReady(backend=backend):
                ready = {"dask_ready": backend is Backend.DASK} if self._wants_dask else {}
                return {"backend": backend, **ready}
            case Progressed(progress=progress):
                return {"progress": progress}
            case BoardChanged(best=best, leaderboard=board, pareto_front=front):
                return {"best": best, "leaderboard": board, "pareto_front": front}
            case ModelReady(model_source=source, best=best, stopped_by=stopped_by):
                self.stopped_by_ = stopped_by
                return {"model_source": source, "best": best}
            case FellBack(fallback=fallback):
                ready = {"dask_ready": False} if fallback.from_ == "dask" else {}
                return {"fallbacks": self._with_fallback(fallback), **ready}
            case Warned(message=message):
                return {"warnings": (*self.state_["warnings"], message[:_MESSAGE_CHARS])[-_MOST_WARNINGS:]}
            case Saved(journal_digest=digest):
                return {"digests": self.state_["digests"].model_copy(update={"journal": digest})}
            case Failed(reason=reason, message=message, exit_code=code):
                failure = ReportedFailure(reason=reason, message=message[:_MESSAGE_CHARS], exit_code=code)
                return {"failure": failure, "final": True}
            case BaselineReady():
                return {}
            case _:
                return None

    def _with_fallback(self, fallback: Fallback) -> tuple[Fallback, ...]:
        known: tuple[Fallback, ...] = self.state_["fallbacks"]
        numbered = fallback.model_copy(update={"attempt": self.state_["attempt"]})
        return (*known, numbered)[-_MOST_FALLBACKS:]
