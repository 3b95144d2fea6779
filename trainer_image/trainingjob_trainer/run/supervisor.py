"""The parent: it supervises children until there is a model, publishes it and reports.

A child that crashes, hangs or overruns is followed by another one on the same journal and clock, a rung
further down the ladder each time; so the number of children is bounded.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import unquote

from trainingjob_api import Artifact, Reason, Report, ResolvedRun, Stage
from trainingjob_trainer.errors import (
    RunFailed,
    SpecInvalid,
    TrainingError,
    naming_full_disk,
    once_begun,
)
from trainingjob_trainer.events import Event, Failed, Heartbeat, Opened, StageChanged, Warned
from trainingjob_trainer.run.fallback import INLINE, Mode, clock_limit, first_ladder, rungs_left, step_down
from trainingjob_trainer.run.publish import (
    Reporter,
    file_sink,
    find_published,
    insist,
    keep_report,
    result_of,
    upload,
)
from trainingjob_trainer.run.state import Interrupted, Listener, RunOptions, RunResult
from trainingjob_trainer.run.watch import ChildEnd, ClusterGuard, Ended, Patience, watch_child
from trainingjob_trainer.run.workspace import Mirror, Workspace, open_workspace, write_json
from trainingjob_trainer.settings import TrainerSettings
from trainingjob_trainer.storage import Output, open_output

_FILE = "file://"
_ACCEPTED = "Attempt {number} has already published its result; it is kept and not trained again."
_STOPPING = "stopping: the best model so far is saved; another signal ends the run at once"


def run_root(run: ResolvedRun, options: RunOptions) -> Path:
    """Return where a run's folder is: in the output if that is a folder here, else in the work folder."""
    uri = run.output.uri
    if uri.startswith(_FILE):
        return Path(unquote(uri.removeprefix(_FILE)))
    return Path(uri) if "://" not in uri else options.work_dir


def supervise(
    run: ResolvedRun,
    options: RunOptions,
    settings: TrainerSettings,
    on_event: Listener,
    *,
    sink: Callable[[Report], None] | None = None,
    patience: Patience | None = None,
    start: Callable[..., ChildEnd] = watch_child,
) -> RunResult:
    """Run a job to its end.

    An unfinished run of the same job is continued: with the evaluations of its journal and what is left of
    its budget, or, where all artifacts were written, with publishing alone. The first SIGINT or SIGTERM
    saves the best model so far, the second one stops at once.

    Parameters
    ----------
    on_event
        Called with each event and the state after it.
    sink
        Takes each report; by default it goes to a file in the run's folder.
    start
        Runs one child to its end, as `watch_child` does.

    Raises
    ------
    TrainingError
        With the reason; ``exit_code`` shows whether the user must act.
    """
    output = open_output(
        run.output.uri,
        endpoint=run.output.endpoint,
        credentials_dir=settings.output_credentials_dir,
        settings=settings,
    )
    begun = options.attempt > 1
    try:
        insist(
            output.check,
            patience_seconds=options.refusal_patience_seconds if begun else 0.0,
            interrupted=lambda: False,
        )
    except TrainingError as error:
        if begun:
            raise once_begun(error) from error
        raise
    root = run_root(run, options)
    with naming_full_disk(root):
        workspace = open_workspace(root, run, fresh=options.fresh)
    with naming_full_disk(workspace.home), workspace.locked():
        supervision = _Supervision(
            run=run,
            options=options,
            workspace=workspace,
            output=output,
            listener=on_event,
            sink=sink or file_sink(workspace.report_file),
            patience=patience or Patience(),
            start=start,
        )
        with supervision.ended_properly():
            if (done := supervision.accept()) is not None:
                return done
            if workspace.saved:
                supervision.reporter.restore(workspace.report_file)
            else:
                supervision.train()
            return supervision.publish()


