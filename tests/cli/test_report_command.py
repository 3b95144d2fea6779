import json
from pathlib import Path
from typing import Any

import pytest

from support.fake_run import BEST, HEAVY, Front

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


def test_a_summary_of_something_else_is_refused(front: Front, finished: Path) -> None:
    (finished / "evaluation_summary.json").write_text("{}")
    result = front("report", "runs/churn")
    assert result.exit_code == 2


def test_as_json(front: Front, finished: Path) -> None:
    document = json.loads(front("report", str(finished), "--json").stdout)
    assert (document["command"], document["report"]) == ("report", str(finished / "report.html"))
    assert [row["score"] for row in document["leaderboard"]] == ["0.912", "0.9"]


@pytest.mark.parametrize("name", ["nowhere", ".", "job.yaml"])
def test_a_folder_without_a_run(front: Front, name: str) -> None:
    result = front("report", name)
    assert result.exit_code == 2
    assert result.stderr.splitlines()[1] == "reason: RunFolderNotFound"


def test_a_pointer_leads_to_a_neighbour_and_nowhere_else(front: Front, finished: Path) -> None:
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
def test_a_leaderboard_that_no_run_wrote(front: Front, finished: Path, content: str) -> None:
    (finished / "leaderboard.json").write_text(content, encoding="latin-1")
    result = front("report", str(finished))
    assert result.exit_code == 2
    assert "reason: ArtifactInvalid" in result.stderr
    assert not (finished / "report.html").exists()
