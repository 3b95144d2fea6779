"""The allow-list: every class that a pipeline may be made of, by its name.

The table is static: a name that a user or a journal gives is looked up, never imported.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from types import MappingProxyType
from typing import Any, Final

from catboost import CatBoostClassifier, CatBoostRegressor
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

from trainingjob_api import Reason, nearest_names
from trainingjob_trainer.errors import SpecInvalid


class Kind(StrEnum):
    """Purpose of an estimator."""

    CLASSIFIER = "classifier"
    REGRESSOR = "regressor"
    TRANSFORMER = "transformer"
    SELECTOR = "selector"
    SCALER = "scaler"
    IMPUTER = "imputer"


@dataclass(frozen=True)
class Entry:
    """One class of the allow-list.

    Parameters
    ----------
    slot
        The parameter that takes the inner estimator of a meta-estimator.
    internal
        Whether it appears only in translations, never in a user's tree.
    """

    cls: type
    kind: Kind
    slot: str | None = None
    internal: bool = False

    @property
    def name(self) -> str:
        """The name under which it is listed."""
        return self.cls.__name__

    @property
    def predictor(self) -> bool:
        """Whether it can be the final step."""
        return self.kind in {Kind.CLASSIFIER, Kind.REGRESSOR}

    @property
    def parameters(self) -> frozenset[str]:
        """Every constructor parameter, those set by the trainer included."""
        return frozenset(defaults(self.cls))

    @property
    def hyperparameters(self) -> frozenset[str]:
        """The constructor parameters that a tree may set."""
        return self.parameters - _RESERVED - ({self.slot} if self.slot else set())


# The trainer sets these itself, or they take objects that a tree cannot say.
_RESERVED: Final = {
    "n_jobs", "nthread", "random_state", "verbose", "verbosity", "warm_start", "memory", "copy",
    "copy_X", "copy_X_train", "cache_size", "callbacks", "metric_params", "kernel_params", "device",
    "estimator", "estimators", "classifier", "regressor", "transformer", "func", "inverse_func",
    "kw_args", "inv_kw_args", "validate", "accept_sparse", "check_inverse", "feature_names_out",
    "sparse_output", "dtype", "set_output_transform", "covariance_estimator", "store_covariance",
    "store_cv_results", "precompute", "interaction_constraints", "monotone_constraints",
    "monotonic_cst", "feature_types", "feature_weights", "enable_categorical", "categorical_features",
    "eval_metric", "early_stopping_rounds", "missing", "importance_getter", "prefit", "indicator",
    "add_indicator", "multi_strategy", "objective", "class_prior", "priors", "base_score",
    "num_parallel_tree", "param_distributions", "oob_score", "constant", "estimator_params",
    "thread_count", "logging_level", "allow_writing_files",
}  # fmt: skip

_LEAVES: Final[Mapping[Kind, tuple[type, ...]]] = {
    Kind.CLASSIFIER: (
        CatBoostClassifier, discriminant_analysis.LinearDiscriminantAnalysis,
        discriminant_analysis.QuadraticDiscriminantAnalysis, dummy.DummyClassifier,
        ensemble.ExtraTreesClassifier, ensemble.GradientBoostingClassifier,
        ensemble.HistGradientBoostingClassifier, ensemble.RandomForestClassifier, LGBMClassifier,
        linear_model.LogisticRegression, linear_model.RidgeClassifier, linear_model.SGDClassifier,
        naive_bayes.BernoulliNB, naive_bayes.ComplementNB, naive_bayes.GaussianNB, naive_bayes.MultinomialNB,
        neighbors.KNeighborsClassifier, neighbors.NearestCentroid, neural_network.MLPClassifier,
        svm.LinearSVC, svm.SVC, tree.DecisionTreeClassifier, XGBClassifier,
    ),
    Kind.REGRESSOR: (
        CatBoostRegressor, dummy.DummyRegressor, ensemble.ExtraTreesRegressor,
        ensemble.GradientBoostingRegressor, ensemble.HistGradientBoostingRegressor,
        ensemble.RandomForestRegressor, LGBMRegressor, linear_model.ARDRegression,
        linear_model.BayesianRidge, linear_model.ElasticNet, linear_model.ElasticNetCV,
        linear_model.HuberRegressor, linear_model.Lars, linear_model.Lasso, linear_model.LassoCV,
        linear_model.LassoLars, linear_model.LassoLarsCV, linear_model.LinearRegression, linear_model.Ridge,
        linear_model.RidgeCV, linear_model.SGDRegressor, neighbors.KNeighborsRegressor,
        neural_network.MLPRegressor, svm.LinearSVR, svm.SVR, tree.DecisionTreeRegressor, XGBRegressor,
    ),
    Kind.TRANSFORMER: (
        cluster.FeatureAgglomeration, decomposition.FastICA, decomposition.PCA, decomposition.TruncatedSVD,
        kernel_approximation.Nystroem, kernel_approximation.RBFSampler, preprocessing.Binarizer,
        preprocessing.KBinsDiscretizer, preprocessing.OneHotEncoder, preprocessing.OrdinalEncoder,
        preprocessing.PolynomialFeatures, preprocessing.PowerTransformer, preprocessing.QuantileTransformer,
        preprocessing.SplineTransformer,
    ),
    Kind.SCALER: (
        preprocessing.MaxAbsScaler, preprocessing.MinMaxScaler, preprocessing.Normalizer,
        preprocessing.RobustScaler, preprocessing.StandardScaler,
    ),
    Kind.SELECTOR: (
        feature_selection.SelectFdr, feature_selection.SelectFwe, feature_selection.SelectKBest,
        feature_selection.SelectPercentile, feature_selection.VarianceThreshold,
    ),
    Kind.IMPUTER: (impute.KNNImputer, impute.SimpleImputer),
}  # fmt: skip
"""Estimators that hold no other one."""

CATALOGUE: Final[Mapping[str, Entry]] = MappingProxyType(
    {
        item.name: item
        for item in (
            *(Entry(cls, kind) for kind, group in _LEAVES.items() for cls in group),
            Entry(ensemble.AdaBoostClassifier, Kind.CLASSIFIER, slot="estimator"),
            Entry(ensemble.BaggingClassifier, Kind.CLASSIFIER, slot="estimator"),
            Entry(calibration.CalibratedClassifierCV, Kind.CLASSIFIER, slot="estimator"),
            Entry(ensemble.AdaBoostRegressor, Kind.REGRESSOR, slot="estimator"),
            Entry(ensemble.BaggingRegressor, Kind.REGRESSOR, slot="estimator"),
            Entry(compose.TransformedTargetRegressor, Kind.REGRESSOR, slot="regressor"),
            Entry(feature_selection.RFE, Kind.SELECTOR, slot="estimator"),
            Entry(feature_selection.SelectFromModel, Kind.SELECTOR, slot="estimator"),
            Entry(preprocessing.FunctionTransformer, Kind.TRANSFORMER, internal=True),
        )
    }
)
"""Every leaf and meta-estimator by name; Pipeline, FeatureUnion and the like are spec nodes of their own."""

_SHOWN: Final = 12
_NEED_AN_ESTIMATOR: Final = {feature_selection.RFE, feature_selection.SelectFromModel}

# LightGBM takes further parameters by keyword. CatBoost declares a hundred and reports those that were set;
# many of them name files, so that only these may be set.
_LIGHT: Final = {"verbose": 1, "extra_trees": False, "max_bin": 255}
_CAT: Final = dict.fromkeys(
    (
        "allow_writing_files", "auto_class_weights", "bootstrap_type", "colsample_bylevel", "learning_rate",
        "logging_level", "max_bin", "max_depth", "min_child_samples", "n_estimators", "random_state",
        "random_strength", "reg_lambda", "subsample", "thread_count",
    )
)  # fmt: skip
_UNDECLARED: Final[Mapping[type, Mapping[str, Any]]] = {
    CatBoostClassifier: _CAT,
    CatBoostRegressor: {name: default for name, default in _CAT.items() if name != "auto_class_weights"},
    LGBMClassifier: _LIGHT,
    LGBMRegressor: _LIGHT,
}


@cache
def defaults(cls: type) -> Mapping[str, Any]:
    """Return the constructor parameters of *cls* with their defaults."""
    instance = cls(None) if cls in _NEED_AN_ESTIMATOR else cls()
    return MappingProxyType({**instance.get_params(deep=False), **_UNDECLARED.get(cls, {})})


def suggest(name: str, known: Iterable[str]) -> str:
    """Return a sentence that names the nearest known names, or some of them."""
    names = sorted(known)
    if close := nearest_names(name, names, cutoff=0.5):
        return f"Did you mean {' or '.join(close)}?"
    return f"Known: {', '.join(names[:_SHOWN])}{' and others' if len(names) > _SHOWN else ''}."


def entry(name: str) -> Entry:
    """Look up a class of the allow-list; raises `SpecInvalid` (``UnknownEstimator``) if it is not there."""
    found = CATALOGUE.get(name)
    if found is None:
        raise SpecInvalid(
            Reason.UNKNOWN_ESTIMATOR, f"The estimator {name!r:.80} is not allowed. {suggest(name, CATALOGUE)}"
        )
    return found
