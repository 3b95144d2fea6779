"""``pipeline.py`` gives the score of its run: a real run, and its program in another process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from support.jobs import job
from trainingjob_api import resolve
from trainingjob_trainer.events import Channel, DataReady, decode_event
from trainingjob_trainer.run.fallback import ChildContext, Mode
from trainingjob_trainer.run.session import Session
from trainingjob_trainer.run.workspace import Workspace, open_workspace
from trainingjob_trainer.search.limits import RunClock
from trainingjob_trainer.settings import TrainerSettings

if TYPE_CHECKING:
    from pathlib import Path

ROWS = 300
KFOLD: dict[str, Any] = {}
GROUP = {"validation": {"strategy": "group", "groupColumn": "family"}}


def time(column: str) -> dict[str, Any]:
    return {"validation": {"strategy": "time", "timeColumn": column}}


def table() -> pd.DataFrame:
    """Return a table in no order of time, without some of its targets, groups and times."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({name: rng.normal(size=ROWS).round(3) for name in "abc"})
    frame["town"] = rng.choice(["Köln", "Bern", "a b"], size=ROWS)
    frame["family"] = rng.integers(0, 40, size=ROWS)
    frame["number"] = rng.permutation(ROWS) / 4
    frame["step"] = rng.permutation(ROWS) // 50
    days = pd.Timestamp("2026-01-01") + pd.to_timedelta(rng.permutation(ROWS), unit="D")
    frame["day"] = days.strftime("%d.%m.%Y")
    signal = frame["a"] + (frame["town"] == "Bern") + rng.normal(scale=0.7, size=ROWS)
    frame["amount"] = (10 * signal).round(3)
    frame["label"] = np.where(signal > 0.5, "<b>yes</b>", "no")
    frame["flag"] = np.where(signal > 0.5, 1, 0)
    for column, missing in {
        "amount": 11,
        "label": 13,
        "flag": 17,
        "family": 7,
        "number": 5,
        "day": 9,
    }.items():
        frame[column] = frame[column].astype("object").mask(rng.permutation(ROWS) < missing)
    frame.loc[3, "day"] = "unknown"
    return frame


def copied(frame: pd.DataFrame) -> pd.DataFrame:
    """Return *frame* with a third of its rows a second time, in any order."""
    return pd.concat([frame, frame.sample(100, random_state=0)]).sample(frac=1, random_state=1)


class Run:
    """A real run of the baseline, in this process."""

    def __init__(self, folder: Path, path: Path, **spec: Any) -> None:
        document = job(
            "churn",
            dataset={"uri": f"file://{path}"},
            output={"uri": f"file://{folder / 'runs'}"},
            automl={"enabled": False},
            **spec,
        )
        run = resolve(document, {})
        self.workspace: Workspace = open_workspace(folder / "runs", run, fresh=True)
        self.events = folder / "events.jsonl"
        descriptor = os.open(self.events, os.O_WRONLY | os.O_CREAT)
        channel = Channel(descriptor, clock=lambda: (0.0, False))
        try:
            session = Session(
                ChildContext(
                    run=run,
                    settings=TrainerSettings(),
                    workspace=self.workspace,
                    channel=channel,
                    clock=RunClock(run.budget.time_left_seconds, used_before=0.0),
                    mode=Mode.FULL,
                    stop=threading.Event(),
                    started_at=datetime.now(UTC),
                    environment={},
                )
            )
            with session.opened() as trainer:
                trained = session.judged(trainer.prepared, trainer.train())
            session.save(trainer.prepared, trained, trainer.journal)
        finally:
            channel.close()
            os.close(descriptor)

    def summary(self) -> dict[str, Any]:
        summary: dict[str, Any] = json.loads(
            (self.workspace.artifacts / "evaluation_summary.json").read_text()
        )
        return summary

    def program(self, path: Path) -> subprocess.CompletedProcess[str]:
        command = [
            sys.executable,
            "-I",
            "-W",
            "error",
            str(self.workspace.artifacts / "pipeline.py"),
            str(path),
        ]
        return subprocess.run(command, capture_output=True, text=True, check=False)


def write(frame: pd.DataFrame, path: Path) -> Path:
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False)
    return path


CASES = [
    pytest.param(table, "label", KFOLD, "csv", id="kfold, labels"),
    pytest.param(table, "flag", KFOLD, "csv", id="kfold, 0 and 1"),
    pytest.param(table, "amount", KFOLD, "csv", id="kfold, numbers"),
    pytest.param(lambda: copied(table()), "label", KFOLD, "csv", id="kfold, labels, copies"),
    pytest.param(lambda: copied(table()), "amount", KFOLD, "csv", id="kfold, numbers, copies"),
    pytest.param(table, "label", GROUP, "csv", id="group, labels"),
    pytest.param(table, "amount", GROUP, "csv", id="group, numbers"),
    pytest.param(table, "label", time("day"), "csv", id="time, dates, labels"),
    pytest.param(table, "amount", time("day"), "csv", id="time, dates, numbers"),
    pytest.param(table, "amount", time("number"), "csv", id="time, numbers"),
    pytest.param(table, "label", time("step"), "csv", id="time, equal times at the cut"),
    pytest.param(lambda: copied(table()), "flag", GROUP, "parquet", id="Parquet with an index"),
]


