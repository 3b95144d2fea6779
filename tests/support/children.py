"""Child processes with a chosen behaviour: ``python -m support.children BEHAVIOUR [SCHEDULER]``."""

import os
import signal
import sys
import time

from trainingjob_api import Backend, Stage
from trainingjob_trainer.events import (
    EVENT_FD_VARIABLE,
    BackendReady,
    Event,
    Failed,
    Heartbeat,
    Saved,
    StageChanged,
    Warned,
    encode_event,
)


def send(event: Event) -> None:
    os.write(int(os.environ[EVENT_FD_VARIABLE]), encode_event(event))


def beats(seconds: float, *, moving: bool, elapsed: float = 0.0) -> None:
    """Send heartbeats."""
    end = time.monotonic() + seconds
    beat = 0
    while time.monotonic() < end:
        beat += moving
        send(Heartbeat(beat=beat, elapsed_seconds=elapsed, clock_running=True))
        time.sleep(0.05)


def behave(behaviour: str) -> int:
    """Behave; return the exit status."""
    send(StageChanged(stage=Stage.SEARCHING))
    match behaviour:
        case "save":
            beats(0.2, moving=True, elapsed=3.5)
            send(Saved(journal_digest="ab"))
        case "fail":
            send(Failed(reason="TargetColumnMissing", message="there is no column 'y'", exit_code=2))
            return 2
        case "crash" | "killed":
            os.kill(os.getpid(), signal.SIGSEGV if behaviour == "crash" else signal.SIGKILL)
        case "leave":
            return 3
        case "silent":
            time.sleep(60)
        case "still":
            beats(60, moving=False)
        case "stuck":
            send(BackendReady(backend=Backend.DASK, workers=2, scheduler=sys.argv[2]))
            beats(60, moving=False)
        case "overrun":
            beats(60, moving=True, elapsed=1000.0)
        case "linger":
            if os.fork() == 0:
                time.sleep(600)
            send(Saved())
            os._exit(0)
        case "garbage":
            os.write(int(os.environ[EVENT_FD_VARIABLE]), b'{"kind": "surprise"}\n')
            time.sleep(60)
        case "signal":
            signal.signal(signal.SIGTERM, lambda *_: None)
            send(Warned(message="ready"))
            signal.pause()
            send(Saved())
    return 0


if __name__ == "__main__":
    sys.exit(behave(sys.argv[1]))
