from __future__ import annotations

import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import make_scorer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from support.finished_runs import changed, make_outcome, table
from trainingjob_api import parse_job, resolve
from trainingjob_trainer.artifacts.program import program_of
from trainingjob_trainer.data.encoder import build_encoder
from trainingjob_trainer.data.load import load_table
from trainingjob_trainer.data.prepare import prepare
from trainingjob_trainer.search.fits import dump_model
from trainingjob_trainer.settings import TrainerSettings


def written(tmp_path, task, *, separator=",", **spec):
    """Return the CSV file of a table, and what a run makes of it."""
    frame, target = table(task)
    frame["family"] = np.arange(len(frame)) // 4
    frame["day"] = pd.date_range("2026-01-01", periods=len(frame), freq="h").strftime("%Y-%m-%d %H:%M:%S")
    frame["the target"] = target
    frame.loc[5, "the target"] = None
    path = tmp_path / "table.csv"
    (tmp_path / "scratch").mkdir()
    frame.to_csv(path, index=False, sep=separator)
    job = {
        "apiVersion": "automl.trainingjob.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": "churn"},
        "spec": {"dataset": {"uri": f"file://{path}"}, "targetColumn": "the target", **spec},
    }
    run = resolve(parse_job(job), {})
    read = load_table(run.dataset, settings=TrainerSettings(), scratch=tmp_path / "scratch")
    return path, run, prepare(read, run)


def finished(run, prepared, model):
    encoder = build_encoder(prepared.feature_types, frame=prepared.frame)
    # Seconds since 1970 beside small numbers would make the last bits of the score a matter of chance.
    full = Pipeline([("encode", encoder), ("model", make_pipeline(StandardScaler(), model))])
    part = clone(full)
    rows, held = prepared.train_index, prepared.holdout_index
    part.fit(prepared.frame.iloc[rows], prepared.target[rows])
    score = prepared.metric.scorer(part, prepared.frame.iloc[held], prepared.target[held])
    full.fit(prepared.frame, prepared.target)
    return changed(make_outcome(), run=run, prepared=prepared, model=full, holdout_score=score)


def score_in(text):
    found = re.search(r"hold-out score: (\S+) \(in the run", text)
    assert found, text
    return float(found[1])


