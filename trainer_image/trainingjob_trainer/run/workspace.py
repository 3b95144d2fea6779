"""The folder of one run, with its journal, clock, logs and unfinished artifacts, and the folder's mirror.

The mirror holds results and no code, so one that was tampered with can at worst misjudge pipelines. It must
share its digests of spec and data with the run, and every pipeline in it is built over the allow-list.
"""

import contextlib
import fcntl
import json
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainingjob_api import Reason, ResolvedRun
from trainingjob_trainer.errors import RunFailed, TrainingError
from trainingjob_trainer.storage import StateStore, folder_name, write_text

_UID_CHARS = 8
_INTERVAL_SECONDS = 15.0
_FLUSH_SECONDS = 15.0
"""Half of the pod's grace: the last report has to be written in the rest."""
_NOT_CONTINUED = "for now, the search cannot be resumed on another machine"


def write_json(path: Path, data: Any) -> None:
    """Write JSON as `write_text` writes a text."""
    write_text(path, json.dumps(data))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """The places of one run.

    Parameters
    ----------
    home
        The run's folder, ``<output>/<name>-<uid8>``.
    uid
        The job's uid, or one made for a local run.
    resumed
        Whether an earlier attempt left it unfinished.
    """

    home: Path
    uid: str
    resumed: bool

    @property
    def uid8(self) -> str:
        """The first eight characters of the uid."""
        return self.uid[:_UID_CHARS]

    @property
    def work(self) -> Path:
        """Everything that is not an artifact."""
        return self.home / ".work"

    @property
    def journal(self) -> Path:
        """The journal of evaluations."""
        return self.work / "journal.jsonl"

    @property
    def clock_file(self) -> Path:
        """The reading of the run's clock."""
        return self.work / "clock.json"

    @property
    def run_file(self) -> Path:
        """The resolved job."""
        return self.work / "run.json"

    @property
    def history_file(self) -> Path:
        """Warnings and fallbacks of earlier children: a file, since a command line is limited in size."""
        return self.work / "history.json"

    @property
    def report_file(self) -> Path:
        """The report, the same that a trainer in a cluster writes into its ConfigMap."""
        return self.work / "report.json"

    @property
    def log_file(self) -> Path:
        """File with the output of the child and its workers."""
        return self.work / "logs" / "trainer.log"

    @property
    def scratch(self) -> Path:
        """Files that are worth nothing when the run has ended."""
        return self.work / "scratch"

    @property
    def artifacts(self) -> Path:
        """Artifacts, all written, not yet published."""
        return self.work / "artifacts"

    @property
    def saved(self) -> bool:
        """Whether all artifacts are written, so that only publishing is left."""
        return self.state() == "saved" and self.artifacts.is_dir()

    def state(self) -> str:
        """Return ``running``, ``saved`` or ``finished``, or an empty string for a new folder."""
        return str(_read_json(self.work / "state.json").get("state", ""))

    def set_state(self, state: str, run: ResolvedRun) -> None:
        """Save the progress of the run."""
        write_json(
            self.work / "state.json",
            {"state": state, "uid": self.uid, "searchDigest": run.search_digest(), "updated": time.time()},
        )

    def used_seconds(self) -> float:
        """Return the seconds of the budget that earlier attempts used."""
        try:
            return max(0.0, float(_read_json(self.clock_file).get("elapsedSeconds", 0.0)))
        except (TypeError, ValueError):
            return 0.0

    def keep_used_seconds(self, elapsed: float) -> None:
        """Remember the seconds that have been used."""
        write_json(self.clock_file, {"elapsedSeconds": round(elapsed, 3)})

    def clean(self) -> None:
        """Remove what is worth nothing any more."""
        shutil.rmtree(self.scratch, ignore_errors=True)
        shutil.rmtree(self.artifacts, ignore_errors=True)

    def abandon(self) -> None:
        """Remove a folder in which nothing has been computed, so that a wrong spec leaves nothing behind."""
        if self.resumed:
            return
        shutil.rmtree(self.work, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.home.rmdir()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other runs out of this folder.

        Raises
        ------
        RunFailed
            If another run is in it.
        """
        with (self.work / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise RunFailed(
                    Reason.FOLDER_IN_USE,
                    f"another run uses {self.home}; wait for it, or begin a new run with --fresh",
                ) from error
            yield


def open_workspace(root: Path, run: ResolvedRun, *, fresh: bool) -> Workspace:
    """Return the folder of an unfinished run of the same job, or a new one.

    The job's uid, if it has one, decides the folder; `fresh` begins a new run beside an unfinished one.
    """
    if run.uid:
        home = root / folder_name(run.name, run.uid[:_UID_CHARS])
        if fresh and home.exists():
            shutil.rmtree(home / ".work", ignore_errors=True)
        return _make(home, run.uid, run)
    if not fresh:
        for home in _newest_first(root, run.name):
            state = _read_json(home / ".work" / "state.json")
            unfinished = state.get("state") in {"running", "saved"}
            if unfinished and state.get("searchDigest") == run.search_digest():
                return _make(home, str(state.get("uid")), run)
    uid = secrets.token_hex(16)
    return _make(root / folder_name(run.name, uid[:_UID_CHARS]), uid, run)


def _newest_first(root: Path, name: str) -> list[Path]:
    anybodys = "0" * _UID_CHARS
    pattern = folder_name(name, anybodys).removesuffix(anybodys) + "?" * _UID_CHARS
    found = [home for home in root.glob(pattern) if (home / ".work").is_dir()]
    return sorted(found, key=lambda home: (home / ".work").stat().st_mtime, reverse=True)


def _make(home: Path, uid: str, run: ResolvedRun) -> Workspace:
    workspace = Workspace(home=home, uid=uid, resumed=(home / ".work" / "state.json").exists())
    (workspace.work / "logs").mkdir(parents=True, exist_ok=True)
    if not workspace.resumed:
        workspace.set_state("running", run)
    write_json(workspace.run_file, run.model_dump(mode="json", by_alias=True))
    return workspace


class Mirror:
    """Keeps a copy of what a resume needs.

    A thread makes the copies, one at a time, so that a storage that hangs does not hold up the caller. Each
    takes the files as they are when it begins. One that is due meanwhile is skipped: the next holds more.

    Parameters
    ----------
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
