import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from support.fake_run import BOARD, FRONT, RESOLVED, SCORES, result_of
from trainingjob_api import Fallback, FindingNote, LeaderboardEntry, ModelSource, NotFitted, Severity, shorten
from trainingjob_trainer.cli.summary import (
    about_column,
    change,
    counts_text,
    duration,
    label_text,
    print_summary,
    verdict,
)

GOLDEN = """\
warning: column 'id' looks like an identifier
warning: the earlier attempt crashed

accuracy           model   baseline     gain
────────────────────────────────────────────
cross-validated    0.912      0.871   +0.041
on hold-out rows   0.905       0.88   +0.025
Best pipeline: StandardScaler → PCA(n_components=0.9) → LogisticRegression(C=0.3)
Acceptance: NOT met, the hold-out score 0.905 is below acceptance.minScore 0.95

Leaderboard
#   score    ± std    KiB   fit s   pipeline
──────────────────────────────────────────────────────────────────────────────────────────────
1   0.912   0.0113   14.2   0.431   StandardScaler → PCA(n_components=0.9) →
                                    LogisticRegression(C=0.3)
2     0.9     0.02    230    1.25   HistGradientBoostingClassifier(learning_rate=0.1,
                                    max_leaf_nodes=31)

Pareto front (score against size)
score    KiB   pipeline
─────────────────────────────────────────────────────────────────────────────────
0.912   14.2   StandardScaler → PCA(n_components=0.9) → LogisticRegression(C=0.3)

42 s of the budget used · 3 evaluations (2 ok · 1 failed) · generation 1 of 5 · stopped by: generations
Folder: runs/churn-0123abcd
Model:  runs/churn-0123abcd/model.joblib
Report: runs/churn-0123abcd/report.html
Use it:
    import joblib
    import pandas as pd
    model = joblib.load('runs/churn-0123abcd/model.joblib')
    model.predict(pd.read_csv("new-rows.csv"))
Model source: tpot, found by the search; no fallback.
"""


def summary(home: Path, *, width: int = 94, terminal: bool = False, **changes: Any) -> str:
    console = Console(
        file=io.StringIO(),
        width=width,
        force_terminal=terminal,
        color_system=None,
        markup=False,
        emoji=False,
        highlight=False,
    )
    print_summary(console, result_of(home, **changes))
    assert isinstance(console.file, io.StringIO)
    return "".join(f"{line.rstrip()}\n" for line in console.file.getvalue().splitlines())


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs" / "churn-0123abcd"


def test_the_last_page_equals_the_golden_file(home: Path) -> None:
    text = summary(
        home,
        accepted=False,
        acceptance_message="the hold-out score 0.905 is below acceptance.minScore 0.95",
        warnings=("column 'id' looks like an identifier", "the earlier attempt crashed"),
    )
    assert text == GOLDEN


@pytest.mark.parametrize("width", [50, 60, 80, 120])
def test_on_a_terminal_each_pipeline_takes_one_line_and_no_number_is_cut(home: Path, width: int) -> None:
    row = LeaderboardEntry(rank=3, pipeline="y" * 300, score="0.1", complexity="1", fit_seconds="2")
    lines = summary(home, width=width, terminal=True, leaderboard=(*BOARD, row)).splitlines()
    rows = lines[lines.index("Leaderboard") + 3 :][:3]
    assert [line.split()[:2] for line in rows] == [["1", "0.912"], ["2", "0.9"], ["3", "0.1"]]
    assert max(cell_len(line) for line in rows) <= width
    assert rows[2].endswith("…")