def started(folder, *arguments):
    command = [sys.executable, "-I", "-W", "error", str(folder / "pipeline.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def run_program(outcome, path, capsys):
    space = {"__name__": "pipeline"}
    exec(compile(program_of(outcome), "pipeline.py", "exec"), space)
    space["main"](str(path))
    return score_in(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("task", "spec"),
    [
        ("binary", {"metric": "f1", "positiveLabel": "yes"}),
        ("binary", {"metric": "roc_auc"}),
        ("classes", {"metric": "neg_log_loss", "randomState": 7}),
        ("regression", {"metric": "neg_root_mean_squared_error"}),
        ("regression", {"validation": {"timeColumn": "day", "strategy": "time"}}),
    ],
)
def test_the_program_gives_the_score_of_the_run(tmp_path, capsys, task, spec):
    path, run, prepared = written(tmp_path, task, **spec)
    model = Ridge() if task == "regression" else LogisticRegression(C=0.5, max_iter=500)
    outcome = finished(run, prepared, model)
    assert run_program(outcome, path, capsys) == pytest.approx(outcome.holdout_score, rel=1e-4)


@pytest.mark.parametrize(
    ("task", "spec"),
    [
        ("binary", {"randomState": 3}),
        ("classes", {"validation": {"holdoutFraction": 0.35}}),
        ("regression", {"randomState": 9}),
    ],
)
def test_the_program_sets_the_rows_of_the_run_aside(tmp_path, task, spec):
    path, run, prepared = written(tmp_path, task, **spec)
    model = Ridge() if task == "regression" else LogisticRegression()
    space = {"__name__": "pipeline"}
    exec(compile(program_of(finished(run, prepared, model)), "pipeline.py", "exec"), space)
    rows = space["read_table"](str(path))
    part = space["split"](str(path), rows)
    assert list(np.flatnonzero(part == 2)) == list(prepared.row_numbers[prepared.holdout_index])
    assert list(np.flatnonzero(part == 1)) == list(prepared.row_numbers[prepared.train_index])
    assert list(space["target_of"](rows[part > 0])[1]) == list(prepared.target)


def test_the_score_of_the_program_is_measured_and_not_repeated(tmp_path, capsys):
    path, run, prepared = written(tmp_path, "binary")
    outcome = finished(run, prepared, LogisticRegression())
    told = changed(outcome, holdout_score=0.123)
    assert run_program(told, path, capsys) == pytest.approx(outcome.holdout_score, rel=1e-4)
    frame = pd.read_csv(path)
    rng = np.random.default_rng(0)
    there = frame["the target"].notna()
    frame.loc[there, "the target"] = rng.permutation(frame.loc[there, "the target"].to_numpy())
    frame.to_csv(path, index=False)
    assert run_program(outcome, path, capsys) < outcome.holdout_score - 0.1


def test_whole_groups_are_set_aside(tmp_path, capsys):
    path, run, prepared = written(
        tmp_path, "binary", separator=";", validation={"groupColumn": "family", "strategy": "group"}
    )
    outcome = finished(run, prepared, LogisticRegression())
    assert 0.4 < run_program(outcome, path, capsys) <= 1


def test_the_program_predicts_whole_numbers_as_labels(tmp_path, capsys):
    path, run, _ = written(tmp_path, "binary")
    frame = pd.read_csv(path)
    frame["the target"] = frame["the target"].map({"yes": 1, "no": 0})
    frame.to_csv(path, index=False)
    read = load_table(run.dataset, settings=TrainerSettings(), scratch=tmp_path / "scratch")
    outcome = finished(run, prepare(read, run), LogisticRegression())
    assert run_program(outcome, path, capsys) == pytest.approx(outcome.holdout_score, rel=1e-4)


def test_what_has_no_source_comes_from_the_model_file(tmp_path):
    path, run, prepared = written(tmp_path, "binary")
    outcome = finished(run, prepared, LogisticRegression())
    odd = FunctionTransformer(kw_args={"odd": np.random.default_rng(0)})
    program = program_of(changed(outcome, model=Pipeline([("odd", odd)])))
    assert 'with_name("model.joblib")' in program
    assert "The pipeline is taken from model.joblib, since a Generator has no source form." in program
    compile(program, "pipeline.py", "exec")
    (tmp_path / "pipeline.py").write_text(program)
    (tmp_path / "model.joblib").write_bytes(dump_model(outcome.model))
    done = started(tmp_path, path)
    assert done.returncode == 0, done.stderr
    assert score_in(done.stdout) == pytest.approx(outcome.holdout_score, rel=1e-4)


def test_the_program_runs_by_itself(tmp_path):
    path, run, prepared = written(tmp_path, "classes")
    outcome = finished(run, prepared, LogisticRegression())
    (tmp_path / "pipeline.py").write_text(program_of(outcome))
    done = started(tmp_path, path)
    assert done.returncode == 0, done.stderr
    assert score_in(done.stdout) == pytest.approx(outcome.holdout_score, rel=1e-4)


def test_names_cannot_break_out_of_the_program(tmp_path):
    evil = '"""\nimport os; os._exit(1)\n"""\\'
    outcome = make_outcome()
    run = outcome.run.model_copy(update={"target_column": evil})
    values = {name: getattr(outcome.prepared, name) for name in vars(outcome.prepared)}
    prepared = SimpleNamespace(**{**values, "feature_types": {evil: "numeric"}})
    prepared.metric = SimpleNamespace(name="f1", scorer=make_scorer(len, pos_label=evil))
    program = program_of(changed(outcome, run=run, prepared=prepared))
    space: dict[str, object] = {"__name__": "not main"}
    exec(compile(program, "pipeline.py", "exec"), space)
    assert space["TARGET"] == evil
    assert space["FEATURES"] == [evil]


def test_without_a_table_the_program_prints_its_usage(tmp_path, binary):
    (tmp_path / "pipeline.py").write_text(program_of(binary))
    done = started(tmp_path)
    assert done.returncode == 1
    assert "python pipeline.py TABLE" in done.stderr
