"""Pipelines as data."""

import json
import math
import pickle
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor, make_column_selector
from sklearn.ensemble import AdaBoostClassifier, BaggingRegressor, ExtraTreesClassifier, VotingClassifier
from sklearn.feature_selection import RFE, SelectFromModel, SelectPercentile, f_regression
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline, make_union
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, RobustScaler, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from xgboost import XGBClassifier

from trainingjob_trainer.artifacts.program import source_of
from trainingjob_trainer.errors import SpecInvalid
from trainingjob_trainer.search_space.parameters import FUNCTIONS, decode_value, encode_value
from trainingjob_trainer.search_space.pipeline import (
    PASSTHROUGH,
    build,
    describe,
    fingerprint,
    leaf,
    summarize,
)

NESTED = [
    StandardScaler(),
    make_pipeline(StandardScaler(), LogisticRegression(C=np.float64(0.3), class_weight="balanced")),
    make_pipeline(make_union(StandardScaler(), MinMaxScaler()), "passthrough", Ridge(alpha=np.int64(2))),
    FeatureUnion([("keep", "passthrough"), ("scale", RobustScaler(quantile_range=(5.0, 95.0)))]),
    ColumnTransformer([("set", "passthrough", make_column_selector(pattern="^c(?:1|3)__"))]),
    VotingClassifier([("xgb", XGBClassifier(n_estimators=5, missing=np.nan))], voting="soft"),
    XGBClassifier(learning_rate=0.5, max_depth=3),
    RFE(ExtraTreesClassifier(n_estimators=7), step=0.5),
    SelectFromModel(Ridge(), threshold=-np.inf, max_features=1),
    SelectPercentile(f_regression, percentile=30),
    AdaBoostClassifier(DecisionTreeClassifier(max_depth=2), n_estimators=5),
    BaggingRegressor(make_pipeline(StandardScaler(), LinearRegression())),
    CalibratedClassifierCV(SVC(), ensemble=False),
    TransformedTargetRegressor(regressor=Ridge(), transformer=StandardScaler()),
    FunctionTransformer(np.sum, kw_args={"axis": 1, "keepdims": True}, validate=True),
]


def name(estimator: object) -> str:
    """Return a name that is the same in every process."""
    return re.sub(r"\W+", "_", re.sub(" at 0x[0-9a-f]+", "", str(estimator)))[:60]


@pytest.mark.parametrize("estimator", NESTED, ids=name)
def test_an_estimator_survives_a_round_trip_through_json(estimator):
    spec = describe(estimator)
    again = build(json.loads(json.dumps(spec, allow_nan=False)))
    assert describe(again) == spec
    assert type(again) is type(estimator)
    assert fingerprint(describe(pickle.loads(pickle.dumps(again)))) == fingerprint(spec)


@pytest.mark.parametrize("estimator", NESTED, ids=name)
def test_the_source_builds_the_same_pipeline(estimator):
    spec = describe(estimator)
    source = source_of(build(spec))
    scope: dict = {}
    exec("\n".join(source.imports), scope)
    made = eval(source.expression, scope)  # noqa: S307
    assert describe(made) == spec
    assert re.sub("0x[0-9a-f]+", "", repr(made)) == re.sub("0x[0-9a-f]+", "", repr(build(spec)))


plain = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(max_size=20)
values = st.recursive(
    plain | st.sampled_from(sorted(FUNCTIONS)).map(FUNCTIONS.__getitem__),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=12,
)


def same(left: object, right: object) -> bool:
    if isinstance(left, float) and isinstance(right, float) and math.isnan(left):
        return math.isnan(right)
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple) and type(left) is type(right):
        return len(left) == len(right) and all(map(same, left, right))
    return type(left) is type(right) and left == right


@given(values)
@settings(deadline=None)
def test_values_survive_json(value):
    text = json.dumps(encode_value(value, describe), allow_nan=False)
    assert same(decode_value(json.loads(text), build), value)


@given(st.sampled_from([np.float64(0.5), np.int32(3), np.bool_(True), np.str_("gbdt"), np.arange(3.0)]))  # noqa: FBT003
def test_numpy_values_become_plain_ones(value):
    assert decode_value(json.loads(json.dumps(encode_value(value, describe))), build) == value.tolist()


def test_a_fingerprint_depends_on_the_content_alone():
    one = {"class": "LogisticRegression", "params": {"C": 0.3, "max_iter": 200}}
    other = {"params": {"max_iter": 200, "C": 0.3}, "class": "LogisticRegression"}
    assert fingerprint(one) == fingerprint(other)
    assert re.fullmatch("[0-9a-f]{16}", fingerprint(one))
    assert fingerprint(one) != fingerprint(leaf("LogisticRegression", C=0.31, max_iter=200))


