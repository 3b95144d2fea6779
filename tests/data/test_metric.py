import pickle
from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, get_scorer, get_scorer_names, recall_score
from sklearn.tree import DecisionTreeRegressor

from trainingjob_api.vocabulary import Task
from trainingjob_trainer.data.metric import fitting_metrics, metric_task, resolve_metric
from trainingjob_trainer.errors import DataError, SpecInvalid

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
        metric = resolve_metric(name, Task.CLASSIFICATION, labels, labels[1] if len(labels) == 2 else None)
        again = pickle.loads(pickle.dumps(metric))
        assert np.isfinite(again.scorer(model, X, y)), name
        assert metric.name == name


def test_every_scorer_that_fits_scores_a_regressor() -> None:
    y = np.exp(X[:, 0])
    model = DecisionTreeRegressor(max_depth=3).fit(X, y)
    for name in fitting_metrics(Task.REGRESSION, None):
        assert np.isfinite(resolve_metric(name, Task.REGRESSION, target=y).scorer(model, X, y)), name


class Guesses(ClassifierMixin, BaseEstimator):
    """A classifier that answers with given probabilities, row by row."""

    def __init__(self, classes: list[Any], chances: np.ndarray) -> None:
        self.classes = classes
        self.chances = chances
        self.classes_ = np.array(classes, dtype=object if isinstance(classes[0], str) else None)

    def fit(self, X: Any, y: Any) -> "Guesses":
        return self

    def predict(self, X: Any) -> np.ndarray:
        return self.classes_[self.chances.argmax(axis=1)]

    def predict_proba(self, X: Any) -> np.ndarray:
        return self.chances


