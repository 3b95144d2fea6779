"""Translated pipelines give the same numbers as TPOT's own classes, without them."""

import json
import pickle
import pickletools

import networkx as nx
import numpy as np
import pytest
import tpot.builtin_modules as own
from sklearn.decomposition import PCA
from sklearn.feature_selection import SelectFwe, VarianceThreshold
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from tpot import GraphPipeline
from tpot.builtin_modules import genetic_encoders
from xgboost import XGBClassifier

from trainingjob_trainer.encodings import Encoding
from trainingjob_trainer.search_space.context import Untranslatable
from trainingjob_trainer.search_space.individual import MAX_STEPS, translate
from trainingjob_trainer.search_space.pipeline import build
from trainingjob_trainer.search_space.tpot_fixes.transformers import EXCLUDED, REPLACED

pytestmark = [
    pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:No features were selected:UserWarning"),
    pytest.mark.filterwarnings("ignore:Features .* are constant:UserWarning"),
]


class Exported:
    """Stands for an individual, and for TPOT's in it, whose pipeline is given."""

    encoding = Encoding.DENSE

    def __init__(self, pipeline):
        self.pipeline = pipeline
        self.tree = self

    def export_pipeline(self):
        return self.pipeline


def columns_of(transformer, table, context, target=None):
    """Return what the translation of a transformer gives, as the input of a model that ends it."""
    spec = translate(Exported(make_pipeline(transformer, LinearRegression())), context)
    steps = build(spec).steps[:-1] if spec["class"] == "Pipeline" else []
    for _, step in steps:
        table = step.fit_transform(table, target)
    return np.asarray(table, dtype=float)


NUMBERS = np.array(
    [[0.0, -2.0, 1.5, 3.0], [2.0, 0.0, -0.5, 3.0], [1.0, 1.0, 0.0, -3.0], [-0.0, 4.0, 2.0, 0.25]]
)
GENOTYPES = np.array([[0.0, 1.0, 2.0], [2.0, 0.0, 1.0], [1.0, 1.0, 0.0], [2.0, 2.0, 2.0]])

SAME_NUMBERS = [
    own.Passthrough(),
    own.ZeroCount(),
    own.AddTransformer(),
    own.MulTransformer(),
    own.mul_neg_1_Transformer(),
    own.SafeReciprocalTransformer(),
    own.MinTransformer(),
    own.MaxTransformer(),
    own.GETransformer(),
    own.GTTransformer(),
    own.LETransformer(),
    own.LTTransformer(),
    own.ZeroTransformer(),
    own.OneTransformer(),
    own.NTransformer(n=2.5),
]
SAME_ON_GENOTYPES = [
    genetic_encoders.DominantEncoder(),
    genetic_encoders.RecessiveEncoder(),
    genetic_encoders.HeterosisEncoder(),
    genetic_encoders.UnderDominanceEncoder(),
    genetic_encoders.OverDominanceEncoder(),
]


@pytest.mark.parametrize("transformer", SAME_NUMBERS, ids=lambda t: type(t).__name__)
def test_tpots_transformers_have_equal_plain_ones(transformer, contexts):
    expected = transformer.fit(NUMBERS).transform(NUMBERS)
    assert np.array_equal(columns_of(transformer, NUMBERS, contexts["regression"]), expected)


@pytest.mark.parametrize("transformer", SAME_ON_GENOTYPES, ids=lambda t: type(t).__name__)
def test_genetic_encoders_have_equal_plain_ones_on_genotypes(transformer, contexts):
    expected = transformer.fit(GENOTYPES).transform(GENOTYPES)
    assert np.array_equal(columns_of(transformer, GENOTYPES, contexts["regression"]), expected)


def test_every_transformer_of_tpot_has_a_replacement():
    tested = {type(item).__name__ for item in [*SAME_NUMBERS, *SAME_ON_GENOTYPES]}
    special = {"SkipTransformer", "FeatureSetSelector", "ColumnOneHotEncoder", "ColumnOrdinalEncoder"}
    assert tested | special | {"PassKBinsDiscretizer"} == REPLACED
    assert not REPLACED & EXCLUDED.keys()


def test_a_product_that_overflows_stays_finite(contexts):
    table = np.full((6, 40), 1e30)
    assert np.isfinite(columns_of(own.MulTransformer(), table, contexts["regression"])).all()


def test_column_encoders_keep_the_columns_and_add_codes(contexts):
    rng = np.random.default_rng(0)
    table = np.column_stack([rng.normal(size=90), rng.integers(0, 3, 90)])
    one_hot = columns_of(own.ColumnOneHotEncoder(), table, contexts["regression"])
    assert np.array_equal(one_hot[:, :2], table)
    assert np.array_equal(one_hot[:, -3:], np.eye(3)[table[:, 1].astype(int)])
    ordinal = columns_of(own.ColumnOrdinalEncoder(), table, contexts["regression"])
    assert np.array_equal(ordinal[:, [0, 1, 3]], table[:, [0, 1, 1]])


@pytest.mark.parametrize("selector", [VarianceThreshold(0.01), SelectFwe(alpha=0.05)])
def test_a_selector_that_keeps_something_keeps_the_same(selector, tables, contexts):
    table, target = tables["classification"]
    table = MinMaxScaler().fit_transform(table)
    got = columns_of(selector, table, contexts["classification"], target)
    expected = selector.fit_transform(table, target)
    assert {tuple(column) for column in got.T} == {tuple(column) for column in expected.T}


