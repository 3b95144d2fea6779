import io
import pickle
import time
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.datasets import make_classification
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import get_scorer
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from support.naughty import Naughty, build_with_naughty, sleep_softly
from support.stores import no_limit, small_store
from trainingjob_api.vocabulary import Task
from trainingjob_trainer.data.metric import resolve_metric
from trainingjob_trainer.encodings import Encoding
from trainingjob_trainer.search.candidate import Outcome
from trainingjob_trainer.search.fits import fit_full
from trainingjob_trainer.search.limits import TaskLimit
from trainingjob_trainer.search.store import StoreRef, fold_paths, load_frame, load_work
from trainingjob_trainer.search.tasks import encode_fold, encode_within, evaluate, pickled_kib
from trainingjob_trainer.search_space.pipeline import build, describe, full_pipeline

LINEAR = describe(make_pipeline(StandardScaler(), LogisticRegression()))
SLOW = {"slow": 1.0}
BARE = describe(LogisticRegression(C=0.1))
TREE = describe(DecisionTreeClassifier(random_state=0))
BROKEN = describe(LogisticRegression(C=-1.0))


@pytest.fixture(scope="module")
def ref(tmp_path_factory: pytest.TempPathFactory) -> StoreRef:
    return small_store(tmp_path_factory.mktemp("store"))


def test_a_good_pipeline_has_a_score_for_each_fold(ref: StoreRef) -> None:
    end = evaluate(LINEAR, ref, no_limit())
    assert end.outcome is Outcome.OK
    assert len(end.fold_scores) == ref.folds
    assert all(0.5 < score <= 1 for score in end.fold_scores)
    assert end.complexity is not None
    assert 0 < end.complexity < 10
    assert end.error is None


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> StoreRef:
    """Return a store whose scores show the smallest difference in fitted or scored rows."""
    return small_store(tmp_path_factory.mktemp("exact"), folds=3, metric="neg_log_loss")


@pytest.mark.parametrize("pipeline", [LINEAR, BARE, TREE], ids=["linear", "bare", "tree"])
def test_a_score_equals_that_of_the_whole_pipeline_fitted_on_each_fold(
    exact: StoreRef, pipeline: dict[str, object]
) -> None:
    work, frame = load_work(exact), load_frame(exact)
    whole = full_pipeline(pipeline, work.encoders)
    expected = cross_val_score(whole, frame, work.target, scoring="neg_log_loss", cv=work.folds)
    assert evaluate(pipeline, exact, no_limit()).fold_scores == pytest.approx(tuple(expected))


def test_the_complexity_is_the_size_of_the_fitted_pipeline_without_the_encoder(exact: StoreRef) -> None:
    work, frame = load_work(exact), load_frame(exact)
    train, _ = work.folds[0]
    fitted = build(TREE).fit(
        clone(work.encoders[Encoding.DENSE]).fit_transform(frame.iloc[train]), work.target[train]
    )
    assert evaluate(TREE, exact, no_limit()).complexity == round(len(pickle.dumps(fitted, 5)) / 1024, 3)


def test_a_pipeline_that_overwrites_its_table_changes_no_other_pipeline(tmp_path: Path) -> None:
    class Eraser(LogisticRegression):
        def fit(self, X: np.ndarray, y: object, sample_weight: object = None) -> "Eraser":
            X[:] = 0.0
            super().fit(X, y)
            return self

    store = small_store(tmp_path)
    before = evaluate(LINEAR, store, no_limit()).fold_scores
    end = evaluate({}, store, no_limit(), builder=lambda _pipeline: Eraser())
    assert end.outcome is Outcome.OK, end.error
    assert evaluate(LINEAR, store, no_limit()).fold_scores == before


def test_a_pipeline_is_not_scored_on_rows_that_it_memorised(ref: StoreRef) -> None:
    work, frame = load_work(ref), load_frame(ref)
    by_heart = full_pipeline(TREE, work.encoders).fit(frame, work.target).score(frame, work.target)
    assert by_heart == 1
    assert max(evaluate(TREE, ref, no_limit()).fold_scores) < 1


@pytest.mark.parametrize("fold", [0, 1])
def test_the_encoder_of_a_fold_has_learnt_from_its_training_rows_alone(ref: StoreRef, fold: int) -> None:
    work, frame = load_work(ref), load_frame(ref)
    train, test = work.folds[fold]
    mean, deviation = frame.iloc[train].mean(), frame.iloc[train].std(ddof=0)
    for path, rows in zip(fold_paths(ref, fold)[:2], (train, test), strict=True):
        assert np.load(path) == pytest.approx(((frame.iloc[rows] - mean) / deviation).to_numpy())


