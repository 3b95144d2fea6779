"""A small table as workers see it."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.datasets import make_classification
from sklearn.metrics import get_scorer
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler

from trainingjob_trainer.encodings import Encoding
from trainingjob_trainer.search.limits import TaskLimit
from trainingjob_trainer.search.store import StoreRef, WorkData, sample_folds, write_store
from trainingjob_trainer.search.tasks import encode_fold


def small_store(
    folder: Path,
    *,
    rows: int = 150,
    folds: int = 2,
    metric: str = "accuracy",
    encoder: Any = None,
    others: Mapping[Encoding, Any] | None = None,
    named: bool = False,
    cap: int | None = None,
    repeats: int = 0,
    **changes: Any,
) -> StoreRef:
    """Write a numeric two-class table of five columns, its folds, cut to *cap* rows, encoded already.

    Finalists find all rows in the whole folds, or the rows cut again as often as *repeats* says.

    *others* are encoders beside *encoder*; *changes* are those of its `WorkData`. The encoder learns from the
    rows that it is fitted on, so that it shows which rows these were.
    """
    X, y = make_classification(rows, 5, n_informative=3, weights=[0.6], random_state=0)
    frame = pd.DataFrame(X, columns=[f"x{i}" for i in range(X.shape[1])])
    split = StratifiedKFold(folds, shuffle=True, random_state=0)
    holdout = rows // 5
    train = np.arange(holdout, rows)
    target = np.where(y == 1, "yes", "no").astype(object)
    whole = tuple((train[a], train[b]) for a, b in split.split(train, y[train]))
    again = tuple(
        (train[a], train[b])
        for seed in range(1, repeats + 1)
        for a, b in StratifiedKFold(folds, shuffle=True, random_state=seed).split(train, y[train])
    )
    work = WorkData(
        target=target,
        folds=whole
        if cap is None
        else sample_folds(whole, target, cap=cap, stratify=True, latest=False, random_state=0),
        train_index=train,
        holdout_index=np.arange(holdout),
        scorer=get_scorer(metric),
        encoders={Encoding.DENSE: encoder or StandardScaler()} | (others or {}),
    )
    ref = write_store(
        folder, frame, replace(work, **changes), named=named, whole=again or (None if cap is None else whole)
    )
    for encoding, fold in product(work.encoders, range(folds)):
        encode_fold(ref, fold, encoding)
    return replace(ref, encodings=tuple(work.encoders))


def no_limit(seconds: float = 600.0) -> TaskLimit:
    """Return a limit that a small task never reaches."""
    return TaskLimit(seconds, 4e9)
