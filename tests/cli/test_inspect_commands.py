import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from support.fake_run import BEST, FINDING, HEAVY, Front
from trainingjob_api import ResolvedRun, Severity
from trainingjob_trainer.cli.inspect_commands import Inspection
from trainingjob_trainer.errors import DataError
from trainingjob_trainer.settings import TrainerSettings

SEEN = Inspection(
    task="classification",
    metric="f1",
    classes=("no", "yes"),
    positive_label="yes",
    rows=4029,
    holdout_rows=806,
    dropped_rows=11,
    cv_folds=5,
    feature_types={"age": "numeric", "[red]town\x1b[2J": "categorical"},
    findings=(FINDING,),
    sha256="f" * 64,
    size_bytes=1234,
    search_space="linear",
)


def inspect(_run: ResolvedRun, _settings: TrainerSettings) -> Inspection:
    return SEEN


def row(text: str, field: str) -> list[str]:
    return next(line.split(maxsplit=1) for line in text.splitlines() if line.startswith(f"{field} "))


def test_every_value_is_shown_with_where_it_is_from(front: Front) -> None:
    front.environment["TPOT__CV_FOLDS"] = "7"
    result = front("validate", "job.yaml", "--set", "spec.metric=f1")
    assert result.exit_code == 0
    for field, words in {
        "dataset.uri": ["sample://messy_churn", "spec"],
        "metric": ["f1", "spec"],
        "budget.timeLeftSeconds": ["100", "spec"],
        "budget.cvFolds": ["7", "environment"],
        "memoryLimitMb": ["3072", "default"],
        "parallelMode": ["local", "default"],
        "searchSpace": ["linear", "default"],
        "randomState": ["0", "default"],
    }.items():
        assert row(result.stdout, field)[1].split() == words, field
    assert result.stdout.splitlines()[-1] == "churn: the spec is valid; --data checks the table too"


def test_the_kill_switch_of_the_environment_shows(front: Front) -> None:
    front.environment["ENABLE_AUTOML"] = "false"
    result = front("validate", "job.yaml", "--set", "spec.automl.enabled=true")
    assert row(result.stdout, "automl.enabled")[1].split() == ["false", "environment"]


def test_values_that_the_trainer_decides_are_marked(front: Front) -> None:
    text = front("validate", "job.yaml").stdout
    assert row(text, "nJobs")[1].startswith("cores - 1 (2 of two cores), at most 8")
    assert row(text, "metric")[1].startswith("accuracy, or r2 for regression")


@pytest.mark.parametrize("columns", ["40", "80", "200"])
def test_a_narrow_terminal_cuts_nothing(front: Front, columns: str) -> None:
    result = front("validate", "job.yaml", terminal={"COLUMNS": columns})
    assert "…" not in result.stdout
    assert "memoryLimitMb" in result.stdout


def test_the_values_as_json(front: Front) -> None:
    document = json.loads(front("validate", "job.yaml", "--json").stdout)
    assert (document["command"], document["ok"], document["data"]) == ("validate", True, None)
    values = {value["field"]: (value["value"], value["source"]) for value in document["values"]}
    assert values["budget.populationSize"] == (8, "spec")
    assert values["nJobs"] == (None, "default")
    assert len(document["searchDigest"]) == 64


def test_a_wrong_spec_is_reported(front: Front) -> None:
    result = front("validate", "job.yaml", "--set", "spec.budget.timeLeftSeconds=-1", "--json")
    assert result.exit_code == 2
    assert json.loads(result.stdout)["error"]["problems"][0]["field"] == "spec.budget.timeLeftSeconds"


def test_the_table_is_shown_too_if_asked_for(front: Front) -> None:
    front.dependencies["inspect"] = inspect
    result = front("validate", "job.yaml", "--data")
    assert result.exit_code == 0
    lines = [line.rstrip() for line in result.stdout.splitlines()]
    for line in (
        "Task: classification by f1, classes no, yes, positive yes",
        "Rows: 4029 (806 held out, 5 folds, 11 without a target left out)",
        "Search space: linear, compiled for this table",
        "[red]town [2J   categorical",
        "warning: column 'id': looks like an identifier",
        "churn: the spec and the data are valid",
    ):
        assert line in lines
    assert "\x1b" not in result.stdout


