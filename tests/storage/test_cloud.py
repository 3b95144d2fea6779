"""Google's and Azure's storage: keys, hosts of the requests, and messages of failures."""

from __future__ import annotations

import base64
import json
import socket
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest

from support.fake_cloud import SERVER_TEXT, FakeCloud, service_account
from support.loopback import Answer, Asked, Server, certificate, serving
from trainingjob_api.storage import Dataset
from trainingjob_trainer.data.sources import open_source
from trainingjob_trainer.errors import RunFailed, SpecInvalid, TrainingError
from trainingjob_trainer.settings import TrainerSettings
from trainingjob_trainer.storage import Output, RetryPolicy, open_output
from trainingjob_trainer.storage.cloud import CloudStore, open_cloud

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

UID = "8d1f0a52"
ACCOUNT = service_account()
KEYS: dict[str, dict[str, str]] = {
    "gs": {"GOOGLE_SERVICE_ACCOUNT_KEY": json.dumps(ACCOUNT)},
    "az": {"AZURE_STORAGE_ACCOUNT_NAME": "models", "AZURE_STORAGE_ACCOUNT_KEY": "c2VjcmV0LWtleQ=="},
}
NO_WAIT = RetryPolicy(attempts=3, sleep=lambda _seconds: None)
each_cloud = pytest.mark.parametrize("scheme", ["gs", "az"])


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "SSL_CERT_FILE", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)


