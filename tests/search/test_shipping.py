"""What is scored is what ships, for every preset."""

import io
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.metrics import get_scorer

from support.stores import no_limit
from trainingjob_api import FeatureType, Task
from trainingjob_api import ResolvedSearchSpace as Source
from trainingjob_trainer.features import build_encoder
from trainingjob_trainer.search.candidate import Outcome
from trainingjob_trainer.search.fits import fit_full
from trainingjob_trainer.search.store import StoreRef, WorkData, load_frame, load_work, write_store
from trainingjob_trainer.search.taskkit import quiet
from trainingjob_trainer.search_space import (
    SpaceContext,
    Untranslatable,
    build,
    compile_space,
    seeds,
    translate,
)

pytestmark = pytest.mark.slow
PRESETS = ("linear", "linear-light", "graph", "graph-light")
TYPES = {"age": FeatureType.NUMERIC, "city": FeatureType.CATEGORICAL, "size": FeatureType.NUMERIC}


def mixed(rows: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "age": np.where(rng.random(rows) < 0.1, np.nan, rng.normal(40, 10, rows)),
            "city": rng.choice(["Oslo", "Rome", "Bonn"], rows),
            "size": rng.exponential(3, rows),
        }
    )


def store(folder: Path, task: Task) -> StoreRef:
    frame = mixed(160, 0)
    signal = frame["age"].fillna(40) / 10 + (frame["city"] == "Rome") + frame["size"] / 5
    labels = np.array(["low", "mid", "high"], dtype=object)
    classified = task is Task.CLASSIFICATION
    target = labels[np.digitize(signal, np.quantile(signal, [0.3, 0.7]))] if classified else signal.to_numpy()
    rows = np.arange(len(frame))
    work = WorkData(
        target=target,
        folds=((rows[40:], rows[:40]),),
        train_index=rows[40:],
        holdout_index=rows[:40],
        scorer=get_scorer("accuracy" if classified else "r2"),
        encoder=build_encoder(TYPES, frame=frame),
    )
    return write_store(folder, frame, work, named=False)


def pipelines(preset: str, context: SpaceContext, count: int) -> list[dict[str, Any]]:
    space = compile_space(Source(preset=preset, source="spec"), context)
    found = [translate(seed.individual, context) for seed in seeds(context)]
    state = 0
    while len(found) < count:
        state += 1
        try:
            found.append(translate(space.generate(np.random.default_rng(state)), context))
        except Untranslatable:
            continue
    return found


@pytest.mark.parametrize("task", [Task.CLASSIFICATION, Task.REGRESSION])
@pytest.mark.parametrize("preset", PRESETS)
def test_the_shipped_model_predicts_what_the_candidate_predicts(
    tmp_path: Path, preset: str, task: Task
) -> None:
    ref = store(tmp_path, task)
    work, frame = load_work(ref), load_frame(ref)
    context = SpaceContext(
        task=task, n_rows=120, n_features=6, n_classes=3, random_state=1, columns=tuple(TYPES)
    )
    new = mixed(50, 7).assign(city=["Atlantis", *["Oslo"] * 49])
    compared = 0
    for pipeline in pipelines(preset, context, 7):
        shipped = fit_full(pipeline, ref, no_limit(), holdout=False)
        if shipped.outcome is not Outcome.OK:
            continue
        assert shipped.model is not None
        encoder = clone(work.encoder)
        with quiet():
            candidate = build(pipeline).fit(encoder.fit_transform(frame), work.target)
            expected = candidate.predict(encoder.transform(new))
            actual = joblib.load(io.BytesIO(shipped.model)).predict(new)
        np.testing.assert_array_equal(actual, expected)
        compared += 1
    assert compared >= 6
