import numpy as np
import pandas as pd
import pytest

from trainingjob_api.vocabulary import FeatureType, Severity
from trainingjob_trainer.data import FindingKind
from trainingjob_trainer.data.column_format import usual_format
from trainingjob_trainer.data.features import find_leaks, without_infinities
from trainingjob_trainer.data.load import make_sample
from trainingjob_trainer.data.split import Classes
from trainingjob_trainer.data.target import find_imbalance

RNG = np.random.default_rng(0)
ROWS = 600
NUMERIC, CATEGORICAL, TEXT, DATETIME = list(FeatureType)[:4]


def test_infinities_become_missing_and_are_reported() -> None:
    frame = pd.DataFrame({"a": [1.0, np.inf, -np.inf], "b": [1, 2, 3], "c": ["x", "y", "z"]})
    clean, findings = without_infinities(frame)
    assert clean["a"].isna().tolist() == [False, True, True]
    assert [(finding.kind, finding.column) for finding in findings] == [(FindingKind.INFINITE, "a")]
    assert "2 infinite" in findings[0].message
    assert np.isinf(frame["a"]).any(), "what was read is left as it is"
    nullable = pd.DataFrame({"a": pd.array([1.0, None, np.inf], dtype="Float64")})
    assert without_infinities(nullable)[0]["a"].isna().tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("counts", "found"),
    [((80, 20), False), ((81, 19), True), ((50, 50), False), ((34, 33, 33), False), ((90, 5, 5), True)],
)
def test_imbalanced_classes_are_a_finding(counts: tuple[int, ...], found: bool) -> None:
    classes = Classes(np.repeat(np.arange(len(counts)), counts), tuple("abc"[: len(counts)]))
    findings = find_imbalance(classes, "accuracy", "y")
    assert bool(findings) == found
    if found:
        assert "balanced_accuracy" in findings[0].message
        assert findings[0].severity is Severity.WARNING


def leaks(column: pd.Series, target: np.ndarray, kind: FeatureType, *, classify: bool = True) -> bool:
    frame = pd.DataFrame({"noise": RNG.normal(size=len(target)), "x": column})
    types = {"noise": NUMERIC, "x": kind}
    formats = {name: usual_format(frame[name]) for name in frame}
    found = find_leaks(frame, target, types, formats=formats, classify=classify, seed=0)
    assert all(finding.column == "x" for finding in found)
    assert all(finding.severity is Severity.WARNING for finding in found)
    return bool(found)


def test_columns_that_reveal_the_class_are_a_finding() -> None:
    target = np.where(RNG.random(ROWS) < 0.3, "yes", "no").astype(object)
    yes = target == "yes"
    assert leaks(pd.Series(target), target, CATEGORICAL)
    assert leaks(pd.Series(yes.astype(float) * 3 + RNG.random(ROWS)), target, NUMERIC)
    assert leaks(pd.Series(np.where(yes, 1.0, np.nan)), target, NUMERIC), "the missing values give it away"
    assert leaks(pd.Series(np.where(yes, "left for a rival", None), dtype="str"), target, TEXT)
    when = pd.Series(pd.Timestamp("2020-01-01") + pd.to_timedelta(np.where(yes, 500, 100), unit="D"))
    assert leaks(when, target, DATETIME)
    assert not leaks(pd.Series(np.where(RNG.random(ROWS) < 0.1, "no", target)), target, CATEGORICAL)
    assert not leaks(pd.Series([f"c{i}" for i in RNG.integers(0, 300, ROWS)]), target, CATEGORICAL)


def test_columns_that_reveal_a_numeric_target_are_a_finding() -> None:
    target = RNG.gamma(2.0, 10.0, size=ROWS)
    assert leaks(pd.Series(target * 1.1 + 3), target, NUMERIC, classify=False)
    assert not leaks(pd.Series(target + RNG.normal(scale=10, size=ROWS)), target, NUMERIC, classify=False)
    assert not leaks(pd.Series([None] * ROWS, dtype="float64"), target, NUMERIC, classify=False)


@pytest.mark.parametrize("name", ["breast_cancer", "iris", "wine", "diabetes", "messy_churn"])
def test_honest_tables_leak_nothing(name: str) -> None:
    frame = make_sample(name).frame.dropna(subset=[make_sample(name).frame.columns[-1]])
    target = frame.pop(frame.columns[-1]).to_numpy()
    numbers = frame.select_dtypes("number")
    types = dict.fromkeys(numbers.columns, NUMERIC)
    formats = {column: usual_format(numbers[column]) for column in numbers}
    assert find_leaks(numbers, target, types, formats=formats, classify=name != "diabetes", seed=0) == ()


def test_too_few_rows_are_not_checked_for_leaks() -> None:
    target = np.array([0, 1] * 20)
    assert not leaks(pd.Series(target), target, NUMERIC)
