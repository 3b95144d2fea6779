"""Ensembles as data: their estimators; members with the same encoding share an encoder."""

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import VotingClassifier, VotingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from trainingjob_trainer.encodings import Encoding
from trainingjob_trainer.errors import SpecInvalid
from trainingjob_trainer.search_space.pipeline import (
    build,
    describe,
    ensemble_of,
    fingerprint,
    full_pipeline,
    members_of,
    summarize,
    with_encoding,
)

ENCODERS = {Encoding.DENSE: StandardScaler(), Encoding.ORDINAL: FunctionTransformer()}
LINEAR = describe(make_pipeline(StandardScaler(), LogisticRegression(C=0.5)))
SMALL, LARGE = (describe(DecisionTreeClassifier(max_depth=d, random_state=0)) for d in (1, 4))
FRAME = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 3)), columns=list("abc"))
TARGET = np.where(FRAME["a"] + FRAME["b"] > 0, "yes", "no").astype(object)


def ordinal(spec: dict[str, object]) -> dict[str, object]:
    return with_encoding(spec, Encoding.ORDINAL)


def test_members_with_one_encoding_share_one_encoder() -> None:
    model = full_pipeline(ensemble_of([LINEAR, SMALL], [3, 1], classification=True), ENCODERS)
    assert isinstance(model, Pipeline)
    assert [name for name, _ in model.steps] == ["encode", "model"]
    assert isinstance(model["model"], VotingClassifier)
    model.fit(FRAME, TARGET)
    parts = [full_pipeline(member, ENCODERS).fit(FRAME, TARGET) for member in (LINEAR, SMALL)]
    expected = np.average([part.predict_proba(FRAME) for part in parts], axis=0, weights=[3, 1])
    assert model.predict_proba(FRAME) == pytest.approx(expected)
    assert model.classes_.tolist() == ["no", "yes"]
    assert set(model.predict(FRAME)) == {"no", "yes"}


def test_encodings_are_averaged_by_the_weights_of_their_members() -> None:
    members, weights = [LINEAR, ordinal(SMALL), ordinal(LARGE), SMALL], [2, 1, 3, 1]
    model = full_pipeline(ensemble_of(members, weights, classification=True), ENCODERS)
    encoders = [member["encode"] for _, member in model.estimators]
    assert [type(encoder) for encoder in encoders] == [StandardScaler, FunctionTransformer]
    model.fit(FRAME, TARGET)
    parts = [full_pipeline(member, ENCODERS).fit(FRAME, TARGET) for member in members]
    expected = np.average([part.predict_proba(FRAME) for part in parts], axis=0, weights=weights)
    assert model.predict_proba(FRAME) == pytest.approx(expected)


def test_numbers_are_averaged() -> None:
    members = [describe(Ridge(alpha=a)) for a in (1.0, 100.0)]
    model = full_pipeline(ensemble_of(members, [1, 4], classification=False), ENCODERS)
    assert isinstance(model["model"], VotingRegressor)
    target = FRAME["a"].to_numpy() * 10
    parts = [full_pipeline(member, ENCODERS).fit(FRAME, target).predict(FRAME) for member in members]
    expected = np.average(parts, axis=0, weights=[1, 4])
    assert model.fit(FRAME, target).predict(FRAME) == pytest.approx(expected)


def test_the_summary_of_an_ensemble_is_a_single_line() -> None:
    spec = ensemble_of([SMALL, ordinal(LARGE), LINEAR], [1, 1, 1], classification=True)
    assert summarize(spec) == "ensemble of 3: DecisionTree x 2, LogisticRegression"
    assert members_of(spec) == [(SMALL, 1), (ordinal(LARGE), 1), (LINEAR, 1)]
    assert members_of(SMALL) == []


def test_weights_and_encodings_are_part_of_the_fingerprint() -> None:
    specs = [
        ensemble_of([SMALL, LARGE], [1, 1], classification=True),
        ensemble_of([SMALL, LARGE], [1, 2], classification=True),
        ensemble_of([SMALL, ordinal(LARGE)], [1, 2], classification=True),
    ]
    assert len({fingerprint(spec) for spec in specs}) == 3


def test_no_search_breeds_an_ensemble() -> None:
    with pytest.raises(SpecInvalid, match="wrong form"):
        build(ensemble_of([SMALL, LARGE], [1, 1], classification=True))
