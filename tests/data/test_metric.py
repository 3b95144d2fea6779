import pickle
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, get_scorer_names, recall_score
from sklearn.tree import DecisionTreeRegressor

from trainingjob_api.vocabulary import Task
from trainingjob_trainer.errors import DataError, SpecInvalid
from trainingjob_trainer.features import fitting_metrics, resolve_metric
from trainingjob_trainer.features.metric import metric_task

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 3))
LABELS: list[list[Any]] = [["no", "yes"], [0, 1], [False, True], ["a", "b", "c"], [1, 2, 3, 5]]


def target(labels: list[Any]) -> np.ndarray:
    edges = np.quantile(X[:, 0], np.linspace(0, 1, len(labels) + 1)[1:-1])
    codes = np.digitize(X[:, 0] + RNG.normal(scale=0.3, size=len(X)), edges)
    return np.array(labels, dtype=object if isinstance(labels[0], str) else None)[codes]


@pytest.mark.parametrize("labels", LABELS, ids=str)
def test_every_scorer_that_fits_scores_a_classifier(labels: list[Any]) -> None:
    y = target(labels)
    model = LogisticRegression().fit(X, y)
    names = fitting_metrics(Task.CLASSIFICATION, labels)
    assert len(names) >= 30
    for name in names:
        metric = resolve_metric(name, Task.CLASSIFICATION, labels, labels[0] if len(labels) == 2 else None)
        again = pickle.loads(pickle.dumps(metric))
        assert np.isfinite(again.scorer(model, X, y)), name
        assert metric.name == name


def test_every_scorer_that_fits_scores_a_regressor() -> None:
    y = np.exp(X[:, 0])
    model = DecisionTreeRegressor(max_depth=3).fit(X, y)
    for name in fitting_metrics(Task.REGRESSION, None):
        assert np.isfinite(resolve_metric(name, Task.REGRESSION, target=y).scorer(model, X, y)), name


def test_every_scorer_of_scikit_learn_is_for_one_task() -> None:
    both = fitting_metrics(Task.REGRESSION, None) + fitting_metrics(Task.CLASSIFICATION, None)
    assert sorted(both) == sorted(get_scorer_names())


def test_rows_without_some_class_can_be_scored() -> None:
    y = target(["a", "b", "c"])
    model = LogisticRegression().fit(X, y)
    part = y != "c"
    for name in ("neg_log_loss", "neg_brier_score", "top_k_accuracy", "f1_macro", "roc_auc_ovr", "accuracy"):
        metric = resolve_metric(name, Task.CLASSIFICATION, ("a", "b", "c"))
        if name == "roc_auc_ovr":
            continue  # not defined; scikit-learn says so
        assert np.isfinite(metric.scorer(model, X[part], y[part])), name


@pytest.mark.parametrize("positive", ["no", "yes"])
def test_the_positive_label_is_the_one_that_is_scored(positive: str) -> None:
    y = target(["no", "yes"])
    model = LogisticRegression().fit(X, y)
    for name, score in (("f1", f1_score), ("recall", recall_score)):
        metric = resolve_metric(name, Task.CLASSIFICATION, ("no", "yes"), positive)
        assert metric.scorer(model, X, y) == score(y, model.predict(X), pos_label=positive)


def test_defaults() -> None:
    assert resolve_metric(None, Task.CLASSIFICATION, ("a", "b"), "b").name == "accuracy"
    assert resolve_metric(None, Task.REGRESSION).name == "r2"


def test_a_score_is_greater_for_a_better_model() -> None:
    y = np.exp(X[:, 0])
    good, bad = (DecisionTreeRegressor(max_depth=depth).fit(X, y) for depth in (6, 1))
    for name in fitting_metrics(Task.REGRESSION, None):
        scorer = resolve_metric(name, Task.REGRESSION, target=y).scorer
        assert scorer(good, X, y) > scorer(bad, X, y), name


@pytest.mark.parametrize(
    ("name", "task", "classes", "reason", "first"),
    [
        ("acuracy", Task.CLASSIFICATION, ("a", "b"), "UnknownMetric", "accuracy"),
        ("auc", Task.CLASSIFICATION, ("a", "b"), "UnknownMetric", "roc_auc"),
        ("RMSE", Task.REGRESSION, None, "UnknownMetric", "neg_root_mean_squared_error"),
        ("mse", Task.REGRESSION, None, "UnknownMetric", "neg_mean_squared_error"),
        ("log-loss", Task.CLASSIFICATION, ("a", "b"), "UnknownMetric", "neg_log_loss"),
        ("f1", Task.CLASSIFICATION, ("a", "b", "c"), "MetricDoesNotFit", "f1_macro"),
        ("precision", Task.CLASSIFICATION, ("a", "b", "c"), "MetricDoesNotFit", "precision_macro"),
        ("roc_auc", Task.CLASSIFICATION, ("a", "b", "c"), "MetricDoesNotFit", "roc_auc_ovo"),
        ("top_k_accuracy", Task.CLASSIFICATION, ("a", "b"), "MetricDoesNotFit", "accuracy"),
        ("f1_samples", Task.CLASSIFICATION, ("a", "b"), "MetricDoesNotFit", "f1"),
        ("r2", Task.CLASSIFICATION, ("a", "b"), "MetricDoesNotFit", None),
        ("f1", Task.REGRESSION, None, "MetricDoesNotFit", None),
    ],
)
def test_a_wrong_metric_is_refused_with_those_that_fit(
    name: str, task: Task, classes: tuple[str, ...] | None, reason: str, first: str | None
) -> None:
    with pytest.raises(SpecInvalid) as caught:
        resolve_metric(name, task, classes)
    assert caught.value.reason == reason
    message = caught.value.message
    assert first is None or f"did you mean {first!r}" in message
    if reason == "MetricDoesNotFit":
        listed = message.partition("Those that fit: ")[2].split(", ")
        assert sorted(listed) == sorted(fitting_metrics(task, classes))
    assert "Traceback" not in message


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("neg_mean_squared_log_error", [1.0, -1.0]),
        ("neg_root_mean_squared_log_error", [1.0, -2.0]),
        ("neg_mean_poisson_deviance", [1.0, -0.1]),
        ("neg_mean_gamma_deviance", [1.0, 0.0]),
    ],
)
def test_a_metric_that_is_not_defined_for_some_target(name: str, values: list[float]) -> None:
    with pytest.raises(DataError) as caught:
        resolve_metric(name, Task.REGRESSION, target=np.array(values))
    assert caught.value.reason == "TargetOutOfRange"
    assert "1 row(s)" in caught.value.message
    resolve_metric(name, Task.REGRESSION, target=np.array([0.5, 1.0]))


def test_a_metric_says_which_task_it_is_for() -> None:
    assert metric_task("f1") is Task.CLASSIFICATION
    assert metric_task("r2") is Task.REGRESSION
