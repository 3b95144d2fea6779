from __future__ import annotations

import hashlib
import json
import tracemalloc
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from trainingjob_trainer.errors import RunFailed, SpecInvalid
from trainingjob_trainer.settings import TrainerSettings
from trainingjob_trainer.storage import (
    FolderStore,
    Manifest,
    Output,
    S3Store,
    folder_name,
    open_output,
)
from trainingjob_trainer.storage import store as store_module

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"
UID = "8d1f0a52"


@pytest.fixture
def made(tmp_path):
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / "model.joblib").write_bytes(b"model")
    (folder / "leaderboard.json").write_text("{}")
    (folder / ".work").mkdir()
    (folder / ".work" / "journal").write_text("not to be published")
    (folder / ".hidden").write_text("nor this")
    (folder / "link.json").symlink_to(folder / "leaderboard.json")
    return folder


def run_folder(output: Output, name: str = "churn") -> Path:
    assert isinstance(output.store, FolderStore)
    return output.store.root / folder_name(name, UID)


def validate(name: str, document: object) -> None:
    Draft202012Validator(json.loads((SCHEMAS / f"{name}.schema.json").read_text())).validate(document)


def test_published_files_are_listed_with_their_digests(tmp_path, made):
    output = Output(FolderStore(tmp_path / "out"))
    output.check()
    artifacts = output.publish(made, "churn", UID)
    target = tmp_path / "out" / f"churn-{UID}"
    assert [a.name for a in artifacts] == ["leaderboard.json", "model.joblib", "manifest.json"]
    assert {p.name for p in target.iterdir()} == {a.name for a in artifacts}
    assert all(hashlib.sha256((target / a.name).read_bytes()).hexdigest() == a.sha256 for a in artifacts)
    assert all(a.uri == (target / a.name).as_uri() for a in artifacts)
    assert output.verify("churn", UID) == artifacts
    validate("manifest", json.loads((target / "manifest.json").read_text()))
    latest = json.loads((tmp_path / "out" / "churn" / "latest.json").read_text())
    validate("latest", latest)
    assert latest["folder"] == target.name
    assert latest["manifestSha256"] == artifacts[-1].sha256


@pytest.mark.parametrize("name", ["n" * 253, f"{'long.name.' * 25}end"])
def test_the_longest_name_fits_into_a_folder(tmp_path, made, name):
    output = Output(FolderStore(tmp_path / "out"))
    artifacts = output.publish(made, name, UID)
    latest = json.loads((tmp_path / "out" / name / "latest.json").read_text())
    validate("latest", latest)
    assert latest["job"]["name"] == name
    assert latest["folder"].endswith(f"-{UID}")
    assert output.verify(name, UID) == artifacts
    assert run_folder(output, name).name == latest["folder"]


def test_long_names_that_differ_at_their_end_have_folders_of_their_own(tmp_path):
    output = Output(FolderStore(tmp_path))
    assert run_folder(output, "n" * 252 + "a") != run_folder(output, "n" * 252 + "b")
    assert run_folder(output, "n" * 246).name == f"{'n' * 246}-{UID}"


def test_publishing_in_place_can_be_repeated(tmp_path, made):
    output = Output(FolderStore(tmp_path))
    target = run_folder(output)
    made.rename(target)
    first = output.publish(target, "churn", UID)
    assert output.publish(target, "churn", UID) == first
    assert (target / ".work" / "journal").is_file()
    (target / "model.joblib").write_bytes(b"another model")
    assert output.publish(target, "churn", UID) != first
    output.verify("churn", UID)


def test_artifacts_may_be_made_below_the_folder_itself(tmp_path, made):
    output = Output(FolderStore(tmp_path))
    work = run_folder(output) / ".work" / "artifacts"
    work.parent.mkdir(parents=True)
    made.rename(work)
    output.publish(work, "churn", UID)
    assert {p.name for p in run_folder(output).iterdir()} == {
        ".work",
        "leaderboard.json",
        "model.joblib",
        "manifest.json",
    }


