"""Defects of TPOT 1.1.0's search spaces, fixed in subclasses.

`fix` rebuilds a search space out of the classes below; nothing of TPOT is changed in place. Each class states
the defect that it works around.
"""

from hashlib import sha256
from typing import Any, ClassVar, Final

import networkx as nx
import numpy as np
from sklearn.feature_selection import RFE, SelectFromModel
from tpot.search_spaces.base import SearchSpace
from tpot.search_spaces.graph_utils import remove_nodes_disconnected_from_node, select_nodes_randomly
from tpot.search_spaces.nodes.estimator_node import EstimatorNode, EstimatorNodeIndividual
from tpot.search_spaces.nodes.fss_node import FSSIndividual, FSSNode
from tpot.search_spaces.pipelines.choice import ChoicePipeline, ChoicePipelineIndividual
from tpot.search_spaces.pipelines.dynamic_linear import DynamicLinearPipeline, DynamicLinearPipelineIndividual
from tpot.search_spaces.pipelines.dynamicunion import DynamicUnionPipeline, DynamicUnionPipelineIndividual
from tpot.search_spaces.pipelines.graph import GraphPipelineIndividual, GraphSearchPipeline
from tpot.search_spaces.pipelines.sequential import SequentialPipeline, SequentialPipelineIndividual
from tpot.search_spaces.pipelines.union import UnionPipeline, UnionPipelineIndividual
from tpot.search_spaces.pipelines.wrapper import WrapperPipeline, WrapperPipelineIndividual

from trainingjob_trainer.search_space.context import SpaceContext
from trainingjob_trainer.search_space.tpot_fixes.ranges import (
    Shared,
    booster_ranges,
    narrowed,
    refined,
    space_of,
)

_HALF: Final = 0.5
_MAX_NEW_GRAPH: Final = 5  # TPOT's own limit of the nodes of a new graph


class _Space(Shared):
    """Makes individuals of a fixed class, which take the space's attributes as arguments."""

    individual: ClassVar[type[Any]]

    def generate(self, rng: Any = None) -> Any:
        """Return a new individual."""
        return self.individual(**vars(self), rng=np.random.default_rng(rng))


class _OneStepMutated:
    """`mutate` of the original tries one step, and changes nothing where that step cannot change."""

    pipeline: list[Any]

    def mutate(self, rng: Any = None) -> bool:
        """Change one step, the first that can be changed in a random order."""
        rng = np.random.default_rng(rng)
        return any(self.pipeline[number].mutate(rng) for number in rng.permutation(len(self.pipeline)))


class FixedEstimatorIndividual(EstimatorNodeIndividual):
    """`mutate` of the original draws all hyperparameters again, so that nothing is ever refined."""

    hyperparameters: Any

    def mutate(self, rng: Any = None) -> bool:
        """Refine the hyperparameters half of the time, and draw them again otherwise."""
        rng = np.random.default_rng(rng)
        if isinstance(self.space, dict) or not len(self.space):
            return False
        if rng.random() < _HALF:
            return bool(super().mutate(rng))
        self.hyperparameters = refined(self.hyperparameters, self.space, rng)
        return True


class FixedEstimator(_Space, EstimatorNode):
    """Space of one estimator."""

    individual = FixedEstimatorIndividual


class FixedChoiceIndividual(ChoicePipelineIndividual):
    """`mutate` of the original reports failure where the chosen node has no hyperparameters."""

    def mutate(self, rng: Any = None) -> bool:
        """Change the node, or take another one where it cannot change."""
        rng = np.random.default_rng(rng)
        if rng.random() < _HALF and self._mutate_node(rng):
            return True
        return bool(self._mutate_select_new_node(rng))


class FixedChoice(_Space, ChoicePipeline):
    """Space of one of several spaces."""

    individual = FixedChoiceIndividual


class FixedSequentialIndividual(_OneStepMutated, SequentialPipelineIndividual):
    """See `_OneStepMutated`."""


class FixedSequential(_Space, SequentialPipeline):
    """Space of steps one after the other."""

    individual = FixedSequentialIndividual


class FixedUnionIndividual(_OneStepMutated, UnionPipelineIndividual):
    """The original cannot cross unions of one member, and never swaps the first member."""

    def _crossover_swap_node(self, other: Any, rng: Any) -> bool:
        place = np.random.default_rng(rng).integers(len(self.pipeline))
        self.pipeline[place], other.pipeline[place] = other.pipeline[place], self.pipeline[place]
        return True


class FixedUnion(_Space, UnionPipeline):
    """Space of members side by side."""

    individual = FixedUnionIndividual


