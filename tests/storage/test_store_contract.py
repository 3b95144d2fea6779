"""The behaviour of all stores: a folder, S3, Google's and Azure's storage, and obstore's store in memory."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any, cast

import pytest
from obstore.store import MemoryStore

from support.fake_cloud import FakeCloud, service_account
from trainingjob_api import OBJECT_STORAGE
from trainingjob_trainer.errors import RunFailed
from trainingjob_trainer.settings import TrainerSettings
from trainingjob_trainer.storage import OBJECT_STORES, FolderStore, Output, Store, open_output
from trainingjob_trainer.storage.cloud import CloudStore
from trainingjob_trainer.storage.store import Again, Missing, RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

UID = "8d1f0a52"
KEYS = {
    "gs": {"GOOGLE_SERVICE_ACCOUNT_KEY": json.dumps(service_account())},
    "az": {"AZURE_STORAGE_ACCOUNT_NAME": "models", "AZURE_STORAGE_ACCOUNT_KEY": "c2VjcmV0"},
}


@pytest.fixture(params=["folder", "memory", "s3", "gs", "az"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    kind = request.param
    if kind == "folder":
        yield FolderStore(tmp_path / "out")
    elif kind == "memory":
        memory = MemoryStore()
        yield CloudStore(lambda: memory, "gs", "bucket", "team/a", host="here")
    elif kind == "s3":
        server = request.getfixturevalue("s3_server")
        place = f"s3://{server.bucket(f'models-{secrets.token_hex(4)}')}/team/a"
        keys, settings = server.credentials_dir(), TrainerSettings()
        output = open_output(place, endpoint=server.endpoint, credentials_dir=keys, settings=settings)
        output.check()  # the first write to a new bucket may fail while the server makes room for it
        yield output.store
    else:
        keys = tmp_path / "keys"
        keys.mkdir()
        for name, value in KEYS[kind].items():
            (keys / name).write_text(value)
        with FakeCloud(kind, "bucket").running() as server:
            settings = TrainerSettings(google_endpoint=server.uri, azure_endpoint=server.uri)
            place = f"{kind}://bucket/team/a"
            yield open_output(place, endpoint=None, credentials_dir=keys, settings=settings).store


def read(store: Store, key: str) -> bytes:
    with store.get(key) as stream:
        return b"".join(iter(lambda: stream.read(1000), b""))


@pytest.fixture
def made(tmp_path: Path) -> Path:
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / "model.joblib").write_bytes(secrets.token_bytes(200_000))
    (folder / "leaderboard.json").write_text("{}")
    (folder / "empty.txt").write_text("")
    return folder


def test_each_scheme_of_the_contract_has_a_store() -> None:
    assert set(OBJECT_STORES) == set(OBJECT_STORAGE)


def test_what_was_put_is_read_in_pieces_of_the_size_that_is_asked_for(store: Store) -> None:
    store.check()
    content = secrets.token_bytes(3_000_000)
    store.put("folder/a b é+%20.csv", content)
    assert store.stat("folder/a b é+%20.csv") == len(content)
    with store.get("folder/a b é+%20.csv") as stream:
        assert stream.read(7) == content[:7]
        assert stream.read(2_500_000) == content[7:2_500_007]
        assert stream.read(len(content)) == content[2_500_007:]
        assert stream.read(1) == b""


def test_an_object_is_replaced_and_removed(store: Store) -> None:
    for content in (b"first", b"", b"second"):
        store.put("x", content)
        assert read(store, "x") == content
        assert store.stat("x") == len(content)
    store.delete("x")
    with pytest.raises(Missing):
        store.stat("x")


def test_a_missing_object_is_reported_as_missing(store: Store) -> None:
    store.check()
    store.delete("nothing")
    with pytest.raises(Missing):
        store.stat("nothing")
    with pytest.raises(Missing), store.get("nothing"):
        pass


def test_a_large_file_arrives_completely(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(secrets.token_bytes(12 * 1024 * 1024))
    store.put("large", path, sha256="ab")
    assert read(store, "large") == path.read_bytes()


def test_a_run_is_published_verified_and_found_again(store: Store, made: Path) -> None:
    output = Output(store)
    output.check()
    artifacts = output.publish(made, "churn", UID)
    assert [artifact.name for artifact in artifacts] == [
        "empty.txt",
        "leaderboard.json",
        "model.joblib",
        "manifest.json",
    ]
    assert all(artifact.uri.startswith(f"{store.uri}/churn-{UID}/") for artifact in artifacts)
    assert output.publish(made, "churn", UID) == artifacts
    assert output.verify("churn", UID) == artifacts
    assert json.loads(read(store, "churn/latest.json"))["folder"] == f"churn-{UID}"


def test_a_changed_artifact_is_detected(store: Store, made: Path) -> None:
    output = Output(store)
    output.publish(made, "churn", UID)
    store.put(f"churn-{UID}/leaderboard.json", b"[]")
    with pytest.raises(RunFailed) as caught:
        output.verify("churn", UID)
    assert caught.value.reason == "ArtifactMismatch"
    store.delete(f"churn-{UID}/manifest.json")
    with pytest.raises(RunFailed) as caught:
        output.verify("churn", UID)
    assert caught.value.reason == "ManifestMissing"


def test_state_is_kept_beside_the_artifacts(store: Store, tmp_path: Path) -> None:
    state = Output(store).state("churn", UID)
    source, copy = tmp_path / "journal", tmp_path / "copy"
    source.write_bytes(b"lines")
    assert not state.get("journal", copy)
    state.put("journal", source)
    assert state.get("journal", copy)
    assert copy.read_bytes() == b"lines"
    state.delete("journal")
    assert not state.get("journal", copy)


class Restarting:
    """A store whose server has just started: its first answers are faults."""

    def __init__(self, store: Store, faults: int) -> None:
        self._store = store
        self._faults = faults
        self.retry = RetryPolicy(sleep=lambda _seconds: None)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def get(self, key: str) -> Any:
        if self._faults:
            self._faults -= 1
            raise Again("InternalError")
        return self._store.get(key)


@pytest.mark.parametrize(("faults", "reads"), [(1, True), (5, True), (6, False)])
def test_the_state_of_an_earlier_attempt_outlives_faults_of_the_storage(
    tmp_path: Path, faults: int, reads: bool
) -> None:
    store = FolderStore(tmp_path / "out")
    source, copy = tmp_path / "journal", tmp_path / "copy"
    source.write_bytes(b"lines")
    Output(store).state("churn", UID).put("journal", source)
    state = Output(cast("Store", Restarting(store, faults))).state("churn", UID)
    if reads:
        assert state.get("journal", copy)
        assert copy.read_bytes() == b"lines"
        return
    with pytest.raises(RunFailed) as caught:
        state.get("journal", copy)
    assert caught.value.reason == "StateNotRead"
    assert not list(tmp_path.glob(".copy*"))
