"""Declarative trees: their search spaces, and invalid trees."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from trainingjob_trainer.errors import SpecInvalid
from trainingjob_trainer.search_space.individual import translate
from trainingjob_trainer.search_space.pipeline import build, summarize
from trainingjob_trainer.search_space.portfolio import seeds

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]


def tree(text: str) -> dict:
    return yaml.safe_load(text)


REFUSED = yaml.safe_load((Path(__file__).parent / "refused_trees.yaml").read_text())


@pytest.mark.parametrize("case", REFUSED, ids=[f"{n}-{case['reason']}" for n, case in enumerate(REFUSED)])
def test_a_wrong_tree_is_rejected_with_a_remedy(case, compiled):
    with pytest.raises(SpecInvalid, match=case["words"]) as caught:
        compiled(case["tree"], "regression")
    assert caught.value.reason == case["reason"]
    assert "spec.searchSpace" in caught.value.message


def test_xgboost_cannot_rank_columns_nor_naive_bayes_be_boosted_without_weights(compiled):
    ranked = """
    type: sequential
    steps:
    - {type: wrapper, estimator: RFE, inner: {type: estimator, name: XGBClassifier}}
    - {type: estimator, name: GaussianNB}
    """
    boosted = """
    type: wrapper
    estimator: AdaBoostClassifier
    inner: {type: estimator, name: KNeighborsClassifier}
    """
    for text, words in ((ranked, "text labels"), (boosted, "sample weights")):
        with pytest.raises(SpecInvalid, match=words):
            compiled(tree(text), "classification")


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("graf", "graph"), ("linear_light", "linear-light"), ("LGBRegressor", "LGBMRegressor")],
)
def test_an_unknown_preset_is_answered_with_the_nearest(name, nearest, compiled):
    with pytest.raises(SpecInvalid, match=nearest) as caught:
        compiled(name, "regression")
    assert caught.value.reason == "UnknownPreset"


@pytest.mark.parametrize(
    "name", ["regressors", "LGBMRegressor", "LinearRegression", "GradientBoostingRegressor"]
)
def test_groups_and_estimators_are_presets(name, compiled, contexts, tables):
    space, rng = compiled(name, "regression"), np.random.default_rng(0)
    for _ in range(3):
        spec = translate(space.generate(rng), contexts["regression"])
        build(spec).fit(*tables["regression"])
    if name != "regressors":
        assert name in summarize(spec)


def test_choices_of_any_kind_are_kept(compiled, contexts):
    text = """
    type: estimator
    name: ExtraTreesRegressor
    hyperparameters:
      max_depth: {choice: [null, 3]}
      max_features: {choice: [sqrt, 0.5, null]}
      n_estimators: 7
    """
    space, rng = compiled(tree(text), "regression"), np.random.default_rng(0)
    seen = set()
    for _ in range(60):
        params = build(translate(space.generate(rng), contexts["regression"])).get_params()
        seen.add((params["max_depth"], params["max_features"]))
        assert params["n_estimators"] == 7
    assert seen == {(depth, share) for depth in (None, 3) for share in ("sqrt", 0.5, None)}


def test_ranges_keep_their_kind_and_bounds(compiled, contexts):
    text = """
    type: estimator
    name: XGBRegressor
    hyperparameters:
      max_depth: {low: 2, high: 4}
      learning_rate: {low: 0.001, high: 1, log: true}
      subsample: {low: 0.5, high: 1, int: false}
    """
    space, rng = compiled(tree(text), "regression"), np.random.default_rng(0)
    drawn = [build(translate(space.generate(rng), contexts["regression"])).get_params() for _ in range(60)]
    assert {params["max_depth"] for params in drawn} == {2, 3, 4}
    assert all(isinstance(params["max_depth"], int) for params in drawn)
    assert sum(params["learning_rate"] < 0.03 for params in drawn) > 15
    assert all(0.5 <= params["subsample"] <= 1 for params in drawn)


def test_feature_sets_keep_the_encoded_columns_of_their_raw_ones(compiled, contexts, tables):
    text = """
    type: sequential
    steps:
    - {type: featureSets, sets: {only: [income, visits]}}
    - {type: estimator, name: LinearRegression}
    """
    space = compiled(tree(text), "regression")
    assert space.uses_feature_sets
    numbers, target = tables["regression"]
    names = ["c0__x", "c1__x", "c1__y", "c2__x", "c3__x", "c4__x", "c10__x"]
    frame = pd.DataFrame(numbers[:, :7], columns=names)
    spec = translate(space.generate(np.random.default_rng(0)), contexts["regression"])
    fitted = build(spec).fit(frame, target)
    assert fitted[:-1].transform(frame).shape[1] == 3
    assert np.array_equal(fitted[:-1].transform(frame), frame[["c1__x", "c1__y", "c4__x"]].to_numpy())


def test_arithmetic_takes_frames_too(compiled, contexts, tables):
    text = """
    type: graph
    root: {type: estimator, name: LinearRegression}
    inner: {type: group, names: [arithmatic]}
    leaf: {type: featureSets, sets: {one: [age], two: [income, city]}}
    maxSize: 9
    """
    numbers, target = tables["regression"]
    frame = pd.DataFrame(numbers[:, :3], columns=["c0__x", "c1__x", "c2__x"])
    space, rng = compiled(tree(text), "regression"), np.random.default_rng(0)
    for _ in range(25):
        spec = translate(space.generate(rng), contexts["regression"])
        assert np.isfinite(build(spec).fit(frame, target).predict(frame)).all(), summarize(spec)


@pytest.mark.parametrize(("task", "kind"), [("classification", "Classifier"), ("regression", "Regressor")])
def test_boosters_take_frames_whose_columns_have_names_of_categories(task, kind, compiled, contexts, tables):
    space = compiled(tree(f"{{type: group, names: [LGBM{kind}, XGB{kind}]}}"), task)
    context = replace(contexts[task], named=True)
    numbers, target = tables[task]
    frame = pd.DataFrame(numbers[:, :3], columns=["c0__x", 'c1__"New York, NY"', "c2__a[b]: <5"])
    rng = np.random.default_rng(0)
    for individual in (*(seed.individual for seed in seeds(context, space)), *map(space.generate, [rng] * 6)):
        spec = translate(individual, context)
        assert len(build(spec).fit(frame, target).predict(frame)) == len(frame), summarize(spec)