class FixedDynamicUnionIndividual(DynamicUnionPipelineIndividual):
    """The original never starts with as many members as allowed, and fails where one is allowed."""

    def __init__(self, search_space: SearchSpace, max_estimators: int, rng: Any) -> None:
        rng = np.random.default_rng(rng)
        super().__init__(search_space, max_estimators=max(2, max_estimators), rng=rng)
        self.max_estimators = max_estimators
        for _ in range(int(rng.integers(0, max_estimators)) - len(self.union_dict) + 1):
            self._mutate_add_step(rng)

    def crossover(self, other: Any, rng: Any = None) -> bool:
        """Swap or cross members, and drop those beyond the limit."""
        changed = bool(super().crossover(other, rng))
        for individual in (self, other):
            individual.union_dict = dict(list(individual.union_dict.items())[: individual.max_estimators])
        return changed

    def unique_id(self) -> str:
        """Return the members in alphabetical order; the original's set has none, and differs by process."""
        members = sorted(str(step.unique_id()) for step in self.union_dict.values())
        return f"FeatureUnion({', '.join(members)})"


class FixedDynamicUnion(_Space, DynamicUnionPipeline):
    """Space of one to several members side by side; TPOT's unions without a limit get one of *limit*."""

    limit: Final = 4
    individual = FixedDynamicUnionIndividual

    def __init__(self, search_space: SearchSpace, max_estimators: int | None = None) -> None:
        self.search_space = search_space
        self.max_estimators = max_estimators or self.limit


class FixedDynamicLinearIndividual(DynamicLinearPipelineIndividual):
    """The original fails where one step is allowed, and does not report that it added or removed one."""

    def _generate_pipeline(self, rng: Any = None) -> list[Any]:
        rng = np.random.default_rng(rng)
        length = min(int(rng.integers(1, self.max_length + 1)), 3)
        return [self.search_space.generate(rng) for _ in range(length)]

    def mutate(self, rng: Any = None) -> bool:
        """Add, remove or change a step."""
        super().mutate(rng)
        return True


class FixedDynamicLinear(_Space, DynamicLinearPipeline):
    """Space of one to several steps one after the other."""

    individual = FixedDynamicLinearIndividual


class FixedWrapperIndividual(WrapperPipelineIndividual):
    """`crossover` of the original hands the inner estimator a search space, so that it never happens."""

    def crossover(self, other: Any, rng: Any = None) -> bool:
        """Cross the hyperparameters or the inner estimators."""
        rng = np.random.default_rng(rng)
        if rng.random() < _HALF and self._crossover_hyperparameters(other, rng):
            return True
        return bool(self.node.crossover(other.node, rng))

    def mutate(self, rng: Any = None) -> bool:
        """Change the hyperparameters or the inner estimator."""
        rng = np.random.default_rng(rng)
        first, second = self._mutate_hyperparameters, self._mutate_node
        if rng.random() < _HALF:
            first, second = second, first
        return bool(first(rng) or second(rng))


class FixedWrapper(_Space, WrapperPipeline):
    """Space of an estimator around another one."""

    individual = FixedWrapperIndividual


class FixedFeatureSetsIndividual(FSSIndividual):
    """`mutate` of the original fails where there is one set, and reports no success."""

    def mutate(self, rng: Any = None) -> bool:
        """Take another set."""
        if len(self.names_list) == 1:
            return False
        super().mutate(rng)
        return True

    def crossover(self, other: Any, rng: Any = None) -> bool:
        """Take the set of *other*."""
        super().crossover(other, rng)
        return True


class FixedFeatureSets(_Space, FSSNode):
    """Space of sets of columns."""

    individual = FixedFeatureSetsIndividual