class Ledger(TransformerMixin, BaseEstimator):
    """An encoder that knows nothing but the rows and targets that it was given."""

    given: list[tuple[list[int], list[object]]] = []  # noqa: RUF012 - shared on purpose

    def fit(self, X: pd.DataFrame, y: np.ndarray) -> "Ledger":
        self.given.append((list(X.index), list(y)))
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X


def test_the_encoder_of_a_fold_is_given_the_targets_of_its_rows(tmp_path: Path) -> None:
    Ledger.given.clear()
    named = small_store(tmp_path, encoder=Ledger(), named=True)
    work = load_work(named)
    assert Ledger.given == [(list(train), list(work.target[train])) for train, _ in work.folds]


def test_encoded_columns_keep_their_names_where_pipelines_ask_for_them(tmp_path: Path) -> None:
    named = small_store(tmp_path, encoder=StandardScaler().set_output(transform="pandas"), named=True)
    assert encode_fold(named, 0) == 5
    seen = []

    class Curious(LogisticRegression):
        def fit(self, X: object, y: object, sample_weight: object = None) -> "Curious":
            seen.append(list(X.columns))  # type: ignore[attr-defined]
            super().fit(X, y)
            return self

    end = evaluate({}, named, no_limit(), builder=lambda _pipeline: Curious())
    assert end.outcome is Outcome.OK, end.error
    assert seen == [["x0", "x1", "x2", "x3", "x4"]] * 2


@pytest.mark.parametrize("score", [float("nan"), float("inf"), -float("inf")])
def test_a_pipeline_without_a_finite_score_is_invalid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, score: float
) -> None:
    folds = small_store(tmp_path, folds=3)
    scores = iter([0.5, score, 0.5])
    monkeypatch.setattr(
        type(load_work(folds).scorer), "__call__", lambda *_arguments, **_options: next(scores)
    )
    end = evaluate(LINEAR, folds, no_limit())
    assert end.outcome is Outcome.INVALID
    assert end.fold_scores == (0.5,)
    assert end.error == "the score of fold 2 is not a finite number"


def test_a_pipeline_that_cannot_be_fitted_is_invalid_and_says_why(ref: StoreRef) -> None:
    end = evaluate(BROKEN, ref, no_limit())
    assert end.outcome is Outcome.INVALID
    assert "'C' parameter" in (end.error or "")
    assert "\n" not in (end.error or "")


def test_a_pipeline_off_the_allow_list_is_invalid(ref: StoreRef) -> None:
    # In the right form, so that nothing but the name is wrong with it: it would be built else.
    assert build({"class": "LogisticRegression", "params": {"C": 2.0}}).C == 2.0
    for name in ("os.system", "Popen", "GaussianProcessClassifier"):
        end = evaluate({"class": name, "params": {"C": 2.0}}, ref, no_limit())
        assert end.outcome is Outcome.INVALID
        assert f"The estimator '{name}' is not allowed" in (end.error or "")


def test_a_slow_pipeline_times_out(ref: StoreRef) -> None:
    end = evaluate({"naughty": "sleep_softly"}, ref, TaskLimit(0.3, 4e9), builder=build_with_naughty)
    assert end.outcome is Outcome.TIMEOUT
    assert "0.3 s" in (end.error or "")


def test_an_evaluation_that_cannot_keep_its_limit_ends_after_its_first_fold(tmp_path: Path) -> None:
    many = small_store(tmp_path, folds=10)
    end = evaluate(SLOW, many, TaskLimit(0.3, 4e9), builder=build_with_naughty)
    assert end.outcome is Outcome.TIMEOUT
    assert len(end.fold_scores) <= 1


def test_the_end_of_the_run_says_nothing_about_the_pipeline(ref: StoreRef) -> None:
    soon = TaskLimit(600, time.time() + 0.3)
    assert evaluate({"naughty": "sleep_softly"}, ref, soon, builder=build_with_naughty).outcome is None
    assert evaluate(LINEAR, ref, TaskLimit(600, time.time() - 1)).outcome is None


