"""The portfolio: complementary pipelines that a search begins with, in their order.

Few pipelines can be evaluated in a short budget, so the first ones are those that win most often, each of
another kind. The order was set by cross-validation on the tables that `docs/design/0010-better-models.md`
names. Settings come from tuned portfolios where an entry's source says so; the rounds are this project's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from trainingjob_trainer.encodings import Encoding
from trainingjob_trainer.search_space.context import SpaceContext
from trainingjob_trainer.search_space.individual import Individual
from trainingjob_trainer.search_space.space import Space, named_space, preset_space
from trainingjob_trainer.search_space.tpot_fixes.ranges import limits, rounds_at_most
from trainingjob_trainer.search_space.tpot_fixes.spaces import (
    FixedDynamicUnion,
    FixedGraph,
    FixedGraphIndividual,
    FixedSequential,
)

AUTOGLUON: Final = "AutoGluon zeroshot_portfolio_cpu_2025_12_18 (Apache-2.0)"
FLAML: Final = "FLAML default/all (MIT)"

_SMALL_ROWS: Final = 2_000
_KERNEL_ROWS: Final = 5_000
"""The time of kernel machines grows with the square of the rows."""
_WIDE_COLUMNS: Final = 40
"""From here on, products of two columns are more than a linear model can learn from."""
_RARE_SHARE: Final = 0.4
"""A class is rare if it has less than this share of the rows of an average one."""
_FIXED: Final = 0  # what is drawn while a seed is made is overwritten
_OF_ANY_SPACE: Final = ("linear", "hist_gradient_boosting", "lightgbm", "extra_trees")
"""Entries that come first in a search space of the user's own."""
_FEW_ROUNDS: Final = 200
"""Of slow and shallow trees, where the rows are too few for early stopping."""
_TARGET: Final = ("target",)
_CODES: Final = ("ordinal",)


@dataclass(frozen=True)
class Step:
    """An estimator by name, with the hyperparameters that differ from its defaults."""

    name: str
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class PortfolioEntry:
    """A pipeline of the portfolio; its offspring keep the name of its origin."""

    origin: str
    predictor: Step
    source: str
    """Where its settings come from."""
    scaler: Step | None = None
    """A step that replaces all columns, before everything else."""
    expansion: Step | None = None
    """A step whose columns are added to the scaled columns."""
    encodings: tuple[str, ...] = ()
    """Those that it prefers, the best first; the dense encoding if the table has none of them."""

    def encoding(self, context: SpaceContext) -> Encoding:
        """Return the encoding that it takes on a table."""
        return Encoding(next((name for name in self.encodings if name in context.encodings), "dense"))


def portfolio(context: SpaceContext) -> list[PortfolioEntry]:
    """Return the entries for a table, the legacy linear model first."""
    small = context.n_rows < _SMALL_ROWS
    made = {
        entry.origin: entry
        for entry in (*_boosters(context), *_forests(context), *_smooth(context), *_balanced(context))
    }
    order = _ORDERS[context.classification, small]
    return [made[origin] for origin in order if origin in made]


_ORDERS: Final[Mapping[tuple[bool, bool], Sequence[str]]] = {
    (True, True): (
        "linear", "catboost_shallow", "linear_regularised", "lightgbm_stumps", "extra_trees", "svm",
        "lightgbm_balanced", "linear_splines", "xgboost_shallow", "lightgbm_random", "nystroem",
        "random_forest", "linear_quantiles", "catboost", "linear_sparse", "linear_balanced", "neighbours",
        "hist_gradient_boosting", "lightgbm",
    ),
    (False, True): (
        "linear", "catboost_shallow", "linear_regularised", "lightgbm_stumps", "linear_splines",
        "extra_trees", "svm", "linear_sparse", "xgboost_shallow", "linear_products", "lightgbm_random",
        "random_forest", "linear_quantiles", "catboost", "nystroem", "neighbours", "hist_gradient_boosting",
        "lightgbm",
    ),
    (True, False): (
        "linear", "lightgbm_random", "catboost", "extra_trees", "xgboost", "svm", "lightgbm",
        "lightgbm_balanced", "hist_gradient_boosting", "linear_splines", "catboost_shallow",
        "random_forest", "mlp", "lightgbm_stumps", "nystroem", "xgboost_shallow", "neighbours",
        "linear_balanced", "linear_regularised",
    ),
    (False, False): (
        "linear", "lightgbm_random", "catboost", "xgboost", "lightgbm_stumps", "linear_splines", "svm",
        "extra_trees", "lightgbm", "catboost_shallow", "hist_gradient_boosting", "linear_products", "mlp",
        "xgboost_shallow", "random_forest", "nystroem", "neighbours", "linear_regularised",
    ),
}  # fmt: skip
"""Origins by whether classes are predicted and whether rows are few; a table may lack some."""


_ENCODINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "catboost_shallow": (),
    "hist_gradient_boosting": (),
    "lightgbm": _CODES,
    "xgboost_shallow": _CODES,
    "linear_regularised": _TARGET,
    "neighbours": _TARGET,
    "svm": _TARGET,
    "mlp": _TARGET,
}
"""Where they differ from the target encoding of boosters and the dense one of linear models."""


def _kind(context: SpaceContext) -> str:
    return "Classifier" if context.classification else "Regressor"


def _boosters(context: SpaceContext) -> Sequence[PortfolioEntry]:
    kind, rounds = _kind(context), rounds_at_most(context)
    few = min(_FEW_ROUNDS, rounds) if context.n_rows < _SMALL_ROWS else rounds

    def entry(origin: str, name: str, source: str, **settings: Any) -> PortfolioEntry:
        predictor = Step(f"{name}{kind}", settings)
        encodings = _ENCODINGS.get(origin, _TARGET)
        return PortfolioEntry(origin=origin, predictor=predictor, source=source, encodings=encodings)

    cat: dict[str, Any] = {"bootstrap_type": "Bernoulli", "subsample": 0.8, "max_bin": 64}
    light: dict[str, Any] = {"subsample_freq": 1}
    return (
        entry(
            "catboost", "CatBoost", f"{AUTOGLUON}: CAT c1",
            **cat, n_estimators=rounds, learning_rate=0.08, max_depth=6, reg_lambda=3.0,
        ),
        entry(
            "catboost_shallow", "CatBoost", "own: CAT c1 with shallow trees",
            **cat, n_estimators=few, learning_rate=0.06, max_depth=4, reg_lambda=6.0,
        ),
        entry(
            "lightgbm", "LGBM", f"{FLAML}: regression.json, lgbm 2",
            **light, n_estimators=rounds, learning_rate=0.05, num_leaves=42, min_child_samples=12,
            subsample=1.0, colsample_bytree=0.7385, reg_alpha=0.0036, reg_lambda=12.08,
        ),
        entry(
            "lightgbm_random", "LGBM", f"{AUTOGLUON}: GBM r177",
            **light, n_estimators=rounds, learning_rate=0.05, num_leaves=39, min_child_samples=3,
            subsample=0.8769, colsample_bytree=0.4622, reg_alpha=0.2375, reg_lambda=0.3552, extra_trees=True,
        ),
        entry(
            "lightgbm_stumps", "LGBM", f"{AUTOGLUON}: GBM r120",
            **light, n_estimators=few, learning_rate=0.1, num_leaves=5, min_child_samples=12,
            subsample=0.8541, colsample_bytree=0.7335, reg_alpha=0.2413, reg_lambda=0.2981, extra_trees=True,
        ),
        entry(
            "xgboost", "XGB", f"{FLAML}: regression.json, xgb_limitdepth 1, with less depth",
            n_estimators=rounds, learning_rate=0.05, max_depth=6, min_child_weight=0.7626, subsample=0.8193,
            colsample_bytree=0.7885, reg_alpha=0.0023, reg_lambda=10.0,
        ),
        entry(
            "xgboost_shallow", "XGB", f"{FLAML}: multiclass.json, xgb_limitdepth 8",
            n_estimators=few, learning_rate=0.08, max_depth=3, min_child_weight=1.0, subsample=0.6,
            colsample_bytree=0.5, reg_alpha=0.0389, reg_lambda=1.108,
        ),
        entry(
            "hist_gradient_boosting", "HistGradientBoosting", "scikit-learn's defaults, slower",
            max_iter=rounds, learning_rate=0.06, max_leaf_nodes=31, min_samples_leaf=20, max_features=0.5,
            l2_regularization=1.0, early_stopping=False,
        ),
    )  # fmt: skip


