"""What the S3 client never does: trust a stranger's certificate, follow a redirect, wait without end."""

from __future__ import annotations

import socket
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from support.loopback import HOST, Answer, certificate, serving
from trainingjob_api.spec import Dataset
from trainingjob_trainer.dataset.s3_source import s3_chunks
from trainingjob_trainer.errors import TrainingError
from trainingjob_trainer.settings import TrainerSettings
from trainingjob_trainer.storage import RetryPolicy, S3Output, s3_client

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

UID = "8d1f0a52"
ONCE = RetryPolicy(attempts=1)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainerSettings:
    """Have credentials to lose, a region, and an environment that trusts nothing of its own."""
    for name in (
        "SSL_CERT_FILE",
        "AWS_SESSION_TOKEN",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "http_proxy",
        "https_proxy",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / "AWS_ACCESS_KEY_ID").write_text("an-id")
    (folder / "AWS_SECRET_ACCESS_KEY").write_text("very-secret")
    return TrainerSettings(s3_timeout_seconds=5, credentials_dir=folder)


def read_dataset(endpoint: str, settings: TrainerSettings) -> bytes:
    dataset = Dataset(uri="s3://bucket/t.csv", endpoint=endpoint)
    with s3_chunks(dataset, settings, retry=ONCE) as chunks:
        return b"".join(chunks)


def output(endpoint: str, settings: TrainerSettings) -> S3Output:
    client = s3_client(endpoint, settings.credentials_dir, settings, field="spec.output")
    return S3Output(client, "bucket", "", endpoint=endpoint, retry=ONCE, check_retry=ONCE)


def publish(endpoint: str, settings: TrainerSettings) -> None:
    assert settings.credentials_dir is not None
    output(endpoint, settings).publish(settings.credentials_dir, "churn", UID)


def put_state(endpoint: str, settings: TrainerSettings) -> None:
    assert settings.credentials_dir is not None
    source = settings.credentials_dir / "AWS_ACCESS_KEY_ID"
    output(endpoint, settings).state("churn", UID).put("journal", source)


def get_state(endpoint: str, settings: TrainerSettings) -> None:
    assert settings.credentials_dir is not None
    output(endpoint, settings).state("churn", UID).get("journal", settings.credentials_dir / "copy")


CALLS = {
    "dataset": read_dataset,
    "check": lambda endpoint, settings: output(endpoint, settings).check(),
    "publish": publish,
    "verify": lambda endpoint, settings: output(endpoint, settings).verify("churn", UID),
    "put-state": put_state,
    "get-state": get_state,
}
each_call = pytest.mark.parametrize("call", CALLS.values(), ids=list(CALLS))


def refusal(call: Callable[[str, TrainerSettings], object], endpoint: str, settings: TrainerSettings) -> str:
    with pytest.raises(TrainingError) as caught:
        call(endpoint, settings)
    return caught.value.message


@each_call
def test_a_certificate_that_nobody_vouches_for_ends_the_connection(
    call: Callable[..., object], settings: TrainerSettings, tmp_path: Path
) -> None:
    with serving(pem=certificate(HOST, tmp_path / "server.pem")) as server:
        assert "SSLError" in refusal(call, server.uri, settings)
    assert server.asked == [], "neither keys nor rows reach a server that cannot prove who it is"


@each_call
def test_a_trusted_certificate_of_another_host_ends_the_connection(
    call: Callable[..., object], settings: TrainerSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem = certificate("other.example", tmp_path / "server.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    with serving(pem=pem) as server:
        assert "SSLError" in refusal(call, server.uri, settings)
    assert server.asked == []


def test_the_authority_of_the_environment_is_trusted_and_the_session_token_sent(
    settings: TrainerSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem = certificate(HOST, tmp_path / "server.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    assert settings.credentials_dir is not None
    (settings.credentials_dir / "AWS_SESSION_TOKEN").write_text("a-token\n")
    with serving(lambda _: Answer(body=b"x"), pem) as server:
        assert read_dataset(server.uri, settings) == b"x"
    (asked,) = server.asked
    assert (asked.method, asked.path) == ("GET", "/bucket/t.csv")
    assert asked.headers["x-amz-security-token"] == "a-token"
    assert "an-id" in asked.headers["authorization"]
    assert "/us-east-1/" in asked.headers["authorization"]
    assert "very-secret" not in str(asked.headers)


@each_call
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(call: Callable[..., object], status: int, settings: TrainerSettings) -> None:
    with (
        serving(lambda _: Answer(body=b"x")) as elsewhere,
        serving(lambda asked: Answer(status, {"Location": elsewhere.uri + asked.path})) as server,
    ):
        refusal(call, server.uri, settings)
    assert server.asked
    assert elsewhere.asked == [], "the allow-list holds for the endpoint alone"


@each_call
def test_a_server_that_never_answers_is_left(call: Callable[..., object], settings: TrainerSettings) -> None:
    with socket.create_server((HOST, 0)) as silent:
        endpoint = f"http://{HOST}:{silent.getsockname()[1]}"
        assert "ReadTimeoutError" in refusal(call, endpoint, replace(settings, s3_timeout_seconds=0.2))


def test_a_credential_is_read_to_a_bound_only(settings: TrainerSettings) -> None:
    assert settings.credentials_dir is not None
    (settings.credentials_dir / "AWS_ACCESS_KEY_ID").write_text("a" * 1_000_000)
    client = s3_client(f"http://{HOST}", settings.credentials_dir, settings, field="spec.output")
    assert len(client._provider.retrieve().access_key) == 16 * 1024
