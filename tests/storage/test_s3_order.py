"""The order in which a bucket is written, and the bounds of reading."""

from __future__ import annotations

import hashlib
import io
import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from minio.error import S3Error

from trainingjob_trainer.errors import RunFailed, SpecInvalid
from trainingjob_trainer.storage import Output, RetryPolicy, S3Store

if TYPE_CHECKING:
    from pathlib import Path

UID = "8d1f0a52"
BASE = f"churn-{UID}/"
ONCE = RetryPolicy(attempts=1)


def s3_error(code: str) -> S3Error:
    status = {"AccessDenied": 403, "NoSuchKey": 404}[code]
    return S3Error(SimpleNamespace(status=status), code, "said by the server", "resource", "id", "host")


class Response(io.BytesIO):
    """An object that is read, and that counts how much of it."""

    taken = 0

    def read(self, amount: int | None = -1, /) -> bytes:
        piece = super().read(amount)
        self.taken += len(piece)
        return piece

    def stream(self, amount: int) -> Any:
        while piece := self.read(amount):
            yield piece

    def release_conn(self) -> None:
        pass


class Bucket:
    """Stands in for Minio: objects in memory, the writes in order, and what was read of each."""

    def __init__(self, **errors: str) -> None:
        self.objects: dict[str, bytes] = {}
        self.writes: list[tuple[str, str]] = []
        self.read: dict[str, Response] = {}
        self.errors = errors
        """Codes by method: what the server refuses."""

    def _refuse(self, method: str, key: str) -> None:
        code = self.errors.get(method)
        if code is not None:
            raise s3_error(code)
        if key and method in {"get", "stat"} and key not in self.objects:
            raise s3_error("AccessDenied" if self.errors.get("missing") else "NoSuchKey")

    def bucket_exists(self, _bucket: str) -> bool:
        self._refuse("exists", "")
        return True

    def stat_object(self, _bucket: str, key: str) -> Any:
        self._refuse("stat", key)
        return SimpleNamespace(size=len(self.objects[key]))

    def get_object(self, _bucket: str, key: str) -> Response:
        self._refuse("get", key)
        self.read[key] = Response(self.objects[key])
        return self.read[key]

    def put_object(self, _bucket: str, key: str, stream: Any, _size: int, **_: Any) -> None:
        self._refuse("put", key)
        self.objects[key] = stream.read()
        self.writes.append(("put", key))

    def fput_object(self, _bucket: str, key: str, path: str, **_: Any) -> None:
        with open(path, "rb") as stream:  # noqa: PTH123  # the signature is the client's
            self.put_object(_bucket, key, stream, 0)

    def remove_object(self, _bucket: str, key: str) -> None:
        self._refuse("remove", key)
        self.objects.pop(key, None)
        self.writes.append(("remove", key))


def output(bucket: Bucket) -> Output:
    return Output(S3Store(bucket, "models", "", endpoint="https://s3.example", retry=ONCE))


@pytest.fixture
def made(tmp_path: Path) -> Path:
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / "model.joblib").write_bytes(b"a model")
    (folder / "leaderboard.json").write_text("{}")
    return folder


def test_the_manifest_follows_all_files_and_the_pointer_follows_the_manifest(made: Path) -> None:
    bucket = Bucket()
    output(bucket).publish(made, "churn", UID)
    wanted = [f"{BASE}leaderboard.json", f"{BASE}model.joblib", f"{BASE}manifest.json", "churn/latest.json"]
    assert bucket.writes == [("put", key) for key in wanted]
    pointer = json.loads(bucket.objects["churn/latest.json"])
    assert pointer["manifestSha256"] == hashlib.sha256(bucket.objects[f"{BASE}manifest.json"]).hexdigest()


def test_every_object_is_read_back_before_the_next_one_is_written(made: Path) -> None:
    bucket = Bucket()
    put = bucket.put_object

    def swap(_bucket: str, key: str, stream: Any, size: int, **more: Any) -> None:
        put(_bucket, key, stream, size, **more)
        if key.endswith("leaderboard.json"):
            bucket.objects[key] = b"[]"  # as large as what was sent

    bucket.put_object = swap  # type: ignore[method-assign]
    with pytest.raises(RunFailed, match="read back"):
        output(bucket).publish(made, "churn", UID)
    assert bucket.writes == [("put", f"{BASE}leaderboard.json")]


def test_no_manifest_exists_while_objects_are_replaced(made: Path) -> None:
    bucket = Bucket()
    output(bucket).publish(made, "churn", UID)
    bucket.writes.clear()
    (made / "model.joblib").write_bytes(b"another")
    output(bucket).publish(made, "churn", UID)
    order = [f"{BASE}manifest.json", f"{BASE}model.joblib", f"{BASE}manifest.json", "churn/latest.json"]
    assert bucket.writes == list(zip(["remove", "put", "put", "put"], order, strict=True))


def test_an_object_of_another_size_is_not_read_to_find_that_it_differs(made: Path) -> None:
    bucket = Bucket()
    output(bucket).publish(made, "churn", UID)
    bucket.objects[f"{BASE}model.joblib"] = b"x" * 10_000_000
    bucket.read.clear()
    with pytest.raises(RunFailed) as caught:
        output(bucket).verify("churn", UID)
    assert caught.value.reason == "ArtifactMismatch"
    assert f"{BASE}model.joblib" not in bucket.read


def test_only_a_bounded_part_of_a_manifest_is_read(made: Path) -> None:
    bucket = Bucket()
    output(bucket).publish(made, "churn", UID)
    bucket.objects[f"{BASE}manifest.json"] += b" " * 10_000_000
    with pytest.raises(RunFailed) as caught:
        output(bucket).verify("churn", UID)
    assert caught.value.reason == "ManifestInvalid"
    assert bucket.read[f"{BASE}manifest.json"].taken <= 256 * 1024 + 1


def test_keys_that_may_not_list_see_a_missing_object_as_a_forbidden_one(made: Path) -> None:
    bucket = Bucket(missing="AccessDenied", exists="AccessDenied", remove="AccessDenied")
    output(bucket).check()
    assert len(output(bucket).publish(made, "churn", UID)) == 3
    bucket.objects.pop(f"{BASE}model.joblib")
    with pytest.raises(SpecInvalid) as caught:
        output(bucket).verify("churn", UID)
    assert caught.value.reason == "CredentialsRefused", "nor is it one once it was published"


def test_a_forbidden_state_object_counts_as_missing(tmp_path: Path) -> None:
    state = output(Bucket(missing="AccessDenied")).state("churn", UID)
    assert not state.get("journal", tmp_path / "journal")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("key", ["../journal", "a/b", ".hidden", ""])
def test_a_state_object_stays_below_its_prefix(tmp_path: Path, key: str) -> None:
    bucket = Bucket()
    state = output(bucket).state("churn", UID)
    (tmp_path / "journal").write_bytes(b"x")
    for call in (
        lambda: state.put(key, tmp_path / "journal"),
        lambda: state.get(key, tmp_path / "copy"),
        lambda: state.delete(key),
    ):
        with pytest.raises(ValueError, match="plain name"):
            call()
    assert bucket.writes == []


def test_a_state_object_that_is_too_large_leaves_no_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainingjob_trainer.storage.store.MAX_STATE_BYTES", 2)
    bucket = Bucket()
    bucket.objects[f"{BASE}.state/journal"] = b"x" * 1000
    with pytest.raises(RunFailed) as caught:
        output(bucket).state("churn", UID).get("journal", tmp_path / "journal")
    assert caught.value.reason == "StateNotRead"
    assert list(tmp_path.iterdir()) == []
