from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier, VotingClassifier
from sklearn.feature_selection import SelectKBest, f_regression
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from xgboost import XGBClassifier

from support.finished_runs import table
from trainingjob_api import FeatureType
from trainingjob_trainer.artifacts.program import Unrenderable, source_of
from trainingjob_trainer.data.encoder import build_encoder
from trainingjob_trainer.encodings import Encoding
from trainingjob_trainer.errors import RunFailed

TYPES = {"size": FeatureType.NUMERIC, "area": FeatureType.CATEGORICAL, "noise": FeatureType.NUMERIC}


def rebuilt(value):
    source = source_of(value)
    space: dict[str, object] = {}
    code = "\n".join([*source.imports, *source.helpers, f"result = {source.expression}"])
    exec(code, space)
    return space["result"]


def flat(estimator):
    return {key: repr(value) for key, value in estimator.get_params().items()}


@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(C=0.1, max_iter=500, class_weight={"a": 1.0, "b": float("inf")}),
        make_pipeline(StandardScaler(), PCA(n_components=0.9), Ridge()),
        FeatureUnion([("a", SelectKBest(f_regression, k=3)), ("b", FunctionTransformer(np.log1p))]),
        ColumnTransformer([("n", "passthrough", slice(0, 2)), ("c", OneHotEncoder(), ["it's", 'a "b"\n'])]),
        VotingClassifier([("xgb", XGBClassifier(n_estimators=3))], voting="soft"),
        FunctionTransformer(pd.DataFrame.apply, kw_args={"func": pd.to_numeric, "errors": "coerce"}),
        FunctionTransformer(pd.DataFrame.astype, kw_args={"dtype": "str"}),
        FunctionTransformer(pd.Series.replace, kw_args={"value": np.nan, "to_replace": [np.inf]}),
        HistGradientBoostingClassifier(categorical_features=np.array([0, 2]), random_state=3),
    ],
    ids=lambda e: type(e).__name__,
)
def test_source_builds_an_equal_estimator(estimator):
    assert flat(rebuilt(estimator)) == flat(estimator)


@pytest.mark.parametrize(
    ("encoding", "per_column"), [(Encoding.DENSE, True), *((encoding, False) for encoding in Encoding)]
)
def test_the_encoder_has_a_source_that_encodes_the_same(encoding, per_column):
    frame, y = table("binary")
    rng = np.random.default_rng(0)
    frame["note"] = [
        " ".join(rng.choice(["red", "green", "blue", "round"], size=4)) for _ in range(len(frame))
    ]
    frame["day"] = pd.date_range("2026-01-01", periods=len(frame), freq="D").astype(str)
    frame["code"] = [f"item-{n % 90}" for n in range(len(frame))]
    types = {
        **TYPES,
        "note": FeatureType.TEXT,
        "day": FeatureType.DATETIME,
        "code": FeatureType.CATEGORICAL,
    }
    encoder = build_encoder(types, frame=frame, per_column=per_column, encoding=encoding, classes=2)
    ours, theirs = clone(encoder).fit_transform(frame, y), rebuilt(encoder).fit_transform(frame, y)
    assert type(ours) is type(theirs)
    np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


def test_nan_and_infinity_have_a_source():
    assert math.isnan(rebuilt(float("nan")))
    assert rebuilt([float("-inf"), {1, 2}, frozenset("a"), (1,), (), None, b"x"]) == [
        -math.inf,
        {1, 2},
        frozenset("a"),
        (1,),
        (),
        None,
        b"x",
    ]


class Mine(BaseEstimator):
    pass


@pytest.mark.parametrize(
    "value",
    [
        FunctionTransformer(lambda x: x),
        Pipeline([("a", Mine())]),
        RunFailed,
        object(),
        FunctionTransformer(kw_args={"a": object()}),
    ],
)
def test_a_value_without_a_source_is_rejected(value):
    if isinstance(value, Pipeline):
        Mine.__module__ = "__main__"
    with pytest.raises(Unrenderable):
        source_of(value)


def test_endlessly_nested_values_are_rejected():
    value: list[object] = []
    value.append(value)
    with pytest.raises(Unrenderable):
        source_of(value)
