"""Defects of TPOT 1.1.0's graphs and their mends; see `tpot_defects` for the rest."""

from hashlib import sha256
from typing import Any, Final

import networkx as nx
import numpy as np
from tpot.search_spaces.graph_utils import remove_nodes_disconnected_from_node, select_nodes_randomly
from tpot.search_spaces.pipelines.graph import GraphPipelineIndividual, GraphSearchPipeline

from trainingjob_trainer.search_space.refining import Shared

__all__ = ["MendedGraph", "MendedGraphIndividual"]

_START: Final = 5  # TPOT's own limit of the nodes of a new graph


class MendedGraphIndividual(GraphPipelineIndividual):
    """Four defects of the original.

    `mutate` applies all of its mutations instead of one and reports failure; `_crossover_nodes` crosses
    nodes without a source of chance, so that no two processes agree; removing a node connects its parents
    with its first child alone; `unique_id` warns at each call with networkx 3.5 and later.
    """

    graphkey: Any

    def mutate(self, rng: Any = None) -> bool:
        """Apply one mutation, the first that is possible in a random order."""
        rng = np.random.default_rng(rng)
        for number in rng.permutation(len(self.mutate_methods_list)):
            if self.mutate_methods_list[number](rng=rng):
                self._merge_duplicated_nodes()
                self.graphkey = None
                return True
        return False

    def crossover(self, other: Any, rng: Any = None) -> bool:
        """Apply one crossover, the first that is possible in a random order."""
        rng = np.random.default_rng(rng)
        for number in rng.permutation(len(self.crossover_methods_list)):
            if self.crossover_methods_list[number](other, rng=rng):
                self._merge_duplicated_nodes()
                self.graphkey = None
                return True
        return False

    def _crossover_nodes(self, other: Any, rng: Any = None) -> bool:
        rng = np.random.default_rng(rng)
        for mine, theirs in select_nodes_randomly(self.graph, other.graph, rng=rng):
            if self.place(mine) == other.place(theirs) and mine.crossover(theirs, rng=rng):
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
        """Add leaves and inner nodes up to a size, where there is anything to add.

        Parameters
        ----------
        size
            The number of nodes wanted.
        rng
            The source of chance.
        """
        ways = []
        if self.inner_search_space is not None or self.leaf_search_space is not None:
            ways.append(self._mutate_insert_leaf)
        if self.inner_search_space is not None:
            ways.append(self._mutate_insert_inner_node)
        for _ in range(size - self.graph.number_of_nodes() if ways else 0):
            ways[rng.integers(len(ways))](rng=rng)
        self._merge_duplicated_nodes()

    def place(self, node: Any) -> str:
        """Return whether a node is the root, a leaf or between.

        Parameters
        ----------
        node
            A node of the graph.
        """
        if node is self.root:
            return "root"
        return "leaf" if self.graph.out_degree(node) == 0 else "inner"

    def _mutate_remove_node(self, rng: Any = None) -> bool:
        rng = np.random.default_rng(rng)
        nodes = [node for node in self.graph.nodes if node is not self.root]
        for number in rng.permutation(len(nodes)):
            node = nodes[number]
            if self.leaf_search_space is not None and self._only_leaf(node):
                continue
            parents, children = list(self.graph.predecessors(node)), list(self.graph.successors(node))
            self.graph.remove_node(node)
            self.graph.add_edges_from((parent, child) for parent in parents for child in children)
            remove_nodes_disconnected_from_node(self.graph, self.root)
            return True
        return False

    def _only_leaf(self, node: Any) -> bool:
        """Tell whether *node* is a leaf without which a parent would be one."""
        if self.graph.out_degree(node):
            return False
        return any(self.graph.out_degree(parent) == 1 for parent in self.graph.predecessors(node))


class MendedGraph(Shared, GraphSearchPipeline):
    """Makes `MendedGraphIndividual`; the original fails where one node is allowed."""

    def generate(self, rng: Any = None) -> MendedGraphIndividual:
        """Return a new individual of up to five nodes."""
        rng = np.random.default_rng(rng)
        made = MendedGraphIndividual(
            self.root_search_space,
            self.leaf_search_space,
            self.inner_search_space,
            self.max_size,
            self.crossover_same_depth,
            rng=rng,
        )
        made.grow(min(int(rng.integers(1, self.max_size + 1)), _START), rng)
        return made