def mounted(folder: Path, values: dict[str, str]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, value in values.items():
        (folder / name).write_text(value)
    return folder


def store(
    scheme: str,
    server: Server,
    folder: Path | None,
    environment: dict[str, str] | None = None,
    **changed: Any,
) -> CloudStore:
    settings = {"google_endpoint": server.uri, "azure_endpoint": server.uri, "s3_timeout_seconds": 2.0}
    found = open_cloud(
        scheme,
        "bucket",
        "",
        endpoint=None,
        credentials_dir=folder,
        settings=TrainerSettings(**{**settings, **changed}),
        field="spec.output",
        environment=environment or {},
    )
    found.retry = NO_WAIT
    return found


@pytest.fixture
def made(tmp_path: Path) -> Path:
    return mounted(tmp_path / "made", {"leaderboard.json": "{}"})


def reason_of(action: Any) -> tuple[str, TrainingError]:
    with pytest.raises(TrainingError) as caught:
        action()
    secrets = (SERVER_TEXT, "c2VjcmV0", ACCOUNT["private_key"][:40], "PRIVATE")
    text = f"{caught.value.message}{caught.value.__cause__!r}"
    assert not any(secret in text for secret in secrets)
    return caught.value.reason, caught.value


@each_cloud
@pytest.mark.parametrize(
    ("status", "reason"), [(401, "CredentialsRefused"), (403, "CredentialsRefused"), (400, "UploadFailed")]
)
def test_a_refusal_is_not_repeated(tmp_path: Path, made: Path, scheme: str, status: int, reason: str) -> None:
    cloud = FakeCloud(scheme, "bucket")
    cloud.trouble = lambda asked: Answer(status, {}, SERVER_TEXT.encode()) if asked.method == "PUT" else None
    with cloud.running() as server:
        output = Output(store(scheme, server, mounted(tmp_path / "keys", KEYS[scheme])))
        for action in (output.check, lambda: output.publish(made, "churn", UID)):
            server.asked.clear()
            found, error = reason_of(action)
            assert (found, str(status) in error.message) == (reason, True)
            assert [request.method for request in server.asked].count("PUT") == 1
            if reason == "CredentialsRefused":
                assert error.message.startswith("spec.output: ")
                assert all(name in error.message for name in KEYS[scheme])


@each_cloud
@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_fault_of_the_service_is_retried(tmp_path: Path, made: Path, scheme: str, status: int) -> None:
    cloud, faults = FakeCloud(scheme, "bucket"), iter([status, status])
    cloud.trouble = lambda asked: (
        Answer(fault) if asked.method == "PUT" and (fault := next(faults, None)) else None
    )
    with cloud.running() as server:
        output = Output(store(scheme, server, mounted(tmp_path / "keys", KEYS[scheme])))
        artifacts = output.publish(made, "churn", UID)
        assert output.verify("churn", UID) == artifacts
        cloud.trouble = lambda _asked: Answer(status, {}, SERVER_TEXT.encode())
        server.asked.clear()
        assert reason_of(output.check)[0] == "StorageUnreachable"
        # The policy above the store counts alone.
        assert len(server.asked) == NO_WAIT.attempts
        found, error = reason_of(lambda: output.publish(made, "churn", UID))
        assert (found, f"HTTP status {status}" in error.message) == ("UploadFailed", True)
        assert reason_of(lambda: output.verify("churn", UID))[0] == "StorageUnreachable"


@each_cloud
def test_a_bucket_that_does_not_exist_is_named(tmp_path: Path, made: Path, scheme: str) -> None:
    with FakeCloud(scheme, "other").running() as server:
        output = Output(store(scheme, server, mounted(tmp_path / "keys", KEYS[scheme])))
        for action in (output.check, lambda: output.publish(made, "churn", UID)):
            found, error = reason_of(action)
            assert found == "BucketNotFound"
            assert f"{'container' if scheme == 'az' else 'bucket'} 'bucket'" in error.message


@each_cloud
def test_keys_that_may_not_list_see_a_missing_object_as_a_forbidden_one(
    tmp_path: Path, made: Path, scheme: str
) -> None:
    cloud = FakeCloud(scheme, "bucket")
    cloud.trouble = lambda asked: (
        Answer(403)
        if asked.method in {"GET", "HEAD"} and unquote(asked.path).lstrip("/") not in cloud.objects
        else None
    )
    with cloud.running() as server:
        output = Output(store(scheme, server, mounted(tmp_path / "keys", KEYS[scheme])))
        assert output.publish(made, "churn", UID) == output.verify("churn", UID)


@each_cloud
def test_a_silent_server_times_out(tmp_path: Path, scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:

        class Silent:
            uri = f"http://127.0.0.1:{silent.getsockname()[1]}"

        keys = mounted(tmp_path / "keys", KEYS[scheme])
        output = Output(store(scheme, Silent, keys, s3_timeout_seconds=0.2))  # type: ignore[arg-type]
        found, error = reason_of(output.check)
    assert (found, "connection failed" in error.message) == ("StorageUnreachable", True)


@each_cloud
def test_a_truncated_body_is_not_an_object(tmp_path: Path, scheme: str) -> None:
    stamps = {"ETag": '"x"', "Last-Modified": "Sun, 06 Nov 1994 08:49:37 GMT", "Content-Length": "100"}
    with serving(lambda _asked: Answer(200, {**stamps, "Connection": "close"}, b"half")) as server:
        found = store(scheme, server, mounted(tmp_path / "keys", KEYS[scheme]))
        assert reason_of(lambda: Output(found).verify("churn", UID))[0] == "StorageUnreachable"


@each_cloud
def test_only_the_authority_of_the_environment_is_trusted(tmp_path: Path, scheme: str) -> None:
    pem = certificate("127.0.0.1", tmp_path / "server.pem", ca=False)
    keys = mounted(tmp_path / "keys", KEYS[scheme])
    cloud = FakeCloud(scheme, "bucket")
    with serving(cloud.answer, pem) as server:
        assert reason_of(Output(store(scheme, server, keys)).check)[0] == "StorageUnreachable"
        assert server.asked == []
        Output(store(scheme, server, keys, {"SSL_CERT_FILE": str(pem)})).check()
        assert server.asked


def test_keys_that_are_rotated_are_used_by_the_next_request(tmp_path: Path) -> None:
    cloud, folder = FakeCloud("az", "bucket"), tmp_path / "keys"
    mounted(folder, {"AZURE_STORAGE_ACCOUNT_NAME": "models", "AZURE_STORAGE_SAS_TOKEN": "sv=1&sig=first"})
    with cloud.running() as server:
        found = store("az", server, folder)
        for signature in ("first", "second"):
            mounted(folder, {"AZURE_STORAGE_SAS_TOKEN": f"sv=1&sig={signature}"})
            found.put("x", b"")
            assert f"sig={signature}" in server.asked[-1].path
        (folder / "AZURE_STORAGE_ACCOUNT_NAME").write_text("")  # while the kubelet exchanges the files
        found.put("x", b"")
        assert "sig=second" in server.asked[-1].path


def test_a_service_account_signs_its_own_token_and_its_addresses_are_not_asked(tmp_path: Path) -> None:
    with serving() as elsewhere, FakeCloud("gs", "bucket").running() as server:
        evil = {**ACCOUNT, "token_uri": f"{elsewhere.uri}/token", "gcs_base_url": elsewhere.uri}
        keys = mounted(tmp_path / "keys", {"GOOGLE_SERVICE_ACCOUNT_KEY": json.dumps(evil, indent=2)})
        settings = {"google_endpoint": server.uri}
        store("gs", server, keys, **settings).put("x", b"")
        assert elsewhere.asked == []
        token = server.asked[0].headers["authorization"].removeprefix("Bearer ").split(".")[1]
        assert json.loads(base64.urlsafe_b64decode(token + "=="))["iss"] == ACCOUNT["client_email"]


@contextmanager
def metadata(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    def answer(_asked: Asked) -> Answer:
        return Answer(body=b'{"access_token": "of-the-pod", "expires_in": 3600, "token_type": "Bearer"}')

    with serving(answer) as server:
        for name in ("GCE_METADATA_HOST", "GCE_METADATA_ROOT", "GCE_METADATA_IP"):
            monkeypatch.setenv(name, f"127.0.0.1:{server.port}")
        yield server


def test_the_metadata_server_is_asked_only_where_that_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    with metadata(monkeypatch) as node, FakeCloud("gs", "bucket").running() as server:
        Output(store("gs", server, None)).check()
        assert node.asked == []
        assert {request.headers.get("authorization", "").strip() for request in server.asked} <= {
            "",
            "Bearer",
        }
        Output(store("gs", server, None, allow_google_metadata=True)).check()
        assert node.asked
        assert server.asked[-1].headers["authorization"] == "Bearer of-the-pod"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(body=b'{"access_token": "of-the-pod", "expires_in": 3600}'), None),
        (Answer(400, {}, SERVER_TEXT.encode()), "CredentialsRefused"),
        (Answer(503), "StorageUnreachable"),
    ],
)
def test_a_pod_has_the_identity_of_its_service_account(
    tmp_path: Path, answer: Answer, reason: str | None
) -> None:
    (tmp_path / "token").write_text("a-token-that-no-message-shows")
    with serving(lambda _asked: answer) as issuer, FakeCloud("az", "bucket").running() as server:
        environment = {
            "AZURE_STORAGE_ACCOUNT_NAME": "models",
            "AZURE_FEDERATED_TOKEN_FILE": str(tmp_path / "token"),
            "AZURE_CLIENT_ID": "client",
            "AZURE_TENANT_ID": "tenant",
            "AZURE_AUTHORITY_HOST": issuer.uri,
        }
        output = Output(store("az", server, None, environment))
        if reason is None:
            output.check()
            assert server.asked[0].headers["authorization"] == "Bearer of-the-pod"
        else:
            assert reason_of(output.check)[0] == reason
            assert server.asked == []
        assert b"a-token-that-no-message-shows" in issuer.asked[0].body


