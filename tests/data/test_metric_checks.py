"""Each row of the table in docs/data.md under "The metric"."""

import pickle
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression

from support.data_runs import run_for, table_of
from trainingjob_api.vocabulary import Severity, Task
from trainingjob_trainer.data import FindingKind
from trainingjob_trainer.data.metric import check_metric, fitting_metrics, resolve_metric
from trainingjob_trainer.data.prepare import Prepared, prepare
from trainingjob_trainer.data.split import Classes, Split, split_rows
from trainingjob_trainer.errors import TrainingError

RNG = np.random.default_rng(0)
MAPE = "neg_mean_absolute_percentage_error"


class Says(RegressorMixin, BaseEstimator):
    """A regressor that predicts what it was given."""

    def __init__(self, *values: float) -> None:
        self.values = np.asarray(values)

    def predict(self, X: Any) -> np.ndarray:
        return np.resize(self.values, len(X))


def ready(target: Any, metric: str, **spec: Any) -> Prepared:
    frame = pd.DataFrame({"x": RNG.normal(size=len(target)), "when": np.arange(len(target)), "y": target})
    return prepare(table_of(frame), run_for("y", metric=metric, **spec))


def told(prepared: Prepared) -> list[str]:
    found = [finding for finding in prepared.findings if finding.kind is FindingKind.METRIC]
    assert all((finding.severity, finding.column) == (Severity.WARNING, "y") for finding in found)
    return [finding.message for finding in found]


def amounts(*special: float, rows: int = 100) -> np.ndarray:
    """Return numbers around 100, the last of them replaced by *special* ones."""
    values = RNG.normal(100, 10, size=rows)
    if special:
        values[-len(special) :] = special
    return values


@pytest.mark.parametrize(
    ("metric", "bad", "words"),
    [
        (MAPE, 0.0, "targets other than 0, but 1 row(s) have 0"),
        ("neg_mean_squared_log_error", -1.0, "targets greater than -1, but 1 row(s) have less, such as -1"),
        ("neg_root_mean_squared_log_error", -1.5, "targets greater than -1"),
        ("neg_mean_poisson_deviance", -0.1, "targets of at least 0"),
        ("neg_mean_gamma_deviance", 0.0, "targets greater than 0"),
    ],
)
def test_targets_outside_the_range_of_a_metric_are_rejected(metric: str, bad: float, words: str) -> None:
    with pytest.raises(TrainingError) as caught:
        ready(amounts(bad), metric)
    assert caught.value.reason == "TargetOutOfRange"
    assert words in caught.value.message
    assert ready(amounts(5.0), metric).metric.name == metric


def test_each_regression_scorer_is_defined_for_the_accepted_targets() -> None:
    values = {"low": amounts(-3.0), "minus one": amounts(-1.0), "zero": amounts(0.0), "usual": amounts()}
    for name in fitting_metrics(Task.REGRESSION, None):
        for what, target in values.items():
            try:
                metric = resolve_metric(name, Task.REGRESSION, target=target)
            except TrainingError:
                continue
            assert abs(metric.scorer(Says(90.0, 110.0), target[:, None], target)) < 1e6, (name, what)


def test_targets_near_zero_are_a_finding_for_percentage_errors() -> None:
    assert told(ready(amounts(), MAPE)) == []
    assert told(ready(amounts(-5.0, 0.5), MAPE)) == []
    (message,) = told(ready(amounts(0.05, -0.001), MAPE))
    assert message.startswith(f"{MAPE} is decided by 2 row(s) whose target is nearly 0")
    assert told(ready(amounts(0.05), "neg_mean_absolute_error")) == []


