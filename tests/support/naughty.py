"""Functions and estimators that misbehave: sleep, spin, allocate, crash."""

import ctypes
import os
import time
from functools import partial
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression

from trainingjob_trainer.search.candidate import Evaluation
from trainingjob_trainer.search.limits import TaskLimit, time_limit
from trainingjob_trainer.search.store import StoreRef
from trainingjob_trainer.search.tasks import evaluate
from trainingjob_trainer.search_space.pipeline import build


def sleep_for_ever() -> None:
    time.sleep(3600)


def hold_the_lock() -> None:
    ctypes.PyDLL(None).sleep(3600)


def allocate_without_end() -> None:
    kept = []
    while True:
        kept.append(bytearray(50_000_000))
        time.sleep(0.02)  # where the nanny is late, the memory limit must come before that of the machine


def crash() -> None:
    os.abort()


def sleep_softly() -> None:
    while True:
        time.sleep(0.01)


DEEDS = {
    "sleep_softly": sleep_softly,
    "sleep": sleep_for_ever,
    "hold": hold_the_lock,
    "allocate": allocate_without_end,
    "crash": crash,
}


def misbehave(deed: str, limit: TaskLimit) -> str:
    with time_limit(limit.effective()):
        DEEDS[deed]()
    return "survived"


def behave(number: int, limit: TaskLimit) -> int:
    with time_limit(limit.effective()):
        time.sleep(0.1)
    return number


class Naughty(ClassifierMixin, BaseEstimator):
    """A classifier whose fit misbehaves."""

    def __init__(self, deed: str = "sleep") -> None:
        self.deed = deed

    def fit(self, X: Any, y: Any) -> "Naughty":
        self.classes_ = np.unique(y)
        DEEDS[self.deed]()
        return self


def build_with_naughty(spec: dict[str, Any]) -> Any:
    """Build a pipeline as data; ``{"naughty": deed}`` is one more kind."""
    if "naughty" in spec:
        return Naughty(spec["naughty"])
    if "slow" in spec:
        return Slow(C=spec["slow"])
    return build(spec)


class Slow(LogisticRegression):
    """A healthy classifier that takes a moment."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "Slow":
        time.sleep(0.05)
        super().fit(X, y, sample_weight)
        return self


def evaluate_with_naughty(pipeline: dict[str, Any], ref: StoreRef, limit: TaskLimit) -> Evaluation:
    """Evaluate as the search does, naughty pipelines too."""
    return partial(evaluate, builder=build_with_naughty)(pipeline, ref, limit)
