"""Every estimator of the allow-list fits, ships and loads without TPOT and this project."""

import json
import pickle

import numpy as np
import pytest

from trainingjob_trainer.errors import SpecInvalid
from trainingjob_trainer.search_space import build, describe
from trainingjob_trainer.search_space.catalogue import CATALOGUE, entry
from trainingjob_trainer.search_space.pipeline_spec import PASSTHROUGH, leaf
from trainingjob_trainer.search_space.repairs import finish, repair
from trainingjob_trainer.search_space.widths import Width

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:sklearn"),
]

LOAD_ALONE = """
import pickle, sys, numpy as np

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"tpot", "trainingjob_trainer", "trainingjob_api", "ConfigSpace"}:
            raise ImportError("blocked: " + name)

sys.meta_path.insert(0, Blocked())
for path, table in [line.split("|") for line in sys.argv[1].splitlines()]:
    fitted = pickle.load(open(path, "rb"))
    X = np.load(table)
    print(len(fitted.predict(X) if hasattr(fitted, "predict") else fitted.transform(X)))
"""


def ready(name: str, context) -> dict:
    """Return the description of an estimator as the search would evaluate it."""
    params = {"n_estimators": 8} if "n_estimators" in CATALOGUE[name].hyperparameters else {}
    if name in {"RFE", "SelectFromModel"}:
        tree = "DecisionTreeClassifier" if context.classification else "DecisionTreeRegressor"
        params["estimator"] = {"$estimator": {"class": tree}}
    steps, _ = repair(leaf(name, **params), Width.of_table(context), context, None)
    chain = {"class": "Pipeline", "steps": steps or [dict(PASSTHROUGH)]}
    return finish(chain, context)


def tasks_of(name: str) -> tuple[str, ...]:
    kind = CATALOGUE[name].kind
    if kind == "classifier":
        return ("classification",)
    return ("regression",) if kind == "regressor" else ("classification", "regression")


def test_every_estimator_fits_ships_and_loads_alone(tables, contexts, tmp_path, python):
    shipped = []
    for name in CATALOGUE:
        for task in tasks_of(name):
            table, target = tables[task]
            spec = json.loads(json.dumps(ready(name, contexts[task]), allow_nan=False))
            fitted = build(spec).fit(table, target)
            assert describe(fitted) == spec, name
            path = tmp_path / f"{name}-{task}.pkl"
            path.write_bytes(pickle.dumps(fitted))
            np.save(tmp_path / f"{task}.npy", table)
            shipped.append(f"{path}|{tmp_path / task}.npy")
    printed = python(LOAD_ALONE, "\n".join(shipped)).split()
    assert printed == ["160"] * len(shipped)


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(SpecInvalid, match="Did you mean LogisticRegression"):
        entry("LogisticRegresion")


def test_a_tree_can_set_no_threads_seeds_or_callables():
    reserved = {
        "n_jobs",
        "random_state",
        "verbose",
        "verbosity",
        "estimator",
        "func",
        "kw_args",
        "callbacks",
        "device",
    }
    for found in CATALOGUE.values():
        assert not found.hyperparameters & reserved, found.name
