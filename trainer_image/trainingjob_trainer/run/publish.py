"""Publishing of a run: its reports, and its artifacts unless a better result is published."""

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from trainingjob_api import (
    Artifact,
    Digests,
    Failure,
    ModelSource,
    Reason,
    Report,
    ReportError,
    ResolvedRun,
    Stage,
    dump_report,
    judge,
    parse_report,
)
from trainingjob_certificates import ReportKey, is_signed
from trainingjob_trainer.errors import MAY_COME, RunFailed, SpecInvalid, TrainingError, folder_unusable
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
from trainingjob_trainer.run.state import MESSAGE_CHARS, Interrupted, RunResult, RunState
from trainingjob_trainer.run.workspace import Workspace
from trainingjob_trainer.storage import MANIFEST, Manifest, Output, write_text

REPORT = "report.json"
"""The report among the artifacts; a later attempt ends with it."""

SIGNATURE = "report.sig"
"""The signature of a published result. Others may write to the output, so a later attempt requires it."""

REFUSAL_SECONDS = 180.0
"""The kubelet takes up to 90 s to replace the files of a Secret that was rotated."""
_PAUSE_SECONDS = 3.0
_SHARED = {field.name for field in fields(RunState)} & set(Report.model_fields)
"""Fields that state and report share."""
_MOST_WARNINGS = 20
_MOST_FALLBACKS = 8
_OF_THE_ATTEMPT = {"failure", "final"}
_NOT_REPORTED = Opened | Evaluated | Resumed | WaitingForCluster

T = TypeVar("T")


def file_sink(path: Path) -> Callable[[Report], None]:
    """Return a sink that keeps the newest report in a file."""

    def write(report: Report) -> None:
        try:
            write_text(path, dump_report(report))
        except OSError as error:
            # A later report holds more than this one, unless this is the last one of a published model.
            if report.final and report.failure is None:
                raise folder_unusable(path.parent, error) from error

    return write


@dataclass(slots=True, kw_only=True, eq=False)
class Reporter:
    """Folds a run's events into its state and hands reports of it to a sink.

    Parameters
    ----------
    sink
        Takes each report; what it raises reaches the caller.
    interval_seconds
        Between two reports that differ only in progress; every transition is reported at once.
    """

    run: ResolvedRun
    uid: str
    attempt: int
    pod_uid: str | None
    sink: Callable[[Report], None]
    interval_seconds: float
    state_: RunState = field(init=False)
    _written: float = field(default=float("-inf"), init=False)
    _sequence: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.state_ = RunState(resolved=self.run.summary())

    def take(self, event: Event) -> None:
        """Fold an event into the state, and report it if it is time."""
        if isinstance(event, FellBack):
            numbered = event.fallback.model_copy(update={"attempt": self.attempt})
            event = FellBack(fallback=numbered)
        now = time.monotonic()
        self.state_ = self.state_.after(event, now)
        if isinstance(event, _NOT_REPORTED):
            return
        if not isinstance(event, Progressed | BoardChanged) or now - self._written >= self.interval_seconds:
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
        """Continue from the report of the attempt whose result is in the output."""
        if report.pod_uid != self.pod_uid:
            # Where the last report was lost, that attempt is the last one known.
            self.attempt = max(self.attempt, report.attempt + 1)
        self._continue_from(report)

    def snapshot(self) -> Report:
        """Return the report of a run that is done but for its publication."""
        return self._report(replace(self.state_, stage=Stage.FINISHED, final=True))

    def trouble(self, reason: str, message: str) -> None:
        """Report what holds up a run that has not ended."""
        self.state_ = replace(self.state_, failure=Failure(reason=reason, message=message[:MESSAGE_CHARS]))
        self.write()

    def finish(self, artifacts: tuple[Artifact, ...]) -> None:
        """Report the end of a run with saved artifacts."""
        self.state_ = replace(
            self.state_, stage=Stage.FINISHED, final=True, artifacts=artifacts, failure=None
        )
        self.write()

    def write(self) -> None:
        """Hand the report to the sink."""
        self._sequence += 1
        self._written = time.monotonic()
        self.sink(self._report(self.state_))

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
            job_uid=self.uid,
            attempt=self.attempt,
            pod_uid=self.pod_uid,
            sequence=self._sequence,
            written_at=datetime.now(UTC),
            digests=Digests(
                spec=self.run.search_digest(), data=state.data_digest, journal=state.journal_digest
            ),
            **known,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """The complete published result of an attempt: its report and its artifacts."""

    report: Report
    artifacts: tuple[Artifact, ...]


def find_published(
    output: Output, run: ResolvedRun, uid8: str, key: ReportKey | None = None
) -> Published | None:
    """Return the verified result of an earlier attempt of the same job, or None if there is none.

    In a cluster, a result that the run has not signed with `key` is none.

    Raises
    ------
    TrainingError
        If the output does not answer or refuses.
    """
    try:
        artifacts = tuple(output.verify(run.name, uid8))
        texts = {
            artifact.name: output.read(run.name, uid8, artifact).decode()
            for artifact in artifacts
            if artifact.name in {REPORT, SIGNATURE}
        }
        report = parse_report(texts[REPORT]) if REPORT in texts else None
    except RunFailed as failure:
        if failure.reason == Reason.STORAGE_UNREACHABLE:
            raise
        return None
    except (ReportError, UnicodeDecodeError):
        return None
    if report is None or report.digests is None or report.best is None or report.model_source is None:
        return None
    if key is not None:
        digests = {artifact.name: artifact.sha256 for artifact in artifacts}
        if not is_signed(key.public, _signed(texts[REPORT], digests), texts.get(SIGNATURE, "")):
            return None
    same = report.job_uid == run.uid and report.digests.spec == run.search_digest()
    return Published(report=report, artifacts=artifacts) if same else None


