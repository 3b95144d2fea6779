"""The Kubernetes backend against a server that plays the API server, and the local backend.

The local backend runs a program in place of the trainer, and once the trainer.
"""

import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from trainingjob_api import Phase, Reason, parse_job
from trainingjob_client import (
    ClientError,
    InvalidRequest,
    JobFailed,
    KubernetesBackend,
    LocalBackend,
    ServiceUnavailable,
    TrainingJobClient,
)

JOBS = "/apis/automl.trainingjob.dev/v1alpha1/namespaces/ml/trainingjobs"
MANIFEST = {"metadata": {"name": "churn"}, "spec": {}}
NAMED = {"metadata": {"name": "churn", "uid": "u-1"}}


class Api:
    """Answers by method and path, and records what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], tuple[int, Any]] = {}
        self.asked: list[tuple[str, str, dict[str, list[str]], Any]] = []


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    state = Api()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            url = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            state.asked.append((self.command, url.path, parse_qs(url.query), json.loads(body or "null")))
            status, content = state.answers.get((self.command, url.path), (404, "404 page not found"))
            data = content.encode() if isinstance(content, str) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_DELETE = answer  # noqa: N815 - http.server's names

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path, server.server_port)))
        yield state
        server.shutdown()


def kubeconfig(folder: Path, port: int) -> Path:
    path = folder / "kubeconfig"
    clusters = [{"name": "here", "cluster": {"server": f"http://127.0.0.1:{port}"}}]
    contexts = [
        {"name": "first", "context": {"cluster": "here", "user": "me", "namespace": "ml"}},
        {"name": "second", "context": {"cluster": "here", "user": "me", "namespace": "other"}},
        {"name": "bare", "context": {"cluster": "here", "user": "me"}},
    ]
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": clusters,
        "contexts": contexts,
        "users": [{"name": "me", "user": {}}],
        "current-context": "first",
    }
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.mark.parametrize(
    ("options", "namespace"),
    [
        ({}, "ml"),
        ({"context": "second"}, "other"),
        ({"context": "bare"}, "default"),
        ({"context": "second", "namespace": "mine"}, "mine"),
    ],
)
def test_the_namespace_is_given_or_that_of_the_context(
    api: Api, options: dict[str, str], namespace: str
) -> None:
    assert KubernetesBackend(**options).namespace == namespace


def test_jobs_are_created_read_listed_and_deleted(api: Api) -> None:
    api.answers = {
        ("POST", JOBS): (201, NAMED),
        ("GET", JOBS): (200, {"items": [NAMED]}),
        ("GET", f"{JOBS}/churn"): (200, NAMED),
        ("DELETE", f"{JOBS}/churn"): (200, {}),
    }
    backend = KubernetesBackend()
    assert backend.create(MANIFEST) == NAMED
    assert backend.get("churn") == NAMED
    assert backend.list() == [NAMED]
    backend.delete("churn")
    assert [(method, body) for method, _, _, body in api.asked] == [
        ("POST", MANIFEST),
        ("GET", None),
        ("GET", None),
        ("DELETE", None),
    ]


def pod(name: str, second: int) -> dict[str, Any]:
    return {"metadata": {"name": name, "creationTimestamp": f"2026-11-24T00:00:{second:02d}Z"}}


def test_the_log_is_that_of_the_newest_trainer_pod(api: Api) -> None:
    pods = {"items": [pod("churn-b", 2), pod("churn-a", 1)]}
    api.answers = {
        ("GET", f"{JOBS}/churn"): (200, NAMED),
        ("GET", "/api/v1/namespaces/ml/pods"): (200, pods),
        ("GET", "/api/v1/namespaces/ml/pods/churn-b/log"): (200, "one\ntwo\n"),
    }
    log = KubernetesBackend().logs("churn", follow=True)
    assert (log.source, list(log)) == ("churn-b", ["one", "two"])
    selectors = [query["labelSelector"] for _, path, query, _ in api.asked if path.endswith("/pods")]
    assert selectors == [["automl.trainingjob.dev/job-uid=u-1,app.kubernetes.io/component=trainer"]]
    assert api.asked[-1][2]["follow"] == ["true"]


def test_a_job_without_a_pod_has_no_log(api: Api) -> None:
    api.answers = {
        ("GET", f"{JOBS}/churn"): (200, NAMED),
        ("GET", "/api/v1/namespaces/ml/pods"): (200, {"items": []}),
    }
    with pytest.raises(ServiceUnavailable, match="has no pod") as caught:
        KubernetesBackend().logs("churn", follow=False)
    assert caught.value.reason is Reason.NO_POD


@pytest.mark.parametrize(
    ("status", "body", "kind", "reason", "words"),
    [
        (404, "404 page not found", InvalidRequest, Reason.NOT_INSTALLED, "install the CRD chart"),
        (404, {"message": 'jobs "churn" not found'}, InvalidRequest, Reason.NOT_FOUND, "namespace 'ml'"),
        (409, {"message": "exists"}, InvalidRequest, Reason.ALREADY_EXISTS, "choose another name"),
        (422, {"message": "spec.budget: wrong"}, InvalidRequest, Reason.REFUSED, "spec.budget: wrong"),
        (400, {"message": "bad"}, InvalidRequest, Reason.REFUSED, "bad"),
        (401, {"message": "who?"}, InvalidRequest, Reason.FORBIDDEN, "who?"),
        (403, {"message": "may not"}, InvalidRequest, Reason.FORBIDDEN, "may not"),
        (500, "broken", ServiceUnavailable, Reason.CLUSTER_FAULT, "answered 500 broken"),
        (503, {"message": "later"}, ServiceUnavailable, Reason.CLUSTER_FAULT, "answered 503 later"),
    ],
)
def test_error_answers_are_translated(  # noqa: PLR0917 - a case
    api: Api, status: int, body: Any, kind: type[ClientError], reason: Reason, words: str
) -> None:
    api.answers = {("POST", JOBS): (status, body)}
    with pytest.raises(kind, match="cannot create 'churn'") as caught:
        KubernetesBackend().create(MANIFEST)
    assert caught.value.reason is reason
    assert words in caught.value.message


def test_an_unreachable_api_server_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path, port)))
    with pytest.raises(ServiceUnavailable) as caught:
        KubernetesBackend().get("churn")
    assert caught.value.reason is Reason.CLUSTER_UNREACHABLE


def test_a_kubeconfig_without_a_cluster_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = kubeconfig(tmp_path, 1)
    monkeypatch.setenv("KUBECONFIG", str(path))
    with pytest.raises(InvalidRequest, match="--context") as caught:
        KubernetesBackend(context="third")
    assert caught.value.reason is Reason.KUBECONFIG_INVALID


def test_without_the_kubernetes_package_a_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kubernetes", None)
    with pytest.raises(ServiceUnavailable, match=r"pip install 'trainingjob\[cluster\]'") as caught:
        KubernetesBackend()
    assert caught.value.reason is Reason.CLIENT_MISSING


PROGRAM = """
import json, os, sys, time
from pathlib import Path
file, options = sys.argv[2], sys.argv[3:]
job = json.loads(Path(file).read_text())
assert sys.argv[1] == "run" and options[:3] == ["--json", "--log-format", "json"], sys.argv
say = lambda **entry: print(json.dumps(entry), file=sys.stderr, flush=True)
say(event="stage_changed", stage="Searching")
say(event="progress", generation=1, generations=5, evaluated=3, level="info")
print("not JSON", file=sys.stderr, flush=True)
gate = Path(os.environ["GATE"])
while not gate.exists():
    time.sleep(0.02)