def test_the_table_as_json(front: Front) -> None:
    front.dependencies["inspect"] = inspect
    data = json.loads(front("validate", "job.yaml", "--data", "--json").stdout)["data"]
    assert (data["rows"], data["classes"]) == (4029, ["no", "yes"])
    assert data["findings"] == [
        {
            "finding": "identifier",
            "severity": "warning",
            "column": "id",
            "message": "looks like an identifier",
        }
    ]


def test_a_note_about_the_table_is_not_a_warning(front: Front) -> None:
    note = FINDING.model_copy(update={"severity": Severity.INFO, "message": "[b]is[/b] 'a  b' <i>"})
    front.dependencies["inspect"] = lambda *_anything: replace(SEEN, findings=(note,), positive_label=" a, b")
    text = front("validate", "job.yaml", "--data").stdout
    assert "info: column 'id': [b]is[/b] 'a  b' <i>\n" in text
    assert ", positive ' a, b'" in text


def test_a_wrong_table_is_reported(front: Front) -> None:
    def refuse(*_anything: Any) -> Inspection:
        raise DataError("DatasetEmpty", "the file holds a header only")

    front.dependencies["inspect"] = refuse
    result = front("validate", "job.yaml", "--data")
    assert result.exit_code == 2
    assert result.stderr.splitlines() == ["error: the file holds a header only", "reason: DatasetEmpty"]


@pytest.mark.slow
def test_a_real_table_and_search_space_are_validated(front: Front) -> None:
    spec = ("--set", "spec.dataset.uri=sample://iris", "--set", "spec.targetColumn=target")
    inline = 'spec.searchSpace.inline="{type: estimator, name: LogisticRegression}"'
    result = front("validate", "job.yaml", *spec, "--data", "--json", "--set", inline)
    assert result.exit_code == 0, result.stderr
    data = json.loads(result.stdout)["data"]
    assert (data["task"], data["metric"], len(data["classes"])) == ("classification", "accuracy", 3)
    assert data["searchSpace"] == "a tree from spec.searchSpace.inline"

    wrong = 'spec.searchSpace.inline="{type: estimator, name: LogisticRegresion}"'
    refused = front("validate", "job.yaml", *spec, "--data", "--set", wrong)
    assert refused.exit_code == 2
    assert "LogisticRegression" in refused.stderr


ENTRY = {
    "rank": 1,
    "number": 3,
    "key": "ab",
    "origin": "space",
    "generation": 1,
    "pipeline": BEST,
    "score": 0.912,
    "scoreStd": 0.0113,
    "complexityKiB": 14.25,
    "fitSeconds": 0.4312,
}
BOARD: dict[str, Any] = {
    "schemaVersion": "1.0",
    "metric": "accuracy",
    "entries": [
        ENTRY,
        {**ENTRY, "rank": 2, "pipeline": HEAVY, "score": 0.9, "scoreStd": None, "complexityKiB": None},
    ],
}


def render(folder: Path) -> Path:
    path = folder / "report.html"
    path.write_text("<html>")
    return path


@pytest.fixture
def finished(front: Front) -> Path:
    """A finished run and the pointer to it, under a front that draws pages of its own."""
    front.dependencies["render"] = render
    home = front.folder / "runs" / "churn-0123abcd"
    home.mkdir(parents=True)
    (home / "leaderboard.json").write_text(json.dumps(BOARD))
    (front.folder / "runs" / "churn").mkdir()
    (front.folder / "runs" / "churn" / "latest.json").write_text(json.dumps({"folder": "churn-0123abcd"}))
    return home


@pytest.mark.parametrize("name", ["runs/churn-0123abcd", "runs/churn"])
def test_the_report_is_drawn_and_the_leaderboard_printed(front: Front, finished: Path, name: str) -> None:
    result = front("report", name)
    assert result.exit_code == 0
    assert (finished / "report.html").is_file()
    lines = [line.rstrip() for line in result.stdout.splitlines()]
    assert lines[0] == "Leaderboard by accuracy"
    assert f"1   0.912   0.0113   14.2   0.431   {BEST}"[:60] in result.stdout
    assert lines[-1] == f"Report: {Path(name).parent / 'churn-0123abcd' / 'report.html'}"


