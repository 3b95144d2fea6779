"""A compiled search space and its individuals: new ones, the seeds of the first population, and offspring."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np

from trainingjob_api.resolved import ResolvedSearchSpace
from trainingjob_trainer.search_space.context import SpaceContext
from trainingjob_trainer.search_space.presets import TEMPLATES, named_space, preset_space
from trainingjob_trainer.search_space.tpot_fixes.spaces import (
    FixedGraph,
    FixedGraphIndividual,
    FixedSequential,
)
from trainingjob_trainer.search_space.tree import compile_tree

__all__ = ["Seed", "Space", "breed", "clone", "compile_space", "seeds"]

_FIXED: Final = 0  # what is drawn while a seed is made is overwritten
_ATTEMPTS: Final = 8
_MUTATE_AFTER_CROSSOVER: Final = 0.3


@dataclass(frozen=True)
class Space:
    """A search space ready for use.

    Parameters
    ----------
    root
        TPOT's search space, fixed.
    uses_feature_sets
        Whether pipelines choose raw columns, so that the encoder must name its columns.
    template
        ``linear`` or ``graph`` where it has the shape of TPOT's templates of that name.
    """

    root: Any
    uses_feature_sets: bool
    template: str | None = None

    def generate(self, rng: np.random.Generator) -> Any:
        """Return a new individual; equal states of `rng` give equal individuals in every process."""
        return self.root.generate(rng)


def compile_space(search_space: ResolvedSearchSpace, context: SpaceContext) -> Space:
    """Return the search space that a job asks for.

    Raises
    ------
    SpecInvalid
        A name, hyperparameter or column is unknown, or a step does not fit its place.
    """
    if search_space.tree is None:
        name = search_space.preset or "linear"
        shape = name.partition("-")[0] if name in TEMPLATES else None
        return Space(preset_space(name, context), uses_feature_sets=False, template=shape)
    root, uses_feature_sets = compile_tree(search_space.tree, context, search_space.source)
    return Space(root, uses_feature_sets=uses_feature_sets)


class Seed(NamedTuple):
    """An individual of the first population, and where it comes from, such as ``linear``."""

    origin: str
    individual: Any


class _Model(NamedTuple):
    origin: str
    name: str
    hyperparameters: Mapping[str, Any]
    scaled: bool = False


def seeds(context: SpaceContext, space: Space | None = None) -> list[Seed]:
    """Return the legacy linear model, HistGradientBoosting, and other strong defaults, as individuals.

    They take the shape of `space` where it is that of a template, so that they can be crossed with its
    individuals.
    """
    return [Seed(model.origin, _shaped(model, context, space)) for model in _models(context)]


def _models(context: SpaceContext) -> list[_Model]:
    """Return scikit-learn's and LightGBM's defaults, in the words of TPOT's spaces."""
    kind = "Classifier" if context.classification else "Regressor"
    linear = _Model("linear", "LinearRegression", {}, scaled=True)
    balance: dict[str, Any] = {}
    if context.classification:
        linear = _Model("linear", "LogisticRegression", {"C": 1.0, "max_iter": 1000}, scaled=True)
        balance = {"class_weight": None}
    histogram = {
        "learning_rate": 0.1,
        "max_leaf_nodes": 31,
        "min_samples_leaf": 20,
        "max_features": 1.0,
        "early_stopping": False,
    }
    light = {"num_leaves": 31, "max_depth": 10, "n_estimators": 100, **balance}
    trees = {"n_estimators": 100, "max_features": 0.5, "min_samples_split": 2, "min_samples_leaf": 2}
    return [
        linear,
        _Model("hist_gradient_boosting", f"HistGradientBoosting{kind}", histogram),
        _Model("lightgbm", f"LGBM{kind}", light),
        _Model("extra_trees", f"ExtraTrees{kind}", {**trees, **balance}),
    ]


def _estimator(name: str, context: SpaceContext, hyperparameters: Mapping[str, Any]) -> Any:
    predicts = name.endswith(("Classifier", "Regressor", "Regression"))
    made = named_space([name], context, predicts=predicts).generate(_FIXED)
    if hyperparameters:
        made.hyperparameters = dict(hyperparameters)
    return made


def _shaped(model: _Model, context: SpaceContext, space: Space | None) -> Any:
    predictor = _estimator(model.name, context, model.hyperparameters)
    scaler = _estimator("StandardScaler" if model.scaled else "Passthrough", context, {})
    if space is not None and space.template == "linear":
        return _linear(space.root, scaler, predictor, context)
    if space is not None and space.template == "graph":
        return _graph(space.root, scaler if model.scaled else None, predictor)
    predictors = "classifiers" if context.classification else "regressors"
    plain = FixedSequential(
        [
            named_space(["scalers", "Passthrough"], context, predicts=False),
            named_space([predictors], context, predicts=True),
        ]
    ).generate(_FIXED)
    plain.pipeline[0].node, plain.pipeline[1].node = scaler, predictor
    return plain


def _linear(root: FixedSequential, scaler: Any, predictor: Any, context: SpaceContext) -> Any:
    """Fill TPOT's four steps: scaler, selector, transformers beside the columns, predictor."""
    made = root.generate(_FIXED)
    scale, select, transform, predict = made.pipeline
    scale.node, predict.node = scaler, predictor
    select.node = _estimator("Passthrough", context, {})
    transform.pipeline[0].node = _estimator("SkipTransformer", context, {})
    return made


def _graph(root: FixedGraph, scaler: Any, predictor: Any) -> Any:
    made = FixedGraphIndividual(
        root.root_search_space, root.leaf_search_space, root.inner_search_space, root.max_size, rng=_FIXED
    )
    made.root.node = predictor
    if scaler is not None:
        child = root.inner_search_space.generate(_FIXED)
        child.node = scaler
        made.graph.add_edge(made.root, child)
    return made


def clone(individual: Any) -> Any:
    """Return a copy that can be changed; the search spaces that it refers to are shared."""
    return copy.deepcopy(individual)


def breed(parents: Sequence[Any], rng: np.random.Generator) -> Any:
    """Return a child of one or two parents, which stay as they are.

    One parent is mutated. Two are crossed, and sometimes mutated too; if they cannot be crossed, the first is
    mutated.

    Raises
    ------
    ValueError
        There is not one parent, nor two.
    """
    if len(parents) not in {1, 2}:
        raise ValueError("A child has one parent or two.")
    first = parents[0]
    before = first.unique_id()
    child = clone(first)
    for _ in range(_ATTEMPTS):
        child = clone(first)
        crossed = len(parents) == 2 and bool(child.crossover(clone(parents[1]), rng=rng))  # noqa: PLR2004
        if not crossed or rng.random() < _MUTATE_AFTER_CROSSOVER:
            child.mutate(rng=rng)
        if child.unique_id() != before:
            return child
    return child
