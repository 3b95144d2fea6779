"""The local backend with a program in place of the trainer, and once with the trainer."""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from trainingjob_api import Phase, Reason, parse_job
from trainingjob_client import InvalidRequest, JobFailed, LocalBackend, ServiceUnavailable, TrainingJobClient

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
    for one in made.list():
        made.delete(one.name)


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


def test_without_the_trainer_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainingjob_client._local.find_spec", lambda _name: None)
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
