"""The encoding of a pipeline as data."""

from typing import Any

import pytest
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from trainingjob_api import Reason, Task
from trainingjob_trainer.encodings import Encoding
from trainingjob_trainer.errors import SpecInvalid
from trainingjob_trainer.search_space.context import SpaceContext
from trainingjob_trainer.search_space.pipeline import (
    build,
    describe,
    encoding_of,
    fingerprint,
    leaf,
    summarize,
    with_encoding,
)

RIDGE = leaf("Ridge", alpha=2.0)
CODED = with_encoding(RIDGE, Encoding.ORDINAL)


def test_a_pipeline_without_the_key_has_the_dense_encoding() -> None:
    assert encoding_of(RIDGE) is Encoding.DENSE
    assert with_encoding(CODED, Encoding.DENSE) == RIDGE
    assert with_encoding(RIDGE, Encoding.DENSE) == RIDGE


@pytest.mark.parametrize("encoding", [name for name in Encoding if name is not Encoding.DENSE])
def test_another_encoding_is_part_of_fingerprint_and_summary(encoding: Encoding) -> None:
    spec = with_encoding(RIDGE, encoding)
    assert encoding_of(spec) is encoding
    assert fingerprint(spec) != fingerprint(RIDGE)
    assert summarize(spec) == f"{encoding.words} → Ridge(alpha=2)"
    assert encoding.words


def test_the_encoding_comes_before_the_steps_of_a_summary() -> None:
    steps = {"class": "Pipeline", "steps": [leaf("StandardScaler"), RIDGE]}
    assert summarize(with_encoding(steps, Encoding.ORDINAL)).startswith("category codes → StandardScaler → ")
    long = {"class": "FeatureUnion", "members": [leaf("SelectKBest", k=i) for i in range(40)]}
    assert summarize(with_encoding(long, Encoding.ORDINAL)).startswith("category codes → [SelectKBest")


def test_the_estimator_does_not_depend_on_the_encoding() -> None:
    made = build(CODED)
    assert isinstance(made, Ridge)
    assert describe(made) == RIDGE


@pytest.mark.parametrize("name", ["dense", "other", "", None, 3, ["ordinal"], {"$function": "numpy.mean"}])
def test_an_encoding_in_another_form_is_rejected(name: Any) -> None:
    with pytest.raises(SpecInvalid) as failure:
        build({**RIDGE, "encoding": name})
    assert failure.value.reason is Reason.UNKNOWN_VALUE


def test_a_part_of_a_pipeline_has_no_encoding() -> None:
    assert isinstance(build(leaf("StandardScaler")), StandardScaler)
    with pytest.raises(SpecInvalid):
        build({"class": "Pipeline", "steps": [leaf("StandardScaler"), CODED]})
    with pytest.raises(SpecInvalid):
        build({"class": "Pipeline", "steps": [CODED], "encoding": "ordinal"})


def test_the_width_follows_the_encoding() -> None:
    context = SpaceContext(
        task=Task.REGRESSION, n_rows=100, n_features=40, n_classes=0, random_state=0,
        encodings=("dense", "ordinal"), encoded_columns=(40, 7),
    )  # fmt: skip
    assert [context.encoded(name).n_features for name in ("dense", "ordinal")] == [40, 7]
    assert context.encoded("ordinal").encodings == context.encodings
