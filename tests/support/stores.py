"""A small table as workers see it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.datasets import make_classification
from sklearn.metrics import get_scorer
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import FunctionTransformer

from trainingjob_trainer.search.store import StoreRef, WorkData, write_store
from trainingjob_trainer.search.taskkit import TaskLimit
from trainingjob_trainer.search.tasks import encode_fold


def small_store(folder: Path, *, rows: int = 150, folds: int = 2, **changes: Any) -> StoreRef:
    """Write a numeric two-class table of five columns, its folds encoded already, with *changes*."""
    X, y = make_classification(rows, 5, n_informative=3, random_state=0)
    frame = pd.DataFrame(X, columns=[f"x{i}" for i in range(X.shape[1])])
    split = StratifiedKFold(folds, shuffle=True, random_state=0)
    holdout = rows // 5
    train = np.arange(holdout, rows)
    work = WorkData(
        target=np.where(y == 1, "yes", "no").astype(object),
        folds=tuple((train[a], train[b]) for a, b in split.split(train, y[train])),
        train_index=train,
        holdout_index=np.arange(holdout),
        scorer=get_scorer("accuracy"),
        encoder=FunctionTransformer(np.asarray),
    )
    ref = write_store(folder, frame, replace(work, **changes), named=False)
    for fold in range(folds):
        encode_fold(ref, fold)
    return ref


def no_limit(seconds: float = 600.0) -> TaskLimit:
    """Return a limit that a small task never reaches."""
    return TaskLimit(seconds, 4e9)