@dataclass(slots=True, kw_only=True)
class _Supervision:
    run: ResolvedRun
    options: RunOptions
    workspace: Workspace
    output: Output
    listener: Listener
    sink: Callable[[Report], None]
    patience: Patience
    start: Callable[..., ChildEnd]
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    child: int | None = None
    interrupts: int = 0
    answered: bool = False
    reporter: Reporter = field(init=False)
    guard: ClusterGuard = field(init=False)
    mirror: Mirror | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.reporter = Reporter(
            run=self.run,
            uid=self.workspace.uid,
            attempt=self.options.attempt,
            pod_uid=self.options.pod_uid,
            sink=self.sink,
            interval_seconds=self.options.report_seconds,
        )
        self.guard = ClusterGuard(self.options.environment or os.environ)
        if self.run.uid is not None:  # it may be continued on another machine
            store = self.output.state(self.run.name, self.workspace.uid8)
            self.mirror = Mirror(store, self.workspace, self.warn)

    @contextmanager
    def ended_properly(self) -> Iterator[None]:
        """Report how the run begins and why it ends early; answer signals until then."""
        workspace = self.workspace
        self.emit(
            Opened(home=workspace.home, log=workspace.log_file, uid=workspace.uid, resumed=workspace.resumed)
        )
        try:
            with self.signals():
                yield
        except Interrupted:
            if self.mirror is not None:
                self.mirror.flush()
            raise
        except TrainingError as error:
            failure = once_begun(error) if self.begun else error
            if self.mirror is not None:
                self.mirror.flush()
            self.emit(Failed(reason=failure.reason, message=failure.message, exit_code=failure.exit_code))
            # A log that the message names stays.
            kept = workspace.journal.exists() or str(workspace.log_file) in failure.message
            if not workspace.saved and (isinstance(failure, SpecInvalid) or not kept):
                workspace.abandon()
            raise failure from error

    def emit(self, event: Event) -> None:
        """Put an event into the report and pass it on."""
        self.reporter.take(event)
        self.listener(event, self.reporter.state_)

    def warn(self, message: str) -> None:
        """Warn the user."""
        self.emit(Warned(message=message))

    @property
    def begun(self) -> bool:
        """Whether anything has been computed that another attempt can resume."""
        return self.options.attempt > 1 or self.workspace.saved or self.workspace.journal.exists()

    def accept(self) -> RunResult | None:
        """Return the result that an earlier attempt of the same job has published whole, or None.

        That attempt ended before its report arrived; training again could only make the result worse.
        """
        if self.run.uid is None:
            return None
        there = find_published(self.output, self.run, self.workspace.uid8, self.options.report_key)
        if there is None:
            return None
        self.reporter.adopt(there.report)
        self.warn(_ACCEPTED.format(number=there.report.attempt))
        return self.end(there.artifacts)

    def train(self) -> None:
        """Start children, down the ladder, until one has saved a model.

        Raises
        ------
        TrainingError
            If none has.
        """
        if self.mirror is not None:
            self.mirror.fetch()
        ladder = first_ladder(self.run)
        end: ChildEnd | None = None
        while ladder and not self.interrupts:
            mode, *ladder = ladder
            if end is not None:
                left = any(fallback.from_ == "dask" for fallback in self.reporter.state_.fallbacks)
                self.emit(step_down(self.run, mode, end, log=self.workspace.log_file, left_dask=left))
            try:
                end = self.start(**self._start_arguments(mode))
            finally:
                self.guard.close()
                self.child = None
            if end.ended is Ended.SAVED:
                return
            if end.failure is not None:
                raise _as_error(end.failure)
            ladder = rungs_left(self.run, ladder, end, used_seconds=self.workspace.used_seconds())
        if self.interrupts:
            raise Interrupted(Reason.INTERRUPTED, "a signal ended the run; the same command continues it")
        message = "" if end is None else f"{end.message} (log: {self.workspace.log_file}); "
        starved = end is not None and end.ended is Ended.OUT_OF_MEMORY
        raise RunFailed(Reason.OUT_OF_MEMORY if starved else Reason.NO_MODEL, f"{message}no model was saved")

    def publish(self) -> RunResult:
        """Publish what a child has saved.

        Raises
        ------
        TrainingError
            If the output does not take it; the artifacts are kept and the next run only publishes.
        """
        self.emit(StageChanged(stage=Stage.UPLOADING))
        keep_report(self.workspace, self.reporter.snapshot(), self.options.report_key)
        artifacts = insist(
            lambda: upload(self.output, self.workspace, self.run, self.reporter, self.options.report_key),
            patience_seconds=self.options.upload_patience_seconds,
            on_trouble=self.reporter.trouble,
            interrupted=lambda: self.interrupts > 0,
        )
        return self.end(artifacts)

    def end(self, artifacts: tuple[Artifact, ...]) -> RunResult:
        """Report the published artifacts and clean up."""
        self.reporter.finish(artifacts)
        self.workspace.set_state("finished", self.run)
        self.workspace.clean()
        if self.mirror is not None:
            self.mirror.drop()
        return result_of(self.run, self.workspace, self.reporter.state_)

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Save the best model so far on the first SIGINT or SIGTERM, and end the run on the second."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {
            number: signal.signal(number, self._interrupt) for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        self.interrupts += 1
        self._pass_on_interrupt()

    def _pass_on_interrupt(self) -> None:
        if self.child is not None:
            with contextlib.suppress(ProcessLookupError):
                if self.interrupts == 1 and self.options.save_on_signal:
                    os.kill(self.child, signal.SIGTERM)
                else:
                    os.killpg(self.child, signal.SIGKILL)

    def _hear(self, event: Event) -> None:
        """Take an event of the child; a signal is answered here, since its handler may interrupt anything."""
        if self.interrupts and self.options.save_on_signal and not self.answered:
            self.answered = True
            self.warn(_STOPPING)
        if self.mirror is not None:
            self.mirror.push()
        if not isinstance(event, Heartbeat | Failed):  # reported when the run ends
            self.guard.hear(event)
            self.emit(event)

    def _start_arguments(self, mode: Mode) -> dict[str, Any]:
        """Write what the next child has to know, and return the arguments that start it."""
        state = self.reporter.state_
        history = {
            "startedAt": self.started_at.isoformat(),
            "fallbacks": [fallback.model_dump(mode="json", by_alias=True) for fallback in state.fallbacks],
            "warnings": list(state.warnings),
        }
        write_json(self.workspace.history_file, history)
        return {
            "arguments": [str(self.workspace.home), self.workspace.uid, mode.value],
            "environment": self.options.environment or os.environ,
            "log": self.workspace.log_file,
            "limit_seconds": clock_limit(self.run, mode, self.workspace.used_seconds()),
            "inline": mode in INLINE,
            "patience": self.patience,
            "on_event": self._hear,
            "on_start": self._note_child,
            "stranded": self.guard.complaint,
        }

    def _note_child(self, pid: int) -> None:
        self.child = pid
        if self.interrupts:  # it came before the child was known
            self._pass_on_interrupt()


def _as_error(failure: Failed) -> TrainingError:
    if failure.exit_code == SpecInvalid.exit_code:
        return SpecInvalid(failure.reason, failure.message)
    return RunFailed(failure.reason, failure.message)