def test_without_any_identity_requests_are_anonymous() -> None:
    with FakeCloud("az", "bucket").running() as server:
        Output(store("az", server, None, {"AZURE_STORAGE_ACCOUNT_NAME": "models"})).check()
        assert all("authorization" not in request.headers for request in server.asked)


@pytest.mark.parametrize(
    ("scheme", "values"),
    [
        ("gs", {}),
        ("gs", {"GOOGLE_SERVICE_ACCOUNT_KEY": "{"}),
        ("gs", {"GOOGLE_SERVICE_ACCOUNT_KEY": "[]"}),
        ("gs", {"GOOGLE_SERVICE_ACCOUNT_KEY": '{"type": "authorized_user"}'}),
        ("gs", {"GOOGLE_SERVICE_ACCOUNT_KEY": '{"client_email": "a", "private_key": "no-pem"}'}),
        ("az", {"AZURE_STORAGE_ACCOUNT_KEY": "c2VjcmV0"}),
        ("az", {"AZURE_STORAGE_ACCOUNT_NAME": "evil.example/x#", "AZURE_STORAGE_ACCOUNT_KEY": "c2VjcmV0"}),
        ("az", {"AZURE_STORAGE_ACCOUNT_NAME": "models", "AZURE_STORAGE_ACCOUNT_KEY": "not base64"}),
        ("az", {"AZURE_STORAGE_ACCOUNT_NAME": "models", "AZURE_STORAGE_SAS_TOKEN": "sig\nX-Evil: 1"}),
    ],
)
@pytest.mark.parametrize("is_mounted", [True, False])
def test_unusable_keys_are_named(
    tmp_path: Path, scheme: str, values: dict[str, str], *, is_mounted: bool
) -> None:
    if not values and not is_mounted:
        pytest.skip("then requests are anonymous")
    folder = mounted(tmp_path / "keys", values) if is_mounted else None
    with serving() as server:
        found, error = reason_of(lambda: store(scheme, server, folder, {} if is_mounted else values))
        assert found == "CredentialsMissing"
        # Another pod mounts the Secret again; the environment stays as it is.
        assert isinstance(error, RunFailed if is_mounted else SpecInvalid)
        assert "spec.output" in error.message
        assert server.asked == []


