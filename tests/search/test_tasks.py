import io
import time
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import get_scorer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from support.naughty import build_with_naughty, sleep_softly
from support.stores import no_limit, small_store
from trainingjob_api.vocabulary import Task
from trainingjob_trainer.features import resolve_metric
from trainingjob_trainer.search.candidate import Outcome
from trainingjob_trainer.search.fits import fit_full
from trainingjob_trainer.search.store import StoreRef, load_frame, load_work
from trainingjob_trainer.search.taskkit import TaskLimit
from trainingjob_trainer.search.tasks import encode_within, evaluate, pickled_kib
from trainingjob_trainer.search_space import describe

LINEAR = describe(make_pipeline(StandardScaler(), LogisticRegression()))
SLOW = {"slow": 1.0}
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


def test_a_pipeline_that_cannot_be_fitted_is_invalid_and_says_why(ref: StoreRef) -> None:
    end = evaluate(BROKEN, ref, no_limit())
    assert end.outcome is Outcome.INVALID
    assert "'C' parameter" in (end.error or "")
    assert "\n" not in (end.error or "")


def test_a_pipeline_off_the_allow_list_is_invalid(ref: StoreRef) -> None:
    end = evaluate({"type": "os.system", "params": {"command": "true"}}, ref, no_limit())
    assert end.outcome is Outcome.INVALID


def test_a_slow_pipeline_times_out(ref: StoreRef) -> None:
    end = evaluate({"naughty": "sleep_softly"}, ref, TaskLimit(0.3, 4e9), builder=build_with_naughty)
    assert end.outcome is Outcome.TIMEOUT
    assert "0.3 s" in (end.error or "")


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
    assert end.holdout.classes == ("no", "yes")
    assert end.holdout.probabilities is not None
    assert end.holdout.probabilities.shape == (len(raw), 2)


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


def test_a_score_that_is_no_number_is_none_on_the_holdout_rows(tmp_path: Path) -> None:
    one = np.full(150, "no", dtype=object)
    one[100:] = "yes"
    ref = small_store(tmp_path, target=one, scorer=get_scorer("roc_auc"), folds=2)
    end = fit_full(LINEAR, ref, no_limit(), holdout=True)
    assert (end.outcome, end.holdout is not None and end.holdout.score) == (Outcome.OK, None)


def test_the_model_that_ships_has_seen_all_rows(ref: StoreRef) -> None:
    end = fit_full(LINEAR, ref, no_limit(), holdout=False)
    assert end.model is not None
    model = joblib.load(io.BytesIO(end.model))
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
    monkeypatch.setattr("trainingjob_trainer.search.tasks.encode_fold", lambda _ref, _fold: sleep_softly())
    with pytest.raises(TimeoutError, match="longer than"):
        encode_within(ref, 0, TaskLimit(0.3, 4e9))


def test_what_cannot_be_pickled_has_no_complexity() -> None:
    assert pickled_kib(lambda: None) is None
