"""Whole runs, as a user starts them: options, results, and errors of the user."""

import hashlib
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score

from support.runs import Runs
from support.seaweed import S3Server

pytestmark = pytest.mark.slow
OUTPUT = {"uri": "file://./runs"}
BUDGET = {"timeLeftSeconds": 60, "generations": 2, "populationSize": 8, "cvFolds": 3}

MISSPELT = "type: estimator\nname: LogisticRegresion\nhyperparameters: {}"
USE = """
import sys
for name in ("tpot", "trainingjob_trainer", "trainingjob_api"):
    sys.modules[name] = None
import joblib, pandas as pd
model = joblib.load(sys.argv[1])
frame = pd.read_csv(sys.argv[2])
print(model.predict(frame).tolist())
"""


def mixed_table(rows: int, *, seed: int = 0) -> pd.DataFrame:
    """Return a table of mixed types with missing values and a target that depends on it."""
    rng = np.random.default_rng(seed)
    age = rng.normal(40, 12, rows)
    city = rng.choice(["Oslo", "Rome", "Bonn", "Turin"], rows, p=[0.4, 0.3, 0.2, 0.1])
    joined = pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, rows), unit="D")
    logit = (age - 40) / 10 + (city == "Rome") * 1.5 - 0.5 + rng.normal(0, 0.5, rows)
    return pd.DataFrame(
        {
            "age": np.where(rng.random(rows) < 0.1, np.nan, age),
            "city": np.where(rng.random(rows) < 0.1, None, city),
            "joined": joined.strftime("%Y-%m-%d"),
            "noise": rng.normal(size=rows),
            "left": np.where(logit > 0, "yes", "no"),
        }
    )


def manifest_holds(folder: Path) -> bool:
    manifest = json.loads((folder / "manifest.json").read_text())
    listed = {artifact["name"]: artifact for artifact in manifest["artifacts"]}
    files = {path.name for path in folder.iterdir() if path.is_file()} - {"manifest.json"}
    return files == set(listed) and all(
        hashlib.sha256((folder / name).read_bytes()).hexdigest() == artifact["sha256"]
        for name, artifact in listed.items()
    )


def test_a_table_becomes_a_verified_model(runs: Runs) -> None:
    frame = mixed_table(600)
    frame.to_csv(runs.folder / "people.csv", index=False)
    job = runs.job(
        "people",
        dataset={"uri": "file://./people.csv"},
        targetColumn="left",
        output=OUTPUT,
        budget=BUDGET,
        nJobs=2,
    )
    status, document, error = runs(job)
    assert status == 0, error
    home = runs.home("people")
    assert manifest_holds(home)
    assert document["modelSource"] == "tpot"
    assert float(document["best"]["score"]) >= float(document["best"]["baselineScore"])
    summary = json.loads((home / "evaluation_summary.json").read_text())
    journal = runs.journal("people")
    valid = [line for line in journal if line["outcome"] == "ok"]
    assert len(valid) >= 0.9 * len(journal) >= 14
    assert summary["budget"]["used"]["total"] <= 63
    unseen = frame.drop(columns="left").head(5).assign(city="Atlantis", age=np.nan)
    unseen.to_csv(runs.folder / "unseen.csv", index=False)
    used = subprocess.run(
        [
            sys.executable,
            "-W",
            "ignore",
            "-c",
            USE,
            str(home / "model.joblib"),
            str(runs.folder / "unseen.csv"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert used.returncode == 0, used.stderr
    assert set(json.loads(used.stdout.replace("'", '"'))) <= {"yes", "no"}
    program = [
        sys.executable,
        "-I",
        "-W",
        "ignore",
        str(home / "pipeline.py"),
        str(runs.folder / "people.csv"),
    ]
    printed = subprocess.run(program, capture_output=True, text=True, check=True).stdout
    again = re.search(r"hold-out score: (\S+) \(in the run: (\S+)\)", printed)
    assert again, printed
    told = float(document["best"]["holdoutScore"])
    assert [float(score) for score in again.groups()] == pytest.approx([told, told], abs=1e-5)
    assert "480 rows for training, 120 held out" in printed
    model = joblib.load(home / "model.joblib")
    fresh = mixed_table(400, seed=1)
    assert accuracy_score(fresh["left"], model.predict(fresh.drop(columns="left"))) > 0.75


def test_automl_can_be_switched_off(runs: Runs) -> None:
    runs.environment["ENABLE_AUTOML"] = "false"
    status, document, error = runs(
        runs.job("off", dataset={"uri": "sample://diabetes"}, output=OUTPUT, automl={"enabled": True})
    )
    assert status == 0, error
    assert document["modelSource"] == "baseline"
    assert document["elapsedSeconds"] < 20
    assert manifest_holds(runs.home("off"))


def test_a_missing_cluster_leads_to_a_local_search(runs: Runs) -> None:
    job = runs.job(
        "alone",
        dataset={"uri": "sample://iris"},
        output=OUTPUT,
        budget={**BUDGET, "generations": 1},
        parallelMode="distributed",
        dask={"readyTimeoutSeconds": 10},
    )
    status, document, error = runs(job)
    assert status == 0, error
    assert [(step["from"], step["to"]) for step in document["fallbacks"]] == [("dask", "local")]
    assert document["modelSource"] == "tpot"


@pytest.mark.parametrize(
    ("spec", "reason", "words"),
    [
        ({"targetColumn": "tagret"}, "TargetColumnMissing", "target"),
        ({"metric": "f2"}, "UnknownMetric", "f1"),
        (
            {"searchSpace": {"inline": "type: estimator\nname: LogisticRegresion\nhyperparameters: {}"}},
            "UnknownEstimator",
            "LogisticRegression",
        ),
    ],
    ids=["target", "metric", "estimator"],
)
def test_an_error_of_the_user_is_named_and_leaves_nothing_behind(
    runs: Runs, spec: dict[str, Any], reason: str, words: str
) -> None:
    fields = {"dataset": {"uri": "sample://breast_cancer"}, "output": OUTPUT, **spec}
    status, document, error = runs(runs.job("wrong", **fields))
    assert status == 2
    assert "Traceback" not in error
    assert document["error"]["reason"] == reason
    assert words in document["error"]["message"]
    assert not list(runs.output.glob("wrong-*"))


def test_a_run_reads_its_table_from_a_bucket_and_writes_the_model_to_it(
    runs: Runs, s3_server: S3Server
) -> None:
    bucket = s3_server.bucket("whole-run")
    frame = mixed_table(300)
    raw = frame.to_csv(index=False).encode()
    s3_server.client().put_object(bucket, "in/people.csv", io.BytesIO(raw), len(raw))
    runs.environment.update(s3_server.environment())
    job = runs.job(
        "people",
        dataset={"uri": f"s3://{bucket}/in/people.csv"},
        targetColumn="left",
        output={"uri": f"s3://{bucket}/out"},
        budget={**BUDGET, "generations": 1},
    )
    status, document, error = runs(job, "--work-dir", str(runs.output))
    assert status == 0, error
    folder = runs.folder / "fetched"
    folder.mkdir()
    client = s3_server.client()
    prefix = document["location"].removeprefix(f"s3://{bucket}/")
    for item in client.list_objects(bucket, prefix=prefix + "/"):
        client.fget_object(bucket, str(item.object_name), str(folder / Path(str(item.object_name)).name))
    assert manifest_holds(folder)
    assert set(joblib.load(folder / "model.joblib").predict(frame.drop(columns="left"))) == {"yes", "no"}
    assert s3_server.secret_key not in error + json.dumps(document)
