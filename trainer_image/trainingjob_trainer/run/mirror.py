"""The mirror of a run's journal and clock in its output, for an attempt on another machine.

The journal holds results and no code, so a mirror that was tampered with can at worst misjudge pipelines; it
must share its digests of spec and data with the run, and every pipeline in it is built over the allow-list.
"""

import contextlib
import threading
import time
from collections.abc import Callable

from trainingjob_trainer.errors import TrainingError
from trainingjob_trainer.run.workspace import Workspace
from trainingjob_trainer.storage import StateStore

__all__ = ["Mirror"]

_INTERVAL_SECONDS = 15.0
_FLUSH_SECONDS = 15.0
"""Half of the pod's grace: the last report has to be written in the rest."""
_NOT_CONTINUED = "for now, the search cannot be resumed on another machine"


class Mirror:
    """Keeps a copy of what a resume needs.

    A thread makes the copies, one at a time, so that a storage that hangs does not hold up the caller. Each
    takes the files as they are when it begins. One that is due meanwhile is skipped: the next holds more.

    Parameters
    ----------
    store, workspace
        Where the copy is, and the run's folder on this machine.
    on_trouble
        Called in the caller's thread with a sentence after the first of several failures in a row.
    flush_seconds
        How long `flush` and `drop` wait for a copy.
    """

    def __init__(
        self,
        store: StateStore,
        workspace: Workspace,
        on_trouble: Callable[[str], None],
        *,
        flush_seconds: float = _FLUSH_SECONDS,
    ) -> None:
        self._store = store
        self._files = {"journal.jsonl": workspace.journal, "clock.json": workspace.clock_file}
        self._on_trouble = on_trouble
        self._flush_seconds = flush_seconds
        self._pushed = time.monotonic()
        self._copying: threading.Thread | None = None
        self._failure: str | None = None
        self._told = False

    def fetch(self) -> bool:
        """Take what an earlier attempt left, unless there is a journal here; return whether there was any.

        Raises
        ------
        RunFailed
            With reason ``StateNotRead`` if the output does not answer: without it a search would be repeated.
        """
        if self._files["journal.jsonl"].exists():
            return False
        found = [self._store.get(key, path) for key, path in self._files.items()]
        return all(found)

    def push(self) -> None:
        """Begin to copy what there is, at most every 15 s and never two copies at once; returns at once."""
        self._tell()
        if time.monotonic() - self._pushed >= _INTERVAL_SECONDS and self._wait(0.0):
            self._begin()

    def flush(self) -> None:
        """Copy the last state; gives up after `flush_seconds`."""
        end = time.monotonic() + self._flush_seconds
        done = self._wait(self._flush_seconds)
        if done:
            self._begin()
            done = self._wait(max(0.0, end - time.monotonic()))
        if not done:
            self._failure = f"the output took longer than {self._flush_seconds:g} s"
        self._tell()

    def drop(self) -> None:
        """Remove the copy of a run that is finished; a copy that stays does no harm."""
        # A copy that ends after this would bring the state back.
        if self._wait(self._flush_seconds):
            for key in self._files:
                with contextlib.suppress(TrainingError, OSError):
                    self._store.delete(key)

    def _begin(self) -> None:
        self._pushed = time.monotonic()
        self._copying = threading.Thread(target=self._copy, name="mirror", daemon=True)
        self._copying.start()

    def _wait(self, seconds: float) -> bool:
        """Return whether no copy is being made, after `seconds` at most."""
        if self._copying is not None:
            self._copying.join(seconds)
        return self._copying is None or not self._copying.is_alive()

    def _copy(self) -> None:
        try:
            for key, path in self._files.items():
                if path.exists():
                    self._store.put(key, path)
        except (TrainingError, OSError) as failure:
            self._failure = str(failure)
        else:
            self._failure, self._told = None, False

    def _tell(self) -> None:
        failure = self._failure
        if failure is not None and not self._told:
            self._told = True
            self._on_trouble(f"{_NOT_CONTINUED}: {failure}")
