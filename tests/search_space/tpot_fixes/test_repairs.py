"""Defects that stock TPOT 1.1.0 still has: if a case fails, its repair can be removed."""

import pytest
from tpot.config import get_search_space

DRAWN = {
    "ElasticNetCV": lambda made: 0 in made.l1_ratio,
    "FeatureAgglomeration": lambda made: made.metric == "cosine",
    "GradientBoostingClassifier": lambda made: made.validation_fraction is None,
    "LinearDiscriminantAnalysis": lambda made: made.solver == "eigen",
    "LogisticRegression": lambda made: made.penalty in {"l1", "l2"},
    "MLPRegressor": lambda made: made.validation_fraction == 0.1,
    "Nystroem": lambda made: made.kernel == "chi2",
    "RobustScaler": lambda made: made.quantile_range[1] <= 1,
    "SGDRegressor": lambda made: made.loss == "squared_error" and made.learning_rate == "optimal",
    "SVC": lambda made: made.probability is True,
    "SelectFwe": lambda made: made.score_func.__name__ == "f_classif",
    "SelectPercentile": lambda made: made.score_func.__name__ == "f_classif",
    "VarianceThreshold": lambda made: made.threshold > 0,
}


@pytest.mark.parametrize("name", DRAWN)
def test_tpot_still_draws_what_a_repair_replaces(name):
    sizes = {"n_classes": 3, "n_samples": 100, "n_features": 20, "random_state": 0}
    space = get_search_space(name, **sizes)
    assert any(DRAWN[name](space.generate(seed).export_pipeline()) for seed in range(200))
