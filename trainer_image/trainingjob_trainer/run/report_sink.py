"""Turns a run's state into the report that the operator and later attempts read."""

import time
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path

from trainingjob_api import (
    Artifact,
    Digests,
    Failure,
    Reason,
    Report,
    ReportError,
    ResolvedRun,
    Stage,
    dump_report,
    parse_report,
)
from trainingjob_trainer.errors import RunFailed, folder_unusable
from trainingjob_trainer.events import (
    BoardChanged,
    Evaluated,
    Event,
    FellBack,
    Opened,
    Progressed,
    Resumed,
    WaitingForCluster,
)
from trainingjob_trainer.run.state import MESSAGE_CHARS, RunState
from trainingjob_trainer.run.workspace import write_text

__all__ = ["Reporter", "file_sink"]

_SHARED = {field.name for field in fields(RunState)} & set(Report.model_fields)
"""What state and report both have."""
_MOST_WARNINGS = 20
_MOST_FALLBACKS = 8
_OF_THE_ATTEMPT = {"failure", "final"}
_NOT_REPORTED = Opened | Evaluated | Resumed | WaitingForCluster


def file_sink(path: Path) -> Callable[[Report], None]:
    """Return a sink that keeps the newest report in a file."""

    def write(report: Report) -> None:
        try:
            write_text(path, dump_report(report))
        except OSError as error:
            # A later report holds more than this one, unless this is the last one of a model that stands.
            if report.final and report.failure is None:
                raise folder_unusable(path.parent, error) from error

    return write


class Reporter:
    """Folds a run's events into its state and hands reports of it to a sink.

    Parameters
    ----------
    run
        The job.
    uid
        The job's uid.
    attempt, pod_uid
        As in the report.
    sink
        Takes each report; what it raises reaches the caller.
    interval_seconds
        Between two reports that differ only in progress; every transition is reported at once.

    Attributes
    ----------
    state_ : RunState
        The run as it stands.
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
        self._uid = uid
        self._attempt = attempt
        self._pod_uid = pod_uid
        self._spec_digest = run.search_digest()
        self._sink = sink
        self._interval = interval_seconds
        self._written = float("-inf")
        self._sequence = 0
        self.state_ = RunState(resolved=run.summary())

    def take(self, event: Event) -> None:
        """Fold an event into the state, and report it if it is time."""
        if isinstance(event, FellBack):
            numbered = event.fallback.model_copy(update={"attempt": self._attempt})
            event = FellBack(fallback=numbered)
        now = time.monotonic()
        self.state_ = self.state_.after(event, now)
        if isinstance(event, _NOT_REPORTED):
            return
        if not isinstance(event, Progressed | BoardChanged) or now - self._written >= self._interval:
            self.write()

    def restore(self, path: Path) -> None:
        """Continue from the last report of an earlier attempt.

        Raises
        ------
        RunFailed
            If it cannot be read.
        """
        try:
            report = parse_report(path.read_text())
        except (OSError, ReportError) as error:
            raise RunFailed(
                Reason.REPORT_UNREADABLE, f"{path} cannot be read: {error}; start again with --fresh"
            ) from error
        self._sequence = report.sequence
        self._continue_from(report)

    def adopt(self, report: Report) -> None:
        """Continue from the report of the attempt whose result stands in the output."""
        if report.pod_uid != self._pod_uid:
            # Where the last report was lost, that attempt is the last one known.
            self._attempt = max(self._attempt, report.attempt + 1)
        self._continue_from(report)

    def snapshot(self) -> Report:
        """Return the report of a run that is done but for its publication."""
        return self._report(replace(self.state_, stage=Stage.FINISHED, final=True))

    def trouble(self, reason: str, message: str) -> None:
        """Report what holds up a run that has not ended."""
        self.state_ = replace(self.state_, failure=Failure(reason=reason, message=message[:MESSAGE_CHARS]))
        self.write()

    def finish(self, artifacts: tuple[Artifact, ...]) -> None:
        """Report the end of a run whose artifacts stand."""
        self.state_ = replace(
            self.state_, stage=Stage.FINISHED, final=True, artifacts=artifacts, failure=None
        )
        self.write()

    def write(self) -> None:
        """Hand the report to the sink."""
        self._sequence += 1
        self._written = time.monotonic()
        self._sink(self._report(self.state_))

    def _continue_from(self, report: Report) -> None:
        known = {name: getattr(report, name) for name in _SHARED - _OF_THE_ATTEMPT}
        known = {name: value for name, value in known.items() if value is not None}
        digests = report.digests or Digests()
        self.state_ = replace(self.state_, **known, data_digest=digests.data, journal_digest=digests.journal)

    def _report(self, state: RunState) -> Report:
        known = {name: getattr(state, name) for name in _SHARED}
        known["fallbacks"] = state.fallbacks[-_MOST_FALLBACKS:]
        known["warnings"] = tuple(text[:MESSAGE_CHARS] for text in state.warnings[-_MOST_WARNINGS:])
        return Report(
            job_uid=self._uid,
            attempt=self._attempt,
            pod_uid=self._pod_uid,
            sequence=self._sequence,
            written_at=datetime.now(UTC),
            digests=Digests(spec=self._spec_digest, data=state.data_digest, journal=state.journal_digest),
            **known,
        )
