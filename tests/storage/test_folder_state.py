"""Unreadable files of a folder, and the state objects beside its artifacts."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainingjob_trainer.errors import RunFailed
from trainingjob_trainer.storage import FolderStore, Output

UID = "8d1f0a52"


@pytest.fixture
def made(tmp_path):
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / "model.joblib").write_bytes(b"model")
    (folder / "leaderboard.json").write_text("{}")
    return folder


def test_state_objects(tmp_path):
    state = Output(FolderStore(tmp_path / "out")).state("churn", UID)
    source, copy = tmp_path / "journal", tmp_path / "copy"
    source.write_bytes(b"one")
    assert not state.get("journal", copy)
    state.put("journal", source)
    assert state.get("journal", copy)
    assert copy.read_bytes() == b"one"
    state.delete("journal")
    state.delete("journal")
    assert not state.get("journal", copy)
    with pytest.raises(ValueError):
        state.put("../journal", source)


@pytest.fixture
def unreadable(monkeypatch):
    """Let every file under the given names fail with an error of the disk."""

    def fail_on(*names: str) -> None:
        def failing(call):
            def wrapped(path: Path, *arguments: object, **options: object) -> object:
                if path.name in names:
                    raise OSError(5, "Input/output error", str(path))
                return call(path, *arguments, **options)

            return wrapped

        for name in ("open", "lstat", "stat"):
            monkeypatch.setattr(Path, name, failing(getattr(Path, name)))

    return fail_on


def test_a_state_object_that_cannot_be_read_is_not_taken_for_missing(tmp_path, unreadable):
    state = Output(FolderStore(tmp_path / "out")).state("churn", UID)
    (tmp_path / "source").write_bytes(b"one")
    state.put("journal", tmp_path / "source")
    unreadable("journal")
    with pytest.raises(RunFailed, match="Input/output error") as caught:
        state.get("journal", tmp_path / "copy")
    assert caught.value.reason == "StateNotRead"


@pytest.mark.parametrize("name", ["manifest.json", "model.joblib"])
def test_a_published_file_that_cannot_be_read_is_not_taken_for_missing(tmp_path, made, unreadable, name):
    output = Output(FolderStore(tmp_path / "out"))
    output.publish(made, "churn", UID)
    unreadable(name)
    with pytest.raises(RunFailed, match=f"{name} in .* failed: .*Input/output error") as caught:
        output.verify("churn", UID)
    assert caught.value.reason == "StorageUnreachable"


def test_no_file_changes_under_an_unreadable_manifest(tmp_path, made, unreadable):
    output = Output(FolderStore(tmp_path / "out"))
    output.publish(made, "churn", UID)
    (made / "leaderboard.json").write_text('{"changed": true}')
    unreadable("manifest.json")
    with pytest.raises(RunFailed, match="Input/output error") as caught:
        output.publish(made, "churn", UID)
    assert caught.value.reason == "UploadFailed"
    assert (tmp_path / "out" / f"churn-{UID}" / "leaderboard.json").read_text() == "{}"


def test_state_objects_are_small(tmp_path, monkeypatch):
    monkeypatch.setattr("trainingjob_trainer.storage.store.MAX_STATE_BYTES", 2)
    state = Output(FolderStore(tmp_path / "out")).state("churn", UID)
    (tmp_path / "journal").write_bytes(b"one")
    with pytest.raises(RunFailed) as caught:
        state.put("journal", tmp_path / "journal")
    assert caught.value.reason == "StateNotSaved"


def test_only_a_bounded_part_of_a_state_object_is_read(tmp_path, monkeypatch):
    state = Output(FolderStore(tmp_path / "out")).state("churn", UID)
    (tmp_path / "journal").write_bytes(b"one")
    state.put("journal", tmp_path / "journal")
    monkeypatch.setattr("trainingjob_trainer.storage.store.MAX_STATE_BYTES", 2)
    with pytest.raises(RunFailed) as caught:
        state.get("journal", tmp_path / "copy")
    assert caught.value.reason == "StateNotRead"
    assert not (tmp_path / "copy").exists()
