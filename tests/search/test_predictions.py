"""What is kept of candidates' predictions: of the best alone, in files that a resumed run reads again."""

import errno
import itertools
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LinearRegression, LogisticRegression, SGDClassifier

from support.stores import no_limit, small_store
from trainingjob_trainer.search import predictions
from trainingjob_trainer.search.candidate import Candidate, Outcome
from trainingjob_trainer.search.predictions import PredictionStore, out_of_fold
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


def test_predictions_come_back_by_fold(tmp_path: Path) -> None:
    store = PredictionStore(tmp_path)
    store.keep(candidate(3, 0.5), arrays(3))
    found = store.load(candidate(3, 0.5).key)
    assert found is not None
    assert [one.tolist() for one in found] == [one.tolist() for one in arrays(3)]
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


def test_the_room_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictions, "_MOST_BYTES", 2_000)
    store = PredictionStore(tmp_path)
    for number in range(20):
        store.keep(candidate(number, number / 20), arrays(number))
    assert 0 < sum(path.stat().st_size for path in tmp_path.iterdir()) <= 2_000
    assert store.load(candidate(19, 0).key) is not None


def test_a_resumed_run_finds_them_by_the_journal(tmp_path: Path) -> None:
    PredictionStore(tmp_path).keep(candidate(3, 0.5), arrays(3))
    store = PredictionStore(tmp_path)
    store.keep(candidate(3, 0.5))
    store.keep(candidate(4, 0.6))
    assert store.load(candidate(3, 0.5).key) is not None
    assert store.load(candidate(4, 0.6).key) is None


def test_a_damaged_file_counts_as_none(tmp_path: Path) -> None:
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
    assert [one.shape for one in end.predictions] == [(len(test), 2) for _, test in folds]
    assert all((one[:, 0] == 1).all() for one in end.predictions)


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
