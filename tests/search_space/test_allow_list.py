"""Every estimator of the allow-list fits, ships and loads without TPOT and this project."""

import json
import pickle

import numpy as np
import pytest

from trainingjob_api.search_space import ChoiceValues
from trainingjob_trainer.errors import SpecInvalid
from trainingjob_trainer.search_space.allow_list import CATALOGUE, entry
from trainingjob_trainer.search_space.context import Width
from trainingjob_trainer.search_space.pipeline import PASSTHROUGH, build, describe, leaf
from trainingjob_trainer.search_space.tpot_fixes.ranges import hyperparameter_space
from trainingjob_trainer.search_space.tpot_fixes.repairs import finish, repair

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


def test_catboost_is_silent_writes_no_files_and_returns_flat_labels(
    tables, contexts, tmp_path, monkeypatch, capfd
):
    monkeypatch.chdir(tmp_path)
    table, target = tables["classification"]
    spec = ready("CatBoostClassifier", contexts["classification"])
    predicted = build(spec).fit(table, target).predict(table)
    assert predicted.shape == target.shape
    assert set(predicted) <= set(target)
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")
    repeated = build(spec).fit(table, target).predict_proba(table)
    assert np.array_equal(repeated, build(spec).fit(table, target).predict_proba(table))


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(SpecInvalid, match="Did you mean LogisticRegression"):
        entry("LogisticRegresion")


ODD = {
    "a path": "/tmp/evil.joblib",  # noqa: S108 - nothing is written there
    "an import name": "os.system",
    "a function": {"$function": "numpy.sum"},
    "an estimator": {"$estimator": leaf("StandardScaler")},
    "a dictionary": {"$dict": {"location": "/tmp/evil"}},  # noqa: S108
}
DATA = {"fill_value", "missing_values"}
"""What a SimpleImputer writes into a table or looks for in it: a string is data there."""


@pytest.mark.parametrize("name", CATALOGUE)
def test_no_parameter_takes_a_path_a_callable_or_an_import(name):
    found = CATALOGUE[name]
    needed = {found.slot: {"$estimator": leaf("DecisionTreeClassifier")}} if found.slot else {}
    for parameter in sorted(found.parameters):
        if parameter == "transformer":
            continue  # a nested description like any other
        for what, odd in ODD.items():
            function = what == "a function" and parameter in {"func", "pooling_func", "score_func"}
            nested = what == "an estimator" and parameter == found.slot
            if function or nested or (parameter in DATA and isinstance(odd, str)):
                continue
            with pytest.raises(SpecInvalid):
                build(leaf(name, **{**needed, parameter: odd}))
            if isinstance(odd, str):
                with pytest.raises(SpecInvalid):
                    hyperparameter_space(found, {parameter: odd})
                with pytest.raises(SpecInvalid):
                    hyperparameter_space(found, {parameter: ChoiceValues(choice=(odd,))})


def test_a_tree_can_set_no_threads_seeds_or_callables():
    reserved = {
        "n_jobs",
        "random_state",
        "thread_count",
        "train_dir",
        "verbose",
        "verbosity",
        "estimator",
        "func",
        "kw_args",
        "callbacks",
        "device",
        "inverse_func",
        "memory",
    }
    for found in CATALOGUE.values():
        assert not found.hyperparameters & reserved, found.name
