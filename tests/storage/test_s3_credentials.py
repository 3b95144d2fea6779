"""Keys that change while a run uses them: a Secret that is rotated, a cloud role that expires."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from support.loopback import Answer, Asked, serving
from trainingjob_trainer.errors import SpecInvalid, TrainingError
from trainingjob_trainer.run import publish
from trainingjob_trainer.run.publish import insist
from trainingjob_trainer.settings import TrainerSettings
from trainingjob_trainer.storage import Output, RetryPolicy, S3Store, access
from trainingjob_trainer.storage.access import s3_client

if TYPE_CHECKING:
    from pathlib import Path

    from support.seaweed import S3Server

UID = "8d1f0a52"
ONCE = RetryPolicy(attempts=1)
JWT = "a-token-that-no-message-may-show"


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(publish, "_PAUSE_SECONDS", 0.0)


def output(endpoint: str, folder: Path | None, environment: dict[str, str]) -> Output:
    settings = TrainerSettings(s3_timeout_seconds=10)
    client = s3_client(endpoint, folder, settings, environment, field="spec.output")
    return Output(S3Store(client, "bucket", "", endpoint=endpoint, retry=ONCE))


def mounted(folder: Path, version: str, secret: str) -> None:
    """Write keys as the kubelet does: a folder for each version, and one link that is exchanged."""
    (folder / version).mkdir(parents=True)
    for name, value in {"AWS_ACCESS_KEY_ID": "test-key", "AWS_SECRET_ACCESS_KEY": secret}.items():
        (folder / version / name).write_text(value)
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")
    (folder / "..new").symlink_to(version)
    (folder / "..new").rename(folder / "..data")


def test_rotated_keys_are_read_again_during_a_publication(s3_server: S3Server, tmp_path: Path) -> None:
    s3_server.bucket("bucket")
    made, folder = tmp_path / "made", tmp_path / "keys"
    made.mkdir()
    (made / "model.joblib").write_bytes(b"model")
    mounted(folder, "..1", s3_server.secret_key + "-not-yet")
    place = output(s3_server.endpoint, folder, {})
    refused: list[str] = []

    def rotate(reason: str, _message: str) -> None:
        refused.append(reason)
        if len(refused) == 2:
            mounted(folder, "..2", s3_server.secret_key)

    artifacts = insist(
        lambda: place.publish(made, "churn", UID),
        patience_seconds=60.0,
        on_trouble=rotate,
        interrupted=lambda: len(refused) > 2,
    )
    assert refused == ["CredentialsRefused"] * 2
    assert place.verify("churn", UID) == artifacts


def test_the_last_valid_keys_stay_if_a_mount_is_emptied(tmp_path: Path) -> None:
    mounted(tmp_path, "..1", "first")
    client = s3_client("http://minio.example", tmp_path, TrainerSettings(), {}, field="spec.output")
    assert client._provider is not None
    for value in ("", "x\ny"):
        (tmp_path / "..1/AWS_SECRET_ACCESS_KEY").write_text(value)
        assert client._provider.retrieve().secret_key == "first"
    mounted(tmp_path, "..2", "second")
    assert client._provider.retrieve().secret_key == "second"


def test_both_keys_are_of_one_version_of_the_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounted(tmp_path, "..1", "first")
    client = s3_client("http://minio.example", tmp_path, TrainerSettings(), {}, field="spec.output")
    read = access._value

    def rotate_after(name: str, *arguments: Any) -> str:
        value = read(name, *arguments)
        if name == "AWS_ACCESS_KEY_ID":
            mounted(tmp_path, "..2", "second")
        return value

    monkeypatch.setattr(access, "_value", rotate_after)
    assert client._provider is not None
    assert client._provider.retrieve().secret_key == "first"


def assumed(number: int, seconds: int) -> Answer:
    until = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds)
    values = {
        "AccessKeyId": f"temporary-{number}",
        "SecretAccessKey": "temporary-secret",
        "SessionToken": f"session-{number}",
        "Expiration": until.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    inner = "".join(f"<{name}>{value}</{name}>" for name, value in values.items())
    return Answer(
        body=f'<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
        f"<AssumeRoleWithWebIdentityResult><Credentials>{inner}</Credentials>"
        "</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>".encode()
    )


def identity(folder: Path, sts: str) -> dict[str, str]:
    """Return the environment that a cloud's webhook gives a pod with a role."""
    (folder / "token").write_text(JWT)
    return {
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(folder / "token"),
        "AWS_ROLE_ARN": "arn:aws:iam::1:role/models",
        "AWS_ENDPOINT_URL_STS": sts,
        "AWS_REGION": "eu-west-1",
    }


