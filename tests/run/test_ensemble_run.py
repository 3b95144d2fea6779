"""A training that ships an ensemble, which loads where this project is not installed."""

import json
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.metrics import get_scorer

from support.trained_child import SPEC, Child, fitted_by_hand
from trainingjob_trainer.artifacts.registry import requirements_for
from trainingjob_trainer.run.final_stage import Trained
from trainingjob_trainer.search.candidate import ENSEMBLE
from trainingjob_trainer.search_space.pipeline import members_of

pytestmark = pytest.mark.slow
SMALL = {
    **SPEC,
    "metric": "roc_auc",
    "searchSpace": {"inline": "{type: group, names: [KNeighborsClassifier, GaussianNB]}"},
    "budget": {"timeLeftSeconds": 3000, "generations": 1, "populationSize": 5, "cvFolds": 3},
    "randomState": 3,
    "ensemble": "auto",
}
USE = """
import sys
for name in ("tpot", "trainingjob_trainer", "trainingjob_api"):
    sys.modules[name] = None
import joblib, json, pandas as pd
model = joblib.load(sys.argv[1])
print(json.dumps(model.predict_proba(pd.read_pickle(sys.argv[2])).tolist()))
"""


@pytest.fixture(scope="module")
def child(tmp_path_factory: pytest.TempPathFactory) -> Child:
    return Child(tmp_path_factory.mktemp("child"), spec=SMALL)


@pytest.fixture(scope="module")
def trained(child: Child) -> Trained:
    return child.train()


def test_an_ensemble_ships(trained: Trained) -> None:
    best = trained.best.candidate
    assert best.origin == ENSEMBLE
    assert trained.searched.ranked[0] is best
    assert 2 <= len(members_of(best.pipeline)) <= 8
    assert trained.not_fitted == ()


def test_the_hold_out_score_of_an_ensemble_is_from_members_without_these_rows(
    child: Child, trained: Trained
) -> None:
    prepared = child.prepared
    raw, truth = prepared.frame.iloc[prepared.holdout_index], prepared.target[prepared.holdout_index]
    twin = fitted_by_hand(child, trained.best.candidate, prepared.train_index)
    assert trained.best.holdout.score == pytest.approx(get_scorer("roc_auc")(twin, raw, truth))
    assert trained.best.holdout.probabilities == pytest.approx(twin.predict_proba(raw))


def test_an_ensemble_loads_without_this_project(child: Child, trained: Trained, tmp_path: Path) -> None:
    path, rows = tmp_path / "model.joblib", tmp_path / "rows.pkl"
    path.write_bytes(trained.best.model)
    child.prepared.frame.head(20).to_pickle(rows)
    used = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", USE, str(path), str(rows)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert used.returncode == 0, used.stderr
    here = joblib.load(path).predict_proba(child.prepared.frame.head(20))
    assert np.allclose(json.loads(used.stdout), here)
    assert any(pin.startswith("lightgbm==") for pin in requirements_for(path))


def test_without_ensembles_a_single_pipeline_ships_and_no_predictions_are_kept(tmp_path: Path) -> None:
    child = Child(tmp_path, spec={**SMALL, "ensemble": "off"})
    trained = child.train()
    assert trained.best.candidate.origin != ENSEMBLE
    assert all(candidate.origin != ENSEMBLE for candidate in trained.searched.candidates)
    assert not list(tmp_path.rglob("predictions"))
