from __future__ import annotations

import io
import json
import secrets
import socket
import socketserver
import threading
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from minio.error import InvalidResponseError, S3Error, ServerError
from urllib3.exceptions import MaxRetryError, NewConnectionError

from trainingjob_trainer.errors import RunFailed, SpecInvalid
from trainingjob_trainer.settings import TrainerSettings
from trainingjob_trainer.storage import Output, RetryPolicy, S3Store, open_output
from trainingjob_trainer.storage.access import s3_client
from trainingjob_trainer.storage.store import StoreError

UID = "8d1f0a52"
NO_WAIT = RetryPolicy(attempts=3, sleep=lambda _: None)


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def made(tmp_path):
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / "model.joblib").write_bytes(secrets.token_bytes(200_000))
    (folder / "leaderboard.json").write_text("{}")
    (folder / "empty.txt").write_text("")
    (folder / ".work").mkdir()
    return folder


@pytest.fixture
def bucket(s3_server):
    return s3_server.bucket(f"models-{secrets.token_hex(4)}")


def opened(server, uri, endpoint=None, **changed):
    return open_output(
        uri,
        endpoint=endpoint or server.endpoint,
        credentials_dir=server.credentials_dir(**changed),
        settings=TrainerSettings(s3_timeout_seconds=20),
    )


def keys(server, bucket):
    return {o.object_name for o in server.client().list_objects(bucket, recursive=True)}


def test_a_published_run_is_verified_and_found(s3_server, bucket, made):
    output = opened(s3_server, f"s3://{bucket}/team/a")
    output.check()
    artifacts = output.publish(made, "churn", UID)
    base = f"team/a/churn-{UID}/"
    assert [a.name for a in artifacts] == ["empty.txt", "leaderboard.json", "model.joblib", "manifest.json"]
    assert artifacts[-1].uri == f"s3://{bucket}/{base}manifest.json"
    assert keys(s3_server, bucket) == {base + a.name for a in artifacts} | {"team/a/churn/latest.json"}
    assert output.verify("churn", UID) == artifacts
    pointer = s3_server.client().get_object(bucket, "team/a/churn/latest.json")
    assert json.loads(pointer.read())["manifestSha256"] == artifacts[-1].sha256
    pointer.close()


def test_publishing_again_sends_no_existing_object(s3_server, bucket, made, monkeypatch):
    output = opened(s3_server, f"s3://{bucket}")
    first = output.publish(made, "churn", UID)
    before = s3_server.client().stat_object(bucket, f"churn-{UID}/model.joblib").last_modified
    sent = []
    put = output.store.put
    monkeypatch.setattr(
        output.store, "put", lambda key, *rest, **more: (sent.append(key), put(key, *rest, **more))
    )
    assert output.publish(made, "churn", UID) == first
    assert set(sent) <= {"churn/latest.json"}
    assert s3_server.client().stat_object(bucket, f"churn-{UID}/model.joblib").last_modified == before


def test_a_large_file_goes_in_parts(s3_server, bucket, made, monkeypatch):
    monkeypatch.setattr("trainingjob_trainer.storage.s3._PART", 5 * 1024 * 1024)
    (made / "model.joblib").write_bytes(secrets.token_bytes(12 * 1024 * 1024))
    output = opened(s3_server, f"s3://{bucket}")
    assert output.publish(made, "churn", UID) == output.verify("churn", UID)


def test_tampering_is_detected(s3_server, bucket, made):
    output = opened(s3_server, f"s3://{bucket}")
    output.publish(made, "churn", UID)
    content = secrets.token_bytes(200_000)
    s3_server.client().put_object(bucket, f"churn-{UID}/model.joblib", io.BytesIO(content), len(content))
    with pytest.raises(RunFailed) as caught:
        output.verify("churn", UID)
    assert caught.value.reason == "ArtifactMismatch"
    s3_server.client().remove_object(bucket, f"churn-{UID}/manifest.json")
    with pytest.raises(RunFailed) as caught:
        output.verify("churn", UID)
    assert caught.value.reason == "ManifestMissing"


def test_a_missing_bucket_is_named(s3_server, made):
    output = opened(s3_server, "s3://no-such-bucket/x")
    for action in (output.check, lambda: output.publish(made, "churn", UID)):
        with pytest.raises(SpecInvalid) as caught:
            action()
        assert caught.value.reason == "BucketNotFound"
        assert "no-such-bucket" in caught.value.message


