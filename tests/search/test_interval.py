"""The interval of a hold-out score: for every metric, by rows and by groups, and None where there is none."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import make_classification, make_regression
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from trainingjob_api import Task
from trainingjob_trainer.data.metric import fitting_metrics, resolve_metric
from trainingjob_trainer.search.interval import Interval, Recorder, bootstrap_interval, replay

ROWS = 240


def tables(kind: str) -> tuple[np.ndarray, np.ndarray, tuple[Any, ...] | None]:
    if kind == "regression":
        x, y = make_regression(ROWS, 5, noise=20, random_state=0)
        return x, y - y.min() + 1, None
    classes = 2 if kind == "binary" else 3
    x, y = make_classification(ROWS, 5, n_informative=4, n_redundant=0, n_classes=classes, random_state=0)
    labels = np.array(["a", "b", "c"], dtype=object)[y]
    return x, labels, tuple(np.unique(labels))


def every_metric() -> list[tuple[str, str]]:
    return [
        (kind, name)
        for kind in ("binary", "classes", "regression")
        for name in fitting_metrics(
            Task.REGRESSION if kind == "regression" else Task.CLASSIFICATION, tables(kind)[2]
        )
    ]


def accuracy_of(truth: np.ndarray, predicted: np.ndarray) -> Callable[[np.ndarray, np.ndarray], float]:
    return lambda rows, some: float((predicted[rows] == some).mean())


@pytest.mark.parametrize(("kind", "name"), every_metric())
def test_every_metric_has_an_interval(kind: str, name: str) -> None:
    x, y, classes = tables(kind)
    task = Task.REGRESSION if classes is None else Task.CLASSIFICATION
    scorer = resolve_metric(name, task, classes, "b" if kind == "binary" else None, target=None).scorer
    model = make_pipeline(StandardScaler(), LinearRegression() if classes is None else LogisticRegression())
    model.fit(x[:120], y[:120])
    asked = Recorder(model)
    point = float(scorer(asked, x[120:], y[120:]))
    assert point == pytest.approx(float(scorer(model, x[120:], y[120:])))
    score = replay(asked.responses_, scorer, classes)
    assert score(np.arange(120), y[120:]) == pytest.approx(point)
    if not math.isfinite(point):  # a ratio that divides by nothing
        assert bootstrap_interval(score, y[120:], point) is None
        return
    found = bootstrap_interval(score, y[120:], point, resamples=110, seconds_limit=60)
    assert found is not None
    assert found.low <= point <= found.high
    assert found.low < found.high


def test_a_model_without_probabilities_is_scored_by_its_decision() -> None:
    x, y, classes = tables("binary")
    scorer = resolve_metric("roc_auc", Task.CLASSIFICATION, classes, "b").scorer
    model = LinearSVC().fit(x[:120], y[:120])
    asked = Recorder(model)
    point = float(scorer(asked, x[120:], y[120:]))
    assert set(asked.responses_) == {"decision_function"}
    assert bootstrap_interval(replay(asked.responses_, scorer, classes), y[120:], point) is not None


def test_a_model_is_asked_once_by_each_method() -> None:
    calls = []

    class Counting(LogisticRegression):
        def predict(self, x: Any) -> Any:
            calls.append(len(x))
            return super().predict(x)

    x, y, classes = tables("binary")
    asked = Recorder(Counting().fit(x, y))
    scorer = resolve_metric("accuracy", Task.CLASSIFICATION, classes).scorer
    scorer(asked, x, y)
    asked.predict(x)
    assert calls == [ROWS]


@pytest.mark.parametrize("rows", [400, 40_000])
def test_the_interval_is_as_wide_as_theory_has_it(rows: int) -> None:
    truth = np.zeros(rows, dtype=int)
    truth[::2] = 1
    predicted = np.where(np.arange(rows) % 5 == 0, 1 - truth, truth)
    found = bootstrap_interval(accuracy_of(truth, predicted), truth, 0.8, seconds_limit=60)
    assert found is not None
    half = 1.96 * math.sqrt(0.8 * 0.2 / rows)
    assert found.high - found.low == pytest.approx(2 * half, rel=0.2)
    assert (found.high + found.low) / 2 == pytest.approx(0.8, abs=half / 3)


def test_whole_groups_are_drawn() -> None:
    truth = np.tile([0, 1], 200)
    groups = np.repeat(np.arange(20), 20)
    predicted = np.where(np.isin(groups, [0, 5, 10, 15]), 1 - truth, truth)
    by_row = bootstrap_interval(accuracy_of(truth, predicted), truth, 0.8, seconds_limit=60)
    by_group = bootstrap_interval(accuracy_of(truth, predicted), truth, 0.8, groups=groups, seconds_limit=60)
    assert by_row is not None
    assert by_group is not None
    half = 1.96 * math.sqrt(0.8 * 0.2 / 20)
    assert by_group.high - by_group.low == pytest.approx(2 * half, rel=0.25)
    assert by_group.high - by_group.low > 3 * (by_row.high - by_row.low)


def test_the_same_seed_gives_the_same_interval() -> None:
    truth = np.tile([0, 1, 1], 50)
    score = accuracy_of(truth, np.ones(150, dtype=int))
    found = [
        bootstrap_interval(score, truth, 2 / 3, random_state=seed, seconds_limit=60) for seed in (1, 1, 2)
    ]
    assert found[0] == found[1] != found[2]


def test_draws_of_one_class_are_left_out() -> None:
    truth = np.array([1] + [0] * 99)
    seen: list[int] = []

    def score(rows: np.ndarray, some: np.ndarray) -> float:
        seen.append(len(np.unique(some)))
        return float(some.mean())

    assert bootstrap_interval(score, truth, 0.01, seconds_limit=60) is not None
    assert set(seen) == {2}


@pytest.mark.parametrize(
    ("rows", "groups", "point", "score"),
    [
        (4, None, 0.5, lambda _rows, _some: 0.5),
        (100, np.repeat(np.arange(4), 25), 0.5, lambda _rows, _some: 0.5),
        (100, None, math.nan, lambda _rows, _some: 0.5),
        (100, None, 0.5, lambda _rows, _some: math.nan),
        (100, None, 0.5, lambda _rows, _some: 1 / 0),
    ],
)
def test_there_is_not_always_an_interval(rows: int, groups: Any, point: float, score: Any) -> None:
    truth = np.arange(rows) % 2
    assert bootstrap_interval(score, truth, point, groups=groups) is None


def test_no_draw_begins_after_the_limit() -> None:
    truth = np.arange(100) % 2
    calls = []

    def score(rows: np.ndarray, _some: np.ndarray) -> float:
        calls.append(len(rows))
        return 0.5

    assert bootstrap_interval(score, truth, 0.5, seconds_limit=-1) is None
    assert len(calls) == 1


def test_an_interval_of_few_values_holds_its_bounds() -> None:
    truth = np.arange(30) % 2
    found = bootstrap_interval(accuracy_of(truth, truth), truth, 1.0, seconds_limit=60)
    assert found == Interval(1.0, 1.0)