def test_the_number_of_similar_pipelines_comes_from_the_file(front: Front, finished: Path) -> None:
    board = {**BOARD, "entries": [{**ENTRY, "similar": 3}]}
    (finished / "leaderboard.json").write_text(json.dumps(board))
    assert "+3" in front("report", "runs/churn").stdout
    document = json.loads(front("report", "runs/churn", "--json").stdout)
    assert [row["similar"] for row in document["leaderboard"]] == [3]


def test_the_scores_say_on_how_many_rows_they_were_measured(front: Front, finished: Path) -> None:
    document = {
        "metric": "accuracy",
        "best": {"pipeline": BEST, "score": 0.912, "trainRows": 8000, "testRows": 2000},
        "holdout": {"rows": 2500, "score": 0.905, "interval": {"low": 0.88, "high": 0.93}},
    }
    (finished / "evaluation_summary.json").write_text(json.dumps(document))
    board = {**BOARD, "entries": [{**ENTRY, "trainRows": 8000, "testRows": 2000}]}
    (finished / "leaderboard.json").write_text(json.dumps(board))
    result = front("report", "runs/churn")
    lines = [line.rstrip() for line in result.stdout.splitlines()]
    assert lines[:3] == [
        "accuracy: cross-validated 0.912, on hold-out rows 0.905",
        "Folds: each learns from 8,000 rows and is scored on 2,000",
        "Hold-out: 2,500 rows; 95 % interval of the score: 0.88 to 0.93",
    ]
    assert f"1   0.912   8,000   0.0113   14.2   0.431   {BEST}"[:60] in result.stdout


@pytest.mark.parametrize(
    "holdout", [{"rows": 20, "score": 0.9}, {"rows": 20, "score": None, "interval": None}]
)
def test_a_score_without_an_interval_is_shown(front: Front, finished: Path, holdout: dict[str, Any]) -> None:
    document = {"best": {"pipeline": BEST, "score": 0.912}, "holdout": holdout}
    (finished / "evaluation_summary.json").write_text(json.dumps(document))
    result = front("report", "runs/churn")
    assert "Hold-out: 20 rows\n" in result.stdout


def test_a_summary_of_another_kind_is_rejected(front: Front, finished: Path) -> None:
    (finished / "evaluation_summary.json").write_text("{}")
    result = front("report", "runs/churn")
    assert result.exit_code == 2


def test_the_leaderboard_as_json(front: Front, finished: Path) -> None:
    document = json.loads(front("report", str(finished), "--json").stdout)
    assert (document["command"], document["report"]) == ("report", str(finished / "report.html"))
    assert [row["score"] for row in document["leaderboard"]] == ["0.912", "0.9"]


@pytest.mark.parametrize("name", ["nowhere", ".", "job.yaml"])
def test_a_folder_without_a_run_is_named(front: Front, name: str) -> None:
    result = front("report", name)
    assert result.exit_code == 2
    assert result.stderr.splitlines()[1] == "reason: RunFolderNotFound"


def test_a_pointer_leads_only_to_a_folder_beside_it(front: Front, finished: Path) -> None:
    pointer = front.folder / "runs" / "churn" / "latest.json"
    for folder in ("../runs/churn-0123abcd", str(finished), "..", 7, None):
        pointer.write_text(json.dumps({"folder": folder}))
        assert front("report", "runs/churn").exit_code == 2


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("{", id="no JSON"),
        pytest.param("[]", id="no object"),
        pytest.param("{}", id="no entries"),
        pytest.param(json.dumps({"entries": [{"rank": 1}]}), id="no score"),
        pytest.param(json.dumps({"entries": [{**ENTRY, "score": "high"}]}), id="no number"),
        pytest.param(json.dumps({"entries": [{**ENTRY, "score": float("nan")}]}), id="NaN"),
        pytest.param("\x00\xff", id="binary"),
    ],
)
def test_a_leaderboard_of_another_kind_is_rejected(front: Front, finished: Path, content: str) -> None:
    (finished / "leaderboard.json").write_text(content, encoding="latin-1")
    result = front("report", str(finished))
    assert result.exit_code == 2
    assert "reason: ArtifactInvalid" in result.stderr
    assert not (finished / "report.html").exists()
