"""The trainer's connection to the API server: the server that it trusts and that gets its token."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest

from support.loopback import HOST, Answer, Asked, Server, certificate, serving
from trainingjob_api import Report
from trainingjob_trainer.run.pod import ReportMap

REPORT = Report(job_uid="u", sequence=1)
EMPTY = Answer(headers={"Content-Type": "application/json"}, body=b'{"data": {}}')


@dataclass
class Account:
    """A mounted service account, and the server's key and certificate."""

    folder: Path
    pem: Path

    def reports(self, server: Server, **environment: str) -> ReportMap:
        named = {
            "KUBERNETES_SERVICE_HOST": HOST,
            "KUBERNETES_SERVICE_PORT": str(server.port),
            "POD_NAMESPACE": "team",
            "TRAININGJOB_REPORT_CONFIGMAP": "churn-report",
        }
        return ReportMap.from_environment(named | environment, account=self.folder)


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Account:
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    pem = certificate(HOST, tmp_path / "server.pem")
    (tmp_path / "ca.crt").write_bytes(pem.read_bytes())
    (tmp_path / "token").write_text("very-secret\n")
    return Account(tmp_path, pem)


def test_the_server_with_the_accounts_authority_gets_the_token(account: Account) -> None:
    with serving(lambda _: EMPTY, account.pem) as server:
        reports = account.reports(server)
        assert reports.read() is None
        (account.folder / "token").write_text("rotated\n")
        reports.write(REPORT)
    assert [request.method for request in server.asked] == ["GET", "PATCH"]
    path = "/api/v1/namespaces/team/configmaps/churn-report"
    assert [request.path for request in server.asked] == [path, f"{path}?fieldManager=trainingjob-trainer"]
    assert {request.headers["user-agent"] for request in server.asked} == {
        f"trainingjob-trainer/{version('trainingjob')}"
    }
    assert [request.headers["authorization"] for request in server.asked] == [
        "Bearer very-secret",
        "Bearer rotated",
    ]


def no_pause(reports: ReportMap) -> ReportMap:
    reports._retry = replace(reports._retry, sleep=lambda _: None)
    return reports


@pytest.mark.parametrize("host", [HOST, "other.example"])
def test_a_server_of_another_authority_or_name_never_sees_the_token(
    account: Account, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    stranger = certificate(host, account.folder / "stranger.pem")
    if host != HOST:
        (account.folder / "ca.crt").write_bytes(stranger.read_bytes())
    # What the pod's user trusts for S3 is not trusted for the API server.
    monkeypatch.setenv("SSL_CERT_FILE", str(stranger))
    with serving(lambda _: EMPTY, stranger) as server:
        reports = no_pause(account.reports(server))
        for call in (reports.read, lambda: reports.write(REPORT)):
            with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                call()
    assert server.asked == []


def test_no_proxy_of_the_environment_comes_between(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as proxy, serving(lambda _: EMPTY, account.pem) as server:
        for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.uri)
        monkeypatch.setenv("NO_PROXY", "")
        no_pause(account.reports(server)).write(REPORT)
    assert proxy.asked == []
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_the_token_follows_no_redirect(account: Account, status: int) -> None:
    with serving(lambda _: EMPTY, account.pem) as elsewhere:

        def redirect(asked: Asked) -> Answer:
            return Answer(status, {"Location": elsewhere.uri + asked.path})

        with serving(redirect, account.pem) as server:
            reports = no_pause(account.reports(server))
            for call in (reports.read, lambda: reports.write(REPORT)):
                with pytest.raises(httpx.HTTPStatusError):
                    call()
    assert len(server.asked) == 2
    assert elsewhere.asked == []


@pytest.mark.parametrize(
    ("host", "port", "address"),
    [("10.0.0.1", "443", "https://10.0.0.1"), ("fd00::1", "6443", "https://[fd00::1]:6443")],
)
def test_ipv4_and_ipv6_addresses_work(account: Account, host: str, port: str, address: str) -> None:
    environment = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}
    with serving(pem=account.pem) as server:
        reports = account.reports(server, **environment)
    assert reports._client.base_url == httpx.URL(address)


def test_requests_to_a_silent_server_time_out(account: Account) -> None:
    with serving(pem=account.pem) as server:
        timeout = account.reports(server)._client.timeout
    assert None not in {timeout.connect, timeout.read, timeout.write, timeout.pool}


def test_pauses_between_attempts_grow_up_to_a_limit(account: Account) -> None:
    pauses: list[float] = []
    with serving(lambda _: Answer(503), account.pem) as server:
        reports = account.reports(server)
        reports._retry = replace(reports._retry, sleep=pauses.append)
        with pytest.raises(httpx.HTTPStatusError):
            reports.write(REPORT)
    assert pauses == [1.0, 2.0, 4.0]
    assert len(server.asked) == 4
