"""The child's end of the pipe to its parent."""

import contextlib
import os
import threading
import time
from collections.abc import Callable

from trainingjob_trainer.events import Event, Heartbeat, encode_event

__all__ = ["EVENT_FD_VARIABLE", "Channel"]

EVENT_FD_VARIABLE = "TRAININGJOB_EVENT_FD"
_BEAT_SECONDS = 1.0


class Channel:
    """Sends events as lines of JSON, and a heartbeat every second from a thread of its own.

    If the parent is gone, the process ends at once: nobody would take its result.

    Parameters
    ----------
    descriptor
        The pipe's file descriptor.
    clock
        Returns the seconds used and whether the run's clock is running.
    on_beat
        Called with the seconds used at each heartbeat, to keep them for the next attempt.
    """

    def __init__(
        self,
        descriptor: int,
        *,
        clock: Callable[[], tuple[float, bool]],
        on_beat: Callable[[float], None] = lambda _elapsed: None,
    ) -> None:
        self._descriptor = descriptor
        self._clock = clock
        self._on_beat = on_beat
        self._lock = threading.Lock()
        self._beat = 0
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    def send(self, event: Event) -> None:
        """Send an event; it also counts as a sign of life of the main thread."""
        self._beat += 1
        self._write(event)

    def beat(self) -> None:
        """Say that the main thread gets on with its work."""
        self._beat += 1

    def close(self) -> None:
        """Stop the heartbeat."""
        self._closed.set()
        self._thread.join(timeout=2 * _BEAT_SECONDS)

    def _run(self) -> None:
        while not self._closed.wait(_BEAT_SECONDS):
            elapsed, running = self._clock()
            self._write(Heartbeat(beat=self._beat, elapsed_seconds=elapsed, clock_running=running))
            if running:
                # A full disk must not end the heartbeat: it may have space again in the next second.
                with contextlib.suppress(OSError):
                    self._on_beat(elapsed)

    def _write(self, event: Event) -> None:
        data = encode_event(event)
        with self._lock:
            try:
                while data:
                    data = data[os.write(self._descriptor, data) :]
            except BrokenPipeError:
                time.sleep(0)
                os._exit(70)
