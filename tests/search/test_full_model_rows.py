"""Which rows a model learns from where there is no time for all of them."""

import gzip
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from support.stores import no_limit, small_store
from trainingjob_trainer.data.split import split_by_time
from trainingjob_trainer.search.full_model import FitResult, fit_all, fit_holdout
from trainingjob_trainer.search.store import load_frame, load_work, write_store
from trainingjob_trainer.search_space.pipeline import describe

NEIGHBOURS = describe(KNeighborsClassifier(n_neighbors=1))


def last_step(result: FitResult) -> Any:
    assert result.model is not None, result.error
    return pickle.loads(gzip.decompress(result.model)).steps[-1][1]


def learned_from(result: FitResult) -> Any:
    return last_step(result)._y


@pytest.mark.parametrize("fit", [fit_all, fit_holdout])
def test_fewer_rows_keep_the_share_of_each_class(tmp_path: Path, fit: Any) -> None:
    ref = small_store(tmp_path)
    rows = learned_from(fit(NEIGHBOURS, ref, no_limit()))
    fewer = learned_from(fit(NEIGHBOURS, ref, no_limit(), most_rows=40))
    assert len(fewer) == 40 < len(rows)
    assert np.mean(fewer) == pytest.approx(np.mean(rows), abs=0.02)


@pytest.mark.parametrize(("fit", "latest"), [(fit_all, 0), (fit_holdout, 30)])
def test_fewer_rows_are_the_latest_where_time_orders_them(tmp_path: Path, fit: Any, latest: int) -> None:
    """The table begins with its latest row; its first 30 are held out, and each has a class of its own."""
    split = split_by_time(np.arange(150)[::-1], None, fraction=0.2, folds=3)
    ref = small_store(tmp_path)
    work = replace(
        load_work(ref),
        target=np.arange(150),
        folds=split.folds,
        train_index=split.train,
        holdout_index=split.holdout,
        ordered=True,
    )
    ref = write_store(tmp_path, load_frame(ref), work, named=False)
    result = fit(NEIGHBOURS, ref, no_limit(), most_rows=40)
    assert sorted(last_step(result).classes_) == list(range(latest, latest + 40))


def test_the_hold_out_rows_are_never_among_them(tmp_path: Path) -> None:
    ref = small_store(tmp_path, ordered=True)
    rows = len(load_work(ref).train_index)
    assert len(learned_from(fit_holdout(NEIGHBOURS, ref, no_limit(), most_rows=10 * rows))) == rows