@pytest.mark.parametrize(
    ("tamper", "reason"),
    [
        (lambda f: (f / "model.joblib").write_bytes(b"evil!"), "ArtifactMismatch"),
        (lambda f: (f / "model.joblib").write_bytes(b"a longer model"), "ArtifactMismatch"),
        (lambda f: (f / "model.joblib").unlink(), "ArtifactMismatch"),
        (lambda f: (f / "manifest.json").unlink(), "ManifestMissing"),
        (lambda f: (f / "manifest.json").write_text("{"), "ManifestInvalid"),
        (lambda f: (f / "manifest.json").write_text("[]"), "ManifestInvalid"),
        (lambda f: (f / "manifest.json").write_bytes(b" " * 300_000), "ManifestInvalid"),
        (lambda f: swap_for_link(f / "model.joblib"), "ArtifactMismatch"),
    ],
)
def test_tampering_is_detected(tmp_path, made, tamper, reason):
    output = Output(FolderStore(tmp_path / "out"))
    output.publish(made, "churn", UID)
    tamper(run_folder(output))
    with pytest.raises(RunFailed) as caught:
        output.verify("churn", UID)
    assert caught.value.reason == reason


def swap_for_link(path: Path) -> None:
    other = path.with_name(".other")
    path.rename(other)
    path.symlink_to(other)


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "..", ".hidden", "a/b", "", "manifest.json"]
)
def test_a_manifest_may_not_point_elsewhere(name):
    row = {"name": name, "sizeBytes": 1, "sha256": "a" * 64}
    raw = json.dumps({"kind": "Manifest", "job": {"name": "x", "uid8": "y"}, "artifacts": [row]}).encode()
    with pytest.raises(RunFailed, match="cannot be trusted"):
        Manifest.from_bytes(raw)


@pytest.mark.parametrize(
    "change", [{"sizeBytes": -1}, {"sizeBytes": True}, {"sha256": "A" * 64}, {"sha256": "a"}]
)
def test_a_manifest_is_well_formed(change):
    row = {"name": "a.json", "sizeBytes": 1, "sha256": "a" * 64, **change}
    raw = json.dumps({"kind": "Manifest", "job": {"name": "x", "uid8": "y"}, "artifacts": [row]}).encode()
    with pytest.raises(RunFailed, match="cannot be trusted"):
        Manifest.from_bytes(raw)