class FixedGraphIndividual(GraphPipelineIndividual):
    """Four defects of the original.

    `mutate` applies all of its mutations instead of one and reports failure; `_crossover_nodes` crosses
    nodes without a source of chance, so that no two processes agree; removing a node connects its parents
    with its first child alone; `unique_id` warns at each call with networkx 3.5 and later.
    """

    graphkey: Any

    def mutate(self, rng: Any = None) -> bool:
        """Apply one mutation, the first that is possible in a random order."""
        return self._first_possible(self.mutate_methods_list, rng)

    def crossover(self, other: Any, rng: Any = None) -> bool:
        """Apply one crossover, the first that is possible in a random order."""
        return self._first_possible(self.crossover_methods_list, rng, other)

    def _first_possible(self, methods: list[Any], rng: Any, *arguments: Any) -> bool:
        rng = np.random.default_rng(rng)
        for number in rng.permutation(len(methods)):
            if methods[number](*arguments, rng=rng):
                self._merge_duplicated_nodes()
                self.graphkey = None
                return True
        return False

    def _crossover_nodes(self, other: Any, rng: Any = None) -> bool:
        for mine, theirs in select_nodes_randomly(self.graph, other.graph, rng=rng):
            if self._place(mine) == other._place(theirs) and mine.crossover(theirs, rng=rng):
                return True
        return False

    def unique_id(self) -> str:
        """Return a digest of the nodes and edges, equal in every process."""
        if self.graphkey is None:
            known: dict[int, str] = {}
            for node in reversed(list(nx.topological_sort(self.graph))):
                below = sorted(known[id(child)] for child in self.graph.successors(node))
                known[id(node)] = sha256(f"{node.unique_id()}<{','.join(below)}>".encode()).hexdigest()
            self.graphkey = known[id(self.root)]
        return str(self.graphkey)

    def grow(self, size: int, rng: np.random.Generator) -> None:
        """Add leaves and inner nodes up to `size` nodes, where a leaf or node can be added."""
        ways = []
        if self.inner_search_space is not None or self.leaf_search_space is not None:
            ways.append(self._mutate_insert_leaf)
        if self.inner_search_space is not None:
            ways.append(self._mutate_insert_inner_node)
        for _ in range(size - self.graph.number_of_nodes() if ways else 0):
            ways[rng.integers(len(ways))](rng=rng)
        self._merge_duplicated_nodes()

    def _place(self, node: Any) -> str:
        if node is self.root:
            return "root"
        return "leaf" if self.graph.out_degree(node) == 0 else "inner"

    def _mutate_remove_node(self, rng: Any = None) -> bool:
        rng = np.random.default_rng(rng)
        nodes = [node for node in self.graph.nodes if node is not self.root]
        for number in rng.permutation(len(nodes)):
            node = nodes[number]
            parents, children = list(self.graph.predecessors(node)), list(self.graph.successors(node))
            only_leaf = not children and any(self.graph.out_degree(parent) == 1 for parent in parents)
            if self.leaf_search_space is not None and only_leaf:
                continue
            self.graph.remove_node(node)
            self.graph.add_edges_from((parent, child) for parent in parents for child in children)
            remove_nodes_disconnected_from_node(self.graph, self.root)
            return True
        return False


class FixedGraph(_Space, GraphSearchPipeline):
    """Space of acyclic graphs; the original fails where one node is allowed."""

    individual = FixedGraphIndividual

    def generate(self, rng: Any = None) -> FixedGraphIndividual:
        """Return a new individual of up to five nodes."""
        rng = np.random.default_rng(rng)
        made: FixedGraphIndividual = super().generate(rng)
        made.grow(min(int(rng.integers(1, self.max_size + 1)), _MAX_NEW_GRAPH), rng)
        return made


_FIXED: Final = {ChoicePipeline: FixedChoice, SequentialPipeline: FixedSequential, UnionPipeline: FixedUnion}


def fix(space: Any, context: SpaceContext, *, selecting: bool = False) -> Any:
    """Return a search space of TPOT without TPOT's defects and within the limits of time.

    With `selecting`, the space is that of the estimator inside a selector. Raises `TypeError` for a class of
    space that is not known here.
    """
    match space:
        case EstimatorNode() if (ranges := booster_ranges(space.method.__name__, context)) is not None:
            return FixedEstimator(space.method, space_of(ranges))
        case EstimatorNode():
            limited = narrowed(space.method.__name__, space.space, context, selecting=selecting)
            return FixedEstimator(space.method, limited, space.hyperparameter_parser)
        case WrapperPipeline():
            limited = narrowed(space.method.__name__, space.space, context)
            selects = space.method in {RFE, SelectFromModel}
            inner = fix(space.estimator_search_space, context, selecting=selects)
            return FixedWrapper(space.method, limited, inner, space.hyperparameter_parser)
        case ChoicePipeline() | SequentialPipeline() | UnionPipeline():
            return _FIXED[type(space)]([fix(item, context) for item in space.search_spaces])
        case DynamicUnionPipeline():
            return FixedDynamicUnion(fix(space.search_space, context), space.max_estimators)
        case DynamicLinearPipeline():
            return FixedDynamicLinear(fix(space.search_space, context), space.max_length)
        case GraphSearchPipeline():
            parts = (space.root_search_space, space.leaf_search_space, space.inner_search_space)
            made = [None if part is None else fix(part, context) for part in parts]
            return FixedGraph(*made, max_size=space.max_size)
        case FSSNode():
            return FixedFeatureSets(space.subsets)
    raise TypeError(f"A search space of class {type(space).__name__} is not known.")
