import json
from pathlib import Path

import pytest

from support.fake_run import FINDING, Front, evaluated
from trainingjob_trainer.cli.run_command import local_uri
from trainingjob_trainer.errors import DataError, RunFailed


def log_of(front: Front) -> list[dict[str, object]]:
    path = front.folder / "runs" / "churn-0123abcd" / ".work" / "logs" / "run.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_run_ends_with_the_summary(front: Front) -> None:
    result = front.run()
    assert result.exit_code == 0
    assert result.stderr == ""
    assert "\nLeaderboard" in result.stdout
    assert "joblib.load('runs/churn-0123abcd/model.joblib')" in result.stdout
    assert result.stdout.splitlines()[-1] == "Model source: tpot, found by the search; no fallback."


def test_options_reach_the_supervisor(front: Front) -> None:
    front.environment["TPOT__POPULATION_SIZE"] = "99"
    front.environment["TPOT__N_JOBS"] = "3"
    front.run(
        "--set", "spec.budget.timeLeftSeconds=30", "--set", "spec.metric=f1", "--fresh", "--work-dir", "w"
    )
    run, options = front.fake.asked[0]
    assert (run.budget.time_left_seconds, run.metric) == (30, "f1")
    assert (run.budget.population_size, run.n_jobs) == (8, 3)
    assert run.output.uri == (front.folder / "runs").as_uri()
    assert (options.fresh, options.work_dir) == (True, Path("w"))
    assert options.environment == front.environment


def test_an_output_of_the_spec_is_relative_to_the_current_folder(front: Front) -> None:
    front("run", "job.yaml", "--set", "spec.output.uri=file://./here")
    assert front.fake.asked[0][0].output.uri == (front.folder / "here").as_uri()


@pytest.mark.parametrize(
    ("place", "uri"),
    [
        ("s3://models/churn", "s3://models/churn"),
        ("pvc://claim/path", "pvc://claim/path"),
        ("file:///absolute/path", "file:///absolute/path"),
        ("/absolute/a b", "file:///absolute/a%20b"),
    ],
)
def test_artifacts_are_written_to_the_given_place(place: str, uri: str) -> None:
    assert local_uri(place) == uri


def test_an_acceptance_that_is_not_met_is_printed_and_not_a_failure(front: Front) -> None:
    front.fake.changes = {"accepted": False, "acceptance_message": "the hold-out score 0.8 is below 0.9"}
    for options in ((), ("--quiet",)):
        result = front.run(*options)
        assert result.exit_code == 0
        assert "Acceptance: NOT met, the hold-out score 0.8 is below 0.9" in result.stdout


def test_quiet_prints_the_last_line_only(front: Front) -> None:
    result = front.run("--quiet")
    assert result.stdout == "Model source: tpot, found by the search; no fallback.\n"
    assert result.stderr == ""


def test_json_is_the_only_thing_on_standard_output(front: Front) -> None:
    result = front.run("--json")
    document = json.loads(result.stdout)
    assert document["schemaVersion"] == 1
    assert (document["command"], document["ok"], document["exitCode"]) == ("run", True, 0)
    assert (document["name"], document["modelSource"]) == ("churn", "tpot")
    assert document["best"]["holdoutScore"] == "0.905"
    assert document["leaderboard"][0]["fitSeconds"] == "0.4312"
    assert document["paretoFront"][0]["complexity"] == "14.25"
    assert document["artifacts"][0]["name"] == "model.joblib"
    assert document["location"] == (front.folder / "runs" / "churn-0123abcd").as_uri()
    assert document["accepted"] is None
    assert "stage: Loading" in result.stderr


def test_json_and_quiet_leave_standard_error_empty(front: Front) -> None:
    result = front.run("--json", "--quiet")
    assert json.loads(result.stdout)["ok"] is True
    assert result.stderr == ""


def test_a_json_log_replaces_progress(front: Front) -> None:
    result = front.run("--log-format", "json")
    entries = [json.loads(line) for line in result.stderr.splitlines()]
    names = [entry["event"] for entry in entries]
    assert names[0] == "stage_changed"
    assert names[-3:] == ["evaluated_individuals", "leaderboard_topk", "Pareto_Front"]
    assert "evaluated" not in names
    assert all({"time", "level"} <= set(entry) for entry in entries)
    assert "stage: Loading" not in result.stdout
    assert "\nLeaderboard" in result.stdout


def test_the_log_in_the_run_folder_has_every_evaluation_and_the_result(front: Front) -> None:
    front.fake.events[9:9] = [evaluated(number) for number in range(10, 16)]
    front.run("--quiet")
    entries = log_of(front)
    assert sum(entry["event"] == "evaluated" for entry in entries) == 9
    snippet, board, points = entries[-3:]
    assert snippet["counts"] == {"ok": 8, "stopped": 0, "invalid": 1, "killed": 0, "timeout": 0}
    assert isinstance(snippet["last"], list)
    assert [evaluation["number"] for evaluation in snippet["last"]] == [12, 13, 14, 15, 2]
    assert [entry["rank"] for entry in board["entries"]] == [1, 2]  # type: ignore[attr-defined]
    assert points["event"] == "Pareto_Front"


def test_the_log_of_a_failed_run_has_its_results(front: Front) -> None:
    front.fake.error = RunFailed("NoModel", "it crashed")
    front.run()
    assert [entry["event"] for entry in log_of(front)][-3:] == [
        "evaluated_individuals",
        "leaderboard_topk",
        "Pareto_Front",
    ]


def test_a_log_that_cannot_be_written_does_not_stop_the_run(front: Front) -> None:
    logs = front.folder / "runs" / "churn-0123abcd" / ".work" / "logs"
    (logs / "run.jsonl").mkdir(parents=True)
    assert front.run().exit_code == 0


def test_a_log_in_a_removed_folder_is_not_named(front: Front) -> None:
    front.fake.error, front.fake.removes_folder = DataError("DatasetEmpty", "a header only"), True
    assert front.run("--quiet").stderr.splitlines() == ["error: a header only", "reason: DatasetEmpty"]
    assert list((front.folder / "runs").iterdir()) == []


def test_a_run_without_a_folder_names_no_log(front: Front) -> None:
    front.fake.events = []
    front.fake.error = RunFailed("X", "y")
    result = front("run", "job.yaml", "--output", "s3://bucket", "--work-dir", "nowhere")
    assert result.stderr.splitlines() == ["error: y", "reason: X"]


def test_the_document_keeps_findings_apart_from_warnings(front: Front) -> None:
    front.fake.changes = {"findings": (FINDING,), "warnings": ("the search crashed",)}
    document = json.loads(front.run("--json").stdout)
    (finding,) = document["findings"]
    assert (finding["finding"], finding["severity"], finding["column"]) == ("identifier", "warning", "id")
    assert document["warnings"] == ["the search crashed"]