@pytest.mark.parametrize("selector", [VarianceThreshold(0.2), SelectFwe(alpha=1e-9)])
def test_a_selector_that_keeps_nothing_keeps_the_best(selector, contexts):
    rng = np.random.default_rng(0)
    table = rng.uniform(size=(60, 6)) * np.array([0.1, 0.2, 0.5, 0.3, 0.2, 0.1])
    target = rng.integers(0, 3, 60)
    got = columns_of(selector, table, contexts["classification"], target)
    assert got.shape == (60, 1)
    if isinstance(selector, VarianceThreshold):
        assert np.array_equal(got[:, 0], table[:, 2])


def graph_of(*edges, **nodes) -> GraphPipeline:
    graph = nx.DiGraph()
    for name, estimator in nodes.items():
        graph.add_node(name, instance=estimator)
    graph.add_edges_from(edges)
    return GraphPipeline(graph)


def test_a_graph_that_shares_a_node_predicts_the_same_when_unfolded(tables, contexts):
    table, target = tables["regression"]
    nodes = {
        "a_root": LinearRegression(),
        "b_pca": PCA(3),
        "c_scale": MinMaxScaler(),
        "d_leaf": StandardScaler(),
        "e_leaf": PCA(2),
    }
    edges = [
        ("a_root", "b_pca"),
        ("a_root", "c_scale"),
        ("b_pca", "d_leaf"),
        ("c_scale", "d_leaf"),
        ("c_scale", "e_leaf"),
    ]
    spec = translate(Exported(graph_of(*edges, **nodes)), contexts["regression"])
    stock = graph_of(*edges, **nodes).fit(table, target)
    assert np.allclose(build(spec).fit(table, target).predict(table), stock.predict(table))


def test_a_graph_that_would_explode_is_untranslatable(contexts):
    nodes = {"n00": LinearRegression()} | {f"n{i:02}": StandardScaler() for i in range(1, 12)}
    names = sorted(nodes)
    edges = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    with pytest.raises(Untranslatable, match=str(MAX_STEPS)):
        translate(Exported(graph_of(*edges, **nodes)), contexts["regression"])


def test_a_union_without_members_leaves_the_columns(contexts):
    skipped = make_union(own.SkipTransformer(), make_pipeline(StandardScaler(), own.SkipTransformer()))
    spec = translate(Exported(make_pipeline(skipped, LinearRegression())), contexts["regression"])
    assert spec == {"class": "LinearRegression", "params": {"n_jobs": 1}}


def test_columns_are_not_taken_twice(contexts):
    union = make_union(
        own.Passthrough(), make_union(own.ZeroCount(), own.Passthrough()), own.SkipTransformer()
    )
    spec = translate(Exported(make_pipeline(union, LinearRegression())), contexts["regression"])
    members = spec["steps"][0]["members"]
    assert [member["class"] for member in members].count("passthrough") == 1


def test_pipelines_without_a_plain_form_are_untranslatable(contexts):
    for pipeline in (
        make_pipeline(StandardScaler()),
        make_pipeline(own.ArithmeticTransformer("add"), LinearRegression()),
    ):
        with pytest.raises(Untranslatable):
            translate(Exported(pipeline), contexts["regression"])


def test_xgboost_predicts_the_labels_it_was_given(tables, contexts):
    table, target = tables["classification"]
    spec = translate(Exported(XGBClassifier(n_estimators=5)), contexts["classification"])
    fitted = build(spec).fit(table, target)
    assert set(fitted.predict(table)) <= set(target)
    assert list(fitted.classes_) == sorted(set(target))


def test_seeds_threads_and_verbosity_are_set_everywhere(compiled, contexts):
    rng = np.random.default_rng(3)
    for task, context in contexts.items():
        space = compiled("linear", task)
        for _ in range(40):
            text = json.dumps(translate(space.generate(rng), context))
            for part in text.split('"class"')[1:]:
                if "ForestC" in part or "LGBM" in part or "XGB" in part:
                    assert '"n_jobs": 1' in part
                    assert '"random_state": 0' in part
            assert "nthread" not in text
            assert text.count('"verbose": -1') == text.count("LGBM")


@pytest.mark.parametrize("preset", ["linear", "graph"])
def test_a_pickled_pipeline_names_no_class_of_tpot_or_the_project(preset, compiled, contexts, tables):
    rng = np.random.default_rng(5)
    for task, context in contexts.items():
        for _ in range(12):
            pipeline = build(translate(compiled(preset, task).generate(rng), context))
            opcodes = pickletools.genops(pickle.dumps(pipeline))
            words = {argument for _, argument, _ in opcodes if isinstance(argument, str)}
            assert not [word for word in words if word.startswith(("tpot", "trainingjob", "ConfigSpace"))]


def test_equal_pipelines_are_described_equally(contexts):
    spelled = LogisticRegression(C=1.0, solver="lbfgs", max_iter=100)
    one = translate(Exported(make_pipeline(StandardScaler(), spelled)), contexts["classification"])
    other = translate(
        Exported(make_pipeline(StandardScaler(), LogisticRegression())), contexts["classification"]
    )
    assert one == other
