"""The signals that end a process, as something to wait for."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["StopSignal", "stop_signals"]

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopSignal(asyncio.Event):
    """Set by the first signal; each further one sets `again`.

    Attributes
    ----------
    name : str
        Of the signal.
    again : asyncio.Event
        Whoever sent it twice does not want to wait.
    """

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