@pytest.mark.parametrize(("make", "target", "spec", "ending"), CASES)
def test_the_program_gives_the_holdout_score_of_the_run(
    tmp_path: Path, make: Any, target: str, spec: dict[str, Any], ending: str
) -> None:
    frame = make()
    others = {name: "ignore" for name in ("amount", "label", "flag") if name != target}
    path = write(frame, tmp_path / f"table.{ending}")
    run = Run(tmp_path, path, targetColumn=target, featureTypes=others, **spec)
    summary = run.summary()
    data, score = summary["data"], summary["holdout"]["score"]
    assert data["droppedRows"] > 0
    done = run.program(path)
    assert done.returncode == 0, done.stderr
    told = f"{data['trainRows']} rows for training, {data['holdoutRows']} held out"
    assert done.stdout.splitlines() == [told, f"hold-out score: {score:.6g} (in the run: {score:.6g})"]


@pytest.fixture(scope="module")
def plain_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    folder = tmp_path_factory.mktemp("run")
    path = write(table().drop(columns=["amount", "flag"]), folder / "table.csv")
    return Run(folder, path, targetColumn="label"), path


def test_a_table_with_other_rows_is_rejected(plain_run: tuple[Run, Path], tmp_path: Path) -> None:
    run, path = plain_run
    other = write(pd.read_csv(path).iloc[1:], tmp_path / "other.csv")
    done = run.program(other)
    assert (done.returncode, done.stdout) == (1, "")
    assert "other.csv has 299 rows, the table of the run 300" in done.stderr


def test_a_rewritten_table_is_recognised(plain_run: tuple[Run, Path], tmp_path: Path) -> None:
    run, path = plain_run
    same = write(pd.read_csv(path), tmp_path / "same.parquet")
    lines = run.program(same).stdout.splitlines()
    assert lines[0] == "note: this is not the file of the run, so the score may differ"
    score = run.summary()["holdout"]["score"]
    assert lines[-1] == f"hold-out score: {score:.6g} (in the run: {score:.6g})"


def test_a_table_with_missing_targets_is_rejected(plain_run: tuple[Run, Path], tmp_path: Path) -> None:
    run, path = plain_run
    frame = pd.read_csv(path)
    frame.loc[frame["label"].first_valid_index(), "label"] = None
    done = run.program(write(frame, tmp_path / "emptied.csv"))
    assert done.returncode == 1
    assert "is not the table of the run: rows that had a target there have none" in done.stderr


def test_other_rows_can_be_fitted_by_hand(plain_run: tuple[Run, Path]) -> None:
    run, path = plain_run
    code = (
        "import sys, pandas as pd; sys.path.insert(0, sys.argv[1]); import pipeline;"
        "table, target = pipeline.target_of(pd.read_csv(sys.argv[2]).iloc[50:]);"
        "print(pipeline.make_pipeline().fit(table[pipeline.FEATURES], target).classes_)"
    )
    command = [sys.executable, "-I", "-c", code, str(run.workspace.artifacts), str(path)]
    assert "'<b>yes</b>' 'no'" in subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("rows", [1_000, 100_000])
def test_the_rows_take_little_room(rows: int) -> None:
    from types import SimpleNamespace

    from trainingjob_trainer.artifacts.program import packed_rows

    holdout = np.sort(np.random.default_rng(0).permutation(rows)[: rows // 5])
    prepared: Any = SimpleNamespace(
        row_numbers=np.arange(rows), dropped_rows=0, holdout_index=holdout.astype(np.intp)
    )
    assert sum(map(len, packed_rows(prepared).values())) < rows / 8 * 1.3 + 500


def test_a_long_label_does_not_end_the_run(tmp_path: Path) -> None:
    frame = table().drop(columns=["amount", "flag"])
    frame["label"] = frame["label"].map({"no": "n" * 300, "<b>yes</b>": "y" * 300})
    run = Run(tmp_path, write(frame, tmp_path / "table.csv"), targetColumn="label", positiveLabel=None)
    (ready,) = [
        event
        for event in map(decode_event, run.events.read_bytes().splitlines())
        if isinstance(event, DataReady)
    ]
    assert ready.resolved.positive_label == "y" * 255 + "…"
    assert run.summary()["data"]["positiveLabel"] == "y" * 300
