"""The benchmark of model quality, without training: what it reads, keeps, leaves out and writes."""

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest

QUALITY = Path(__file__).parents[2] / "benchmarks" / "quality"


@pytest.fixture
def quality(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that imports a module of the benchmark, which is not a package."""
    monkeypatch.syspath_prepend(str(QUALITY))
    return importlib.import_module


def line(system: str, table: str, score: float | None, **facts: Any) -> dict[str, Any]:
    known = {"used_seconds": 50.0, "over_budget": False} if score is not None else {"failed": "no time"}
    ours = {"shown": 0.81, "valid_share": 1.0, "predict_milliseconds": 9.0} if system == "ours" else {}
    return {
        "key": [table, 0, 60, system, "1"],
        "table": table,
        "metric": "r2",
        "seed": 0,
        "seconds": 60,
        "system": system,
        "version": "1",
        "rows": 300,
        "load": 0.1,
        "nice": 0,
        "machine": "2 cores",
        "started": "2026-11-29T12:00:00+00:00",
        "score": score,
        **known,
        **ours,
        **facts,
    }


def page(quality: Any, monkeypatch: pytest.MonkeyPatch, folder: Path, runs: list[dict[str, Any]]) -> str:
    summary: ModuleType = quality("summary")
    path = folder / "benchmarks.md"
    path.write_text(f"before\n{summary.BEGIN}\nold\n{summary.END}\nafter\n")
    monkeypatch.setattr(summary, "PAGE", path)
    monkeypatch.setattr(summary, "PICTURE", folder / "picture.svg")
    summary.write(runs)
    return path.read_text()


def test_each_part_of_the_search_can_be_left_out(quality: Any, tmp_path: Path) -> None:
    switches = quality("switches")
    for part, (name, before, after) in switches.WITHOUT.items():
        file = switches.copy_without(part, tmp_path) / "trainingjob_trainer" / name
        assert after in file.read_text()
        assert before not in file.read_text()
        compile(file.read_text(), str(file), "exec")


def test_the_page_names_the_winner_and_our_losses(
    quality: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    runs = [
        line("ours", "cars", 0.80),
        line("flaml", "cars", 0.85),
        line("ours", "wine", 0.90),
        line("flaml", "wine", 0.9015),
    ]
    text = page(quality, monkeypatch, tmp_path, runs)
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "| FLAML | 1.00 | 1 of 2 (50%) |" in text
    assert "| cars | FLAML +0.050 |" in text
    assert "| wine | 300 | r2 | **0.9000** | **0.9015** |" in text
    assert "-0.0400 (mean over the tables; of the absolute values 0.0500)" in text


def test_a_system_that_fails_is_last(quality: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    runs = [line("ours", "cars", -3.0), line("tpot", "cars", None)]
    text = page(quality, monkeypatch, tmp_path, runs)
    assert "| stock TPOT | 2.00 | 1 of 1 (100%) | 1 |" in text


def test_the_newest_result_of_a_system_counts(
    quality: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    runs = [line("ours", "cars", 0.1), line("flaml", "cars", 0.5), line("ours", "cars", 0.7, version="2")]
    assert "**0.7000**" in page(quality, monkeypatch, tmp_path, runs)


def test_a_run_with_a_result_is_not_repeated(quality: Any, tmp_path: Path) -> None:
    runner, systems, catalog = quality("runner"), quality("systems"), quality("catalog")
    trial = systems.Trial(catalog.TABLES["cars"], 0, 60, "flaml", tmp_path)
    path = tmp_path / "results.jsonl"
    runner.Results(path).add(trial, {"score": 0.5})
    assert runner.Results(path).has(trial)
    assert json.loads(path.read_text())["score"] == 0.5
    other = systems.Trial(catalog.TABLES["cars"], 1, 60, "flaml", tmp_path)
    assert not runner.Results(path).has(other)


@pytest.mark.parametrize(
    ("metric", "truth", "predictions", "expected"),
    [
        ("roc_auc", ["a", "b", "a", "b"], {"p:a": [0.9, 0.2, 0.6, 0.1], "p:b": [0.1, 0.8, 0.4, 0.9]}, 1.0),
        ("accuracy", [0, 1, 2, 2], {"prediction": [0, 1, 2, 1]}, 0.75),
        ("r2", [1.0, 2.0, 3.0], {"prediction": [1.0, 2.0, 3.0]}, 1.0),
        ("neg_root_mean_squared_error", [1.0, 2.0, 3.0], {"prediction": [2.0, 3.0, 4.0]}, -1.0),
        ("neg_log_loss", [0, 1], {"p:0": [1.0, 0.0], "p:1": [0.0, 1.0]}, 0.0),
    ],
)
def test_each_metric_is_scored_from_predictions(
    *, quality: Any, tmp_path: Path, metric: str, truth: list[Any], predictions: Any, expected: float
) -> None:
    scores, catalog = quality("scores"), quality("catalog")
    pd.DataFrame({"y": truth}).to_csv(tmp_path / "truth.csv", index=False)
    pd.DataFrame(predictions).to_csv(tmp_path / "predictions.csv", index=False)
    table = catalog.Table("any", "y", metric, pd.DataFrame)
    assert scores.score(table, tmp_path, tmp_path / "predictions.csv") == pytest.approx(expected)


def test_missing_predictions_are_a_failure(quality: Any, tmp_path: Path) -> None:
    scores, catalog = quality("scores"), quality("catalog")
    pd.DataFrame({"y": [1.0, 2.0]}).to_csv(tmp_path / "truth.csv", index=False)
    pd.DataFrame({"prediction": [1.0, None]}).to_csv(tmp_path / "predictions.csv", index=False)
    with pytest.raises(quality("systems").RunError, match="1 missing"):
        scores.score(catalog.Table("any", "y", "r2", pd.DataFrame), tmp_path, tmp_path / "predictions.csv")


def test_shares_of_the_budget_are_drawn(
    quality: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    early = line("ours", "cars", 0.7, seconds=6, key=["cars", 0, 6, "ours", "1"], used_seconds=6.0)
    runs = [early, line("ours", "cars", 0.8), line("tpot", "cars", 0.65, used_seconds=60.0)]
    text = page(quality, monkeypatch, tmp_path, runs)
    assert "(images/picture.svg)" in text
    assert "</svg>" in (tmp_path / "picture.svg").read_text()
    assert "| 60 s | 0.10 | 0 of 1 |" in text
