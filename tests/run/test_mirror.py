"""The copy of journal and clock that the next pod resumes from."""

import threading
from pathlib import Path

import pytest

from trainingjob_trainer.errors import RunFailed
from trainingjob_trainer.run import workspace as mirror_module
from trainingjob_trainer.run.workspace import Mirror, Workspace
from trainingjob_trainer.storage import FolderStore, StateStore


def workspace(folder: Path) -> Workspace:
    run_folder = Workspace(home=folder, uid="0123456789abcdef", resumed=False)
    run_folder.work.mkdir(parents=True)
    return run_folder


def test_the_next_pod_gets_journal_and_clock_from_the_mirror(tmp_path: Path) -> None:
    store = StateStore(FolderStore(tmp_path / ".state"))
    first = workspace(tmp_path / "first")
    first.journal.write_text("header\n")
    first.keep_used_seconds(12.5)
    Mirror(store, first, print).flush()
    second = workspace(tmp_path / "second")
    mirror = Mirror(store, second, print)
    assert mirror.fetch()
    assert (second.journal.read_text(), second.used_seconds()) == ("header\n", 12.5)
    mirror.drop()
    assert not Mirror(store, workspace(tmp_path / "third"), print).fetch()


def test_a_local_journal_is_not_overwritten(tmp_path: Path) -> None:
    store = StateStore(FolderStore(tmp_path / ".state"))
    run_folder = workspace(tmp_path / "one")
    run_folder.journal.write_text("old\n")
    Mirror(store, run_folder, print).flush()
    run_folder.journal.write_text("old\nnew\n")
    assert not Mirror(store, run_folder, print).fetch()
    assert run_folder.journal.read_text() == "old\nnew\n"


def test_a_failing_mirror_warns_once_and_delays_nothing(tmp_path: Path) -> None:
    class Down(StateStore):
        def put(self, key: str, path: Path) -> None:
            raise RunFailed("StateNotSaved", "no space is left")

    said: list[str] = []
    run_folder = workspace(tmp_path / "one")
    run_folder.journal.write_text("x\n")
    mirror = Mirror(Down(FolderStore(tmp_path / ".state")), run_folder, said.append)
    mirror.flush()
    mirror.flush()
    assert len(said) == 1
    assert "no space is left" in said[0]


class Stalling(StateStore):
    """A store whose uploads wait until the test lets them go."""

    def __init__(self, store: FolderStore) -> None:
        super().__init__(store)
        self.begun, self.released = threading.Semaphore(0), threading.Event()

    def put(self, key: str, path: Path) -> None:
        self.begun.release()
        assert self.released.wait(60)
        super().put(key, path)


def test_a_hanging_upload_delays_nothing_and_keeps_its_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror_module, "_INTERVAL_SECONDS", 0.0)
    store = Stalling(FolderStore(tmp_path / ".state"))
    said: list[str] = []
    run_folder = workspace(tmp_path / "one")
    run_folder.journal.write_text("header\n")
    mirror = Mirror(store, run_folder, said.append, flush_seconds=0.05)
    for _ in range(3):
        mirror.push()
    assert store.begun.acquire(timeout=60)
    mirror.flush()
    assert "took longer than 0.05 s" in said[0]
    mirror.drop()
    assert not store.begun.acquire(blocking=False), "a second upload began beside the first one"
    store.released.set()
    run_folder.journal.write_text("header\nline\n")
    last = Mirror(store, run_folder, said.append)
    last.push()
    last.flush()
    assert (tmp_path / ".state" / "journal.jsonl").read_text() == "header\nline\n"
