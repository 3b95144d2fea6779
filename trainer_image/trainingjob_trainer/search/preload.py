"""Loaded by each worker before it takes a task, so that no limit is spent on imports."""

import importlib

__all__ = ["MODULES", "dask_setup"]

MODULES = (
    "lightgbm",
    "pandas",
    "scipy.stats",
    "sklearn.calibration",
    "sklearn.ensemble",
    "sklearn.kernel_approximation",
    "sklearn.linear_model",
    "sklearn.metrics",
    "sklearn.neural_network",
    "sklearn.pipeline",
    "skrub",
    "trainingjob_trainer.search.fits",
    "trainingjob_trainer.search.tasks",
    "xgboost",
)


def dask_setup(_worker: object) -> None:
    """Import what tasks need; called by ``distributed`` in each new worker process."""
    for name in MODULES:
        importlib.import_module(name)
