"""Each fixed defect exists in stock TPOT 1.1.0 and is gone after the fix."""

import copy
import inspect

import networkx as nx
import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.ensemble import AdaBoostRegressor
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeRegressor
from tpot.builtin_modules import EstimatorTransformer
from tpot.config import get_search_space
from tpot.search_spaces.graph_utils import remove_and_stitch
from tpot.search_spaces.nodes import EstimatorNode, FSSNode
from tpot.search_spaces.pipelines import (
    ChoicePipeline,
    DynamicLinearPipeline,
    DynamicUnionPipeline,
    GraphSearchPipeline,
    SequentialPipeline,
    UnionPipeline,
    WrapperPipeline,
)

from trainingjob_trainer.search_space.context import SpaceContext
from trainingjob_trainer.search_space.tpot_fixes.spaces import fix

CONTEXT = SpaceContext(task="regression", n_rows=200, n_features=10, n_classes=0, random_state=0)


def without_defects(space):
    return fix(space, CONTEXT)


ridge = EstimatorNode(Ridge, {})
scale = EstimatorNode(StandardScaler, {})
pca = get_search_space("PCA")
graph = GraphSearchPipeline(
    get_search_space("SGDRegressor", random_state=0), inner_search_space=pca, max_size=6
)


def grown(space, seed: int):
    made = space.generate(seed)
    for _ in range(4):
        made._mutate_insert_leaf(rng=seed)
    return made


def crossed_twice(space) -> list[str]:
    """Cross the same two individuals twice with equal seeds, by the crossover of nodes alone."""
    texts = []
    for _ in range(2):
        first, other = copy.deepcopy(grown(space, 1)), copy.deepcopy(grown(space, 2))
        for seed in range(6):
            first._crossover_nodes(other, rng=seed)
        texts.append(str(sorted(str(node.unique_id()) for node in first.graph.nodes)))
    return texts


def test_the_crossover_of_graph_nodes_follows_its_seed():
    assert len({text for _ in range(5) for text in crossed_twice(graph)}) > 1
    assert len({text for _ in range(5) for text in crossed_twice(without_defects(graph))}) == 1


def test_a_graph_is_mutated_once_and_says_so():
    stock, fixed = grown(graph, 1), grown(without_defects(graph), 1)
    calls: dict[str, int] = {"stock": 0, "fixed": 0}

    def counting(name):
        def mutation(rng=None) -> bool:
            calls[name] += 1
            return True

        return mutation

    stock.mutate_methods_list = [counting("stock")] * 5
    fixed.mutate_methods_list = [counting("fixed")] * 5
    assert stock.mutate(rng=0) is False
    assert fixed.mutate(rng=0) is True
    assert calls == {"stock": 5, "fixed": 1}


def test_a_removed_node_leaves_all_its_children_connected():
    stock = nx.DiGraph([("root", "gone"), ("gone", "one"), ("gone", "two")])
    remove_and_stitch(stock, "gone")
    assert set(stock.successors("root")) == {"one"}

    fixed = without_defects(graph).generate(0)
    fixed.graph.remove_nodes_from([node for node in list(fixed.graph) if node is not fixed.root])
    gone, first, second = (pca.generate(seed) for seed in (1, 2, 3))
    fixed.graph.add_edges_from([(fixed.root, gone), (gone, first), (gone, second)])
    for seed in range(20):
        trial = copy.copy(fixed)
        trial.graph = fixed.graph.copy()
        trial._mutate_remove_node(rng=seed)
        if gone not in trial.graph:
            assert set(trial.graph.successors(trial.root)) == {first, second}
            return
    pytest.fail("the inner node was never removed")


def test_a_wrapper_crosses_its_inner_estimators():
    space = WrapperPipeline(AdaBoostRegressor, {}, get_search_space("DecisionTreeRegressor", random_state=0))
    for wrapped, changes in ((space, False), (without_defects(space), True)):
        changed = False
        for seed in range(20):
            first, other = wrapped.generate(seed), wrapped.generate(seed + 100)
            before = first.node.unique_id()
            first.crossover(other, rng=seed)
            changed |= first.node.unique_id() != before
        assert changed is changes
    assert isinstance(without_defects(space).generate(0).export_pipeline().estimator, DecisionTreeRegressor)


ONE_AT_MOST = [
    pytest.param(DynamicUnionPipeline(scale, max_estimators=1), id="dynamic union"),
    pytest.param(DynamicLinearPipeline(scale, max_length=1), id="dynamic linear"),
    pytest.param(GraphSearchPipeline(ridge, inner_search_space=scale, max_size=1), id="graph"),
]


@pytest.mark.parametrize("space", ONE_AT_MOST)
def test_a_limit_of_one_is_not_an_error(space):
    with pytest.raises(ValueError, match="low >= high"):
        space.generate(0)
    assert without_defects(space).generate(0).export_pipeline() is not None


def test_a_dynamic_union_reaches_its_limit():
    sizes = {
        len(without_defects(DynamicUnionPipeline(pca, max_estimators=3)).generate(s).union_dict)
        for s in range(60)
    }
    stock = {len(DynamicUnionPipeline(pca, max_estimators=3).generate(s).union_dict) for s in range(60)}
    assert stock == {1, 2}
    assert sizes == {1, 2, 3}


def test_a_union_of_one_member_can_be_crossed():
    space = UnionPipeline([scale])
    first, other = space.generate(0), space.generate(1)
    with pytest.raises(ValueError, match="low >= high"):
        first.crossover(other, rng=0)
    for seed in range(10):
        assert without_defects(space).generate(0).crossover(without_defects(space).generate(1), rng=seed)


def test_one_feature_set_can_be_mutated():
    space = FSSNode({"only": ["a", "b"]})
    with pytest.raises(ValueError, match="empty"):
        space.generate(0).mutate(rng=0)
    assert without_defects(space).generate(0).mutate(rng=0) is False
    assert without_defects(FSSNode({"one": ["a"], "two": ["b"]})).generate(0).mutate(rng=0) is True


def test_a_mutation_changes_something_if_possible():
    space = SequentialPipeline([scale, ChoicePipeline([scale, EstimatorNode(PCA, {})]), ridge])
    stock = [bool(space.generate(s).mutate(rng=s)) for s in range(30)]
    fixed = [bool(without_defects(space).generate(s).mutate(rng=s)) for s in range(30)]
    assert not all(stock)
    assert all(fixed)


def test_a_mutation_can_refine():
    space = get_search_space("SGDRegressor", random_state=0)
    moved = []
    for seed in range(40):
        made = without_defects(space).generate(seed)
        before = made.hyperparameters["alpha"]
        made.mutate(rng=seed)
        moved.append(abs(np.log10(made.hyperparameters["alpha"] / before)))
    assert sum(step < 1 for step in moved) > 20


def test_inner_predictors_still_disagree_between_fit_and_transform():
    source = inspect.getsource(EstimatorTransformer)
    assert "predict_proba" in source
    assert "def fit_transform" in source