@pytest.mark.parametrize(
    ("scheme", "allowed", "passes"),
    [
        ("gs", ("minio.example",), False),
        ("gs", ("storage.googleapis.com",), True),
        ("az", ("other.blob.core.windows.net",), False),
        ("az", ("models.blob.core.windows.net",), True),
        ("az", ("blob.core.windows.net",), True),
        ("az", (), True),
    ],
)
def test_the_allow_list_applies_to_the_hosts_of_a_cloud(
    tmp_path: Path, scheme: str, allowed: tuple[str, ...], *, passes: bool
) -> None:
    keys = mounted(tmp_path / "keys", KEYS[scheme])
    settings = TrainerSettings(allowed_endpoints=allowed)

    def opened() -> Output:
        return open_output(f"{scheme}://bucket/x", endpoint=None, credentials_dir=keys, settings=settings)

    if passes:
        assert f"at {allowed[0] if allowed and 'models' in allowed[0] else ''}" in opened().store.where
    else:
        assert reason_of(opened)[0] == "EndpointNotAllowed"


@each_cloud
def test_other_addresses_are_rejected(tmp_path: Path, scheme: str) -> None:
    keys, settings = mounted(tmp_path / "keys", KEYS[scheme]), TrainerSettings()
    for uri, endpoint, reason in (
        (f"{scheme}://bucket/x", "https://minio.example", "InvalidEndpoint"),
        (f"{scheme}://bucket/a//b", None, "InvalidOutput"),
        (f"{scheme}://bucket/a/./b", None, "InvalidOutput"),
        (f"{scheme}://bucket/a/../b", None, "InvalidOutput"),
        (f"{scheme}://Bucket/x", None, "InvalidOutput"),
        (f"{scheme}://user:password@bucket/x", None, "InvalidOutput"),
    ):
        found, error = reason_of(
            lambda uri=uri, endpoint=endpoint: open_output(
                uri, endpoint=endpoint, credentials_dir=keys, settings=settings
            )
        )
        assert found == reason
        assert "password" not in error.message


@each_cloud
def test_a_dataset_is_read_and_a_missing_one_named(tmp_path: Path, scheme: str) -> None:
    cloud = FakeCloud(scheme, "bucket")
    cloud.objects["bucket/tables/churn 1.csv"] = b"a,b\n1,2\n"
    with cloud.running() as server:
        settings = TrainerSettings(
            google_endpoint=server.uri,
            azure_endpoint=server.uri,
            credentials_dir=mounted(tmp_path / "keys", KEYS[scheme]),
        )

        def read(key: str) -> bytes:
            with open_source(Dataset(uri=f"{scheme}://bucket/{key}"), settings) as chunks:
                return b"".join(chunks)

        assert read("tables/churn 1.csv") == b"a,b\n1,2\n"
        assert reason_of(lambda: read("tables/other.csv"))[0] == "DatasetNotFound"
        for key in ("/tables/churn 1.csv", "tables//churn 1.csv", "tables/./churn 1.csv"):
            assert reason_of(lambda key=key: read(key))[0] == "DatasetUriInvalid"
        cloud.buckets = ()
        assert reason_of(lambda: read("tables/churn 1.csv"))[0] == "BucketNotFound"


@each_cloud
def test_without_the_extra_the_message_names_the_package(
    monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.delitem(sys.modules, "trainingjob_trainer.storage.cloud")
    monkeypatch.setitem(sys.modules, "obstore", None)
    found, error = reason_of(
        lambda: open_output(
            f"{scheme}://bucket/x", endpoint=None, credentials_dir=None, settings=TrainerSettings()
        )
    )
    assert found == "InvalidEnvironment"
    assert "spec.output.uri" in error.message
    assert "install trainingjob[cloud]" in error.message
