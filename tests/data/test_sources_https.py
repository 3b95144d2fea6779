import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from support.data_runs import SETTINGS
from support.loopback import Answer, certificate, serving, tunnelling
from trainingjob_trainer.data.sources import CheckedTransport, https_chunks
from trainingjob_trainer.errors import RunFailed, SpecInvalid, TrainingError
from trainingjob_trainer.settings import TrainerSettings
from trainingjob_trainer.storage.access import is_private, is_public, resolve
from trainingjob_trainer.storage.store import RetryPolicy

ALLOWED = replace(SETTINGS, allow_https=True)
INSIDE = replace(ALLOWED, allow_private_https=True)
URI = "https://data.example/t.csv"
V4, V6 = "8.8.8.8", "2001:4860:4860::8888"

PRIVATE = ["10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "127.0.0.1", "::1", "fd00::254"]
PRIVATE += ["::ffff:10.0.0.1", "::ffff:127.0.0.1", "64:ff9b::a00:1"]
NEVER = ["169.254.169.254", "0.0.0.1", "224.0.0.1", "255.255.255.255", "240.0.0.1", "192.0.0.192"]
NEVER += ["192.0.2.1", "::", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "::ffff:169.254.169.254"]
NEVER += ["fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "100.100.100.200", "::ffff:100.100.100.200"]
NEVER += ["168.63.129.16", "64:ff9b::a83f:8110", "2002:a83f:8110::"]
NEVER += ["64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "::a9fe:a9fe", "2001:db8::1", "64:ff9b:1::1"]


@pytest.mark.parametrize("address", [V4, V6, "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public_addresses_are_allowed(address: str) -> None:
    assert is_public(address)
    assert not is_private(address)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_need_a_permission(address: str) -> None:
    assert not is_public(address)
    assert is_private(address)


@pytest.mark.parametrize("address", NEVER)
def test_some_addresses_are_never_allowed(address: str) -> None:
    assert not is_public(address)
    assert not is_private(address)


def get(
    lookup: Callable[[str], Sequence[str]],
    handler: Callable[[httpx.Request], httpx.Response],
    settings: TrainerSettings = ALLOWED,
    uri: str = URI,
) -> bytes:
    network = httpx.MockTransport(handler)
    retry = RetryPolicy(attempts=3, sleep=lambda _: None)
    with https_chunks(uri, settings, transport=network, lookup=lookup, retry=retry) as chunks:
        return b"".join(chunks)


def table(_request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, stream=httpx.ByteStream(b"x"))


def never(request: httpx.Request) -> httpx.Response:
    raise AssertionError(f"{request.url} was asked")


def refusal(call: Callable[[], object]) -> TrainingError:
    with pytest.raises(SpecInvalid) as caught:
        call()
    assert caught.value.reason == "AddressNotAllowed"
    assert "TRAININGJOB_ALLOW_PRIVATE_HTTPS" in caught.value.message
    return caught.value


def test_a_private_host_is_rejected_before_a_request() -> None:
    error = refusal(lambda: get(lambda _: ["10.0.0.7"], never))
    assert "data.example" in error.message
    assert "10.0.0.7" not in error.message, "what the name server inside says is nobody's business"


def test_a_single_private_address_among_others_is_rejected() -> None:
    refusal(lambda: get(lambda _: [V4, V6, "10.0.0.7"], never))


def test_an_administrator_may_allow_private_addresses_but_no_metadata() -> None:
    assert get(lambda _: ["10.0.0.7"], table, INSIDE) == b"x"
    refusal(lambda: get(lambda _: ["169.254.169.254"], never, INSIDE))
    refusal(lambda: get(lambda _: ["::ffff:169.254.169.254"], never, INSIDE))


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "2130706433", "127.1", "[::1]", "[::ffff:127.0.0.1]", "localhost"]
)
def test_written_addresses_are_checked_in_any_notation(host: str) -> None:
    refusal(lambda: get(resolve, never, uri=f"https://{host}/t.csv"))


def test_each_redirect_is_checked() -> None:
    asked = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers["Host"])
        return httpx.Response(302, headers={"Location": "https://metadata.example/latest"})

    addresses = {"data.example": [V4], "metadata.example": ["169.254.169.254"]}
    refusal(lambda: get(addresses.__getitem__, handler))
    assert asked == ["data.example"]


def test_the_connection_goes_to_the_address_that_was_checked() -> None:
    answers = [[V4], ["127.0.0.1"]]
    asked: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return table(request)

    assert get(lambda _: answers.pop(0), handler) == b"x"
    (request,) = asked
    assert request.url.host == V4
    assert request.headers["Host"] == "data.example"
    assert request.extensions["sni_hostname"] == "data.example"
    assert len(answers) == 1, "a second look-up could have another answer"


def test_addresses_that_do_not_answer_are_skipped() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.host == V6:
            raise httpx.ConnectError("no route")
        return table(request)

    assert get(lambda _: [V6, V4], handler) == b"x"


@pytest.mark.parametrize("answer", [socket.gaierror("no such name"), UnicodeError("label too long"), []])
def test_a_name_that_does_not_resolve_counts_as_an_outage(answer: Exception | list[str]) -> None:
    asked = []

    def lookup(host: str) -> list[str]:
        asked.append(host)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with pytest.raises(RunFailed, match=r"data\.example does not resolve") as caught:
        get(lookup, never)
    assert caught.value.reason == "DatasetUnreachable"
    assert asked == ["data.example"] * 3


@pytest.fixture
def port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Serve https on this machine, with a certificate for data.example alone that is trusted."""
    pem = certificate("data.example", tmp_path / "server.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with serving(lambda asked: Answer(body=asked.headers["host"].encode()), pem) as server:
        yield server.port


def download(port: int, host: str, settings: TrainerSettings = INSIDE) -> bytes:
    retry = RetryPolicy(attempts=1)
    uri = f"https://{host}:{port}/t.csv"
    with https_chunks(uri, settings, lookup=lambda _: ["127.0.0.1"], retry=retry) as chunks:
        return b"".join(chunks)


def test_a_server_is_reached_by_address_and_verified_by_name(port: int) -> None:
    assert download(port, "data.example") == f"data.example:{port}".encode()
    refusal(lambda: download(port, "data.example", ALLOWED))


def test_a_real_server_needs_the_certificate_of_its_name(port: int) -> None:
    with pytest.raises(RunFailed) as caught:
        download(port, "other.example")
    assert caught.value.reason == "DatasetUnreachable"


def test_a_proxy_gets_only_allowed_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        proxy.settimeout(10)
        monkeypatch.setenv("https_proxy", f"127.0.0.1:{proxy.getsockname()[1]}")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        refusal(lambda: download(443, "data.example", ALLOWED))
        lines: list[bytes] = []

        def serve() -> None:
            connection, _ = proxy.accept()
            with connection:
                lines.append(connection.recv(4096).split(b"\r\n")[0])

        thread = threading.Thread(target=serve)
        thread.start()
        unknown = socket.gaierror("no such name")

        def lookup(_host: str) -> list[str]:
            raise unknown

        with (
            pytest.raises(RunFailed),
            https_chunks(URI, ALLOWED, lookup=lookup, retry=RetryPolicy(attempts=1)),
        ):
            pass
        thread.join()
    assert lines == [b"CONNECT data.example:443 HTTP/1.1"]


def test_certificates_are_verified_behind_a_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pem = certificate("data.example", tmp_path / "server.pem")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serving(lambda _: Answer(body=b"x"), pem) as server, tunnelling(server) as (proxy, lines):
        monkeypatch.setenv("https_proxy", proxy)

        def through_proxy() -> bytes:
            retry, uri = RetryPolicy(attempts=1), "https://data.example/t.csv"
            with https_chunks(uri, ALLOWED, lookup=lambda _: [V4], retry=retry) as chunks:
                return b"".join(chunks)

        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
        assert through_proxy() == b"x"
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate("data.example", tmp_path / "other.pem")))
        with pytest.raises(RunFailed):
            through_proxy()
    assert lines == [b"CONNECT data.example:443 HTTP/1.1"] * 2
    assert len(server.asked) == 1


def test_a_host_in_no_proxy_is_reached_without_the_proxy(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as proxy:
        monkeypatch.setenv("https_proxy", proxy.uri)
        monkeypatch.setenv("no_proxy", "data.example")
        assert download(port, "data.example") == f"data.example:{port}".encode()
    assert proxy.asked == []


def test_a_connection_to_one_host_is_not_used_for_another_at_the_same_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem = certificate("data.example", tmp_path / "server.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    transport = CheckedTransport(allow_private=True, network=None, resolve=lambda _: ["127.0.0.1"])
    with (
        serving(lambda _: Answer(body=b"x"), pem, keeps_connections=True) as server,
        httpx.Client(transport=transport) as client,
    ):
        assert client.get(f"https://data.example:{server.port}/").content == b"x"
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            client.get(f"https://other.example:{server.port}/")
    assert len(server.asked) == 1


def test_a_name_with_many_addresses_is_tried_at_the_first_few() -> None:
    asked = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        raise httpx.ConnectError("no route")

    many = [f"8.8.8.{number}" for number in range(1, 40)]
    with pytest.raises(RunFailed):
        get(lambda _: many, handler)
    assert asked == many[:8] * 3


def test_private_addresses_are_off_by_default() -> None:
    assert not TrainerSettings.from_environment({}).allow_private_https
    on = TrainerSettings.from_environment({"TRAININGJOB_ALLOW_PRIVATE_HTTPS": "true"})
    assert on.allow_private_https


@pytest.mark.parametrize("text", ["inf", "1e400", "nan", "0", "-1"])
@pytest.mark.parametrize("name", ["TRAININGJOB_HTTPS_TIMEOUT_SECONDS", "TRAININGJOB_S3_TIMEOUT_SECONDS"])
def test_a_timeout_is_finite_and_positive(name: str, text: str) -> None:
    with pytest.raises(SpecInvalid, match=name) as caught:
        TrainerSettings.from_environment({name: text})
    assert caught.value.reason == "InvalidEnvironment"
