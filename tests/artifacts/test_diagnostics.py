from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import get_scorer

from support.finished_runs import changed, make_outcome
from trainingjob_trainer.artifacts.diagnostics import (
    calibration,
    confusion,
    permutation_importance,
    regression_points,
    roc,
)
from trainingjob_trainer.artifacts.documents import report_data
from trainingjob_trainer.finished_run import HoldoutPrediction


def prediction(truth, guess, proba=None, classes=None):
    return HoldoutPrediction(
        index=np.arange(len(truth)),
        y_true=np.asarray(truth),
        y_pred=np.asarray(guess),
        y_proba=None if proba is None else np.asarray(proba, dtype=float),
        classes=classes,
    )


def test_confusion_counts_rows_of_true_labels():
    found = confusion(prediction([0, 0, 1, 1], [0, 1, 1, 1], classes=(0, 1, 2)))
    assert found == {"labels": ["0", "1"], "counts": [[1, 1], [0, 2]]}


def test_many_classes_are_gathered():
    labels = [n for n in range(50) for _ in range(50 - n)]
    found = confusion(prediction(labels, labels, classes=tuple(range(50))))
    assert len(found["labels"]) == 20
    assert found["labels"][-1] == "(others)"
    assert np.trace(found["counts"]) == len(labels)


def test_roc_of_two_classes_follows_the_positive_label():
    chance = np.array([0.1, 0.4, 0.6, 0.9])
    binary = prediction(["a", "a", "b", "b"], ["a"] * 4, np.c_[1 - chance, chance], ("a", "b"))
    for positive, label in (("a", "a"), ("b", "b"), (None, "b")):
        (curve,) = roc(binary, positive)
        assert (curve["label"], curve["auc"]) == (label, 1.0)


def test_roc_curves_are_short():
    rng = np.random.default_rng(0)
    chance = rng.random(5000)
    truth = np.where(rng.random(5000) < chance, "b", "a")
    (curve,) = roc(prediction(truth, truth, np.c_[1 - chance, chance], ("a", "b")), "b")
    assert len(curve["fpr"]) <= 200
    assert curve["tpr"][-1] == 1


@pytest.mark.parametrize(
    "case",
    [
        prediction(["a", "b"], ["a", "b"]),
        prediction(["a", "a"], ["a", "b"], [[0.5, 0.5]] * 2, ("a", "b")),
        prediction(["a", "b"], ["a", "b"], [[np.nan, 0.5]] * 2, ("a", "b")),
        prediction(list("abcdefg"), list("abcdefg"), np.eye(7), tuple("abcdefg")),
    ],
)
def test_a_missing_roc_curve_has_a_reason(case):
    with pytest.raises(ValueError):
        roc(case, "b")


def test_calibration_of_honest_chances():
    rng = np.random.default_rng(0)
    chance = rng.random(4000)
    truth = np.where(rng.random(4000) < chance, "b", "a")
    found = calibration(prediction(truth, truth, np.c_[1 - chance, chance], ("a", "b")), "b")
    np.testing.assert_allclose(found["predicted"], found["observed"], atol=0.06)
    assert sum(found["rows"]) == 4000
    few = calibration(prediction(["a", "b"], ["a", "b"], [[0.9, 0.1], [0.2, 0.8]], ("a", "b")), "b")
    assert sum(few["rows"]) == 2


def test_regression_leaves_out_what_is_not_finite():
    found = regression_points(prediction([1.0, 2.0, 3.0], [1.5, np.nan, 3.0]))
    assert (found["rows"], found["mae"]) == (2, 0.25)
    with pytest.raises(ValueError):
        regression_points(prediction([1.0], [np.inf]))


ROWS = pd.DataFrame({"a": np.linspace(-1, 1, 50), "b": np.zeros(50)}, index=range(100, 150))
TARGET = np.where(ROWS["a"] > 0, "yes", "no")


def importance(**changes):
    options = {"seconds_limit": 30.0, "random_state": 0, **changes}
    model = LogisticRegression().fit(ROWS, TARGET)
    return permutation_importance(model, ROWS, TARGET, get_scorer("accuracy"), **options)


def test_the_column_that_matters_comes_first():
    found = importance()
    assert [c["name"] for c in found["columns"]] == ["a", "b"]
    assert found["columns"][0]["drop"] > 0.2
    assert found["columns"][1]["drop"] == 0
    assert importance() == found


class Model:
    """A model that scikit-learn takes, and whose predictions say nothing."""

    def fit(self):
        """Do nothing: models come fitted."""

    def predict(self, frame):
        return np.zeros(len(frame))


class Slow(Model):
    """A model, its scorer and the clock that both move on: so many seconds for each row."""

    def __init__(self, seconds_a_row):
        self.seconds_a_row = seconds_a_row
        self.now = 0.0
        self.rows = []

    def predict(self, frame):
        self.now += self.seconds_a_row * len(frame)
        self.rows.append(len(frame))
        return np.where(frame["a"] > 0, "yes", "no")

    def score(self, _model, frame, truth):
        return float((self.predict(frame) == truth).mean())

    def importance(self, rows, seconds_limit):
        frame = pd.DataFrame({"a": np.linspace(-1, 1, rows), "b": 0.0})
        truth = np.where(frame["a"] > 0, "yes", "no")
        options = {"seconds_limit": seconds_limit, "random_state": 0, "clock": lambda: self.now}
        return permutation_importance(self, frame, truth, self.score, **options)


def test_all_columns_are_measured_in_time():
    slow = Slow(0.01)
    found = slow.importance(50, seconds_limit=10.0)
    assert (found["columnsMeasured"], found["cut"]) == (2, None)
    assert slow.rows == [50] * 7