@pytest.mark.parametrize(
    ("metric", "prediction", "words"),
    [
        ("neg_mean_squared_log_error", -1.0, "greater than -1, but 1 of 4 are less, such as -1"),
        ("neg_root_mean_squared_log_error", -2.0, "greater than -1, but 1 of 4 are less, such as -2"),
        ("neg_mean_poisson_deviance", 0.0, "greater than 0, but 1 of 4 are less, such as 0"),
        ("neg_mean_gamma_deviance", 0.0, "greater than 0, but 1 of 4 are less, such as 0"),
    ],
)
def test_a_prediction_out_of_range_is_named(metric: str, prediction: float, words: str) -> None:
    target = np.array([1.0, 2.0, 3.0, 4.0])
    scorer = pickle.loads(pickle.dumps(resolve_metric(metric, Task.REGRESSION, target=target).scorer))
    with pytest.raises(ValueError, match=words) as caught:
        scorer(Says(1, 2, 3, prediction), target[:, None], target)
    assert str(caught.value).startswith(f"{metric} is defined for predictions ")
    assert scorer(Says(1, 2, 3, 5), target[:, None], target) < 0
    assert scorer(Says(1, 2, 3, 4), target[:, None], target) == 0


@pytest.mark.parametrize("metric", ["r2", "explained_variance", "d2_absolute_error_score"])
def test_a_share_of_explained_variance_needs_rows(metric: str) -> None:
    assert told(ready(amounts(), metric)) == []
    (message,) = told(ready(amounts(rows=55), metric, budget={"cvFolds": 5}))
    assert (
        f"{metric} says little about fewer than 10 rows, as in fold 1, fold 2, fold 3 and 2 more;" in message
    )
    with pytest.raises(TrainingError, match="the hold-out has one row to score") as caught:
        ready(amounts(rows=7), metric, budget={"cvFolds": 2})
    assert caught.value.reason == "MetricDoesNotFit"
    assert told(ready(amounts(rows=7), "neg_mean_absolute_error", budget={"cvFolds": 2})) == []


def test_a_share_of_explained_variance_needs_a_target_that_varies() -> None:
    target = amounts()
    target[-20:] = 7.0
    time = {"validation": {"strategy": "time", "timeColumn": "when"}}
    (message,) = told(ready(target, "r2", **time))
    assert message.startswith("r2 says nothing where the target does not vary, as in the hold-out;")
    assert told(ready(target, "neg_mean_absolute_error", **time)) == []


def labels(late: str) -> np.ndarray:
    """Return 100 labels of which the last 20 are all the same."""
    values = np.resize(np.array(["no", "yes"], dtype=object), 100)
    values[-20:] = late
    return values


TIME = {"validation": {"strategy": "time", "timeColumn": "when"}}


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        ("roc_auc", "has rows of 'no' alone to score"),
        ("roc_auc_ovo", "has rows of 'no' alone to score"),
        ("roc_auc_ovo_weighted", "has rows of 'no' alone to score"),
        ("roc_auc_ovr", "has no row of 'yes' to score"),
        ("roc_auc_ovr_weighted", "has rows of 'no' alone to score"),
        ("average_precision", "has no row of the positive label 'yes' to score"),
        ("positive_likelihood_ratio", "has rows of 'no' alone to score"),
        ("neg_negative_likelihood_ratio", "has rows of 'no' alone to score"),
        ("d2_brier_score", "has rows of 'no' alone to score"),
        ("d2_log_loss_score", "has rows of 'no' alone to score"),
    ],
)
def test_the_hold_out_needs_the_classes_that_the_metric_compares(metric: str, words: str) -> None:
    with pytest.raises(TrainingError) as caught:
        ready(labels("no"), metric, positiveLabel="yes", **TIME)
    assert caught.value.reason == "MetricDoesNotFit"
    assert f"{metric!r} is not defined here, since the hold-out {words}" in caught.value.message


def cut(train: list[int], holdout: list[int], fit: list[int], score: list[int]) -> Split:
    parts = [np.array(rows, dtype=np.intp) for rows in (train, holdout, fit, score)]
    return Split(parts[0], parts[1], ((parts[2], parts[3]),), ())


@pytest.mark.parametrize(
    "metric",
    [
        *("neg_log_loss", "neg_brier_score", "d2_log_loss_score", "d2_brier_score", "top_k_accuracy"),
        *("roc_auc_ovo", "roc_auc_ovo_weighted", "roc_auc_ovr", "roc_auc_ovr_weighted"),
    ],
)
def test_a_fold_needs_every_class_where_each_has_a_probability(metric: str) -> None:
    codes = np.array([0, 1, 2] * 20, dtype=np.intp)
    without = [row for row in range(30) if codes[row] != 2]
    whole = cut(list(range(48)), list(range(48, 60)), list(range(30)), list(range(30, 48)))
    broken = cut(list(range(48)), list(range(48, 60)), without, list(range(30, 48)))
    options: dict[str, Any] = {"classes": Classes(codes, ("a", "b", "c")), "positive": None, "column": "y"}
    with pytest.raises(TrainingError, match="fold 1 has no row to learn 'c' from") as caught:
        check_metric(metric, codes, broken, **options)
    assert caught.value.reason == "MetricDoesNotFit"
    assert check_metric("accuracy", codes, broken, **options) == ()
    check_metric(metric, codes, whole, **options)


