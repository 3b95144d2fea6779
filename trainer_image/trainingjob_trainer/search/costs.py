"""What is known of the time of a fit before it is made: how it grows with the rows, by estimator."""

from collections.abc import Mapping
from typing import Any, Final

from trainingjob_trainer.search_space.pipeline import estimator_of

__all__ = ["GROWTH", "growth_of"]

GROWTH: Final = 1.3
"""Between the linear growth of most estimators and the quadratic growth of kernel methods."""
_FAMILIES: Final[Mapping[str, float]] = {
    "CatBoost": 0.9,
    "DecisionTree": 1.25,
    "ElasticNet": 1.0,
    "ExtraTrees": 1.1,
    "HistGradientBoosting": 0.8,
    "Lasso": 1.0,
    "LGBM": 0.7,
    "LinearRegression": 1.0,
    "LinearSV": 1.5,
    "LogisticRegression": 1.0,
    "MLP": 1.0,
    "RandomForest": 1.25,
    "Ridge": 1.0,
    "XGB": 0.7,
}
"""Exponent of the growth by the beginning of a class's name, rounded up from what was measured."""


def growth_of(pipeline: Mapping[str, Any]) -> float:
    """Return the exponent with which the time of a pipeline's fit grows with the rows."""
    name = estimator_of(pipeline)
    return next((growth for family, growth in _FAMILIES.items() if name.startswith(family)), GROWTH)
