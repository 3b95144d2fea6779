"""``trainingjob pod``: the command of a trainer's container; its log is JSON lines on standard output."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, NoReturn

from trainingjob_trainer.cli.runlog import LateFile, RunLog
from trainingjob_trainer.cli.text import secrets_of
from trainingjob_trainer.cli.view import RunView
from trainingjob_trainer.errors import TrainingError
from trainingjob_trainer.supervisor.pod import EXIT_STOPPED, run_pod

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainingjob_trainer.events import Event

__all__ = ["pod"]


def pod(environment: Mapping[str, str]) -> int:
    """Run the job that the pod's files and environment name; return the exit status."""
    # The first process of a container has no default for SIGTERM: unheard, it costs the whole grace period.
    signal.signal(signal.SIGTERM, _leave)
    view = RunView()
    log = RunLog(view, file=LateFile(lambda: None), console=sys.stdout, secrets=secrets_of(environment))

    def on_event(event: Event) -> None:
        view.take(event)
        log.take(event)

    try:
        return run_pod(environment, on_event=on_event)
    except TrainingError as error:
        log.error("failed", reason=error.reason, message=error.message)  # noqa: TRY400 - a user needs no trace
        return error.exit_code
    finally:
        log.finish()


def _leave(*_: object) -> NoReturn:
    sys.exit(EXIT_STOPPED)
