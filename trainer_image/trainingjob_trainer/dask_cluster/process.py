"""What the processes of scheduler and worker have in common: signals that end them, and files."""

import asyncio
import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["StopSignal", "replace_file", "stop_signals"]

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopSignal(asyncio.Event):
    """Set by the first signal; each further one sets `again`: its sender does not want to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.name = ""
        self.again = asyncio.Event()

    def take(self, number: signal.Signals) -> None:
        """Note a signal."""
        if self.is_set():
            self.again.set()
        self.name = number.name
        self.set()


@contextmanager
def stop_signals() -> Iterator[StopSignal]:
    """Turn SIGTERM and SIGINT into an event of the running loop."""
    loop = asyncio.get_running_loop()
    stop = StopSignal()
    for number in _SIGNALS:
        loop.add_signal_handler(number, stop.take, number)
    try:
        yield stop
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


def replace_file(path: Path, content: bytes, mode: int) -> None:
    """Write a file atomically, as a new one: neither the mode nor the link of an old file is kept."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
