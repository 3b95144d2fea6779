"""The rungs below the search: the legacy linear model with sane preprocessing, and a dummy model.

The encoder in front of them (imputation, one-hot, dates, text) is the one of every candidate, so these are
what a hand-tuned ``LinearRegression`` or ``LogisticRegression`` service was, on the same footing.
"""

from typing import Any

from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from trainingjob_api import Task
from trainingjob_trainer.search_space.pipeline_spec import describe

__all__ = ["MAX_ITER", "baseline_pipeline", "dummy_pipeline"]

MAX_ITER = 1000
"""Iterations of the logistic regression at most."""


def baseline_pipeline(task: Task, random_state: int) -> dict[str, Any]:
    """Return the linear baseline as data.

    Parameters
    ----------
    task
        Classification or regression.
    random_state
        Seed of the solver.
    """
    if task is Task.CLASSIFICATION:
        model = LogisticRegression(max_iter=MAX_ITER, random_state=random_state)
        return describe(make_pipeline(StandardScaler(), model))
    return describe(make_pipeline(StandardScaler(), LinearRegression()))


def dummy_pipeline(task: Task, random_state: int) -> dict[str, Any]:
    """Return the model that knows nothing but the target's distribution, as data.

    Parameters
    ----------
    task
        Classification (class frequencies) or regression (the mean).
    random_state
        Seed, unused by these strategies but recorded.
    """
    if task is Task.CLASSIFICATION:
        return describe(DummyClassifier(strategy="prior", random_state=random_state))
    return describe(DummyRegressor(strategy="mean"))