def guesses(labels: list[Any], *, seed: int = 1, knows: float = 0.0) -> tuple[Guesses, np.ndarray]:
    """Return a model with random chances, of which a share knows the answer, and the answers."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(len(labels), size=len(X))
    chances = rng.dirichlet(np.ones(len(labels)), size=len(X))
    told = rng.random(len(X)) < knows
    chances[told] = 0.1 / len(labels) + 0.9 * np.eye(len(labels))[codes[told]]
    model = Guesses(labels, chances)
    return model, model.classes_[codes]


RATIOS = {"neg_negative_likelihood_ratio", "positive_likelihood_ratio"}


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("labels", LABELS, ids=str)
def test_every_classification_scorer_is_scikit_learns_own(labels: list[Any], place: int) -> None:
    model, y = guesses(labels)
    positive = labels[place] if len(labels) == 2 else None
    twin, of_twin = model, y
    if positive is not None:  # scikit-learn takes 1 as the positive label by default
        order = [1, 0] if place == 0 else [0, 1]
        twin, of_twin = Guesses([0, 1], model.chances[:, order]), (y == positive).astype(int)
    for name in fitting_metrics(Task.CLASSIFICATION, labels):
        if name in RATIOS and place == 0:
            continue  # refused: see below
        scorer = resolve_metric(name, Task.CLASSIFICATION, labels, positive).scorer
        assert scorer(model, X, y) == pytest.approx(get_scorer(name)(twin, X, of_twin)), name


@pytest.mark.parametrize("name", sorted(RATIOS))
def test_a_scorer_without_a_positive_label_is_rejected_for_the_other_label(name: str) -> None:
    with pytest.raises(SpecInvalid, match="always uses 'yes' as positive label, which is 'no'") as caught:
        resolve_metric(name, Task.CLASSIFICATION, ("no", "yes"), "no")
    assert caught.value.reason == "MetricDoesNotFit"
    assert "spec.positiveLabel" in caught.value.message


def test_every_regression_scorer_is_scikit_learns_own() -> None:
    y = np.exp(RNG.normal(size=len(X)))
    model = DecisionTreeRegressor(max_depth=3, random_state=0).fit(RNG.normal(size=X.shape), y)
    for name in fitting_metrics(Task.REGRESSION, None):
        scorer = resolve_metric(name, Task.REGRESSION, target=y).scorer
        assert scorer(model, X, y) == pytest.approx(get_scorer(name)(model, X, y)), name


def test_every_scorer_of_scikit_learn_is_for_one_task() -> None:
    both = fitting_metrics(Task.REGRESSION, None) + fitting_metrics(Task.CLASSIFICATION, None)
    assert sorted(both) == sorted(get_scorer_names())


NEED_EVERY_CLASS = {"balanced_accuracy", "roc_auc_ovr", "roc_auc_ovr_weighted"}


def test_rows_without_some_class_can_be_scored() -> None:
    y = target(["a", "b", "c"])
    model = LogisticRegression().fit(X, y)
    part = y != "c"
    for name in set(fitting_metrics(Task.CLASSIFICATION, ("a", "b", "c"))) - NEED_EVERY_CLASS:
        metric = resolve_metric(name, Task.CLASSIFICATION, ("a", "b", "c"))
        assert np.isfinite(metric.scorer(model, X[part], y[part])), name


def test_a_score_that_needs_every_class_is_not_made_up() -> None:
    y = target(["a", "b", "c"])
    model = LogisticRegression().fit(X, y)
    part = y != "c"
    scorer = resolve_metric("roc_auc_ovr", Task.CLASSIFICATION, ("a", "b", "c")).scorer
    with pytest.warns(UndefinedMetricWarning, match="Only one class is present"):
        assert np.isnan(scorer(model, X[part], y[part]))
    assert np.isfinite(scorer(model, X, y))


@pytest.mark.parametrize("average", ["", "_macro", "_micro", "_weighted"])
@pytest.mark.parametrize("name", ["f1", "jaccard", "precision", "recall"])
def test_a_label_that_is_never_predicted_counts_as_zero_and_without_a_warning(
    name: str, average: str
) -> None:
    labels = ["no", "yes"] if average == "" else ["a", "b", "c"]
    y = np.array(labels, dtype=object)[np.arange(len(X)) % len(labels)]
    always = Guesses(labels, np.tile(np.eye(len(labels))[0], (len(X), 1)))
    positive = "yes" if average == "" else None
    scorer = resolve_metric(name + average, Task.CLASSIFICATION, labels, positive).scorer
    # Of those labels the first one is always right where it is asked for, and the others never are.
    expected = {
        "": dict.fromkeys(["f1", "jaccard", "precision", "recall"], 0.0),
        "_macro": {"f1": 0.5 / 3, "jaccard": 1 / 9, "precision": 1 / 9, "recall": 1 / 3},
        "_weighted": {"f1": 0.5 / 3, "jaccard": 1 / 9, "precision": 1 / 9, "recall": 1 / 3},
        "_micro": {"f1": 1 / 3, "jaccard": 1 / 5, "precision": 1 / 3, "recall": 1 / 3},
    }[average][name]
    assert scorer(always, X, y) == pytest.approx(expected, abs=0.01)


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


@pytest.mark.parametrize("labels", LABELS, ids=str)
def test_a_score_is_greater_for_a_better_classifier(labels: list[Any]) -> None:
    positive = labels[1] if len(labels) == 2 else None
    good, y = guesses(labels, knows=0.9)
    bad, same = guesses(labels, knows=0.1)
    assert (y == same).all()
    for name in fitting_metrics(Task.CLASSIFICATION, labels):
        scorer = resolve_metric(name, Task.CLASSIFICATION, labels, positive).scorer
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
def test_a_wrong_metric_is_rejected_with_those_that_fit(
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
def test_a_metric_that_is_not_defined_for_a_target_is_rejected(name: str, values: list[float]) -> None:
    with pytest.raises(DataError) as caught:
        resolve_metric(name, Task.REGRESSION, target=np.array(values))
    assert caught.value.reason == "TargetOutOfRange"
    assert "1 row(s)" in caught.value.message
    resolve_metric(name, Task.REGRESSION, target=np.array([0.5, 1.0]))


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("neg_mean_squared_log_error", -0.9),
        ("neg_root_mean_squared_log_error", -0.9),
        ("neg_mean_poisson_deviance", 0.0),
        ("neg_mean_gamma_deviance", 0.1),
    ],
)
def test_a_metric_accepts_the_least_target_that_it_is_defined_for(name: str, least: float) -> None:
    y = np.array([least, 1.0, 2.0] * 20)
    model = DecisionTreeRegressor().fit(np.abs(X[: len(y)]), np.ones(len(y)))
    assert np.isfinite(resolve_metric(name, Task.REGRESSION, target=y).scorer(model, X[: len(y)], y))


def test_a_metric_says_which_task_it_is_for() -> None:
    assert metric_task("f1") is Task.CLASSIFICATION
    assert metric_task("r2") is Task.REGRESSION
