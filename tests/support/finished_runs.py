"""A finished run without a search: real models and predictions on small tables, in a second."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import get_scorer, make_scorer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from trainingjob_api import FeatureType, ModelSource, Task, parse_job, resolve
from trainingjob_trainer.data.column_format import ColumnFormat
from trainingjob_trainer.data.load import TableFile
from trainingjob_trainer.finished_run import FinishedRun, HoldoutPrediction
from trainingjob_trainer.search.candidate import Candidate, Outcome
from trainingjob_trainer.search.predictions import Interval

ROWS = 240


def summarize(pipeline: dict[str, Any]) -> str:
    """Return the summary of a made-up pipeline: its name, or the names of its steps."""
    return str(pipeline.get("name")) if "name" in pipeline else " → ".join(map(str, pipeline["steps"]))


def table(task: str) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(0)
    size = rng.normal(size=ROWS)
    area = rng.choice(["north", "south", "$west$ <b>", None], size=ROWS).astype(object)
    frame = pd.DataFrame({"size": size, "area": area, "noise": rng.normal(size=ROWS)})
    frame.loc[::17, "size"] = np.nan
    signal = size + (area == "south") + rng.normal(scale=0.4, size=ROWS)
    if task == "regression":
        return frame, 100 * signal
    names = {"binary": ["no", "yes"], "classes": ["ash", "<i>bay</i>", "cedar"]}[task]
    cuts = {"binary": [0.6], "classes": [-0.2, 0.8]}[task]
    return frame, np.asarray([names[i] for i in np.digitize(signal, cuts)], dtype=object)


def full_pipeline(task: str) -> Pipeline:
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    encoder = ColumnTransformer(
        [
            ("n", numbers, ["size", "noise"]),
            ("c", OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["area"]),
        ]
    )
    # Linear ones: boosters start threads that wait for each other on a busy machine.
    model = Ridge() if task == "regression" else LogisticRegression()
    return Pipeline([("encode", encoder), ("model", model)])


def candidate(number: int, score: float | None, **changes: Any) -> Candidate:
    values: dict[str, Any] = {
        "number": number,
        "key": f"key-{number}",
        "origin": "space" if number > 0 else "linear",
        "generation": number // 8 + 1,
        "pipeline": {"steps": ["StandardScaler", f"LogisticRegression(C={number})"]},
        "outcome": Outcome.OK if score is not None else Outcome.INVALID,
        "score": score,
        "fold_scores": () if score is None else tuple(score + d for d in (-0.02, 0.0, 0.01, 0.02, -0.01)),
        "train_rows": ROWS * 3 // 5,
        "test_rows": ROWS * 3 // 20,
        "fit_seconds": 0.1 + number / 100,
        "complexity": None if score is None else 1.5 + (number * 37 % 90),
        "error": None if score is not None else f"ValueError: {number} negative values in row {number}",
        "elapsed_seconds": 2.0 + 1.4 * number,
    }
    return Candidate(**{**values, **changes})


def make_outcome(task: str = "binary", **changes: Any) -> FinishedRun:
    """Return the outcome of a run for ``binary``, ``classes`` or ``regression``."""
    frame, target = table(task)
    holdout = np.arange(0, ROWS, 4)
    train = np.setdiff1d(np.arange(ROWS), holdout)
    model = full_pipeline(task).fit(frame, target)
    unseen = full_pipeline(task).fit(frame.iloc[train], target[train])
    regression = task == "regression"
    classes = None if regression else tuple(unseen.classes_)
    scorer = get_scorer("r2" if regression else "accuracy")
    if task == "binary":
        scorer = make_scorer(get_scorer("f1")._score_func, pos_label="yes")
    spec = {
        "dataset": {"uri": "s3://datasets/table.csv"},
        "targetColumn": "target",
        "budget": {"timeLeftSeconds": 90, "generations": 6, "populationSize": 8},
    }
    job = {
        "apiVersion": "automl.trainingjob.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": "churn", "namespace": "ml", "uid": "8d1f0a52-0000-4000-8000-000000000000"},
        "spec": spec,
    }
    run = resolve(parse_job(job), {})
    types = {"size": FeatureType.NUMERIC, "area": FeatureType.CATEGORICAL, "noise": FeatureType.NUMERIC}
    prepared = SimpleNamespace(
        frame=frame,
        target=target,
        task=Task.REGRESSION if regression else Task.CLASSIFICATION,
        metric=SimpleNamespace(name={"binary": "f1", "classes": "accuracy"}.get(task, "r2"), scorer=scorer),
        classes=classes,
        positive_label="yes" if task == "binary" else None,
        feature_types=types,
        formats=dict.fromkeys(types, ColumnFormat()),
        target_format=ColumnFormat(),
        file=TableFile(),
        row_numbers=np.delete(np.arange(ROWS + 3), [5, 6, 7]),
        train_index=train,
        holdout_index=holdout,
        findings=(
            SimpleNamespace(
                kind="ConstantColumn",
                severity="warning",
                column="<script>alert(1)</script>",
                message="has one value; leave it out",
            ),
        ),
        dropped_rows=3,
        cv_folds=5,
        dataset_sha256="a" * 64,
    )
    rng = np.random.default_rng(1)
    found = [
        candidate(n, None if n % 9 == 4 else round(float(0.9 - 0.3 * rng.random() * np.exp(-n / 20)), 6))
        for n in range(48)
    ]
    best = max((c for c in found if c.score is not None), key=lambda c: c.score or 0.0)
    start = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
    values: dict[str, Any] = {
        "run": run,
        "prepared": prepared,
        "candidates": tuple(found),
        "best": best,
        "baseline": found[0],
        "model": model,
        "model_source": ModelSource.TPOT,
        "holdout_score": float(scorer(unseen, frame.iloc[holdout], target[holdout])),
        "baseline_holdout_score": 0.71,
        "holdout_interval": Interval(0.75, 0.95),
        "holdout_extra": {} if regression else {"balanced_accuracy": 0.87},
        "holdout_model": unseen,
        "holdout_prediction": HoldoutPrediction(
            index=holdout,
            y_true=target[holdout],
            y_pred=unseen.predict(frame.iloc[holdout]),
            y_proba=None if regression else unseen.predict_proba(frame.iloc[holdout]),
            classes=classes,
        ),
        "budget_used": {"baseline": 1.5, "search": 70.0, "final_fit": 3.0, "holdout": 1.0, "total": 75.5},
        "elapsed_seconds": 75.5,
        "generations_done": 6,
        "stopped_by": "generations",
        "versions": {"python": "3.11.7", "tpot": "1.1.0"},
        "started_at": start,
        "completed_at": start + timedelta(seconds=80),
        "data_digest": "a" * 64,
        "spec_digest": "b" * 64,
        "journal_digest": "c" * 64,
    }
    return FinishedRun(**{**values, **changes})


def changed(base: FinishedRun, **changes: Any) -> FinishedRun:
    return dataclasses.replace(base, **changes)
