"""Rebuild a search space of TPOT out of the mended classes and within the limits."""

from typing import Any

from sklearn.feature_selection import RFE, SelectFromModel
from tpot.search_spaces.nodes.estimator_node import EstimatorNode
from tpot.search_spaces.nodes.fss_node import FSSNode
from tpot.search_spaces.pipelines.choice import ChoicePipeline
from tpot.search_spaces.pipelines.dynamic_linear import DynamicLinearPipeline
from tpot.search_spaces.pipelines.dynamicunion import DynamicUnionPipeline
from tpot.search_spaces.pipelines.graph import GraphSearchPipeline
from tpot.search_spaces.pipelines.sequential import SequentialPipeline
from tpot.search_spaces.pipelines.union import UnionPipeline
from tpot.search_spaces.pipelines.wrapper import WrapperPipeline

from trainingjob_trainer.search_space import tpot_defects as mended
from trainingjob_trainer.search_space.context import SpaceContext
from trainingjob_trainer.search_space.limits import narrowed
from trainingjob_trainer.search_space.tpot_graph_defects import MendedGraph

__all__ = ["mend"]


def mend(space: Any, context: SpaceContext, *, selecting: bool = False) -> Any:
    """Return the same search space without TPOT's defects and within the limits of time.

    Parameters
    ----------
    space
        A search space as TPOT makes it.
    context
        The problem.
    selecting
        Whether the space is that of the estimator inside a selector.

    Raises
    ------
    TypeError
        It is of a class that is not known here.
    """
    match space:
        case EstimatorNode():
            limited = narrowed(space.method.__name__, space.space, context, selecting=selecting)
            return mended.MendedEstimator(space.method, limited, space.hyperparameter_parser)
        case WrapperPipeline():
            return mended.MendedWrapper(
                space.method,
                narrowed(space.method.__name__, space.space, context),
                mend(space.estimator_search_space, context, selecting=space.method in {RFE, SelectFromModel}),
                space.hyperparameter_parser,
            )
        case ChoicePipeline():
            return mended.MendedChoice([mend(item, context) for item in space.search_spaces])
        case SequentialPipeline():
            return mended.MendedSequential([mend(item, context) for item in space.search_spaces])
        case UnionPipeline():
            return mended.MendedUnion([mend(item, context) for item in space.search_spaces])
        case DynamicUnionPipeline():
            return mended.MendedDynamicUnion(mend(space.search_space, context), space.max_estimators)
        case DynamicLinearPipeline():
            return mended.MendedDynamicLinear(mend(space.search_space, context), space.max_length)
        case GraphSearchPipeline():
            parts = (space.root_search_space, space.leaf_search_space, space.inner_search_space)
            made = [None if part is None else mend(part, context) for part in parts]
            return MendedGraph(*made, max_size=space.max_size)
        case FSSNode():
            return mended.MendedFeatureSets(space.subsets)
    raise TypeError(f"A search space of class {type(space).__name__} is not known.")