def _forests(context: SpaceContext) -> Sequence[PortfolioEntry]:
    kind, made = _kind(context), []
    for origin, name, share in (("extra_trees", "ExtraTrees", 0.6), ("random_forest", "RandomForest", 0.4)):
        trees = limits(context)[f"{name}{kind}"]["n_estimators"]
        rows = 1 if context.classification else 2
        settings = {"n_estimators": trees, "max_features": share, "min_samples_leaf": rows}
        step = Step(f"{name}{kind}", settings)
        source = "scikit-learn's defaults, with a share of the columns a split"
        made.append(PortfolioEntry(origin=origin, predictor=step, source=source, encodings=_TARGET))
    return made


def _smooth(context: SpaceContext) -> Sequence[PortfolioEntry]:
    """Return entries that learn smooth functions of scaled columns."""
    standard = Step("StandardScaler")
    quantiles = Step("QuantileTransformer", {"output_distribution": "normal"})
    splines = Step("SplineTransformer", {"n_knots": 5, "degree": 3})
    gamma = 1 / (2 * max(1, context.n_features))
    kernel = Step("Nystroem", {"kernel": "rbf", "gamma": gamma, "n_components": 100})
    products = Step("PolynomialFeatures", {"degree": 2, "include_bias": False})
    if context.classification:
        legacy = Step("LogisticRegression", {"C": 1.0, "max_iter": 1000})
        ridge = Step("LogisticRegression", {"C": 0.1, "max_iter": 200})
        sparse = Step("LogisticRegression", {"C": 0.3, "l1_ratio": 1.0, "solver": "saga", "max_iter": 200})
        svm = Step("SVC", {"C": 3.0, "probability": True})
    else:
        legacy, ridge = Step("LinearRegression"), Step("RidgeCV", {"alphas": [0.1, 1.0, 10.0, 100.0, 1000.0]})
        sparse = Step("ElasticNetCV", {"l1_ratio": [0.5, 1.0], "alphas": 50})
        svm = Step("SVR", {"C": 1.0})
    kind = _kind(context)
    neighbours = Step(f"KNeighbors{kind}", {"n_neighbors": 15, "weights": "distance"})
    mlp = Step(
        f"MLP{kind}",
        {
            "n_hidden_layers": 1, "n_nodes_per_layer": 100, "activation": "relu", "alpha": 0.01,
            "learning_rate": "constant", "learning_rate_init": 3e-3, "early_stopping": True,
            "n_iter_no_change": 10,
        },
    )  # fmt: skip

    def entry(
        origin: str, predictor: Step, *, scaler: Step = standard, expansion: Step | None = None
    ) -> PortfolioEntry:
        source = "own" if origin != "linear" else "the legacy model, which is the baseline"
        found = PortfolioEntry(origin=origin, predictor=predictor, source=source, scaler=scaler)
        return replace(found, expansion=expansion, encodings=_ENCODINGS.get(origin, ()))

    made = [
        entry("linear", legacy),
        entry("linear_regularised", ridge),
        entry("linear_sparse", sparse),
        entry("linear_splines", ridge, expansion=splines),
        entry("linear_quantiles", ridge, scaler=quantiles),
        entry("nystroem", ridge, expansion=kernel),
        entry("neighbours", neighbours),
        entry("mlp", mlp, scaler=quantiles),
    ]
    if context.n_features < _WIDE_COLUMNS:
        made.append(entry("linear_products", ridge, expansion=products))
    if context.n_rows < _KERNEL_ROWS:
        made.append(entry("svm", svm))
    return made


