"""A pipeline learns from, is scored on and ships with the encoding that it names."""

import io
from dataclasses import replace
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import KBinsDiscretizer, StandardScaler

from support.stores import no_limit, small_store
from trainingjob_trainer.encodings import Encoding
from trainingjob_trainer.search import store
from trainingjob_trainer.search.candidate import Candidate, Journal, JournalHeader, Outcome
from trainingjob_trainer.search.costs import FinalistPlan
from trainingjob_trainer.search.fits import fit_full
from trainingjob_trainer.search.store import (
    StoreRef,
    TablePlugin,
    fold_paths,
    installed_versions,
    load_frame,
    load_whole_folds,
    load_work,
    pack_store,
    that_can_be_sent,
)
from trainingjob_trainer.search.tasks import evaluate, score_whole_fold
from trainingjob_trainer.search_space.pipeline import build, describe, fingerprint, with_encoding

PLAIN = describe(LogisticRegression(C=0.1))
CODED = with_encoding(PLAIN, Encoding.ORDINAL)
BINS = KBinsDiscretizer(4, encode="ordinal", quantile_method="averaged_inverted_cdf")


@pytest.fixture(scope="module")
def ref(tmp_path_factory: pytest.TempPathFactory) -> StoreRef:
    """Return a store with two encodings, and with fewer rows than the whole folds have."""
    folder = tmp_path_factory.mktemp("store")
    return small_store(folder, metric="neg_log_loss", others={Encoding.ORDINAL: BINS}, cap=40)


def by_hand(encoder: object) -> Pipeline:
    return Pipeline([("encode", encoder), ("model", build(PLAIN))])


def test_each_pipeline_is_scored_with_the_encoder_that_it_names(ref: StoreRef) -> None:
    work, frame = load_work(ref), load_frame(ref)
    for pipeline, encoder in ((PLAIN, StandardScaler()), (CODED, BINS)):
        expected = cross_val_score(
            by_hand(encoder), frame, work.target, scoring="neg_log_loss", cv=work.folds
        )
        assert evaluate(pipeline, ref, no_limit()).fold_scores == pytest.approx(tuple(expected))


def test_finalists_of_two_encodings_are_scored_on_the_same_whole_fold(ref: StoreRef) -> None:
    work, frame = load_work(ref), load_frame(ref)
    fold = load_whole_folds(ref)[0]
    found = score_whole_fold([PLAIN, CODED, PLAIN], ref, 0, no_limit())
    expected = [
        cross_val_score(by_hand(encoder), frame, work.target, scoring="neg_log_loss", cv=[fold])[0]
        for encoder in (StandardScaler(), BINS, StandardScaler())
    ]
    assert [evaluation.score for evaluation in found if evaluation is not None] == pytest.approx(expected)


@pytest.mark.parametrize("holdout", [True, False])
def test_the_model_that_ships_begins_with_its_encoder(ref: StoreRef, holdout: bool) -> None:
    end = fit_full(CODED, ref, no_limit(), holdout=holdout)
    assert end.model is not None
    model = joblib.load(io.BytesIO(end.model))
    assert list(model.named_steps) == ["encode", "model"]
    assert isinstance(model.named_steps["encode"], KBinsDiscretizer)
    work, frame = load_work(ref), load_frame(ref)
    rows = work.train_index if holdout else np.arange(len(frame))
    expected = by_hand(BINS).fit(frame.iloc[rows], work.target[rows])
    assert np.allclose(model.predict_proba(frame), expected.predict_proba(frame))


def test_an_encoding_that_the_table_does_not_have_makes_a_pipeline_invalid(tmp_path: Path) -> None:
    dense = small_store(tmp_path)
    assert evaluate(CODED, dense, no_limit()).outcome is Outcome.INVALID
    assert fit_full(CODED, dense, no_limit(), holdout=True).outcome is Outcome.INVALID
    assert score_whole_fold([PLAIN, CODED], dense, 0, no_limit())[1] is None


def test_a_worker_elsewhere_gets_the_folds_in_every_encoding(ref: StoreRef, tmp_path: Path) -> None:
    here = evaluate(CODED, ref, no_limit()).fold_scores
    plugin = TablePlugin(ref, pack_store(ref), installed_versions())
    (tmp_path / "worker").mkdir()
    plugin.setup(type("Worker", (), {"local_directory": str(tmp_path / "worker")}))
    try:
        assert fold_paths(ref, 0, Encoding.ORDINAL)[0].is_relative_to(tmp_path)
        assert evaluate(CODED, ref, no_limit()).fold_scores == here
    finally:
        plugin.teardown(None)


def test_less_important_encodings_are_left_out_if_all_are_too_large(
    ref: StoreRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = store._size(replace(ref, encodings=(Encoding.DENSE,)))
    for limit, kept in (
        (store._size(ref), ref.encodings),
        (store._size(ref) - 1, (Encoding.DENSE,)),
        (one - 1, (Encoding.DENSE,)),
    ):
        monkeypatch.setattr(store, "_MAX_BYTES", limit)
        assert that_can_be_sent(ref) == kept


def candidate(pipeline: dict[str, object], key: str) -> Candidate:
    return Candidate(
        number=1, key=key, origin="space", generation=1, pipeline=pipeline, outcome=Outcome.OK,
        score=0.5, fold_scores=(0.5,),
    )  # fmt: skip


def test_a_journal_gives_each_encoding_its_own_score(tmp_path: Path) -> None:
    header = JournalHeader(search_digest="s", data_digest="d", versions={})
    path = tmp_path / "journal.jsonl"
    good = candidate(CODED, fingerprint(CODED))
    with Journal(path, header) as journal:
        journal.append(good)
    with Journal(path, header) as journal:
        assert journal.found_ == {good.key: good}
        journal.append(candidate({**PLAIN, "encoding": "other"}, "any"))
        journal.append(good)
    with Journal(path, header) as journal:
        assert journal.dropped_ == 2
        journal.append(candidate(CODED, fingerprint(PLAIN)))
    with Journal(path, header) as journal:
        assert journal.dropped_ == 1


def test_finalists_of_more_encodings_take_more_time() -> None:
    plan = FinalistPlan(
        baseline=candidate(PLAIN, "base"), encode_seconds=7.0, ratio=1.0, folds=5, workers=5,
        budget_seconds=600.0,
    )  # fmt: skip
    alike = plan.seconds([candidate(PLAIN, "a")], 5)
    assert plan.seconds([candidate(CODED, "a")], 5) == pytest.approx(2 * alike)