say(event="stage_changed", stage="Saving")
end = gate.read_text()
if end == "crash":
    print("Killed", file=sys.stderr)
    sys.exit(137)
if end == "fail":
    error = {"reason": "TargetColumnMissing", "message": "no column 'y'"}
    print(json.dumps({"ok": False, "exitCode": 2, "error": error}))
    sys.exit(2)
best = {"pipeline": "p", "score": "0.9"}
board = [{"rank": n, "pipeline": "p", "score": "0.9"} for n in range(1, 15)]
print(json.dumps({"ok": True, "best": best, "leaderboard": board, "modelSource": "tpot", "progress": None}))
"""


def job(name: str = "churn"):
    return parse_job(
        {
            "apiVersion": "automl.trainingjob.dev/v1alpha1",
            "kind": "TrainingJob",
            "metadata": {"name": name},
            "spec": {"dataset": {"uri": "sample://iris"}, "targetColumn": "target"},
        }
    )


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    return tmp_path / "gate"


@pytest.fixture
def client(gate: Path) -> Iterator[TrainingJobClient]:
    backend = LocalBackend(
        output="runs", environment={"GATE": str(gate)}, command=[sys.executable, "-c", PROGRAM]
    )
    made = TrainingJobClient(backend, poll_seconds=0.02)
    yield made
    for job in made.list():
        made.delete(job.name)


def test_a_run_is_followed_to_its_end(client: TrainingJobClient, gate: Path) -> None:
    assert client.create(job()).namespace == "local"
    phases = []
    for seen in client.watch("churn", timeout_seconds=60):
        phases.append(seen.status.phase)
        if seen.status.progress is not None:
            assert (seen.status.progress.generation, seen.status.progress.evaluated) == (1, 3)
            gate.write_text("succeed")
    assert phases[-1] is Phase.SUCCEEDED
    assert Phase.SEARCHING in phases
    status = client.get("churn").status
    assert status.best is not None
    assert (status.best.score, status.model_source, len(status.leaderboard or ())) == ("0.9", "tpot", 10)
    entries = list(client.logs("churn", follow=True))
    assert json.loads(entries[0])["event"] == "stage_changed"
    assert "not JSON" in entries


@pytest.mark.parametrize(
    ("end", "reason", "message"),
    [
        ("fail", Reason.TARGET_COLUMN_MISSING, "no column 'y'"),
        ("crash", Reason.UNEXPECTED_ERROR, "the run ended with status 137 and no result: Killed"),
    ],
)
def test_a_run_that_fails_has_its_reason(
    client: TrainingJobClient, gate: Path, end: str, reason: Reason, message: str
) -> None:
    gate.write_text(end)
    client.create(job())
    with pytest.raises(JobFailed) as caught:
        client.wait("churn", timeout_seconds=60)
    assert (caught.value.reason, caught.value.message) == (reason, message)


def test_a_deleted_job_is_stopped_and_forgotten(client: TrainingJobClient) -> None:
    client.create(job())
    with pytest.raises(InvalidRequest, match="exists already"):
        client.create(job())
    client.delete("churn")
    assert client.list() == []
    with pytest.raises(InvalidRequest, match="no job 'churn'"):
        client.get("churn")


def test_a_deleted_run_that_does_not_end_is_killed(tmp_path: Path) -> None:
    ready, program = tmp_path / "ready", tmp_path / "deaf.py"
    program.write_text(
        "import pathlib, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"pathlib.Path({str(ready)!r}).touch()\n"
        "time.sleep(600)\n"
    )
    backend = LocalBackend(command=[sys.executable, str(program)], grace_seconds=1.0)
    client = TrainingJobClient(backend, poll_seconds=0.02)
    client.create(job())
    while not ready.exists():
        time.sleep(0.02)
    begin = time.monotonic()
    client.delete("churn")
    assert time.monotonic() - begin < 30
    assert client.list() == []


def test_without_the_trainer_the_message_names_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainingjob_client._backends.find_spec", lambda _name: None)
    with pytest.raises(ServiceUnavailable, match=r"pip install 'trainingjob\[trainer\]'") as caught:
        LocalBackend()
    assert caught.value.reason is Reason.CLIENT_MISSING


@pytest.mark.slow
def test_the_trainer_itself_reports_a_spec_that_cannot_run(tmp_path: Path) -> None:
    client = TrainingJobClient(LocalBackend(output=tmp_path), poll_seconds=0.2)
    wrong = job().model_copy(update={"spec": job().spec.model_copy(update={"target_column": "absent"})})
    client.create(wrong)
    with pytest.raises(JobFailed, match="absent") as caught:
        client.wait("churn", timeout_seconds=120)
    assert caught.value.reason is Reason.TARGET_COLUMN_MISSING