@pytest.mark.parametrize(
    "changed", [{"AWS_SECRET_ACCESS_KEY": "wrong-secret"}, {"AWS_ACCESS_KEY_ID": "wrong-id"}]
)
def test_wrong_credentials_are_named_but_not_shown(s3_server, bucket, made, changed):
    output = opened(s3_server, f"s3://{bucket}", **changed)
    for action in (output.check, lambda: output.publish(made, "churn", UID)):
        with pytest.raises(SpecInvalid) as caught:
            action()
        assert caught.value.reason == "CredentialsRefused"
        text = f"{caught.value.message}{caught.value.__cause__!r}"
        assert not any(secret in text for secret in ("wrong-", s3_server.access_key, s3_server.secret_key))
    assert keys(s3_server, bucket) == set()


class Gate(socketserver.ThreadingTCPServer):
    """A way to the server that a test can close and open."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.open = True
        self.refused = 0
        super().__init__(("127.0.0.1", 0), _Forward)
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Forward(socketserver.BaseRequestHandler):
    server: Gate

    def handle(self) -> None:
        if not self.server.open:
            self.server.refused += 1
            return
        with socket.create_connection(self.server.target) as there:
            back = threading.Thread(target=self._pump, args=(there, self.request), daemon=True)
            back.start()
            self._pump(self.request, there)
            back.join(5)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while self.server.open and (data := source.recv(65536)):
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def gate(s3_server):
    gate = Gate(("127.0.0.1", s3_server.ports["s3.port"]))
    yield gate
    gate.shutdown()
    gate.server_close()


def behind(server, gate, bucket, retry):
    client = s3_client(
        gate.endpoint,
        server.credentials_dir(),
        TrainerSettings(s3_timeout_seconds=10),
        {},
        field="spec.output",
    )
    return Output(S3Store(client, bucket, "", endpoint=gate.endpoint, retry=retry))


def test_publishing_waits_for_storage_that_comes_back(s3_server, bucket, made, gate):
    waits = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        gate.open = len(waits) >= 2

    gate.open = False
    output = behind(s3_server, gate, bucket, RetryPolicy(attempts=5, sleep=sleep))
    artifacts = output.publish(made, "churn", UID)
    assert waits == [0.5, 1.0]
    assert gate.refused == 3 - 1
    assert output.verify("churn", UID) == artifacts


def test_publishing_ends_in_time_without_storage(s3_server, bucket, made, gate):
    gate.open = False
    waits: list[float] = []
    output = behind(s3_server, gate, bucket, RetryPolicy(attempts=4, sleep=waits.append))
    with pytest.raises(RunFailed) as caught:
        output.publish(made, "churn", UID)
    assert caught.value.reason == "UploadFailed"
    assert waits == [0.5, 1.0, 2.0]
    with pytest.raises(RunFailed) as refused:
        output.check()
    assert refused.value.reason == "StorageUnreachable"
    with pytest.raises(RunFailed) as unread:
        output.verify("churn", UID)
    assert unread.value.reason == "StorageUnreachable"


def test_an_object_that_reads_back_differently_is_not_a_success(s3_server, bucket, made, monkeypatch):
    output = opened(s3_server, f"s3://{bucket}")
    monkeypatch.setattr(output.store, "retry", NO_WAIT)
    client = s3_server.client()

    def put(key, content, **_):
        size = content.stat().st_size if isinstance(content, Path) else len(content)
        client.put_object(bucket, key, io.BytesIO(b"x" * size), size)

    monkeypatch.setattr(output.store, "put", put)
    with pytest.raises(RunFailed) as caught:
        output.publish(made, "churn", UID)
    assert caught.value.reason == "UploadFailed"
    assert "read back" in caught.value.message
    assert f"churn-{UID}/manifest.json" not in keys(s3_server, bucket)


def test_state_objects(s3_server, bucket, tmp_path, monkeypatch):
    state = opened(s3_server, f"s3://{bucket}/a").state("churn", UID)
    source, copy = tmp_path / "journal", tmp_path / "copy"
    source.write_bytes(b"one")
    assert not state.get("journal", copy)
    state.put("journal", source)
    source.write_bytes(b"two!")
    state.put("journal", source)
    assert keys(s3_server, bucket) == {f"a/churn-{UID}/.state/journal"}
    assert state.get("journal", copy)
    assert copy.read_bytes() == b"two!"
    monkeypatch.setattr("trainingjob_trainer.storage.store.MAX_STATE_BYTES", 2)
    with pytest.raises(RunFailed) as caught:
        state.get("journal", tmp_path / "other")
    assert caught.value.reason == "StateNotRead"
    with pytest.raises(RunFailed):
        state.put("journal", source)
    assert not (tmp_path / "other").exists()
    state.delete("journal")
    assert not state.get("journal", copy)


def test_the_state_of_an_unreachable_storage_is_an_error(s3_server, bucket, tmp_path, gate):
    gate.open = False
    state = behind(s3_server, gate, bucket, NO_WAIT).state("churn", UID)
    (tmp_path / "journal").write_bytes(b"one")
    with pytest.raises(RunFailed) as caught:
        state.put("journal", tmp_path / "journal")
    assert caught.value.reason == "StateNotSaved"
    with pytest.raises(RunFailed) as caught:
        state.get("journal", tmp_path / "journal")
    assert caught.value.reason == "StateNotRead"


SETTINGS = TrainerSettings(allowed_endpoints=("minio.example",))


@pytest.mark.parametrize(
    ("endpoint", "reason"),
    [
        ("https://other.example", "EndpointNotAllowed"),
        ("https://minio.example.evil.example", "EndpointNotAllowed"),
        ("https://me:secret@minio.example", "InvalidEndpoint"),
        ("https://minio.example/path", "InvalidEndpoint"),
        ("minio.example", "InvalidEndpoint"),
        ("ftp://minio.example", "InvalidEndpoint"),
        ("https://minio.example:port", "InvalidEndpoint"),
        ("https://[secret", "InvalidEndpoint"),
    ],
)
def test_endpoints(endpoint, reason):
    with pytest.raises(SpecInvalid) as caught:
        s3_client(endpoint, None, SETTINGS, {}, field="spec.output")
    assert caught.value.reason == reason
    assert "secret" not in caught.value.message


def test_credentials_come_from_files_before_the_environment(tmp_path):
    environment = {"AWS_ACCESS_KEY_ID": "from-env", "AWS_SECRET_ACCESS_KEY": "env-secret"}
    (tmp_path / "AWS_ACCESS_KEY_ID").write_text("from-file\n")
    client = s3_client("https://minio.example", tmp_path, SETTINGS, environment, field="spec.output")
    assert client._provider.retrieve().access_key == "from-file"
    client = s3_client("https://minio.example", None, SETTINGS, environment, field="spec.output")
    assert client._provider.retrieve().access_key == "from-env"
    assert s3_client("https://minio.example", None, SETTINGS, {}, field="spec.output")._provider is None


@pytest.mark.parametrize(
    "present",
    [
        {},
        {"AWS_ACCESS_KEY_ID": "id"},
        {"AWS_SECRET_ACCESS_KEY": "secret"},
        {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": " \n"},
        {"AWS_ACCESS_KEY_ID": "id\nX: 1", "AWS_SECRET_ACCESS_KEY": "secret"},
    ],
)
def test_another_pod_mounts_a_secret_without_usable_keys_again(tmp_path, present):
    for name, value in present.items():
        (tmp_path / name).write_text(value)
    with pytest.raises(RunFailed) as caught:
        s3_client("https://minio.example", tmp_path, SETTINGS, {}, field="spec.output")
    assert (caught.value.reason, caught.value.exit_code) == ("CredentialsMissing", 1)
    assert "spec.output" in caught.value.message
    assert "secret" not in caught.value.message


@pytest.mark.parametrize("key", ["id\nX-Evil: 1", ""])
def test_unusable_keys_of_the_environment_are_rejected(key):
    environment = {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": "secret"}
    with pytest.raises(SpecInvalid) as caught:
        s3_client("https://minio.example", None, SETTINGS, environment, field="spec.output")
    assert (caught.value.reason, caught.value.exit_code) == ("CredentialsMissing", 2)
    assert "Evil" not in caught.value.message


def s3_error(code):
    return S3Error(None, code, "AKIA-secret", "resource", "id", "host")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (s3_error("NoSuchBucket"), "BucketNotFound"),
        (s3_error("SignatureDoesNotMatch"), "CredentialsRefused"),
        (s3_error("SlowDown"), None),
        (InvalidResponseError(403, "text/html", "secret"), "CredentialsRefused"),
        (InvalidResponseError(502, "text/html", "secret"), None),
        (ServerError("secret", 503), None),
        (MaxRetryError(None, "secret", NewConnectionError(None, "secret")), None),
        (TimeoutError("secret"), None),
    ],
)
def test_each_failure_of_the_server_has_its_error(error, reason):
    client = SimpleNamespace(stat_object=Mock(side_effect=error))
    with pytest.raises((SpecInvalid, StoreError)) as caught:
        S3Store(client, "b", "", endpoint="https://e", field="spec.dataset").stat("key")
    assert getattr(caught.value, "reason", None) == reason
    assert "secret" not in str(caught.value)
