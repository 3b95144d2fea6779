"""The promotion gate as a command: its exit status promotes, rolls back or waits."""

import json
import re
from datetime import UTC, datetime

import pytest

from promotion_gate.__main__ import main
from promotion_gate.verdict import Verdict
from support.gate import (
    CANARY,
    HEALTHY,
    answering,
    job,
    scraped,
)


@pytest.mark.parametrize(
    ("counters", "status", "word"),
    [
        (HEALTHY, 0, "PROMOTE"),
        (HEALTHY | {"training_jobs_finished_total_failed_canary": 4}, 1, "ROLL BACK"),
        (HEALTHY | {"training_jobs_finished_total_canary": 3}, 2, "WAIT"),
    ],
)
def test_the_command_reads_the_metrics_of_both_releases(counters, status, word, capsys, monkeypatch):
    monkeypatch.delenv("PROMETHEUS_TOKEN", raising=False)
    with answering(scraped(**counters)) as (url, asked):
        assert main(["--prometheus", url, "--window", "2h"]) == status
    assert word in capsys.readouterr().out
    assert {CANARY in form["query"] for _, form, _ in asked} == {True, False}


def test_the_command_counts_a_file_of_jobs(tmp_path, capsys):
    path = tmp_path / "jobs.json"
    jobs = [job(str(number), "canary") for number in range(25)] + [job(str(number)) for number in range(40)]
    now = datetime.now(UTC).isoformat()
    for resource in jobs:
        resource["status"]["completionTime"] = now
    path.write_text(json.dumps({"items": jobs}))
    assert main(["--jobs", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"] == "PROMOTE"
    assert [rule["name"] for rule in found["rules"]] == [
        "jobs ended",
        "failed",
        "fallbacks",
        "overruns",
        "not handled",
    ]


def test_the_command_compares_a_share_with_the_other_jobs(tmp_path, capsys):
    path = tmp_path / "jobs.json"
    jobs = [job(str(number), resolved={"automlEnabled": number < 20}) for number in range(60)]
    jobs += [job("late", "canary", phase="Failed", resolved={"automlEnabled": True})] * 3
    for resource in jobs:
        resource["status"]["completionTime"] = datetime.now(UTC).isoformat()
    path.write_text(json.dumps({"items": jobs}))
    assert main(["--jobs", str(path), "--share"]) == 0
    assert re.search(r"jobs ended +20 +40 ", capsys.readouterr().out)


def test_the_command_compares_a_single_release_with_the_limits(tmp_path, capsys):
    path = tmp_path / "jobs.json"
    jobs = [job(str(number), phase="Failed" if number < 2 else "Succeeded") for number in range(25)]
    for resource in jobs:
        resource["status"]["completionTime"] = datetime.now(UTC).isoformat()
    path.write_text(json.dumps({"items": jobs}))
    assert main(["--jobs", str(path), "--canary-class", "stable", "--alone"]) == 1
    assert "at most 5.0 %" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--prometheus", "http://x", "--cluster"],
        ["--cluster", "--window", "soon"],
        ["--prometheus", "http://127.0.0.1:9", "--share"],
        ["--cluster", "--share", "--alone"],
        ["--cluster", "--min-jobs", "0"],
        ["--cluster", "--failures", "5"],
        ["--cluster", "--failures", "few"],
    ],
)
def test_a_mistake_on_the_command_line_never_promotes(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == Verdict.WAIT
    assert "usage" in capsys.readouterr().err


def test_a_source_that_fails_never_promotes(tmp_path, capsys):
    assert main(["--jobs", str(tmp_path / "absent.json")]) == Verdict.WAIT
    assert "absent.json" in capsys.readouterr().err
