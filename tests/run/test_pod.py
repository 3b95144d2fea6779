"""A run in a pod: its report, its exit status, and the files for the next pod."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.jobs import job
from trainingjob_api import Report, ResolvedRun, parse_report, plan_digest, resolve
from trainingjob_certificates import ReportKey, is_signed
from trainingjob_trainer.errors import RunFailed, SpecInvalid
from trainingjob_trainer.run import pod as pod_module
from trainingjob_trainer.run.pod import ReportMap, run_pod
from trainingjob_trainer.run.state import Interrupted, RunOptions
from trainingjob_trainer.settings import TrainerSettings
from trainingjob_trainer.storage import RetryPolicy

UID = "0123456789abcdef0123456789abcdef"
PATH = "/api/v1/namespaces/ns/configmaps/churn-report"


class ApiServer:
    """Answers for one ConfigMap; `failures` are the statuses of the next answers."""

    def __init__(self) -> None:
        self.data: dict[str, str] = {}
        self.failures: list[int] = []
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if self.failures:
            status = self.failures.pop(0)
            if status == 0:
                raise httpx.ConnectError("refused")
            return httpx.Response(status, text="no")
        if request.method == "PATCH":
            self.data |= json.loads(request.content)["data"]
        return httpx.Response(200, json={"data": self.data})

    def report(self) -> Report:
        return parse_report(self.data["report.json"])


@pytest.fixture
def server() -> ApiServer:
    return ApiServer()


@pytest.fixture
def reports(server: ApiServer, tmp_path: Path) -> ReportMap:
    (tmp_path / "token").write_text("very-secret\n")
    client = httpx.Client(base_url="https://api", transport=httpx.MockTransport(server))
    return ReportMap(client, PATH, account=tmp_path, retry=RetryPolicy(attempts=4, sleep=lambda _: None))


@pytest.fixture
def run_file(tmp_path: Path) -> Path:
    run = resolve(job("churn", output={"uri": "s3://models"}), {}).model_copy(update={"uid": UID})
    path = tmp_path / "run.json"
    path.write_text(run.model_dump_json(by_alias=True))
    return path


def report(**fields: Any) -> Report:
    return Report(job_uid=UID, **fields)


def test_the_report_is_patched_with_the_accounts_token(server: ApiServer, reports: ReportMap) -> None:
    reports.write(report(sequence=3))
    assert server.report().sequence == 3
    (request,) = server.requests
    assert request.url.path == PATH
    assert request.headers["authorization"] == "Bearer very-secret"
    assert request.headers["content-type"] == "application/merge-patch+json"


@pytest.mark.parametrize("failures", [[503], [0], [429, 500, 0]])
def test_a_temporary_fault_of_the_api_is_retried(
    server: ApiServer, reports: ReportMap, failures: list[int]
) -> None:
    server.failures = failures
    reports.write(report(sequence=1))
    assert server.report().sequence == 1


@pytest.mark.parametrize("failures", [[403], [503] * 4])
def test_other_faults_are_reported_without_the_token(
    server: ApiServer, reports: ReportMap, failures: list[int]
) -> None:
    server.failures = failures
    with pytest.raises(httpx.HTTPError) as caught:
        reports.write(report())
    assert "very-secret" not in str(caught.value)


@pytest.mark.parametrize("text", [None, "", "not json", "{}"])
def test_an_invalid_report_counts_as_missing(server: ApiServer, reports: ReportMap, text: str | None) -> None:
    if text is not None:
        server.data["report.json"] = text
    assert reports.read() is None


def test_reports_are_signed_and_only_signed_reports_are_continued(
    server: ApiServer, reports: ReportMap, tmp_path: Path
) -> None:
    key = ReportKey.generate()
    signed = ReportMap(reports._client, PATH, key=key, account=tmp_path)
    signed.write(report(attempt=3, sequence=7))
    assert is_signed(key.public, server.data["report.json"], server.data["report.sig"])
    assert (signed.read() or report()).attempt == 3
    server.data["report.json"] = server.data["report.json"].replace('"attempt":3', '"attempt":1000000')
    assert signed.read() is None
    del server.data["report.sig"]
    assert signed.read() is None


def test_sequence_numbers_stay_below_their_limit() -> None:
    assert pod_module._attempt(report(attempt=1_000_000, pod_uid="pod-1"), "pod-2") == 1_000_000


def test_a_pod_needs_its_environment() -> None:
    with pytest.raises(SpecInvalid, match="POD_NAMESPACE"):
        ReportMap.from_environment({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"})


def supervised(monkeypatch: pytest.MonkeyPatch, act: Callable[[ResolvedRun, RunOptions, Any], Any]) -> None:
    def supervise(
        run: ResolvedRun, options: RunOptions, _settings: TrainerSettings, _on_event: Any, *, sink: Any
    ) -> Any:
        return act(run, options, sink)

    monkeypatch.setattr(pod_module, "supervise", supervise)


def fail(error: Exception) -> Callable[..., Any]:
    def act(*_arguments: Any) -> Any:
        raise error

    return act


@pytest.mark.parametrize(
    ("act", "status"),
    [
        (lambda *_: None, 0),
        (fail(RunFailed("UploadFailed", "the bucket is down")), 1),
        (fail(SpecInvalid("TargetColumnMissing", "no column")), 2),
        (fail(RunFailed("StorageUnreachable", "the bucket is down")), 1),
        (fail(Interrupted("Interrupted", "told to stop")), 143),
    ],
)
def test_the_exit_status_decides_whether_the_job_retries(  # noqa: PLR0917 - fixtures and a case
    monkeypatch: pytest.MonkeyPatch,
    server: ApiServer,
    reports: ReportMap,
    run_file: Path,
    act: Callable[..., Any],
    status: int,
) -> None:
    supervised(monkeypatch, act)
    assert run_pod({"POD_UID": "pod-2"}, run_file=run_file, reports=reports) == status
    if status in {1, 2}:
        told = server.report()
        assert told.failure is not None
        assert (told.final, told.failure.exit_code) == (True, status)
    else:
        assert "report.json" not in server.data


@pytest.mark.parametrize(
    ("before", "attempt"),
    [
        (None, 1),
        (report(attempt=2, pod_uid="pod-1", sequence=40), 3),
        (report(attempt=2, pod_uid="pod-2", sequence=40), 2),
    ],
)
def test_attempts_and_sequence_continue_from_the_last_pod(  # noqa: PLR0917 - fixtures and a case
    monkeypatch: pytest.MonkeyPatch,
    server: ApiServer,
    reports: ReportMap,
    run_file: Path,
    before: Report | None,
    attempt: int,
) -> None:
    if before is not None:
        reports.write(before)

    def act(_run: ResolvedRun, options: RunOptions, sink: Callable[[Report], None]) -> None:
        assert (options.attempt, options.pod_uid, options.save_on_signal) == (attempt, "pod-2", False)
        sink(report(attempt=options.attempt, sequence=1))

    supervised(monkeypatch, act)
    assert run_pod({"POD_UID": "pod-2"}, run_file=run_file, reports=reports) == 0
    assert server.report().sequence == (1 if before is None else 41)


def changed(name: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(text)  # type: ignore[return-value]


def of_another_job(folder: Path) -> None:
    path = folder / "run.json"
    path.write_text(path.read_text().replace(UID, "f" * 32))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (changed("image", "registry.example/miner"), "not the plan"),
        (changed("run.json", "{}"), "not the plan"),
        (lambda folder: (folder / "image").unlink(), "FileNotFoundError"),
        (lambda folder: (folder / "run.json").write_bytes(b"\xff"), "UnicodeDecodeError"),
    ],
)
@pytest.mark.parametrize("digest", [True, False])
def test_a_run_that_the_pod_was_not_made_for_is_rejected(  # noqa: PLR0917 - fixtures and a case
    monkeypatch: pytest.MonkeyPatch,
    server: ApiServer,
    reports: ReportMap,
    run_file: Path,
    change: Callable[[Path], None],
    says: str,
    digest: bool,
) -> None:
    supervised(monkeypatch, fail(AssertionError("it ran")))
    environment = {"POD_UID": "pod-2", "TRAININGJOB_JOB_UID": UID}
    if digest:
        run_file.with_name("image").write_text("trainer:1")
        environment["TRAININGJOB_PLAN_DIGEST"] = plan_digest(run_file.read_text(), "trainer:1")
        change(run_file.parent)
    else:
        of_another_job(run_file.parent)
        says = "of another job"
    assert run_pod(environment, run_file=run_file, reports=reports) == 1
    told = server.report()
    assert (told.job_uid, told.attempt, told.pod_uid) == (UID, 1, "pod-2")
    assert told.failure is not None
    assert (told.failure.reason, told.failure.exit_code) == ("RunRefused", 1)
    assert says in told.failure.message


def test_a_run_that_cannot_be_read_is_rejected(server: ApiServer, reports: ReportMap, run_file: Path) -> None:
    run_file.write_text("{")
    assert run_pod({"TRAININGJOB_JOB_UID": UID}, run_file=run_file, reports=reports) == 1
    assert "cannot be read" in str(server.report().failure)
    assert run_pod({}, run_file=run_file, reports=reports) == 1


def test_the_run_that_the_pod_was_made_for_runs(
    monkeypatch: pytest.MonkeyPatch, reports: ReportMap, run_file: Path
) -> None:
    supervised(monkeypatch, lambda *_: None)
    run_file.with_name("image").write_text("trainer:1")
    digest = plan_digest(run_file.read_text(), "trainer:1")
    environment = {"TRAININGJOB_JOB_UID": UID, "TRAININGJOB_PLAN_DIGEST": digest}
    assert run_pod(environment, run_file=run_file, reports=reports) == 0


def test_a_run_survives_an_outage_of_the_api_server(
    monkeypatch: pytest.MonkeyPatch, server: ApiServer, reports: ReportMap, run_file: Path
) -> None:
    def act(_run: ResolvedRun, _options: RunOptions, sink: Callable[[Report], None]) -> None:
        server.failures = [503] * 4
        sink(report(sequence=1))
        sink(report(sequence=2, final=True))

    supervised(monkeypatch, act)
    assert run_pod({}, run_file=run_file, reports=reports) == 0
    assert server.report().final


def test_a_model_without_an_accepted_report_is_not_a_success(
    monkeypatch: pytest.MonkeyPatch, server: ApiServer, reports: ReportMap, run_file: Path
) -> None:
    monkeypatch.setattr(pod_module, "_LAST_WORD_SECONDS", 0.0)

    def act(_run: ResolvedRun, _options: RunOptions, sink: Callable[[Report], None]) -> None:
        server.failures = [503] * 100
        sink(report(sequence=1, final=True))

    supervised(monkeypatch, act)
    assert run_pod({}, run_file=run_file, reports=reports) == 1


@pytest.mark.parametrize("failures", [[403, 404], [403] * 3, [503] * 5])
def test_a_pod_waits_for_the_right_to_read_its_report(
    server: ApiServer,
    reports: ReportMap,
    run_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    failures: list[int],
) -> None:
    """Role and ConfigMap may be recreated just then."""
    monkeypatch.setattr(pod_module, "_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(pod_module, "supervise", lambda *_, sink, **__: sink(report(final=True)))
    server.failures = failures
    assert run_pod({"POD_UID": "one"}, run_file=run_file, reports=reports) == 0
    assert server.report().final


def test_a_report_that_stays_out_of_reach_ends_the_attempt(
    server: ApiServer, reports: ReportMap, run_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pod_module, "_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(pod_module, "_FIRST_WORD_SECONDS", 0.01)
    server.failures = [403] * 10_000
    with pytest.raises(RunFailed, match=r"HTTP status 403.*Role") as caught:
        run_pod({"POD_UID": "one"}, run_file=run_file, reports=reports)
    assert (caught.value.reason, caught.value.exit_code) == ("ReportNotRead", 1)
