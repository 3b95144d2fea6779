import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import urllib3
from minio.error import InvalidResponseError, S3Error, ServerError

from support.data_runs import SETTINGS, write
from trainingjob_api.storage import Dataset
from trainingjob_trainer.data.sources import https_chunks, object_chunks, open_source
from trainingjob_trainer.errors import RunFailed, SpecInvalid, TrainingError
from trainingjob_trainer.settings import TrainerSettings
from trainingjob_trainer.storage import RetryPolicy, S3Store

URI = "https://data.example/t.csv?X-Signature=verysecret"
PUBLIC = ("8.8.4.4",)
ALLOWED = replace(SETTINGS, allow_https=True)


def quick() -> RetryPolicy:
    return RetryPolicy(attempts=3, sleep=lambda _: None)


def read(uri: str, settings: TrainerSettings = SETTINGS) -> bytes:
    # Not validated: what the trainer refuses must not depend on what the contract lets through.
    with open_source(Dataset.model_construct(uri=uri), settings) as chunks:
        return b"".join(chunks)


def failure(call: Callable[[], object]) -> TrainingError:
    with pytest.raises(TrainingError) as caught:
        call()
    return caught.value


def test_file_addresses_may_be_absolute_relative_or_escaped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a b.csv", "x")
    monkeypatch.chdir(tmp_path)
    assert read(f"file://{tmp_path}/a b.csv") == b"x"
    assert read(f"file://{tmp_path}/a%20b.csv") == b"x"
    assert read("file://a b.csv") == b"x"


def test_a_missing_or_irregular_file_is_rejected(tmp_path: Path) -> None:
    assert failure(lambda: read(f"file://{tmp_path}/none.csv")).reason == "DatasetNotFound"
    error = failure(lambda: read(f"file://{tmp_path}"))
    assert error.reason == "DatasetNotFound"
    assert "regular file" in error.message
    assert failure(lambda: read("file:///dev/zero")).reason == "DatasetNotFound"


def test_claims_are_folders_under_the_root(tmp_path: Path) -> None:
    (tmp_path / "claim" / "sub").mkdir(parents=True)
    write(tmp_path / "claim" / "sub" / "t.csv", "x")
    assert read("pvc://claim/sub/t.csv", replace(SETTINGS, pvc_root=tmp_path)) == b"x"


@pytest.mark.parametrize(
    "rest", ["claim", "claim/", "/t.csv", "claim/../other/t.csv", "../t.csv", "claim/link", "claim/%2e%2e/x"]
)
def test_no_path_leaves_its_claim(tmp_path: Path, rest: str) -> None:
    (tmp_path / "claim").mkdir()
    write(tmp_path / "secret", "x")
    (tmp_path / "claim" / "link").symlink_to(tmp_path / "secret")
    error = failure(lambda: read(f"pvc://{rest}", replace(SETTINGS, pvc_root=tmp_path)))
    assert error.reason == "DatasetUriInvalid"


@pytest.mark.parametrize(
    "uri", ["http://host/t.csv", "ftp://host/t.csv", "/t.csv", "t.csv", "s3://bucket", "s3://"]
)
def test_unknown_addresses_are_rejected(uri: str) -> None:
    error = failure(lambda: read(uri))
    assert error.reason == "DatasetUriInvalid"
    assert error.exit_code == 2


def fetch_https(
    handler: Callable[[httpx.Request], httpx.Response], settings: TrainerSettings = ALLOWED, uri: str = URI
) -> bytes:
    network = httpx.MockTransport(handler)
    with https_chunks(uri, settings, transport=network, lookup=lambda _: PUBLIC, retry=quick()) as chunks:
        return b"".join(chunks)


def test_https_is_off_unless_allowed() -> None:
    error = failure(lambda: fetch_https(lambda _: httpx.Response(200), SETTINGS))
    assert error.reason == "HttpsNotAllowed"
    assert error.exit_code == 2


def test_https_bodies_come_as_they_are_stored() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        assert request.headers["Accept-Encoding"] == "identity"
        assert "verysecret" in str(request.url)
        stream = httpx.ByteStream(b"\x1f\x8b not inflated")
        return httpx.Response(200, stream=stream, headers={"Content-Encoding": "gzip"})

    assert fetch_https(handler) == b"\x1f\x8b not inflated"


