from __future__ import annotations

import collections
import gzip
import pickle
import subprocess
import sys
import textwrap
from importlib import metadata

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from trainingjob_trainer.artifacts.registry import modules_of, requirements_for, requirements_text
from trainingjob_trainer.errors import RunFailed
from trainingjob_trainer.search.fits import dump_model

ALWAYS = {"joblib", "numpy", "pandas", "scikit-learn", "scipy"}
X = np.random.default_rng(0).normal(size=(60, 3))
Y = np.where(X[:, 0] > 0, "yes", "no")


def saved(tmp_path, model):
    path = tmp_path / "model.joblib"
    path.write_bytes(dump_model(model))
    return path


def names(path):
    return {pin.split("==")[0] for pin in requirements_for(path)}


def test_a_plain_model_needs_scikit_learn_alone(tmp_path):
    path = saved(tmp_path, HistGradientBoostingClassifier(max_iter=3).fit(X, Y))
    assert names(path) == ALWAYS
    assert all(
        pin == f"{n}=={metadata.version(n)}" for pin in requirements_for(path) for n in [pin.split("==")[0]]
    )
    assert (joblib.load(path).predict(X[:5]) == joblib.load(path).predict(X[:5])).all()


def test_boosters_are_found(tmp_path):
    from lightgbm import LGBMClassifier
    from xgboost import XGBClassifier

    boosted = VotingClassifier([("xgb", XGBClassifier(n_estimators=2, n_jobs=1))], voting="soft").fit(X, Y)
    assert names(saved(tmp_path, boosted)) == ALWAYS | {"xgboost"}
    light = LGBMClassifier(n_estimators=2, n_jobs=1, verbose=-1).fit(pd.DataFrame(X, columns=list("abc")), Y)
    assert names(saved(tmp_path, light)) == ALWAYS | {"lightgbm"}


def test_skrub_is_found(tmp_path):
    from skrub import TableVectorizer

    frame = pd.DataFrame({"a": ["x", "y"] * 30, "b": X[:, 0], "c": pd.Timestamp("2026-01-01")})
    model = make_pipeline(TableVectorizer(n_jobs=1), LogisticRegression()).fit(frame, Y)
    assert names(saved(tmp_path, model)) >= ALWAYS | {"skrub"}


def test_packages_of_functions_are_found(tmp_path):
    path = saved(tmp_path, make_pipeline(FunctionTransformer(np.log1p), LogisticRegression()))
    assert "numpy" in {m.split(".")[0] for m in modules_of(path)}


@pytest.mark.parametrize("protocol", range(6))
def test_every_protocol_is_read(tmp_path, protocol):
    path = tmp_path / "model.joblib"
    content = [
        LogisticRegression(),
        LogisticRegression(C=2),
        collections.OrderedDict(a=1),
        "sklearn.evil name",
    ]
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    assert {m.split(".")[0] for m in modules_of(path)} - {
        "builtins",
        "__builtin__",
        "copyreg",
        "copy_reg",
    } == {
        "sklearn",
        "collections",
    }
    path.write_bytes(gzip.compress(path.read_bytes()))
    assert names(path) == ALWAYS


class Mine:
    """A class of no published package."""


class Evil:
    def __reduce__(self):
        return (eval, ("open('/tmp/never', 'w')",))


@pytest.mark.parametrize(
    "module", ["tpot", "trainingjob_trainer.errors", "__main__", "no_such_package_anywhere"]
)
def test_a_model_that_needs_this_project_is_rejected(tmp_path, module):
    path = tmp_path / "model.joblib"
    path.write_bytes(f"c{module}\nThing\n.".encode())
    with pytest.raises(RunFailed) as caught:
        requirements_for(path)
    assert caught.value.reason == "ModelNotPortable"
    assert module.split(".")[0] in caught.value.message


def test_nothing_is_executed(tmp_path):
    path = tmp_path / "model.joblib"
    path.write_bytes(pickle.dumps(Evil()))
    assert modules_of(path) == {"builtins"}


@pytest.mark.parametrize("content", [b"", b"not a pickle", b"\x1f\x8bbroken", b"\x80\x05\x93.", b"\x80\x05K"])
def test_other_files_are_rejected(tmp_path, content):
    path = tmp_path / "model.joblib"
    path.write_bytes(content)
    with pytest.raises(RunFailed) as caught:
        modules_of(path)
    assert caught.value.reason == "ModelUnreadable"


def test_a_dump_of_joblib_itself_is_rejected(tmp_path):
    path = tmp_path / "model.joblib"
    joblib.dump(LogisticRegression().fit(X, Y), path)
    with pytest.raises(RunFailed) as caught:
        modules_of(path)
    assert caught.value.reason == "ModelUnreadable"


def test_the_same_model_gives_the_same_bytes(tmp_path):
    model = LogisticRegression().fit(X, Y)
    assert saved(tmp_path, model).read_bytes() == saved(tmp_path, model).read_bytes()


def test_a_model_that_cannot_be_pickled_leaves_no_file(tmp_path):
    with pytest.raises((pickle.PicklingError, AttributeError)):
        saved(tmp_path, FunctionTransformer(lambda x: x))
    assert list(tmp_path.iterdir()) == []


def test_pip_accepts_the_requirements():
    text = requirements_text(["a==1", "b==2"])
    assert text.splitlines()[1:] == ["a==1", "b==2"]
    assert text.startswith("# ")


LOADER = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0].startswith(("trainingjob_", "tpot")):
            raise ImportError(f"{name} is not here")

sys.meta_path.insert(0, Blocked())
import joblib, pandas as pd
model = joblib.load(sys.argv[1])
rows = pd.DataFrame({"size": [0.1, None], "area": ["never seen", None], "noise": ["1.5", 2], "extra": [1, 2]})
print(*model.predict(rows))
assert not any(name.startswith(("trainingjob_", "tpot")) for name in sys.modules)
"""


def test_a_model_loads_without_this_project(tmp_path):
    from sklearn.pipeline import Pipeline

    from support.finished_runs import table
    from trainingjob_api import FeatureType
    from trainingjob_trainer.data.encoder import build_encoder

    frame, target = table("binary")
    types = {"size": FeatureType.NUMERIC, "area": FeatureType.CATEGORICAL, "noise": FeatureType.NUMERIC}
    encoder = build_encoder(types, frame=frame)
    model = Pipeline([("encode", encoder), ("model", HistGradientBoostingClassifier(max_iter=5))])
    path = saved(tmp_path, model.fit(frame, target))
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(LOADER), str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) <= {"yes", "no"}
