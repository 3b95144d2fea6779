"""Predictions of the best candidates are kept in files that a resumed run reads again."""

import errno
import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import make_classification, make_regression
from sklearn.linear_model import LinearRegression, LogisticRegression, SGDClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from support.stores import no_limit, small_store
from trainingjob_api import Task
from trainingjob_trainer.data.metric import fitting_metrics, resolve_metric
from trainingjob_trainer.search import predictions
from trainingjob_trainer.search.candidate import Candidate, Outcome
from trainingjob_trainer.search.predictions import (
    Interval,
    PredictionStore,
    Recorder,
    bootstrap_interval,
    out_of_fold,
    replay,
)
from trainingjob_trainer.search.store import load_work
from trainingjob_trainer.search.tasks import evaluate
from trainingjob_trainer.search_space.pipeline import describe


def candidate(number: int, score: float) -> Candidate:
    return Candidate(
        number=number,
        key=f"{number:016x}",
        origin="space",
        generation=1,
        pipeline={},
        outcome=Outcome.OK,
        score=score,
        fold_scores=(score,),
    )


def arrays(number: int) -> list[np.ndarray]:
    return [np.full((4, 2), number, dtype=np.float32), np.full((3, 2), -number, dtype=np.float32)]


def test_predictions_are_read_back_by_fold(tmp_path: Path) -> None:
    store = PredictionStore(tmp_path)
    store.keep(candidate(3, 0.5), arrays(3))
    found = store.load(candidate(3, 0.5).key)
    assert found is not None
    assert [array.tolist() for array in found] == [array.tolist() for array in arrays(3)]
    assert found[0].dtype == np.float32
    assert store.load("unknown") is None


@pytest.mark.parametrize("order", list(itertools.permutations(range(4)))[::5])
def test_the_best_are_kept_in_any_order_of_arrival(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: tuple[int, ...]
) -> None:
    monkeypatch.setattr(predictions, "MOST_KEPT", 2)
    scores = [0.5, 0.9, 0.7, 0.9]
    store = PredictionStore(tmp_path)
    for number in order:
        store.keep(candidate(number, scores[number]), arrays(number))
    assert [store.load(candidate(n, 0).key) is not None for n in range(4)] == [False, True, False, True]
    assert len(list(tmp_path.iterdir())) == 2


def test_the_size_of_kept_predictions_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictions, "_MOST_BYTES", 2_000)
    store = PredictionStore(tmp_path)
    for number in range(20):
        store.keep(candidate(number, number / 20), arrays(number))
    assert 0 < sum(path.stat().st_size for path in tmp_path.iterdir()) <= 2_000
    assert store.load(candidate(19, 0).key) is not None


def test_a_resumed_run_finds_predictions_by_the_journal(tmp_path: Path) -> None:
    PredictionStore(tmp_path).keep(candidate(3, 0.5), arrays(3))
    store = PredictionStore(tmp_path)
    store.keep(candidate(3, 0.5))
    store.keep(candidate(4, 0.6))
    assert store.load(candidate(3, 0.5).key) is not None
    assert store.load(candidate(4, 0.6).key) is None


def test_a_damaged_file_counts_as_missing(tmp_path: Path) -> None:
    store = PredictionStore(tmp_path)
    store.keep(candidate(3, 0.5), arrays(3))
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-20])
    assert store.load(candidate(3, 0.5).key) is None


def test_a_full_disk_costs_no_more_than_a_member(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(path: Path, content: bytes) -> None:
        with path.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    store = PredictionStore(tmp_path)
    store.keep(candidate(3, 0.5), arrays(3))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", half)
        store.keep(candidate(4, 0.6), arrays(4))
    assert store.load(candidate(4, 0).key) is None
    assert store.load(candidate(3, 0).key) is not None
    assert len(list(tmp_path.iterdir())) == 1


def test_an_object_is_never_unpickled(tmp_path: Path) -> None:
    store = PredictionStore(tmp_path)
    store.keep(candidate(3, 0.5), [np.array([{"a": 1}], dtype=object)])
    assert store.load(candidate(3, 0.5).key) is None


def test_a_candidate_without_a_score_is_not_kept(tmp_path: Path) -> None:
    store = PredictionStore(tmp_path)
    store.keep(
        Candidate(number=1, key="00", origin="", generation=1, pipeline={}, outcome=Outcome.TIMEOUT),
        arrays(1),
    )
    assert list(tmp_path.iterdir()) == []


class Memory(ClassifierMixin, BaseEstimator):
    """Answers rows that it has learned from with their label, and all others with the first class."""

    def fit(self, x: np.ndarray, y: np.ndarray) -> "Memory":
        self.classes_ = np.unique(y)
        self._known = {tuple(row): label for row, label in zip(np.asarray(x), y, strict=True)}
        return self

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        found = [self._known.get(tuple(row), self.classes_[0]) for row in np.asarray(x)]
        return (np.array(found)[:, None] == self.classes_).astype(float)

    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.classes_[self.predict_proba(x).argmax(axis=1)]


def test_an_evaluation_predicts_rows_that_it_has_not_learned_from(tmp_path: Path) -> None:
    ref = small_store(tmp_path)
    end = evaluate({}, ref, no_limit(), builder=lambda _: Memory())
    assert end.predictions is not None
    folds = load_work(ref).folds
    assert [prediction.shape for prediction in end.predictions] == [(len(test), 2) for _, test in folds]
    assert all((prediction[:, 0] == 1).all() for prediction in end.predictions)


def test_only_a_complete_evaluation_has_predictions(tmp_path: Path) -> None:
    ref = small_store(tmp_path)
    assert evaluate(describe(LogisticRegression(C=-1.0)), ref, no_limit()).predictions is None
    hinge = evaluate(describe(SGDClassifier(random_state=0)), ref, no_limit())
    assert hinge.outcome is Outcome.OK
    assert hinge.predictions is None


def test_numbers_keep_their_precision() -> None:
    x = np.arange(6.0)[:, None]
    found = out_of_fold(LinearRegression().fit(x, 1.7e9 + x[:, 0]), x)
    assert found is not None
    assert np.ptp(found) == pytest.approx(5)


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
def test_some_scores_have_no_interval(rows: int, groups: Any, point: float, score: Any) -> None:
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