def test_https_redirects_are_followed_and_checked() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/t.csv":
            return httpx.Response(302, headers={"Location": "/moved.csv"})
        return httpx.Response(200, stream=httpx.ByteStream(b"x"))

    assert fetch_https(handler) == b"x"


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("http://data.example/t.csv", "DatasetUriInvalid"),
        ("file:///etc/passwd", "DatasetUriInvalid"),
        ("https://user:pw@data.example/t.csv", "DatasetUriInvalid"),
        ("https://elsewhere.example/t.csv", "EndpointNotAllowed"),
        ("https://data.example/t.csv", "DatasetUnreachable"),
        ("https://[::", "DatasetUnreachable"),
    ],
)
def test_forbidden_redirects_are_rejected(location: str, reason: str) -> None:
    settings = replace(ALLOWED, allowed_endpoints=("data.example",))
    error = failure(
        lambda: fetch_https(lambda _: httpx.Response(302, headers={"Location": location}), settings)
    )
    assert error.reason == reason
    assert "pw@" not in error.message
    assert "verysecret" not in error.message


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (404, "DatasetNotFound"),
        (403, "CredentialsRefused"),
        (401, "CredentialsRefused"),
        (418, "DatasetUnreachable"),
        (206, "DatasetUnreachable"),
    ],
)
def test_https_answers_without_a_table_are_errors(status: int, reason: str) -> None:
    asked = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(status)

    error = failure(lambda: fetch_https(handler))
    assert error.reason == reason
    assert error.exit_code == 2
    assert "verysecret" not in error.message
    assert len(asked) == 1


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(500),
        httpx.Response(503),
        httpx.Response(429),
        httpx.ConnectError("[Errno 111] Connection refused"),
        httpx.ReadTimeout("slow"),
    ],
)
def test_an_https_outage_is_not_an_error_of_the_user(answer: httpx.Response | Exception) -> None:
    asked = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        if isinstance(answer, Exception):
            raise answer
        return answer

    error = failure(lambda: fetch_https(handler))
    assert isinstance(error, RunFailed)
    assert (error.reason, error.exit_code) == ("DatasetUnreachable", 1)
    assert "https://data.example/t.csv" in error.message
    assert "verysecret" not in error.message
    assert len(asked) == 3


def test_an_https_connection_that_fails_once_is_retried() -> None:
    asked = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        if len(asked) == 1:
            raise httpx.ConnectTimeout("slow")
        return httpx.Response(200, stream=httpx.ByteStream(b"x"))

    assert fetch_https(handler) == b"x"