def test_time_is_checked_between_columns():
    slow = Slow(0.04)
    found = slow.importance(50, seconds_limit=9.0)
    assert (found["columnsMeasured"], found["columnsTotal"]) == (1, 2)
    assert found["cut"] == "time allowed for 1 of 2 columns"
    assert slow.now <= 9.0


def test_time_is_checked_within_a_column():
    slow = Slow(0.032)
    found = slow.importance(50, seconds_limit=10.0)
    assert slow.rows == [50] * 6
    assert (found["columnsMeasured"], found["columnsTotal"]) == (2, 2)
    assert found["cut"] == "time allowed for 2 of 3 shuffles of the last column, b"
    assert slow.now <= 10.0


def test_a_slow_model_is_measured_on_fewer_rows():
    slow = Slow(0.01)
    found = slow.importance(5_000, seconds_limit=35.0)
    assert slow.rows[0] == 200, "one look at the model's speed"
    assert 200 < found["rows"] < 1_000
    assert found["columnsMeasured"] == 2
    assert found["cut"] == f"time allowed for {found['rows']:,} of 1,000 rows"
    assert slow.now <= 35.0


def test_a_fast_model_is_measured_on_all_rows():
    slow = Slow(0.0001)
    found = slow.importance(5_000, seconds_limit=35.0)
    assert (found["rows"], found["cut"]) == (1_000, None)


@pytest.mark.parametrize("rows", [50, 5_000])
def test_a_slow_model_is_not_measured(rows):
    slow = Slow(0.06)
    with pytest.raises(ValueError, match="time"):
        slow.importance(rows, seconds_limit=10.0)
    assert len(slow.rows) == 1


def test_a_score_that_is_not_finite_is_not_measured():
    with pytest.raises(ValueError, match="finite"):
        permutation_importance(
            Model(), ROWS, TARGET, lambda *_: float("nan"), seconds_limit=1.0, random_state=0
        )


@pytest.mark.parametrize("task", ["binary", "classes", "regression"])
def test_importance_is_measured_on_the_hold_out_rows_with_the_twin_that_has_not_seen_them(task):
    outcome = make_outcome(task)
    prepared, held = outcome.prepared, outcome.prepared.holdout_index
    expected = prepared.metric.scorer(outcome.holdout_model, prepared.frame.iloc[held], prepared.target[held])
    found = report_data(outcome, seconds_limit=200.0)["importance"]
    assert (found["rows"], found["score"], found["rowsUnseenByModel"]) == (len(held), expected, True)
    shipped = changed(outcome, holdout_model=None)
    assert report_data(shipped, seconds_limit=200.0)["importance"]["rowsUnseenByModel"] is False


def test_the_drop_is_the_mean_fall_of_the_score_over_shuffles_that_follow_the_seed():
    first, again, other = (importance(random_state=state)["columns"][0] for state in (0, 0, 1))
    assert first == again
    assert first != other

    scores = iter([0.9, 0.5, 0.8, 0.2, 0.9, 0.9, 0.9])
    found = permutation_importance(
        Model(), ROWS, TARGET, lambda *_: next(scores), seconds_limit=200.0, random_state=0
    )
    assert [(c["name"], c["drop"]) for c in found["columns"]] == [
        ("a", pytest.approx(0.4)),
        ("b", pytest.approx(0.0)),
    ]
    assert found["columns"][0]["std"] == pytest.approx(np.std([0.4, 0.1, 0.7]))


def test_a_sample_of_many_rows_keeps_each_row_beside_its_target():
    frame = pd.DataFrame({"a": np.arange(3000.0), "b": 0.0}, index=np.arange(3000)[::-1])
    seen = []

    def score(_model, table, truth):
        seen.append((table["a"].to_numpy(), np.asarray(truth)))
        return 0.5

    permutation_importance(Model(), frame, np.arange(3000.0), score, seconds_limit=200.0, random_state=0)
    (untouched, truth), (shuffled, same), *_ = seen
    assert len(truth) == 1000
    assert np.array_equal(untouched, truth)
    assert np.array_equal(truth, same)
    assert not np.array_equal(shuffled, truth)
    assert sorted(shuffled) == sorted(truth)


def test_confusion_rows_are_true_and_columns_predicted_labels():
    found = confusion(prediction(["a", "a", "a", "b"], ["b", "b", "a", "b"], classes=("a", "b")))
    assert found == {"labels": ["a", "b"], "counts": [[1, 2], [0, 1]]}


def test_errors_are_true_minus_predicted():
    found = regression_points(prediction([3.0, 4.0, 0.0], [0.0, 0.0, 0.0]))
    assert (found["mae"], found["rmse"]) == (pytest.approx(7 / 3), pytest.approx((25 / 3) ** 0.5))
    assert found["residuals"]["edges"][0] == 0
    assert found["residuals"]["edges"][-1] == 4
    assert (list(found["actual"]), list(found["predicted"])) == ([3.0, 4.0, 0.0], [0.0] * 3)


@pytest.mark.parametrize(("positive", "chances"), [("b", [0.9, 0.2]), ("a", [0.1, 0.8])])
def test_calibration_follows_the_positive_label(positive, chances):
    found = calibration(prediction(["b", "a"], ["b", "a"], [[0.1, 0.9], [0.8, 0.2]], ("a", "b")), positive)
    truth = [1.0, 0.0] if positive == "b" else [0.0, 1.0]
    assert found["label"] == positive
    assert found["brier"] == pytest.approx(np.mean((np.array(chances) - truth) ** 2))
    assert np.average(found["predicted"], weights=found["rows"]) == pytest.approx(np.mean(chances))
    assert np.average(found["observed"], weights=found["rows"]) == pytest.approx(0.5)
