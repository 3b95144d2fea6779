"""The folder of one run: where its journal, clock, logs and unfinished artifacts are."""

import contextlib
import fcntl
import json
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainingjob_api import Reason, ResolvedRun
from trainingjob_trainer.errors import RunFailed
from trainingjob_trainer.storage import folder_name

__all__ = ["Workspace", "open_workspace", "write_json", "write_text"]

_UID_CHARS = 8


def write_json(path: Path, data: Any) -> None:
    """Write JSON so that a reader sees the old file or the new one, never half of either."""
    write_text(path, json.dumps(data))


def write_text(path: Path, text: str) -> None:
    """Write a text as `write_json` writes JSON."""
    partial = path.with_name(path.name + ".tmp")
    partial.write_text(text)
    partial.replace(path)


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
        """What earlier children have to say to the next one: it has no bound, as a command line has."""
        return self.work / "history.json"

    @property
    def report_file(self) -> Path:
        """The report, the same that a trainer in a cluster writes into its ConfigMap."""
        return self.work / "report.json"

    @property
    def log_file(self) -> Path:
        """What the child and its workers print."""
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
        """Remember how far the run has come."""
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