TAMPERED = [
    ({"class": "os.system"}, "UnknownEstimator"),
    ({"class": "Popen", "params": {"args": ["id"]}}, "UnknownEstimator"),
    ({"class": "GaussianProcessClassifier"}, "UnknownEstimator"),
    ({"class": "Pipeline", "steps": [{"class": "subprocess.Popen"}]}, "UnknownEstimator"),
    ({"class": "Ridge", "params": {"alfa": 1}}, "UnknownHyperparameter"),
    ({"class": "Ridge", "params": {"__class__": 1}}, "UnknownHyperparameter"),
    ({"class": "FunctionTransformer", "params": {"func": {"$function": "os.system"}}}, "UnknownValue"),
    ({"class": "FunctionTransformer", "params": {"func": {"$function": "numpy.load"}}}, "UnknownValue"),
    ({"class": "Ridge", "params": {"alpha": {"$float": "1e5"}}}, "UnknownValue"),
    ({"class": "Ridge", "params": {"alpha": {"$pickle": "gASV"}}}, "UnknownValue"),
    ({"class": "Bag", "params": {}}, "UnknownEstimator"),
    ({"class": "RFE", "params": {"estimator": {"$estimator": {"class": "Evil"}}}}, "UnknownEstimator"),
    ({"class": "Pipeline", "steps": []}, "UnknownValue"),
    ({"class": "Pipeline", "steps": [{"class": "Ridge"}], "memory": "/tmp"}, "UnknownValue"),  # noqa: S108
    ({"class": "VotingClassifier", "voting": "loud", "members": [{"class": "Ridge"}]}, "UnknownValue"),
    ({"class": "ColumnTransformer", "members": [{"pattern": 3}]}, "UnknownValue"),
    (
        {"class": "ColumnTransformer", "members": [{"pattern": "(c+)+$", "estimator": PASSTHROUGH}]},
        "UnknownValue",
    ),
    (leaf("FeatureAgglomeration", memory="cache"), "UnknownHyperparameter"),
    (leaf("FunctionTransformer", kw_args={"$dict": {"out": 1}}), "UnknownValue"),
    (leaf("FunctionTransformer", inverse_func={"$function": "numpy.sum"}), "UnknownHyperparameter"),
    (leaf("GradientBoostingRegressor", init={"$estimator": leaf("Ridge")}), "UnknownValue"),
    (leaf("HistGradientBoostingRegressor", scoring={"$function": "numpy.sum"}), "UnknownValue"),
    (leaf("LGBMClassifier", boosting_type="gbdt forcedsplits_filename=x"), "InvalidHyperparameter"),
    (leaf("LGBMClassifier", forcedsplits_filename="x"), "UnknownHyperparameter"),
    (leaf("RFE", estimator={"$estimator": leaf("Ridge")}, importance_getter="a.b"), "UnknownValue"),
    (leaf("RFE", estimator="Ridge"), "UnknownValue"),
    (leaf("Ridge", alpha=[[[[[1]]]]]), "UnknownValue"),
    (leaf("Ridge", random_state=-1), "UnknownValue"),
    (leaf("SVC", kernel="precomputed.py"), "InvalidHyperparameter"),
    (leaf("Ridge", n_jobs=64), "UnknownHyperparameter"),
    (leaf("KNeighborsRegressor", n_jobs=64), "UnknownValue"),
    (leaf("XGBClassifier", callbacks=["x"]), "UnknownHyperparameter"),
    ({"class": 3}, "UnknownValue"),
    ({}, "UnknownValue"),
]


@pytest.mark.parametrize(("spec", "reason"), TAMPERED)
def test_a_tampered_description_builds_nothing(spec, reason):
    with pytest.raises(SpecInvalid) as caught:
        build(spec)
    assert caught.value.reason == reason


def test_a_description_without_end_is_rejected():
    spec = {"class": "StandardScaler"}
    for _ in range(100):
        spec = {"class": "Pipeline", "steps": [spec]}
    with pytest.raises(SpecInvalid, match="nested"):
        build(spec)


def test_a_class_of_a_listed_name_from_elsewhere_is_rejected():
    impostor = type("Ridge", (Ridge,), {})
    with pytest.raises(SpecInvalid, match="not the class"):
        describe(impostor())


def test_a_summary_fits_on_one_line():
    wide = {"class": "FeatureUnion", "members": [leaf("PolynomialFeatures", degree=2)] * 60}
    for estimator in NESTED:
        assert len(summarize(describe(estimator))) <= 300
    assert len(summarize(wide)) == 300
    spec = describe(make_pipeline(StandardScaler(), LogisticRegression(C=0.3, random_state=1)))
    assert summarize(spec) == "StandardScaler → LogisticRegression(C=0.3)"
    assert isinstance(build(spec), Pipeline)


def test_building_needs_no_tpot(python):
    code = "import sys, trainingjob_trainer.search_space.pipeline as s; s.build({'class': 'Ridge'})"
    assert python(f"{code}; print('tpot' in sys.modules)").strip() == "False"