def test_a_broken_https_connection_allows_another_attempt_of_the_run() -> None:
    class Broken(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            yield b"x" * 10
            raise httpx.ReadError("gone")

    error = failure(lambda: fetch_https(lambda _: httpx.Response(200, stream=Broken())))
    assert isinstance(error, RunFailed)
    assert error.reason == "DatasetUnreachable"


def test_every_step_of_a_download_has_a_time_out() -> None:
    found = []

    def handler(request: httpx.Request) -> httpx.Response:
        found.append(request.extensions["timeout"])
        return httpx.Response(200, stream=httpx.ByteStream(b"x"))

    fetch_https(handler, replace(ALLOWED, https_timeout_seconds=7.0))
    assert found == [dict.fromkeys(("connect", "read", "write", "pool"), 7.0)]


@pytest.mark.parametrize("breaks", [False, True], ids=["read", "given up"])
def test_https_responses_are_closed(breaks: bool) -> None:
    class Body(httpx.SyncByteStream):
        closed = False

        def __iter__(self) -> Iterator[bytes]:
            yield b"x"

        def close(self) -> None:
            self.closed = True

    body = Body()
    network = httpx.MockTransport(lambda _: httpx.Response(200, stream=body))
    opened = https_chunks(URI, ALLOWED, transport=network, lookup=lambda _: PUBLIC, retry=quick())
    if breaks:
        with pytest.raises(SpecInvalid), opened:
            raise SpecInvalid("Mine", "mine")
    else:
        with opened as chunks:
            assert b"".join(chunks) == b"x"
    assert body.closed


def test_redirects_without_end_are_not_followed() -> None:
    asked = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(302, headers={"Location": f"/{len(asked)}"})

    assert failure(lambda: fetch_https(handler)).reason == "DatasetUnreachable"
    assert len(asked) == 6


class FakeClient:
    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.closed = 0

    def get_object(self, bucket: str, key: str) -> Any:
        assert (bucket, key) == ("bucket", "a/t.csv")
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        pieces = answer()
        return SimpleNamespace(read=lambda _: next(pieces, b""), close=self._close, release_conn=lambda: None)

    def _close(self) -> None:
        self.closed += 1


def s3_error(code: str, *, status: int = 403) -> S3Error:
    return S3Error(
        response=SimpleNamespace(status=status),
        code=code,
        message="secret-in-answer",
        resource=None,
        request_id=None,
        host_id=None,  # type: ignore[arg-type]
    )


@contextmanager
def s3(client: FakeClient) -> Iterator[Iterator[bytes]]:
    store = S3Store(client, "bucket", "", endpoint="https://s3.example", field="spec.dataset")  # type: ignore[arg-type]
    with object_chunks(store, "a/t.csv", "s3://bucket/a/t.csv", retry=quick()) as chunks:
        yield chunks


def read_s3(client: FakeClient) -> bytes:
    with s3(client) as chunks:
        return b"".join(chunks)


def test_s3_objects_are_streamed_and_closed() -> None:
    client = FakeClient(lambda: iter([b"x", b"y"]))
    assert read_s3(client) == b"xy"
    assert client.closed == 1


def test_a_temporary_fault_of_s3_is_retried() -> None:
    client = FakeClient(s3_error("SlowDown"), urllib3.exceptions.ProtocolError("reset"), lambda: iter([b"x"]))
    assert read_s3(client) == b"x"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (s3_error("NoSuchKey"), "DatasetNotFound"),
        (s3_error("NoSuchBucket"), "BucketNotFound"),
        (s3_error("AccessDenied"), "CredentialsRefused"),
        (s3_error("InvalidAccessKeyId"), "CredentialsRefused"),
        (s3_error("SignatureDoesNotMatch"), "CredentialsRefused"),
        (s3_error("MethodNotAllowed"), "DatasetUnreachable"),
        (InvalidResponseError(403, "text/html", "secret-in-answer"), "CredentialsRefused"),
        (ValueError("invalid bucket name"), "DatasetUriInvalid"),
    ],
)
def test_some_s3_failures_are_errors_of_the_user(error: Exception, reason: str) -> None:
    caught = failure(lambda: read_s3(FakeClient(error)))
    assert caught.reason == reason
    assert caught.exit_code == 2
    assert "secret" not in caught.message


@pytest.mark.parametrize(
    "outage",
    [
        urllib3.exceptions.NewConnectionError(None, "refused"),  # type: ignore[arg-type]
        urllib3.exceptions.NameResolutionError("s3.example", None, socket.gaierror()),  # type: ignore[arg-type]
        urllib3.exceptions.ReadTimeoutError(None, "", "slow"),  # type: ignore[arg-type]
        s3_error("SlowDown"),
        s3_error("XMinioServerNotInitialized", status=503),
        s3_error("TooManyRequests", status=429),
        InvalidResponseError(503, "text/html", "secret-in-answer"),
        InvalidResponseError(429, "text/html", "secret-in-answer"),
        ServerError("server failed", 502),
    ],
)
def test_an_s3_outage_is_not_an_error_of_the_user(outage: Exception) -> None:
    client = FakeClient(*[outage] * 3)
    caught = failure(lambda: read_s3(client))
    assert isinstance(caught, RunFailed)
    assert (caught.reason, caught.exit_code) == ("DatasetUnreachable", 1)
    assert client.answers == [], "asked as often as the policy allows"
    assert "https://s3.example" in caught.message
    assert "secret" not in caught.message


def test_a_broken_s3_connection_allows_another_attempt_of_the_run() -> None:
    def broken() -> Iterator[bytes]:
        yield b"x"
        raise urllib3.exceptions.ProtocolError("gone")

    client = FakeClient(broken)
    caught = failure(lambda: read_s3(client))
    assert isinstance(caught, RunFailed)
    assert client.closed == 1


def test_an_error_of_the_reader_is_not_a_failure_of_s3() -> None:
    client = FakeClient(lambda: iter([b"x"]))
    with pytest.raises(SpecInvalid, match="mine"), s3(client):
        raise SpecInvalid("Mine", "mine")
    assert client.closed == 1