def test_a_role_signs_with_temporary_keys_and_renews_them(tmp_path: Path) -> None:
    lives = [5, 3600]  # seconds; what ends within 10 s counts as expired
    with (
        serving(lambda _: assumed(2 - len(lives), lives.pop(0))) as sts,
        serving() as storage,
    ):
        place = output(storage.uri, None, identity(tmp_path, sts.uri))
        (tmp_path / "token").write_text(JWT + "-rotated")
        place.check()
    asked = [parse_qs(urlsplit(request.path).query) for request in sts.asked]
    assert [query["Action"] for query in asked] == [["AssumeRoleWithWebIdentity"]] * 2
    assert [query["RoleArn"] for query in asked] == [["arn:aws:iam::1:role/models"]] * 2
    assert asked[0]["WebIdentityToken"] == [JWT + "-rotated"], "the token file is read for each renewal"
    tokens = [request.headers["x-amz-security-token"] for request in storage.asked]
    assert tokens == ["session-0", "session-1", "session-1"]
    for number, request in zip((0, 1, 1), storage.asked, strict=True):
        assert f"Credential=temporary-{number}/" in request.headers["authorization"]
        assert JWT not in str(request)


@pytest.mark.parametrize(
    ("answer", "reason", "words"),
    [
        (Answer(403, body=b"<x>" + JWT.encode() + b"</x>"), "CredentialsRefused", "HTTP status 403"),
        (Answer(302, {"Location": "http://127.0.0.1:1/"}), "CredentialsRefused", "serviceAccountAnnotations"),
        (Answer(body=b"<x/>"), "CredentialsRefused", "serviceAccountAnnotations"),
        (Answer(body=b"no XML"), "CredentialsRefused", "serviceAccountAnnotations"),
        (Answer(503), "StorageUnreachable", "cannot be reached"),
    ],
)
def test_a_token_service_without_keys_is_an_error(
    tmp_path: Path, answer: Answer, reason: str, words: str
) -> None:
    with serving(lambda _: answer) as sts, serving() as storage, pytest.raises(TrainingError) as caught:
        output(storage.uri, None, identity(tmp_path, sts.uri)).check()
    assert caught.value.reason == reason
    assert isinstance(caught.value, SpecInvalid) == (reason == "CredentialsRefused")
    assert words in caught.value.message
    assert JWT not in f"{caught.value.message}{caught.value.__cause__!r}"
    assert len(sts.asked) == 1
    assert storage.asked == []


def test_a_missing_token_file_is_named_with_a_remedy(tmp_path: Path) -> None:
    environment = identity(tmp_path, "http://127.0.0.1:1")
    (tmp_path / "token").unlink()
    with pytest.raises(SpecInvalid, match="serviceAccountAnnotations"):
        output("http://127.0.0.1:1", None, environment).check()


def test_container_credentials_do_not_come_from_the_sts_endpoint(tmp_path: Path) -> None:
    body = (
        b'{"AccessKeyId": "temporary", "SecretAccessKey": "s", "Token": "session", '
        b'"Expiration": "2999-01-01T00:00:00Z"}'
    )
    with serving(lambda _: Answer(body=body)) as agent, serving() as storage:
        environment = {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{agent.uri}/v1/credentials",
            "AWS_ENDPOINT_URL_STS": "http://127.0.0.1:1",
            "AWS_REGION": "eu-west-1",
        }
        output(storage.uri, None, environment).check()
    assert [request.path for request in agent.asked] == ["/v1/credentials"]
    assert {request.headers["x-amz-security-token"] for request in storage.asked} == {"session"}


@pytest.mark.parametrize("keys", ["folder", "environment"])
def test_given_keys_take_precedence_over_a_role(tmp_path: Path, keys: str) -> None:
    def never(_: Asked) -> Answer:
        raise AssertionError("the token service was asked")

    with serving(never) as sts, serving() as storage:
        environment = identity(tmp_path, sts.uri)
        folder = None
        if keys == "folder":
            folder = tmp_path / "keys"
            mounted(folder, "..1", "secret")
        else:
            environment |= {"AWS_ACCESS_KEY_ID": "test-key", "AWS_SECRET_ACCESS_KEY": "secret"}
        output(storage.uri, folder, environment).check()
    assert sts.asked == []
    assert all("Credential=test-key/" in request.headers["authorization"] for request in storage.asked)


@pytest.mark.parametrize("name", ["AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"])
def test_without_a_complete_role_requests_are_unsigned_and_no_metadata_is_read(
    tmp_path: Path, name: str
) -> None:
    environment = identity(tmp_path, "http://127.0.0.1:1")
    environment.pop(name)
    client = s3_client("http://minio.example", None, TrainerSettings(), environment, field="spec.output")
    assert client._provider is None