def test_no_manifest_exists_while_files_change(tmp_path, made, monkeypatch):
    output = Output(FolderStore(tmp_path / "out"))
    output.publish(made, "churn", UID)
    (made / "model.joblib").write_bytes(b"new model")

    def broken(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", broken)
    with pytest.raises(RunFailed) as caught:
        output.publish(made, "churn", UID)
    assert caught.value.reason == "UploadFailed"
    assert "No space left" in caught.value.message
    with pytest.raises(RunFailed) as caught:
        output.verify("churn", UID)
    assert caught.value.reason == "ManifestMissing"


def test_an_output_that_cannot_be_written_is_found_at_once(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SpecInvalid) as caught:
        Output(FolderStore(tmp_path / "file" / "out")).check()
    assert caught.value.reason == "OutputNotWritable"


def test_claims_must_be_mounted(tmp_path):
    settings = TrainerSettings(pvc_root=tmp_path)
    output = open_output("pvc://models/team", endpoint=None, credentials_dir=None, settings=settings)
    with pytest.raises(SpecInvalid) as caught:
        output.check()
    assert caught.value.reason == "ClaimNotMounted"
    (tmp_path / "models").mkdir()
    output.check()
    assert (tmp_path / "models" / "team").is_dir()
    assert output.store.uri == "pvc://models/team"


@pytest.mark.parametrize(
    "uri",
    [
        "ftp://host/x",
        "pvc://../x",
        "pvc://claim/../../x",
        "s3://",
        "s3://user:secret@host/x",
        "s3://B/x",
        "s3://x",
    ],
)
def test_other_places_are_rejected(uri):
    with pytest.raises(SpecInvalid) as caught:
        open_output(uri, endpoint="http://host", credentials_dir=None, settings=TrainerSettings())
    assert caught.value.reason == "InvalidOutput"
    assert "secret" not in caught.value.message


def test_each_kind_of_output_is_recognised(tmp_path, monkeypatch):
    def opened(uri: str) -> object:
        return open_output(uri, endpoint="http://host", credentials_dir=None, settings=TrainerSettings())

    monkeypatch.chdir(tmp_path)
    assert opened("runs").store.uri == (tmp_path / "runs").as_uri()
    assert opened("file://./runs").store.uri == (tmp_path / "runs").as_uri()
    assert opened((tmp_path / "ä b").as_uri()).store.uri == (tmp_path / "ä b").as_uri()
    s3 = opened("s3://models/team/")
    assert isinstance(s3.store, S3Store)
    assert s3.store.uri == "s3://models/team"


@pytest.mark.parametrize(
    ("name", "uid8"), [("../x", UID), ("x", "../../x"), ("", UID), ("x", ""), ("a/b", UID)]
)
def test_names_cannot_leave_the_output(tmp_path, made, name, uid8):
    with pytest.raises(ValueError):
        Output(FolderStore(tmp_path)).publish(made, name, uid8)


def test_a_copy_that_differs_from_its_digest_is_not_published(tmp_path, made, monkeypatch):
    def flip(source, target):
        target.write_bytes(bytes(byte ^ 1 for byte in source.read_bytes()))

    monkeypatch.setattr("shutil.copyfile", flip)
    with pytest.raises(RunFailed) as caught:
        Output(FolderStore(tmp_path / "out")).publish(made, "churn", UID)
    assert caught.value.reason == "UploadFailed"
    assert "read back" in caught.value.message
    assert not (tmp_path / "out" / "churn" / "latest.json").exists()


def test_a_file_has_its_name_only_once_it_is_whole(tmp_path, made, monkeypatch):
    def break_off(source, target):
        target.write_bytes(source.read_bytes()[:1])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", break_off)
    output = Output(FolderStore(tmp_path / "out"))
    with pytest.raises(RunFailed):
        output.publish(made, "churn", UID)
    assert all(path.name.startswith(".") for path in run_folder(output).iterdir())


def test_publishing_again_replaces_changed_files(tmp_path, made):
    output = Output(FolderStore(tmp_path / "out"))
    output.publish(made, "churn", UID)
    (run_folder(output) / "model.joblib").write_bytes(b"MODEL")
    output.publish(made, "churn", UID)
    assert (run_folder(output) / "model.joblib").read_bytes() == b"model"


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "Latest"},
        {"artifacts": {}},
        {
            "artifacts": [
                {"name": f"{number}.json", "sizeBytes": 1, "sha256": "a" * 64} for number in range(201)
            ]
        },
        {"artifacts": [{"name": "a.json", "sizeBytes": 1, "sha256": "a" * 64}] * 2},
    ],
    ids=["kind", "no-list", "too-many", "twice"],
)
def test_a_document_that_is_not_a_manifest_is_rejected(change):
    good = {"kind": "Manifest", "job": {"name": "x", "uid8": "y"}, "artifacts": []}
    assert Manifest.from_bytes(json.dumps(good).encode()).entries == ()
    with pytest.raises(RunFailed, match="cannot be trusted"):
        Manifest.from_bytes(json.dumps(good | change).encode())


def test_a_file_of_another_size_is_not_read_to_find_that_it_differs(tmp_path, made, monkeypatch):
    output = Output(FolderStore(tmp_path / "out"))
    output.publish(made, "churn", UID)
    (run_folder(output) / "leaderboard.json").write_text("{" + " " * 1000 + "}")
    read, get = [], output.store.get
    monkeypatch.setattr(output.store, "get", lambda key: (read.append(key), get(key))[1])
    with pytest.raises(RunFailed) as caught:
        output.verify("churn", UID)
    assert caught.value.reason == "ArtifactMismatch"
    assert read == [f"churn-{UID}/manifest.json"]


def test_only_a_bounded_part_of_a_manifest_in_a_folder_is_read(tmp_path):
    output = Output(FolderStore(tmp_path))
    run_folder(output).mkdir()
    with (run_folder(output) / "manifest.json").open("wb") as stream:
        stream.truncate(64 * 1024 * 1024)
    tracemalloc.start()
    try:
        with pytest.raises(RunFailed) as caught:
            output.verify("churn", UID)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert caught.value.reason == "ManifestInvalid"
    assert most < 8 * 1024 * 1024


def test_two_runs_at_once_do_not_share_an_unfinished_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, target, settle = FolderStore(tmp_path), tmp_path / "latest.json", store_module._settle

    def interrupted(partial: Path, goal: Path) -> None:
        monkeypatch.setattr(store_module, "_settle", settle)
        store.put("latest.json", b"of the other run")
        settle(partial, goal)

    monkeypatch.setattr(store_module, "_settle", interrupted)
    store.put("latest.json", b"of this run")
    assert target.read_bytes() == b"of this run"
    assert list(tmp_path.iterdir()) == [target]