@pytest.mark.parametrize("metric", ["roc_auc", "roc_auc_ovr", "average_precision"])
def test_a_ranking_by_few_rows_of_a_class_is_a_finding(metric: str) -> None:
    many = np.resize(np.array(["no", "no", "yes"], dtype=object), 300)
    few = np.array(["yes"] * 20 + ["no"] * 280, dtype=object)
    assert told(ready(many, metric)) == []
    (message,) = told(ready(few, metric))
    assert message.startswith(
        f"{metric} is decided by fewer than 5 rows of a class, as in the hold-out, fold 1,"
    )
    assert told(ready(few, "balanced_accuracy")) == []


def test_a_likelihood_ratio_without_false_positives_counts_as_the_worst() -> None:
    many = np.resize(np.array(["no", "yes"], dtype=object), 200)
    (message,) = told(ready(many, "positive_likelihood_ratio"))
    assert message.startswith("positive_likelihood_ratio is infinite without a false positive")
    assert told(ready(many, "neg_negative_likelihood_ratio")) == []
    X = (many == "yes").astype(float)[:, None]
    metric = resolve_metric("positive_likelihood_ratio", Task.CLASSIFICATION, ("no", "yes"), "yes")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert metric.scorer(LogisticRegression().fit(X, many), X, many) == 1, "a perfect model"


@pytest.mark.parametrize(
    "metric", ["adjusted_rand_score", "v_measure_score", "mutual_info_score", "rand_score"]
)
def test_scores_of_clusters_are_always_a_finding(metric: str) -> None:
    many = np.resize(np.array(["no", "yes"], dtype=object), 200)
    (message,) = told(ready(many, metric))
    assert message.startswith(f"{metric} compares groups, not labels")
    X = (many == "yes").astype(float)[:, None]
    swapped = LogisticRegression().fit(X, np.where(many == "yes", "no", "yes"))
    scorer = resolve_metric(metric, Task.CLASSIFICATION, ("no", "yes"), "yes").scorer
    assert scorer(swapped, X, many) == scorer(LogisticRegression().fit(X, many), X, many)


@pytest.mark.parametrize("metric", ["accuracy", "f1_micro", "precision_micro", "recall_micro"])
def test_all_kinds_of_accuracy_are_a_finding_for_rare_labels(metric: str) -> None:
    prepared = ready(np.array(["yes"] * 20 + ["no"] * 180, dtype=object), metric)
    (message,) = [finding.message for finding in prepared.findings if finding.kind is FindingKind.IMBALANCED]
    assert f"{metric} is 0.9 for a model that always predicts one label" in message


def test_each_accepted_scorer_gives_a_number() -> None:
    """For two and more classes, on the parts of an ordinary split."""
    for names in (("no", "yes"), ("a", "b", "c")):
        codes = np.resize(np.arange(len(names)), 120).astype(np.intp)
        classes, labelled = Classes(codes, names), np.array(names, dtype=object)[codes]
        X = RNG.normal(size=(120, 2)) + codes[:, None]
        split = split_rows(120, classes, fraction=0.2, folds=3, seed=0)
        for name in fitting_metrics(Task.CLASSIFICATION, names):
            scorer = resolve_metric(name, Task.CLASSIFICATION, names, names[-1]).scorer
            check_metric(name, labelled, split, classes=classes, positive=names[-1], column="y")
            for model in (LogisticRegression(), DummyClassifier(strategy="prior")):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    score = scorer(
                        model.fit(X[split.train], labelled[split.train]),
                        X[split.holdout],
                        labelled[split.holdout],
                    )
                assert np.isfinite(score), name