def test_the_fit_without_the_holdout_rows_is_scored_on_them(ref: StoreRef) -> None:
    end = fit_full(LINEAR, ref, no_limit(), holdout=True)
    work, frame = load_work(ref), load_frame(ref)
    assert end.outcome is Outcome.OK
    assert end.holdout is not None
    assert end.model is not None
    model = joblib.load(io.BytesIO(end.model))
    raw = frame.iloc[work.holdout_index]
    assert np.array_equal(model.predict(raw), end.holdout.predicted)
    assert end.holdout.score == model.score(raw, work.target[work.holdout_index])
    assert model.named_steps["encode"].n_samples_seen_ == len(work.train_index)
    by_hand = full_pipeline(LINEAR, work.encoders)
    by_hand.fit(frame.iloc[work.train_index], work.target[work.train_index])
    assert np.allclose(by_hand.predict_proba(raw), end.holdout.probabilities)
    assert end.holdout.classes == ("no", "yes")
    truth = work.target[work.holdout_index]
    assert 2 * sum(truth == "yes") != len(truth), "else both accuracies are one"
    shares = [np.mean(end.holdout.predicted[truth == label] == label) for label in ("no", "yes")]
    assert end.holdout.extra == {"balanced_accuracy": pytest.approx(np.mean(shares))}
    assert end.holdout.probabilities is not None
    assert end.holdout.probabilities.shape == (len(raw), 2)


@pytest.mark.parametrize("holdout", [True, False])
def test_a_fit_ends_at_its_limit_and_does_not_begin_without_time(
    ref: StoreRef, monkeypatch: pytest.MonkeyPatch, holdout: bool
) -> None:
    monkeypatch.setattr(
        "trainingjob_trainer.search_space.pipeline.build", lambda _pipeline: Naughty("sleep_softly")
    )
    late = fit_full({}, ref, TaskLimit(0.5, 4e9), holdout=holdout)
    assert (late.outcome, late.model) == (Outcome.TIMEOUT, None)
    assert "0.5 s" in (late.error or "")
    never = fit_full({}, ref, TaskLimit(600, time.time() - 1), holdout=holdout)
    assert (never.outcome, never.error) == (None, "no time was left for the fit")


def test_a_pipeline_that_predicts_what_the_metric_is_not_defined_for_is_invalid(tmp_path: Path) -> None:
    # Linear predictions of what grows like this are far below -1.
    target = np.exp(3 * make_classification(150, 5, n_informative=3, random_state=0)[0][:, 0])
    scorer = resolve_metric("neg_mean_squared_log_error", Task.REGRESSION, target=target).scorer
    ref = small_store(tmp_path, target=target, scorer=scorer)
    line = describe(make_pipeline(StandardScaler(), LinearRegression()))
    assert evaluate(describe(DummyRegressor()), ref, no_limit()).outcome is Outcome.OK
    for end in (evaluate(line, ref, no_limit()), fit_full(line, ref, no_limit(), holdout=True)):
        assert end.outcome is Outcome.INVALID
        assert "neg_mean_squared_log_error is defined for predictions greater than -1, but" in (
            end.error or ""
        )


def test_a_holdout_score_that_is_not_a_number_counts_as_missing(tmp_path: Path) -> None:
    target = np.full(150, "no", dtype=object)
    target[100:] = "yes"
    ref = small_store(tmp_path, target=target, scorer=get_scorer("roc_auc"), folds=2)
    end = fit_full(LINEAR, ref, no_limit(), holdout=True)
    assert (end.outcome, end.holdout is not None and end.holdout.score) == (Outcome.OK, None)


def test_the_model_that_ships_has_seen_all_rows(ref: StoreRef) -> None:
    end = fit_full(LINEAR, ref, no_limit(), holdout=False)
    assert end.model is not None
    assert end.holdout is None
    model = joblib.load(io.BytesIO(end.model))
    assert model.named_steps["encode"].n_samples_seen_ == len(load_frame(ref))
    assert model.named_steps["model"].named_steps["standardscaler"].n_samples_seen_ == len(load_frame(ref))


def test_a_file_that_was_changed_is_not_unpickled(tmp_path: Path) -> None:
    ref = small_store(tmp_path)
    path = tmp_path / "work.pkl"
    path.write_bytes(path.read_bytes() + b"x")
    from trainingjob_trainer.search import store

    store._LOADED.clear()
    end = evaluate(LINEAR, ref, no_limit())
    assert end.outcome is Outcome.INVALID
    assert "digest" in (end.error or "")


def test_an_encoder_that_hangs_is_stopped(ref: StoreRef, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainingjob_trainer.search.tasks.encode_fold", lambda *_arguments: sleep_softly())
    with pytest.raises(TimeoutError, match="longer than"):
        encode_within(ref, 0, Encoding.DENSE, TaskLimit(0.3, 4e9))


def test_a_pipeline_that_cannot_be_pickled_has_no_complexity() -> None:
    assert pickled_kib(lambda: None) is None
