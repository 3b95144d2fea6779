"""The time of a fit grows with the rows."""

import pytest
from lightgbm import LGBMRegressor
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

from trainingjob_trainer.search.costs import GROWTH, FinalFits, FitEstimate, growth_of
from trainingjob_trainer.search_space.pipeline import describe


def test_boosting_grows_slower_than_unknown_estimators() -> None:
    light, ridge, kernel = (
        growth_of(describe(make_pipeline(StandardScaler(), estimator)))
        for estimator in (LGBMRegressor(), Ridge(), SVR())
    )
    assert light < ridge < kernel == GROWTH


def test_less_time_is_reserved_for_estimators_that_grow_slower() -> None:
    final = FinalFits(
        estimate=FitEstimate(encode_seconds=1.0, all_rows=16_000, fold_rows=1_000),
        workers=2,
        budget_seconds=1000.0,
    )
    assert final.reserve(2.0, 0.5) == pytest.approx(1.2 * 1.0 + 1.5 * 2.0 * 4.0 + 1.5)
    assert final.reserve(2.0, 0.5) < final.reserve(2.0)
