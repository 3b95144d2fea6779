"""Which rows a model learns from where there is no time for all of them."""

import gzip
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from support.stores import no_limit, small_store
from trainingjob_trainer.search.full_model import FitResult, fit_all, fit_holdout
from trainingjob_trainer.search.store import load_frame, load_work
from trainingjob_trainer.search_space.pipeline import describe

NEIGHBOURS = describe(KNeighborsClassifier(n_neighbors=1))


def learned_from(result: FitResult) -> Any:
    assert result.model is not None, result.error
    return pickle.loads(gzip.decompress(result.model)).steps[-1][1]._y


@pytest.mark.parametrize("fit", [fit_all, fit_holdout])
def test_fewer_rows_keep_the_share_of_each_class(tmp_path: Path, fit: Any) -> None:
    ref = small_store(tmp_path)
    rows = learned_from(fit(NEIGHBOURS, ref, no_limit()))
    fewer = learned_from(fit(NEIGHBOURS, ref, no_limit(), most_rows=40))
    assert len(fewer) == 40 < len(rows)
    assert np.mean(fewer) == pytest.approx(np.mean(rows), abs=0.02)


def test_fewer_rows_are_the_latest_where_time_orders_them(tmp_path: Path) -> None:
    ref = small_store(tmp_path, ordered=True)
    result = fit_all(NEIGHBOURS, ref, no_limit(), most_rows=40)
    target = load_work(ref).target[len(load_frame(ref)) - 40 :]
    assert list(learned_from(result)) == list((target == "yes").astype(int))


def test_the_hold_out_rows_are_never_among_them(tmp_path: Path) -> None:
    ref = small_store(tmp_path, ordered=True)
    rows = len(load_work(ref).train_index)
    assert len(learned_from(fit_holdout(NEIGHBOURS, ref, no_limit(), most_rows=10 * rows))) == rows