def _balanced(context: SpaceContext) -> Sequence[PortfolioEntry]:
    """Return entries that weigh classes by their rarity, if a class is rare."""
    rarest = context.min_class_rows
    if rarest is None or rarest * context.n_classes >= _RARE_SHARE * context.n_rows:
        return ()
    light = next(entry for entry in _boosters(context) if entry.origin == "lightgbm_random")
    weighted = {**light.predictor.hyperparameters, "class_weight": "balanced"}
    linear = Step("LogisticRegression", {"C": 0.1, "max_iter": 200, "class_weight": "balanced"})
    return (
        replace(light, origin="lightgbm_balanced", predictor=Step("LGBMClassifier", weighted)),
        PortfolioEntry(
            origin="linear_balanced", predictor=linear, source="own", scaler=Step("StandardScaler")
        ),
    )


class Seed(NamedTuple):
    """An individual of the first population, and where it comes from, such as ``linear``."""

    origin: str
    individual: Individual


def seeds(context: SpaceContext, space: Space | None = None) -> list[Seed]:
    """Return the portfolio as individuals, the legacy linear model first.

    They take the shape of `space` where it is that of a template, so that they can be crossed with its
    individuals. A search space of the user's own begins with four of them.
    """
    entries = portfolio(context)
    if space is None or space.template is None:
        chosen = {entry.origin: entry for entry in entries}
        entries = [chosen[origin] for origin in _OF_ANY_SPACE]
        root = preset_space("linear", context)
    else:
        root = space.root
    shaped = _graph if isinstance(root, FixedGraph) else _linear
    encodings = tuple(map(Encoding, context.encodings))
    return [
        Seed(entry.origin, Individual(shaped(root, entry, context), entry.encoding(context), encodings))
        for entry in entries
    ]


def _node(step: Step | None, context: SpaceContext, *, predicts: bool = False) -> Any:
    """Return TPOT's individual of one step; without a step, of one that changes nothing."""
    name, hyperparameters = ("Passthrough", {}) if step is None else (step.name, step.hyperparameters)
    made = named_space([name], context, predicts=predicts).generate(_FIXED)
    if hyperparameters:
        made.hyperparameters = dict(hyperparameters)
    return made


def _linear(root: FixedSequential, entry: PortfolioEntry, context: SpaceContext) -> Any:
    """Fill TPOT's four steps: scaler, selector, transformers beside the columns, predictor."""
    made = root.generate(_FIXED)
    scale, select, transform, predict = made.pipeline
    scale.node, select.node = _node(entry.scaler, context), _node(None, context)
    predict.node = _node(entry.predictor, context, predicts=True)
    if entry.expansion is None:
        transform.pipeline[0].node = _node(Step("SkipTransformer"), context)
    else:
        transformers = named_space(["transformers"], context, predicts=False)
        union = FixedDynamicUnion(transformers, max_estimators=1).generate(_FIXED)
        node = next(iter(union.union_dict.values()))
        node.node = _node(entry.expansion, context)
        union.union_dict = {node.unique_id(): node}
        transform.pipeline[0].node = union
    return made


def _graph(root: FixedGraph, entry: PortfolioEntry, context: SpaceContext) -> Any:
    """Make the predictor the root and the scaler its child, with the expansion between them."""
    made = FixedGraphIndividual(
        root.root_search_space, root.leaf_search_space, root.inner_search_space, root.max_size, rng=_FIXED
    )
    made.root.node = _node(entry.predictor, context, predicts=True)
    above = [made.root]
    for step in (entry.expansion, entry.scaler):
        if step is not None:
            child = root.inner_search_space.generate(_FIXED)
            child.node = _node(step, context)
            made.graph.add_edges_from((parent, child) for parent in above)
            above.append(child)
    return made
