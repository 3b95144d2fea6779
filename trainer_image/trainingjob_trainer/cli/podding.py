"""``trainingjob pod``: the command of a trainer's container; its log is JSON lines on standard output."""

from __future__ import annotations

import logging
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from trainingjob_api import Reason
from trainingjob_trainer.cli.pod_log import CauseFile, FollowedFile, open_log, pod_secrets
from trainingjob_trainer.cli.runlog import RunLog
from trainingjob_trainer.cli.text import plain, redact
from trainingjob_trainer.cli.trouble import explain
from trainingjob_trainer.cli.view import RunView
from trainingjob_trainer.events import Opened
from trainingjob_trainer.run.pod import EXIT_STOPPED, run_pod

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainingjob_trainer.events import Event

__all__ = ["pod"]

_STOPPED = "asked to stop, the work is saved"

_log = logging.getLogger(__name__)


def pod(environment: Mapping[str, str], *, cause_file: CauseFile | None = None) -> int:
    """Run the job that the pod's files and environment name; return the exit status.

    Parameters
    ----------
    environment
        The pod's.
    cause_file
        Takes the cause of a failure; by default where the kubelet reads it.
    """
    about = {"job": f"{environment.get('POD_NAMESPACE', '')}/{environment.get('TRAININGJOB_JOB_NAME', '')}"}
    about["uid"] = environment.get("TRAININGJOB_JOB_UID", "")
    with open_log(sys.stdout, about, lambda: pod_secrets(environment)):
        return _Pod(environment, about, cause_file or CauseFile()).run()


class _Pod:
    """A run, and the cause of its failure: first in the kubelet's file, last in the log."""

    def __init__(self, environment: Mapping[str, str], about: dict[str, Any], cause_file: CauseFile) -> None:
        self._environment = environment
        self._about = about
        self._cause_file = cause_file
        self._view = RunView()
        self._run_log = RunLog(self._view, _log)
        self._child = FollowedFile("trainingjob_trainer.child")
        self._cause: tuple[str, dict[str, Any]] | None = None

    def run(self) -> int:
        """Return the exit status."""
        # A container's first process has no default for SIGTERM: unheard, it costs the whole grace period.
        signal.signal(signal.SIGTERM, _leave)
        try:
            status = run_pod(
                self._environment,
                on_event=self._hear,
                on_attempt=lambda number: self._about.update(attempt=number),
                on_failure=self._fail,
            )
            if status == EXIT_STOPPED:
                self._stop()
        except SystemExit:
            self._stop()
            status = EXIT_STOPPED
        except Exception as error:  # noqa: BLE001  # its end belongs into the log like everything else
            self._fail(error)
            status = explain(error).exit_code
        self._child.stop()
        self._run_log.finish()
        if self._cause is not None:
            event, fields = self._cause
            _log.error(event, **fields)
        return status

    def _hear(self, event: Event) -> None:
        if isinstance(event, Opened):
            self._child.start(Path(event.log))
        self._view.take(event)
        self._run_log.take(event)

    def _fail(self, error: Exception) -> None:
        trouble = explain(error)
        unexpected = trouble.reason == Reason.UNEXPECTED_ERROR
        reason, message = trouble.reason, plain(trouble.message)
        fields = {"reason": reason, "message": message}
        self._cause = "failed", {"extra": {"fields": fields}, "exc_info": error if unexpected else None}
        self._tell(f"{reason}: {message}")

    def _stop(self) -> None:
        self._cause = _STOPPED, {}
        self._tell(_STOPPED)

    def _tell(self, text: str) -> None:
        self._cause_file.write(redact(text, pod_secrets(self._environment)))


def _leave(*_: object) -> NoReturn:
    sys.exit(EXIT_STOPPED)
