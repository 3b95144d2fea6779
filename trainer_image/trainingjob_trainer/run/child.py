"""Entry point of the child: ``python -m trainingjob_trainer.run.child HOME UID MODE``.

It prints nothing: events go to the pipe whose number is in the environment, everything else to the log.
"""

import contextlib
import faulthandler
import json
import os
import signal
import sys
import threading
import traceback
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainingjob_trainer.run.fallback import ChildContext


def main(arguments: list[str]) -> int:
    """Run one child: load, prepare, train, save; return 0, or the exit code of a failure that is reported.

    `arguments` are the run's folder, its uid and the mode; the history is in a file of the folder.
    """
    # Imports stay inside: worker processes import this module again as their main module.
    from trainingjob_trainer.errors import TrainingError, naming_full_disk  # noqa: PLC0415
    from trainingjob_trainer.events import Failed  # noqa: PLC0415

    context = _context(arguments)
    workspace, clock = context.workspace, context.clock
    try:
        with naming_full_disk(workspace.home):
            # This takes seconds, during which the heartbeat shows that the process lives.
            from trainingjob_trainer.run.session import Session  # noqa: PLC0415

            session = Session(context)
            with session.opened() as trainer:
                trained = session.judged(trainer.prepared, trainer.train())
            session.save(trainer.prepared, trained, trainer.journal)
    except TrainingError as error:
        context.channel.send(Failed(reason=error.reason, message=error.message, exit_code=error.exit_code))
        return error.exit_code
    except Exception as error:
        # A defect, after which the parent tries a simpler way. Its text may hold values of the table.
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}, line {place.lineno}"
        context.warn(f"The search process failed with {type(error).__name__} ({where}).")
        raise
    finally:
        if clock.running:
            with contextlib.suppress(OSError):
                workspace.keep_used_seconds(clock.elapsed)
        context.channel.close()
    return 0


def _context(arguments: list[str]) -> "ChildContext":
    from trainingjob_api import Fallback, ResolvedRun  # noqa: PLC0415
    from trainingjob_trainer.events import EVENT_FD_VARIABLE, Channel  # noqa: PLC0415
    from trainingjob_trainer.run.fallback import ChildContext, Mode  # noqa: PLC0415
    from trainingjob_trainer.run.state import RunState  # noqa: PLC0415
    from trainingjob_trainer.run.workspace import Workspace  # noqa: PLC0415
    from trainingjob_trainer.search.limits import RunClock  # noqa: PLC0415
    from trainingjob_trainer.settings import TrainerSettings  # noqa: PLC0415

    home, uid, mode = arguments
    workspace = Workspace(home=Path(home), uid=uid, resumed=True)
    run = ResolvedRun.model_validate_json(workspace.run_file.read_text())
    budget = run.budget.time_left_seconds
    # An earlier attempt's overrun is not this one's.
    clock = RunClock(budget, used_before=min(workspace.used_seconds(), budget))
    channel = Channel(
        int(os.environ[EVENT_FD_VARIABLE]),
        clock=lambda: (clock.elapsed, clock.running),
        on_beat=workspace.keep_used_seconds,
    )
    earlier: dict[str, Any] = json.loads(workspace.history_file.read_text())
    return ChildContext(
        run=run,
        settings=TrainerSettings.from_environment(os.environ),
        workspace=workspace,
        channel=channel,
        clock=clock,
        mode=Mode(mode),
        stop=_stop_on_signal(),
        started_at=datetime.fromisoformat(earlier["startedAt"]),
        environment=os.environ,
        state=RunState(
            fallbacks=tuple(Fallback.model_validate(entry) for entry in earlier["fallbacks"]),
            warnings=tuple(earlier["warnings"]),
        ),
    )


def _stop_on_signal() -> threading.Event:
    stop = threading.Event()

    def note(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, note)
    signal.signal(signal.SIGINT, note)
    return stop


if __name__ == "__main__":
    faulthandler.enable()
    sys.exit(main(sys.argv[1:]))
