"""TPOT's own ranges are narrowed; the ranges of a tree are not."""

from dataclasses import replace

import numpy as np
import pytest
import yaml
from tpot.config import get_search_space

from trainingjob_api.resolved import ResolvedSearchSpace
from trainingjob_trainer.search_space.individual import Individual, translate
from trainingjob_trainer.search_space.pipeline import build, summarize
from trainingjob_trainer.search_space.space import compile_space, named_space
from trainingjob_trainer.search_space.tpot_fixes.ranges import limits, narrowed


def drawn(name: str, context, count: int = 40) -> list[dict]:
    space, rng = named_space([name], context, predicts=True), np.random.default_rng(0)
    made = [build(translate(Individual(space.generate(rng)), context)) for _ in range(count)]
    return [estimator.get_params() for estimator in made]


def test_forests_have_fewer_trees_on_large_tables(contexts):
    small = contexts["classification"]
    large = replace(small, n_rows=20_000, n_features=50)
    assert {params["n_estimators"] for params in drawn("RandomForestClassifier", small)} == {100}
    assert {params["n_estimators"] for params in drawn("RandomForestClassifier", large)} == {30}
    assert limits(small, selecting=True)["ExtraTreesClassifier"]["n_estimators"] == 33


def test_boosters_have_fewer_leaves_with_many_classes(contexts):
    ten = replace(contexts["classification"], n_classes=10)
    assert max(params["max_leaf_nodes"] for params in drawn("HistGradientBoostingClassifier", ten)) <= 25
    assert max(params["max_depth"] for params in drawn("XGBRegressor", contexts["regression"])) <= 8


def test_conditions_survive_the_narrowing(contexts):
    space = get_search_space("SGDClassifier", random_state=0).space
    made = narrowed("SGDClassifier", space, contexts["classification"])
    assert [str(item) for item in made.conditions] == [str(item) for item in space.conditions]
    assert made.sample_configuration()["max_iter"] == 200


def test_forests_of_regressions_take_no_criterion_that_is_slow_or_fails(contexts):
    assert {params["criterion"] for params in drawn("ExtraTreesRegressor", contexts["regression"])} == {
        "squared_error"
    }


def test_a_range_of_the_user_is_not_narrowed(compiled, contexts):
    text = """
    type: estimator
    name: RandomForestClassifier
    hyperparameters: {n_estimators: 500, max_features: {low: 0.9, high: 1.0}}
    """
    space, rng = compiled(yaml.safe_load(text), "classification"), np.random.default_rng(0)
    params = build(translate(space.generate(rng), contexts["classification"])).get_params()
    assert params["n_estimators"] == 500
    assert params["max_features"] >= 0.9


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("features", [1, 2, 3])
@pytest.mark.parametrize("preset", ["linear", "graph"])
def test_tables_of_few_columns_are_searched_too(preset, features, contexts):
    rng = np.random.default_rng(0)
    table, target = rng.normal(size=(80, features)), np.array(["a", "b"])[rng.integers(0, 2, 80)]
    context = replace(contexts["classification"], n_rows=80, n_features=features, n_classes=2)
    space = compile_space(ResolvedSearchSpace(preset=preset, source="test"), context)
    for _ in range(15):
        spec = translate(space.generate(rng), context)
        assert len(build(spec).fit(table, target).predict(table)) == 80, summarize(spec)


@pytest.mark.parametrize("preset", ["linear", "graph"])
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_whole_templates_offer_catboost_and_light_ones_do_not(preset, task, compiled, contexts):
    def predictors(name: str) -> set[str]:
        root = compiled(name, task).root
        choice = root.search_spaces[-1] if preset == "linear" else root.root_search_space
        return {space.method.__name__ for space in choice.search_spaces if hasattr(space, "method")}

    offered = predictors(preset) - predictors(f"{preset}-light")
    assert {"CatBoostClassifier", "CatBoostRegressor"} & offered
