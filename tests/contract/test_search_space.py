import pytest

from trainingjob_api import SpecError, dump_tree, parse_tree
from trainingjob_api.search_space import MAX_TREE_DEPTH, MAX_TREE_NODES, GraphNode, walk

EVERY_KIND = """
type: sequential
steps:
  - type: featureSets
    sets: {basics: [age, income], all: [age, income, zip code]}
  - type: union
    members:
      - {type: estimator, name: PCA, hyperparameters: {n_components: {low: 0.5, high: 0.99}}}
      - type: dynamicUnion
        maxMembers: 3
        member: {type: group, names: [transformers]}
  - type: dynamicLinear
    maxLength: 2
    step: {type: group, names: [scalers, selectors]}
  - type: wrapper
    estimator: SelectFromModel
    hyperparameters: {threshold: {choice: [mean, median, null, 0.1]}}
    inner: {type: estimator, name: ExtraTreesClassifier}
  - type: choice
    options:
      - type: graph
        root: {type: group, names: [classifiers]}
        leaf: {type: group, names: [scalers]}
        inner: {type: group, names: [arithmatic]}
        maxSize: 8
      - type: estimator
        name: LogisticRegression
        hyperparameters:
          C: {low: 0.001, high: 1000, log: true}
          max_iter: {low: 10, high: 1000, int: true}
          penalty: null
          fit_intercept: true
          solver: lbfgs
          class_weight: {choice: [null, balanced]}
"""


def refused(source):
    with pytest.raises(SpecError) as error:
        parse_tree(source)
    return str(error.value)


def test_every_kind_of_node():
    tree = parse_tree(EVERY_KIND)
    kinds = {node.type for _, node in walk(tree)}
    assert len(kinds) == 10
    assert max(depth for depth, _ in walk(tree)) == 4
    again = dump_tree(tree)
    assert dump_tree(parse_tree(again)) == again
    assert parse_tree(again) == tree
    assert again["steps"][4]["options"][1]["hyperparameters"]["penalty"] is None


def test_parents_come_first_and_in_order():
    names = [getattr(node, "name", node.type) for _, node in walk(parse_tree(EVERY_KIND))]
    assert names[:4] == ["sequential", "featureSets", "union", "PCA"]


def test_whole_bounds_make_a_range_of_whole_numbers():
    def integer(text):
        tree = parse_tree(f"{{type: estimator, name: A, hyperparameters: {{x: {text}}}}}")
        return tree.hyperparameters["x"].integer

    assert integer("{low: 1, high: 2}")
    assert not integer("{low: 1, high: 2, int: false}")
    assert not integer("{low: 1.0, high: 2}")
    assert integer("{low: 1.0, high: 2, int: true}")


def test_defaults():
    tree = parse_tree("{type: graph, root: {type: group, names: [a]}}")
    assert isinstance(tree, GraphNode)
    assert (tree.leaf, tree.inner, tree.max_size) == (None, None, 10)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a search space is a mapping"),
        ("linear", "a search space is a mapping"),
        ("[]", "a search space is a mapping"),
        ("{}", "spec.searchSpace.inline.type: is required"),
        ("{type: 3}", "must be one of sequential"),
        ("{type: Sequential, steps: []}", "did you mean sequential?"),
        ("{type: sequential, steps: []}", "spec.searchSpace.inline.steps: must hold at least 1, not 0"),
        ("{type: sequential}", "spec.searchSpace.inline.steps: is required"),
        ("{type: sequential, steps: {type: group}}", "steps: must be a list, not a mapping"),
        ("{type: sequential, steps: [PCA]}", "steps[0]: must be a node: a mapping with a type"),
        ("{type: sequential, step: []}", "step: is no field here; did you mean steps?"),
        ("{type: group, names: [a.b]}", "names[0]: must be a plain name"),
        ("{type: estimator, name: sklearn.svm.SVC}", "write no module path"),
        ("{type: estimator, name: __import__}", "must be a plain name"),
        (
            "{type: estimator, name: A, hyperparameters: {x: {low: 2, high: 1}}}",
            "hyperparameters.x: low must be below",
        ),
        ("{type: estimator, name: A, hyperparameters: {x: {low: 0, high: 1, log: true}}}", "must be above 0"),
        (
            "{type: estimator, name: A, hyperparameters: {x: {low: 0.5, high: 1, int: true}}}",
            "must be whole numbers",
        ),
        ("{type: estimator, name: A, hyperparameters: {x: {low: 0}}}", "hyperparameters.x.high: is required"),
        ("{type: estimator, name: A, hyperparameters: {x: {low: .nan, high: 1}}}", "finite number"),
        ("{type: estimator, name: A, hyperparameters: {x: {low: 0, high: .inf}}}", "finite number"),
        ("{type: estimator, name: A, hyperparameters: {x: {choice: []}}}", "x.choice: must hold at least 1"),
        (
            "{type: estimator, name: A, hyperparameters: {x: {choice: [1], low: 2}}}",
            "x.low: is no field here",
        ),
        ("{type: estimator, name: A, hyperparameters: {x: [1]}}", "hyperparameters.x"),
        ("{type: estimator, name: A, hyperparameters: {x.y: 1}}", "hyperparameters.x.y"),
        (
            "{type: dynamicUnion, member: {type: group, names: [a]}, maxMembers: 99}",
            "maxMembers: must be less than",
        ),
        ("{type: featureSets, sets: {}}", "sets: must hold at least 1"),
        ("{type: featureSets, sets: {a: []}}", "sets.a: must hold at least 1"),
        ("{type: wrapper, estimator: A}", "inner: is required"),
        ("a: !!python/name:os.system x", "could not determine a constructor"),
        ("x" * 70_000, "larger than 64 KiB"),
    ],
)
def test_bad_trees(text, message):
    assert message in refused(text)


def test_depth_is_bounded():
    def nest(depth):
        tree = {"type": "group", "names": ["a"]}
        for _ in range(depth - 1):
            tree = {"type": "dynamicUnion", "member": tree}
        return tree

    parse_tree(nest(MAX_TREE_DEPTH))
    assert "deeper than 12 nodes" in refused(nest(MAX_TREE_DEPTH + 1))
    assert "nested deeper than" in refused(nest(5_000))


def test_size_is_bounded():
    def wide(count):
        leaf = {"type": "group", "names": ["a"]}
        parts = [{"type": "choice", "options": [leaf] * 49} for _ in range(count)]
        return {"type": "choice", "options": parts}

    parse_tree(wide(9))
    assert f"more than {MAX_TREE_NODES} nodes" in refused(wide(10))
    assert "too large" in refused({"type": "x", "y": [0] * 30_000})


def test_a_tree_that_holds_itself_is_refused():
    tree = {"type": "dynamicUnion"}
    tree["member"] = tree
    assert "nested deeper than" in refused(tree)