def _signed(report: str, digests: Mapping[str, str]) -> str:
    """Return the text that a run signs: its report, and the digests of all other published files.

    The first line is not JSON, so that the signature never fits a report in the ConfigMap.
    """
    own = {REPORT, SIGNATURE, MANIFEST}
    lines = (f"{name} {digest}" for name, digest in sorted(digests.items()) if name not in own)
    return "\n".join(("published", *lines, report))


def is_better(new: RunState, old: Report) -> bool:
    """Return whether a result is to replace the published one of the same job.

    A model beats a baseline. Scores count where they were measured on the same rows and in the same metric;
    otherwise what is published stays, since it may be in use.
    """
    best, known, digests = new.best, old.best, old.digests
    if best is None or known is None or digests is None or new.data_digest != digests.data:
        return True
    if new.model_source != old.model_source:
        return new.model_source is ModelSource.TPOT
    if old.resolved is None or new.metric != old.resolved.metric:
        return False
    if (best.train_rows, best.test_rows) == (known.train_rows, known.test_rows):
        return _greater(best.score, known.score)
    if best.holdout_rows == known.holdout_rows:
        return _greater(best.holdout_score, known.holdout_score)
    return False


def _greater(new: str | None, old: str | None) -> bool:
    return new is not None and (old is None or float(new) > float(old))


def insist(
    action: Callable[[], T],
    *,
    patience_seconds: float,
    on_trouble: Callable[[Reason, str], None] = lambda _reason, _message: None,
    interrupted: Callable[[], bool],
) -> T:
    """Return the result of `action`, retried for `patience_seconds` while the storage fails.

    A refusal may pass too, since rotated keys are read again for each request; it is tried for 180 s at most.

    Parameters
    ----------
    on_trouble
        Called with the reason and the message of each failure that is tried again.
    interrupted
        Whether a signal asks to stop.

    Raises
    ------
    TrainingError
        If the output has failed all that time.
    Interrupted
        If a signal came.
    """
    begun = time.monotonic()
    while True:
        try:
            return action()
        except TrainingError as failure:
            if isinstance(failure, SpecInvalid) and failure.reason not in MAY_COME:
                raise
            if interrupted():
                raise Interrupted(
                    Reason.INTERRUPTED, f"a signal ended the upload; {failure.message}"
                ) from failure
            refused = isinstance(failure, SpecInvalid)
            patience = min(patience_seconds, REFUSAL_SECONDS) if refused else patience_seconds
            if time.monotonic() - begun >= patience:
                raise
            on_trouble(failure.reason, failure.message)
            time.sleep(_PAUSE_SECONDS)


def keep_report(workspace: Workspace, report: Report, key: ReportKey | None = None) -> None:
    """Put the report among the artifacts, signed, and once: a repeated upload sends the same bytes."""
    path = workspace.artifacts / REPORT
    if path.exists():
        return
    # The model counts for more than a later attempt's way out.
    with contextlib.suppress(ReportError):
        text = dump_report(report)
        if key is not None:
            files = Manifest.of_folder(workspace.artifacts, report.job_uid, workspace.uid8).entries
            digests = {entry.name: entry.sha256 for entry in files}
            write_text(workspace.artifacts / SIGNATURE, key.sign(_signed(text, digests)))
        write_text(path, text)


def upload(
    output: Output, workspace: Workspace, run: ResolvedRun, reporter: Reporter, key: ReportKey | None = None
) -> tuple[Artifact, ...]:
    """Publish what is saved, unless an attempt of the same job has published a result as good or better.

    Returns the published result; the reporter has its report.

    Raises
    ------
    TrainingError
        If the output does not take it.
    """
    there = find_published(output, run, workspace.uid8, key)
    if there is None or is_better(reporter.state_, there.report):
        return tuple(output.publish(workspace.artifacts, run.name, workspace.uid8))
    reporter.adopt(there.report)
    return there.artifacts


def result_of(run: ResolvedRun, workspace: Workspace, state: RunState) -> RunResult:
    """Return the result of a published run."""
    if state.best is None or state.model_source is None:
        raise AssertionError("a run without a model is never published")
    verdict = judge(run.acceptance, state.best)
    known = {field.name: getattr(state, field.name) for field in fields(state)}
    return RunResult(
        **known,
        location=state.artifacts[-1].uri.rsplit("/", 1)[0],
        home=workspace.home,
        elapsed_seconds=workspace.used_seconds(),
        resumed=workspace.resumed,
        accepted=verdict.accepted,
        acceptance_message="" if verdict.accepted is None else verdict.message,
    )
