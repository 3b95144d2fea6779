"""The classes of the allow-list, by what they are for: plain tables."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn import (
    calibration,
    cluster,
    compose,
    decomposition,
    discriminant_analysis,
    dummy,
    ensemble,
    feature_selection,
    impute,
    kernel_approximation,
    linear_model,
    naive_bayes,
    neighbors,
    neural_network,
    preprocessing,
    svm,
    tree,
)
from xgboost import XGBClassifier, XGBRegressor

__all__ = ["BY_KIND", "META", "Kind"]


class Kind(StrEnum):
    """What an estimator is for."""

    CLASSIFIER = "classifier"
    REGRESSOR = "regressor"
    TRANSFORMER = "transformer"
    SELECTOR = "selector"
    SCALER = "scaler"
    IMPUTER = "imputer"


BY_KIND: Final[Mapping[Kind, tuple[type, ...]]] = {
    Kind.CLASSIFIER: (
        discriminant_analysis.LinearDiscriminantAnalysis,
        discriminant_analysis.QuadraticDiscriminantAnalysis,
        dummy.DummyClassifier,
        ensemble.ExtraTreesClassifier,
        ensemble.GradientBoostingClassifier,
        ensemble.HistGradientBoostingClassifier,
        ensemble.RandomForestClassifier,
        LGBMClassifier,
        linear_model.LogisticRegression,
        linear_model.RidgeClassifier,
        linear_model.SGDClassifier,
        naive_bayes.BernoulliNB,
        naive_bayes.ComplementNB,
        naive_bayes.GaussianNB,
        naive_bayes.MultinomialNB,
        neighbors.KNeighborsClassifier,
        neighbors.NearestCentroid,
        neural_network.MLPClassifier,
        svm.LinearSVC,
        svm.SVC,
        tree.DecisionTreeClassifier,
        XGBClassifier,
    ),
    Kind.REGRESSOR: (
        dummy.DummyRegressor,
        ensemble.ExtraTreesRegressor,
        ensemble.GradientBoostingRegressor,
        ensemble.HistGradientBoostingRegressor,
        ensemble.RandomForestRegressor,
        LGBMRegressor,
        linear_model.ARDRegression,
        linear_model.BayesianRidge,
        linear_model.ElasticNet,
        linear_model.ElasticNetCV,
        linear_model.HuberRegressor,
        linear_model.Lars,
        linear_model.Lasso,
        linear_model.LassoCV,
        linear_model.LassoLars,
        linear_model.LassoLarsCV,
        linear_model.LinearRegression,
        linear_model.Ridge,
        linear_model.RidgeCV,
        linear_model.SGDRegressor,
        neighbors.KNeighborsRegressor,
        neural_network.MLPRegressor,
        svm.LinearSVR,
        svm.SVR,
        tree.DecisionTreeRegressor,
        XGBRegressor,
    ),
    Kind.TRANSFORMER: (
        cluster.FeatureAgglomeration,
        decomposition.FastICA,
        decomposition.PCA,
        decomposition.TruncatedSVD,
        kernel_approximation.Nystroem,
        kernel_approximation.RBFSampler,
        preprocessing.Binarizer,
        preprocessing.KBinsDiscretizer,
        preprocessing.OneHotEncoder,
        preprocessing.OrdinalEncoder,
        preprocessing.PolynomialFeatures,
        preprocessing.PowerTransformer,
        preprocessing.QuantileTransformer,
        preprocessing.SplineTransformer,
    ),
    Kind.SCALER: (
        preprocessing.MaxAbsScaler,
        preprocessing.MinMaxScaler,
        preprocessing.Normalizer,
        preprocessing.RobustScaler,
        preprocessing.StandardScaler,
    ),
    Kind.SELECTOR: (
        feature_selection.SelectFdr,
        feature_selection.SelectFwe,
        feature_selection.SelectKBest,
        feature_selection.SelectPercentile,
        feature_selection.VarianceThreshold,
    ),
    Kind.IMPUTER: (impute.KNNImputer, impute.SimpleImputer),
}
"""Estimators that hold no other one."""

META: Final[Mapping[type, tuple[Kind, str]]] = {
    ensemble.AdaBoostClassifier: (Kind.CLASSIFIER, "estimator"),
    ensemble.BaggingClassifier: (Kind.CLASSIFIER, "estimator"),
    calibration.CalibratedClassifierCV: (Kind.CLASSIFIER, "estimator"),
    ensemble.AdaBoostRegressor: (Kind.REGRESSOR, "estimator"),
    ensemble.BaggingRegressor: (Kind.REGRESSOR, "estimator"),
    compose.TransformedTargetRegressor: (Kind.REGRESSOR, "regressor"),
    feature_selection.RFE: (Kind.SELECTOR, "estimator"),
    feature_selection.SelectFromModel: (Kind.SELECTOR, "estimator"),
}
"""Meta-estimators, with the parameter that takes the inner estimator."""
