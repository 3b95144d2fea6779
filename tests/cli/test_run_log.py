"""The log of a trainer's container: all lines have the same schema, and the last has the cause of the end."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.jobs import job
from trainingjob_api import resolve
from trainingjob_trainer.cli.run_log import MAX_CAUSE_BYTES, FollowedFile, open_log, run_in_pod, write_cause
from trainingjob_trainer.errors import RunFailed, SpecInvalid

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
SECRET = "a-very-secret-key"
POD = {
    "POD_NAMESPACE": "team",
    "TRAININGJOB_JOB_NAME": "churn",
    "TRAININGJOB_JOB_UID": "0123456789abcdef0123456789abcdef",
}
KEYS = {"time", "level", "event", "job", "uid"}


def entries_of(text: str) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = [json.loads(line) for line in text.splitlines()]
    assert all(set(entry) >= KEYS and TIME.fullmatch(entry["time"]) for entry in entries)
    assert {(entry["job"], entry["uid"]) for entry in entries} == {("team/churn", POD["TRAININGJOB_JOB_UID"])}
    return entries


@pytest.fixture
def cause(tmp_path: Path) -> Path:
    path = tmp_path / "termination-log"
    path.write_text("older and longer than what comes" * 100)
    return path


def told(error: Exception) -> Callable[..., int]:
    def run_pod(*_: Any, on_failure: Callable[[Exception], None], **__: Any) -> int:
        on_failure(error)
        return 2

    return run_pod


def raises(error: BaseException) -> Callable[..., int]:
    def run_pod(*_: Any, on_attempt: Callable[[int], None], **__: Any) -> int:
        on_attempt(3)
        raise error

    return run_pod


@pytest.mark.parametrize(
    ("run_pod", "status", "says"),
    [
        (lambda *_, **__: 0, 0, ""),
        (told(SpecInvalid("TargetColumnMissing", "no\ncolumn")), 2, "TargetColumnMissing: no column"),
        (told(RunFailed("UploadFailed", f"key {SECRET}")), 2, "UploadFailed: key ***"),
        (raises(SpecInvalid("InvalidEnvironment", "x")), 2, "InvalidEnvironment: x"),
        (raises(ValueError(f"of {SECRET}")), 1, "UnexpectedError: ValueError: of ***"),
        (raises(SystemExit(143)), 143, "stopped by a signal; the finished work is saved"),
        (lambda *_, **__: 143, 143, "stopped by a signal; the finished work is saved"),
    ],
)
def test_the_cause_is_the_termination_message_and_the_last_line(  # noqa: PLR0917 - fixtures and a case
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    cause: Path,
    run_pod: Callable[..., int],
    status: int,
    says: str,
) -> None:
    (tmp_path / "AWS_SECRET_ACCESS_KEY").write_text(SECRET)
    monkeypatch.setattr("trainingjob_trainer.run.pod.run_pod", run_pod)
    environment = POD | {"TRAININGJOB_OUTPUT_CREDENTIALS_DIR": str(tmp_path)}
    assert run_in_pod(environment, cause_file=cause) == status
    output = capsys.readouterr()
    assert output.err == ""
    assert SECRET not in output.out
    *_, last = entries_of(output.out)
    if not says:
        assert cause.read_text().startswith("older")
        return
    assert cause.read_text() == says
    words = f"{last['reason']}: {last['message']}" if "reason" in last else last["event"]
    assert (words, last["level"]) == (says, "error")
    assert ("traceback" in last) == ("UnexpectedError" in says)


@pytest.mark.parametrize("text", ["ä" * 2000, "x" * 1023 + "ä", "a\x1b[31mb\nc"])
def test_a_cause_is_one_line_of_bounded_length(cause: Path, text: str) -> None:
    write_cause(text, cause)
    written = cause.read_bytes()
    assert len(written) <= MAX_CAUSE_BYTES
    assert written.decode().isprintable()
    assert text[:1] == written.decode()[:1]


def test_a_missing_termination_file_is_not_an_error(tmp_path: Path) -> None:
    write_cause("x", tmp_path / "absent")
    assert not (tmp_path / "absent").exists()
    write_cause("x", tmp_path)


def test_what_a_child_prints_is_logged_up_to_a_limit(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainingjob_trainer.cli.run_log._MAX_FOLLOWED_BYTES", 20)
    path = tmp_path / "trainer.log"
    path.write_text("of before\n")
    with open_log(sys.stdout, {"job": "team/churn", "uid": POD["TRAININGJOB_JOB_UID"]}, lambda: ()):
        followed = FollowedFile("child")
        followed.start(path)
        with path.open("a") as file:
            file.write("a line\n\nabcdefghijklmnopqrstuvwxyz\n")
        followed.stop()
    events = [entry["event"] for entry in entries_of(capsys.readouterr().out)]
    assert events[:2] == ["a line", "abcdefghijkl"]
    assert "the rest is not logged" in events[2]


PROGRAM = """
import functools, httpx, json, logging, sys, threading, warnings
from pathlib import Path
from trainingjob_trainer.cli.run_log import run_in_pod
from trainingjob_trainer.run import pod
from trainingjob_trainer.run.pod import ReportMap
import os

folder = Path(sys.argv[1])
client = httpx.Client(
    base_url="https://api", transport=httpx.MockTransport(lambda _: httpx.Response(200, json={"data": {}}))
)
run_pod = pod.run_pod

def noisy(*arguments, **named):
    logging.getLogger("urllib3.connectionpool").warning("retrying %s", 1)
    warnings.warn("a library warns")
    print("plain text", file=sys.stderr)
    thread = threading.Thread(target=lambda: 1 / 0)
    thread.start(); thread.join()
    import distributed
    logging.getLogger("distributed.core").warning("lost a worker")
    reports = ReportMap(client, "/x", account=folder)
    return run_pod(*arguments, run_file=folder / "run.json", reports=reports, **named)

pod.run_pod = noisy
sys.exit(run_in_pod(dict(os.environ), cause_file=folder / "termination-log"))
"""


@pytest.mark.slow
@pytest.mark.parametrize("target", ["target", "absent"])
def test_every_line_of_a_whole_run_has_the_schema(tmp_path: Path, target: str) -> None:
    fields = {"output": {"uri": f"file://{tmp_path}/models"}, "dataset": {"uri": "sample://breast_cancer"}}
    budget = {"timeLeftSeconds": 30, "generations": 1, "populationSize": 4, "cvFolds": 2}
    run = resolve(job("churn", targetColumn=target, nJobs=1, budget=budget, **fields), {})
    run = run.model_copy(update={"uid": POD["TRAININGJOB_JOB_UID"]})
    (tmp_path / "run.json").write_text(run.model_dump_json(by_alias=True))
    (tmp_path / "token").write_text("a token\n")
    (tmp_path / "termination-log").touch()
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LD_LIBRARY_PATH") if name in os.environ}
    work = {"TRAININGJOB_WORK_DIR": str(tmp_path / "work"), "POD_UID": "pod-1"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        env={**kept, **POD, **work},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.stderr == ""
    entries = entries_of(done.stdout)
    events = " | ".join(entry["event"] for entry in entries)
    for said in ("retrying 1", "a library warns", "plain text", "ZeroDivisionError", "lost a worker"):
        assert said in events
    assert entries[-1]["attempt"] == 1
    cause = (tmp_path / "termination-log").read_text()
    if target == "target":
        assert (done.returncode, cause) == (0, "")
        assert "saved" in events
    else:
        assert done.returncode == 2
        assert cause.startswith(f"{entries[-1]['reason']}: ")
        assert "absent" in cause
