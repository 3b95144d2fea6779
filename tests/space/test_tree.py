"""Declarative trees: what they give, and what they refuse."""

import numpy as np
import pandas as pd
import pytest
import yaml

from trainingjob_trainer.errors import SpecInvalid
from trainingjob_trainer.search_space import build, summarize, translate

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]


def tree(text: str) -> dict:
    return yaml.safe_load(text)


REFUSED = [
    ("{type: estimator, name: Rige}", "UnknownEstimator", "Did you mean Ridge"),
    ("{type: estimator, name: FunctionTransformer}", "UnknownEstimator", "not allowed"),
    ("{type: estimator, name: GaussianProcessRegressor}", "UnknownEstimator", "cube of the rows"),
    ("{type: group, names: [regresors]}", "UnknownEstimator", "regressors"),
    ("{type: estimator, name: Ridge, hyperparameters: {alfa: 1}}", "UnknownHyperparameter", "Did you mean alpha"),
    ("{type: estimator, name: Lasso, hyperparameters: {n_jobs: 4}}", "UnknownHyperparameter", "may be set"),
    ("{type: estimator, name: Ridge, hyperparameters: {random_state: 4}}", "UnknownHyperparameter", "may be set"),
    ("{type: estimator, name: Ridge, hyperparameters: {alpha: -1}}", "InvalidHyperparameter", "alpha"),
    ("{type: estimator, name: Ridge, hyperparameters: {solver: {choice: [svd, fast]}}}", "InvalidHyperparameter", "fast"),
    ("{type: estimator, name: Ridge, hyperparameters: {alpha: {low: -3, high: 1}}}", "InvalidHyperparameter", "-3"),
    ("{type: estimator, name: LGBMRegressor, hyperparameters: {num_leaves: 1}}", "InvalidHyperparameter", "whole"),
    ("{type: estimator, name: XGBRegressor, hyperparameters: {booster: fast}}", "InvalidHyperparameter", "gbtree"),
    ("{type: estimator, name: LogisticRegression}", "WrongStep", "is a classifier"),
    ("{type: estimator, name: PCA}", "WrongStep", "is a transformer"),
    ("{type: group, names: [classifiers]}", "WrongStep", "of the group classifiers"),
    ("{type: union, members: [{type: estimator, name: PCA}]}", "WrongStep", "does not predict"),
    ("{type: sequential, steps: [{type: estimator, name: Ridge}, {type: estimator, name: Ridge}]}", "WrongStep", "steps.0."),
    ("{type: sequential, steps: [{type: estimator, name: RFE}, {type: estimator, name: Ridge}]}", "WrongStep", "wrapper"),
    ("{type: wrapper, estimator: Ridge, inner: {type: estimator, name: Ridge}}", "WrongStep", "no inner estimator"),
    ("{type: wrapper, estimator: BaggingRegressor, inner: {type: graph, root: {type: estimator, name: Ridge}}}", "WrongStep", "only estimator"),
    ("{type: wrapper, estimator: AdaBoostRegressor, inner: {type: estimator, name: PCA}}", "WrongStep", "transformer"),
    ("{type: sequential, steps: [{type: wrapper, estimator: RFE, inner: {type: estimator, name: KNeighborsRegressor}}, {type: estimator, name: Ridge}]}", "WrongStep", "importances"),
    ("{type: sequential, steps: [{type: estimator, name: PCA}, {type: featureSets, sets: {a: [age]}}, {type: estimator, name: Ridge}]}", "WrongStep", "first step"),
    ("{type: graph, root: {type: estimator, name: Ridge}, inner: {type: featureSets, sets: {a: [age]}}}", "WrongStep", "first step"),
    ("{type: sequential, steps: [{type: featureSets, sets: {a: [aeg]}}, {type: estimator, name: Ridge}]}", "UnknownColumn", "Did you mean age"),
    ("{type: estimator, name: os.system}", "InvalidSearchSpace", "plain name"),
    ("{type: estimators, name: Ridge}", "InvalidSearchSpace", "estimator"),
    ("{type: estimator, name: Passthrough, hyperparameters: {a: 1}}", "WrongStep", "no hyperparameters"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "reason", "words"), REFUSED, ids=[f"{r}-{n}" for n, (_, r, _) in enumerate(REFUSED)]
)
def test_a_wrong_tree_is_refused_with_the_way_out(text, reason, words, compiled):
    with pytest.raises(SpecInvalid, match=words) as caught:
        compiled(tree(text), "regression")
    assert caught.value.reason == reason
    assert "spec.searchSpace" in caught.value.message


def test_xgboost_cannot_rank_columns_nor_naive_bayes_be_boosted_without_weights(compiled):
    ranked = "{type: sequential, steps: [{type: wrapper, estimator: RFE, inner: {type: estimator, name: XGBClassifier}}, {type: estimator, name: GaussianNB}]}"  # noqa: E501
    boosted = (
        "{type: wrapper, estimator: AdaBoostClassifier, inner: {type: estimator, name: KNeighborsClassifier}}"
    )
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


def test_choices_of_any_kind_come_through(compiled, contexts):
    text = """
    type: estimator
    name: ExtraTreesRegressor
    hyperparameters: {max_depth: {choice: [null, 3]}, max_features: {choice: [sqrt, 0.5, null]}, n_estimators: 7}
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