def test_each_score_says_on_how_many_rows_it_was_measured(home: Path) -> None:
    best = SCORES.model_copy(
        update={
            "train_rows": 8000,
            "test_rows": 2000,
            "holdout_rows": 20000,
            "holdout_interval": ("0.88", "0.93"),
        }
    )
    board = tuple(row.model_copy(update={"train_rows": 64000 // row.rank}) for row in BOARD)
    front = tuple(point.model_copy(update={"train_rows": 8000}) for point in FRONT)
    lines = summary(home, best=best, leaderboard=board, pareto_front=front).splitlines()
    assert "Folds: each learns from 8,000 rows and is scored on 2,000" in lines
    assert "Hold-out: 20,000 rows; 95 % interval of the score: 0.88 to 0.93" in lines
    assert lines[lines.index("Leaderboard") + 1].split()[:3] == ["#", "score", "rows"]
    assert lines[lines.index("Leaderboard") + 3].split()[:3] == ["1", "0.912", "64,000"]
    assert lines[lines.index("Leaderboard") + 5].split()[:3] == ["2", "0.9", "32,000"]
    assert lines[lines.index("Pareto front (score against size)") + 3].split()[:2] == ["0.912", "8,000"]


def test_similar_pipelines_are_counted_beside_their_line(home: Path) -> None:
    first, *others = BOARD
    board = (first.model_copy(update={"similar": 4}), *others)
    lines = summary(home, leaderboard=board).splitlines()
    at = lines.index("Leaderboard")
    assert "similar" in lines[at + 1].split()
    assert "+4" in lines[at + 3].split()
    assert "similar" not in summary(home)


def test_a_score_without_an_interval_has_its_rows(home: Path) -> None:
    best = SCORES.model_copy(update={"holdout_rows": 12})
    assert "Hold-out: 12 rows\n" in summary(home, best=best)


def test_outside_a_terminal_nothing_is_cut(home: Path) -> None:
    row = LeaderboardEntry(rank=1, pipeline="y" * 300, score="0.1")
    text = summary(home, leaderboard=(row,))
    assert "…" not in text
    assert text.count("y") >= 300


def test_paths_stay_in_one_piece(tmp_path: Path) -> None:
    far = tmp_path / ("deep/" * 30) / "churn-0123abcd"
    lines = summary(far, width=40, terminal=True).splitlines()
    assert f"Model:  {far}/model.joblib" in lines


def test_a_model_in_a_bucket_is_downloaded_first(home: Path) -> None:
    text = summary(home, location="s3://models/churn-0123abcd")
    assert "Model:  s3://models/churn-0123abcd/model.joblib\n" in text
    assert "Download it, then use it:\n" in text
    assert "joblib.load('model.joblib')" in text


def test_findings_have_severity_and_column(home: Path) -> None:
    message = "the label '<b>[bold]a  b[/bold]' is rare"
    findings = (
        FindingNote(finding="TaskInferred", severity=Severity.INFO, column="a", message="a task was chosen"),
        FindingNote(finding="ImbalancedTarget", severity=Severity.WARNING, column="rare", message=message),
    )
    lines = summary(home, findings=findings, warnings=("the search crashed",)).splitlines()
    assert lines[:3] == [
        "note: column 'a': a task was chosen",
        f"warning: column 'rare': {message}",
        "warning: the search crashed",
    ]


@pytest.mark.parametrize("label", ["yes", "not [b]at[/b] all", "1"])
def test_the_positive_label_of_two_is_named(home: Path, label: str) -> None:
    text = summary(home, resolved=RESOLVED.model_copy(update={"positive_label": label}))
    assert f"\nPositive label: {label}\n" in text
    assert "Positive" not in summary(home)


def test_the_findings_that_are_not_shown_are_counted(home: Path) -> None:
    findings = tuple(
        FindingNote(finding="ConstantColumn", severity=Severity.INFO, message=f"note {n}") for n in range(14)
    )
    lines = summary(home, findings=findings, warnings=("the search crashed",)).splitlines()
    assert lines[11:13] == ["note: note 11", "and 3 more in report.html"]


def test_names_cannot_steer_the_terminal(home: Path) -> None:
    hostile = "[red]x[/red] \x1b[2J\x07 :boom:"
    row = LeaderboardEntry(rank=1, pipeline=hostile, score="0.1")
    best = SCORES.model_copy(update={"pipeline": hostile})
    text = summary(home, leaderboard=(row,), best=best, warnings=(hostile,), stopped_by=hostile)
    assert text.count("[red]x[/red]") == 4
    assert not {"\x1b", "\x07"} & set(text)


def step(source: str, target: str, reason: str, message: str = "") -> Fallback:
    return Fallback(from_=source, to=target, reason=reason, time=datetime.now(UTC), message=message)


LOCAL = step("dask", "local", "SchedulerUnavailable", "no Dask cluster could be reached")
BASELINE = step("tpot", "baseline", "NoPipelineFitted", "all of them failed.")
MISSED = NotFitted(pipeline="SVC", score="0.95", reason="the fit took longer than 9.0 s")
DUMMY = step("baseline", "dummy", "BaselineFailed")


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        pytest.param({}, "Model source: tpot, found by the search; no fallback.", id="search"),
        pytest.param(
            {"best": SCORES.model_copy(update={"score": "0.871"})},
            "Model source: tpot, which found nothing better than the baseline; no fallback.",
            id="search, in vain",
        ),
        pytest.param(
            {"fallbacks": (LOCAL,)},
            "Model source: tpot, found by the search; fallback: dask → local "
            "(SchedulerUnavailable: no Dask cluster could be reached).",
            id="search, not where it was asked",
        ),
        pytest.param(
            {"best": SCORES.model_copy(update={"not_fitted": (MISSED,)})},
            "Model source: tpot, found by the search (1 better could not be fitted); no fallback.",
            id="next best",
        ),
        pytest.param(
            {
                "model_source": ModelSource.BASELINE,
                "fallbacks": (BASELINE,),
                "best": SCORES.model_copy(update={"score": "0.871", "not_fitted": (MISSED,)}),
            },
            "Model source: baseline, since what the search found better could not be fitted; fallback: "
            "tpot → baseline (NoPipelineFitted: all of them failed).",
            id="baseline, for want of time",
        ),
        pytest.param(
            {"model_source": ModelSource.BASELINE},
            "Model source: baseline, since the search found nothing better; no fallback.",
            id="baseline, which is best",
        ),
        pytest.param(
            {"model_source": ModelSource.BASELINE, "fallbacks": (BASELINE,)},
            "Model source: baseline; fallback: tpot → baseline (NoPipelineFitted: all of them failed).",
            id="baseline",
        ),
        pytest.param(
            {"model_source": ModelSource.BASELINE, "fallbacks": (LOCAL, BASELINE, DUMMY)},
            "Model source: a dummy model that ignores the features; fallback: dask → local "
            "(SchedulerUnavailable: no Dask cluster could be reached), then tpot → baseline "
            "(NoPipelineFitted: all of them failed), then baseline → dummy (BaselineFailed).",
            id="dummy",
        ),
        pytest.param(
            {
                "model_source": ModelSource.BASELINE,
                "resolved": RESOLVED.model_copy(update={"automl_enabled": False}),
            },
            "Model source: baseline, since automl is disabled; no fallback.",
            id="disabled",
        ),
    ],
)
def test_the_last_line_names_the_source_of_the_model(home: Path, changes: dict[str, Any], line: str) -> None:
    assert verdict(result_of(home, **changes)) == line
    assert summary(home, width=60, **changes).splitlines()[-1] == line


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(-1, "0 s"), (0.9, "0 s"), (59.9, "59 s"), (65, "1:05 min"), (3600, "1:00:00 h"), (7384, "2:03:04 h")],
)
def test_durations_have_a_suitable_unit(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_shortened_text_ends_with_an_ellipsis() -> None:
    assert shorten("abcdef", 6) == "abcdef"
    assert shorten("abcdefg", 6) == "abcde…"


def test_a_gain_has_a_sign_and_needs_both_scores() -> None:
    assert change(0.912, 0.871) == "+0.041"
    assert change(0.8, 0.9) == "-0.1"
    assert change(None, 0.9) == change(0.9, None) == ""


def test_counts_leave_out_what_did_not_occur() -> None:
    assert counts_text({"ok": 0, "invalid": 0}) == "0 ok"
    assert counts_text({"ok": 3, "invalid": 0, "timeout": 1}) == "3 ok · 1 timed out"
    assert counts_text({"ok": 2, "invalid": 1, "killed": 0, "timeout": 0}) == "2 ok · 1 failed"


@pytest.mark.parametrize("column", ["zip", "id", "e", "is identical", "it's"])
def test_findings_always_name_their_column(column: str) -> None:
    assert about_column("this is identical", column) == f"column {column!r}: this is identical"
    assert about_column("11 rows are left out", None) == "11 rows are left out"


def test_a_name_that_could_steer_the_terminal_is_spelt_out() -> None:
    assert about_column("is constant", "a\x1b[2Jb\n") == r"column 'a\x1b[2Jb\n': is constant"


@pytest.mark.parametrize(
    ("label", "shown"),
    [
        ("yes", "yes"),
        ("not at all", "not at all"),
        (" yes", "' yes'"),
        ("", "''"),
        ("a, b", "'a, b'"),
        ("a  b", "'a  b'"),
        ("it's", '"it\'s"'),
        ("[bold]x[/bold]", "[bold]x[/bold]"),
        ("a\nb", r"'a\nb'"),
    ],
)
def test_labels_are_quoted_where_their_ends_would_not_show(label: str, shown: str) -> None:
    assert label_text(label) == shown
