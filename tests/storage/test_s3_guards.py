"""The S3 client never trusts an unknown certificate, follows a redirect or waits without a limit."""

from __future__ import annotations

import socket
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import urllib3
from urllib3.exceptions import MaxRetryError

from support.loopback import HOST, Answer, certificate, serving
from trainingjob_trainer.data.sources import object_chunks
from trainingjob_trainer.errors import SpecInvalid, TrainingError
from trainingjob_trainer.settings import TrainerSettings
from trainingjob_trainer.storage import OBJECT_STORES, Output, RetryPolicy, S3Store
from trainingjob_trainer.storage.access import s3_client

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from minio import Minio

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
    store = OBJECT_STORES["s3"](
        "bucket",
        "",
        endpoint=endpoint,
        credentials_dir=settings.credentials_dir,
        settings=settings,
        field="spec.dataset",
    )
    with object_chunks(store, "t.csv", "s3://bucket/t.csv", retry=ONCE) as chunks:
        return b"".join(chunks)


def output(endpoint: str, settings: TrainerSettings) -> Output:
    client = s3_client(endpoint, settings.credentials_dir, settings, field="spec.output")
    return Output(S3Store(client, "bucket", "", endpoint=endpoint, retry=ONCE))


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
def test_an_untrusted_certificate_ends_the_connection(
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
def test_a_request_to_a_silent_server_times_out(
    call: Callable[..., object], settings: TrainerSettings
) -> None:
    with socket.create_server((HOST, 0)) as silent:
        endpoint = f"http://{HOST}:{silent.getsockname()[1]}"
        assert "ReadTimeoutError" in refusal(call, endpoint, replace(settings, s3_timeout_seconds=0.2))


def test_only_a_bounded_part_of_a_credential_is_read(settings: TrainerSettings) -> None:
    assert settings.credentials_dir is not None
    (settings.credentials_dir / "AWS_ACCESS_KEY_ID").write_text("a" * 1_000_000)
    client = s3_client(f"http://{HOST}", settings.credentials_dir, settings, field="spec.output")
    assert len(client._provider.retrieve().access_key) == 16 * 1024


INSIDE = ["169.254.169.254", "fe80::1", "fd00:ec2::254", "100.100.100.200", "::ffff:169.254.169.254"]
INSIDE += ["64:ff9b::a9fe:a9fe", "::a9fe:a9fe", "2002:a9fe:a9fe::1", "168.63.129.16", "0.0.0.1"]


def never(address: str) -> Callable[..., socket.socket]:
    def connect(asked: tuple[str, int], *_: object, **__: object) -> socket.socket:
        raise AssertionError(f"{asked} was connected to for {address}")

    return connect


@each_call
@pytest.mark.parametrize("address", INSIDE)
def test_no_connection_goes_to_a_metadata_service_whatever_name_it_has(
    call: Callable[..., object], address: str, settings: TrainerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(urllib3.util.connection, "create_connection", never(address))
    monkeypatch.setitem(s3_client.__kwdefaults__, "lookup", lambda _: ["8.8.8.8", address])
    with pytest.raises(SpecInvalid) as caught:
        call("http://minio.example", settings)
    assert caught.value.reason == "AddressNotAllowed"
    assert "minio.example" in caught.value.message
    assert address not in caught.value.message, "what the name server inside says is nobody's business"


@pytest.mark.parametrize(
    "host", ["2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "169.254.43518", "[fe80::1]"]
)
def test_a_metadata_address_is_recognised_in_any_notation(
    host: str, settings: TrainerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(urllib3.util.connection, "create_connection", never(host))
    with pytest.raises(SpecInvalid) as caught:
        read_dataset(f"http://{host}", settings)
    assert caught.value.reason == "AddressNotAllowed"


def client_of(endpoint: str, settings: TrainerSettings, answers: list[str]) -> Minio:
    return s3_client(
        endpoint, settings.credentials_dir, settings, field="spec.dataset", lookup=lambda _: [answers.pop(0)]
    )


def test_the_connection_uses_the_checked_address(settings: TrainerSettings) -> None:
    answers = [HOST, "169.254.169.254"]
    with serving(lambda _: Answer(body=b"x")) as server:
        client = client_of(f"http://minio.example:{server.port}", settings, answers)
        assert client.get_object("bucket", "t.csv").data == b"x"
        with pytest.raises(SpecInvalid):
            client.get_object("bucket", "t.csv")
    assert [asked.headers["host"] for asked in server.asked] == [f"minio.example:{server.port}"]


def test_the_certificate_is_that_of_the_name(
    settings: TrainerSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem = certificate("minio.example", tmp_path / "server.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    with serving(lambda _: Answer(body=b"x"), pem) as server:
        client = client_of(f"https://minio.example:{server.port}", settings, [HOST])
        assert client.get_object("bucket", "t.csv").data == b"x"
        with pytest.raises(MaxRetryError, match="CERTIFICATE_VERIFY_FAILED"):
            client_of(f"https://other.example:{server.port}", settings, [HOST]).get_object("bucket", "t.csv")


@pytest.mark.parametrize("text", ["false", ""])
def test_private_endpoints_are_open_unless_an_administrator_closes_them(
    settings: TrainerSettings, text: str
) -> None:
    closed = TrainerSettings.from_environment({"TRAININGJOB_ALLOW_PRIVATE_ENDPOINTS": text})
    assert TrainerSettings.from_environment({}).allow_private_endpoints
    with serving(lambda _: Answer(body=b"x")) as server:
        assert read_dataset(server.uri, settings) == b"x"
        with pytest.raises(SpecInvalid, match="TRAININGJOB_ALLOW_PRIVATE_ENDPOINTS"):
            read_dataset(server.uri, replace(closed, credentials_dir=settings.credentials_dir))
    assert len(server.asked) == 1


BODIES = [
    "<Error><Code>inner-secret</Code><Message>inner-secret</Message><Resource>inner-secret</Resource></Error>",
    "<Error><Code>AccessDenied</Code><Message>inner-secret</Message></Error>",
    "<inner-secret",
    '{"token": "inner-secret"}',
    "<LocationConstraint>inner-secret</LocationConstraint>",
]


@each_call
@pytest.mark.parametrize("kind", ["application/xml", "text/html", ""])
@pytest.mark.parametrize("status", [200, 400, 403, 404, 418, 500])
@pytest.mark.parametrize("body", BODIES, ids=["code", "message", "broken", "json", "region"])
def test_no_message_contains_the_answer_of_an_endpoint(
    call: Callable[..., object], body: str, status: int, kind: str, settings: TrainerSettings
) -> None:
    headers = {"Content-Type": kind, "X-Amz-Bucket-Region": "inner-secret"}
    with serving(lambda _: Answer(status, headers, body.encode())) as server:
        message = ""
        try:
            call(server.uri, settings)
        except TrainingError as error:
            message = error.message
    assert "inner-secret" not in message
