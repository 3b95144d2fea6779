"""The mirror of a run's journal and clock in its output, for an attempt on another machine.

The journal holds results and no code, so a mirror that was tampered with can at worst misjudge pipelines; it
must share its digests of spec and data with the run, and every pipeline in it is built over the allow-list.
"""

import time
from collections.abc import Callable

from trainingjob_trainer.errors import RunFailed
from trainingjob_trainer.storage import StateStore
from trainingjob_trainer.supervisor.workspace import Workspace

__all__ = ["Mirror"]

_INTERVAL_SECONDS = 15.0


class Mirror:
    """Keeps a copy of what a resume needs.

    Parameters
    ----------
    store
        Where the copy is.
    workspace
        The run's folder on this machine.
    on_trouble
        Called with a sentence when the first of several failures in a row happens.
    """

    def __init__(self, store: StateStore, workspace: Workspace, on_trouble: Callable[[str], None]) -> None:
        self._store = store
        self._files = {"journal.jsonl": workspace.journal, "clock.json": workspace.clock_file}
        self._on_trouble = on_trouble
        self._pushed = time.monotonic()
        self._failing = False

    def fetch(self) -> bool:
        """Take up what an earlier attempt left, unless there is a journal here; return whether there was any.

        Raises
        ------
        RunFailed
            With reason ``StateNotRead`` if the output does not answer: without it a search would be repeated.
        """
        if self._files["journal.jsonl"].exists():
            return False
        found = [self._store.get(key, path) for key, path in self._files.items()]
        return all(found)

    def push(self, *, now: bool = False) -> None:
        """Copy what has changed, at most every 15 s; a failure holds nothing up."""
        if not now and time.monotonic() - self._pushed < _INTERVAL_SECONDS:
            return
        self._pushed = time.monotonic()
        try:
            for key, path in self._files.items():
                if path.exists():
                    self._store.put(key, path)
        except RunFailed as failure:
            if not self._failing:
                self._failing = True
                self._on_trouble(f"the search cannot be continued elsewhere for now: {failure}")
        else:
            self._failing = False

    def drop(self) -> None:
        """Remove the copy of a run that is finished."""
        for key in self._files:
            self._store.delete(key)
