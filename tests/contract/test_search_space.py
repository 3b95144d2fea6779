import sys

import pytest

from support.jobs import job
from trainingjob_api import SpecError, dump_tree, parse_job, parse_tree
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
        ("{type: sequential, step: []}", "step: is not a field of this node; did you mean steps?"),
        ("{type: group, names: [a.b]}", "names[0]: must be a plain name"),
        ("{type: estimator, name: sklearn.svm.SVC}", "leave out the module path"),
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
            "x.low: is not a field of this node",
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
def test_invalid_trees_are_rejected(text, message):
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


def test_a_tree_that_holds_itself_is_rejected():
    tree = {"type": "dynamicUnion"}
    tree["member"] = tree
    assert "nested deeper than" in refused(tree)


def calls(text):
    """Return how many Python functions are called until *text* is refused."""
    count = 0

    def profile(_frame, event, _arg):
        nonlocal count
        count += event == "call"

    sys.setprofile(profile)
    try:
        with pytest.raises(SpecError) as caught:
            parse_tree(text)
    finally:
        sys.setprofile(None)
    return count, caught.value


ESTIMATOR = "{type: estimator, name: A, hyperparameters: {"


@pytest.mark.parametrize(
    ("before", "item", "after"),
    [
        pytest.param("{type: choice, options: [", "[]", "]}", id="options"),
        pytest.param("{type: choice, options: [", "{type: choise}", "]}", id="types"),
        pytest.param(ESTIMATOR + "a: {choice: [", "[]", "]}}}", id="choice"),
        pytest.param("{type: choice, options: [" * 10, "[]", "]}" * 10, id="deep"),
        pytest.param("{type: choice, options: [", "{type: estimator, name: A.b, x: 1}", "]}", id="fields"),
    ],
)
def test_the_work_is_linear_in_the_text_and_problems_are_few(before, item, after):
    (some, _), (twice, error) = (calls(before + ",".join([item] * count) + after) for count in (1_000, 2_000))
    assert twice < 2.5 * some
    assert len(error.problems) <= 20


@pytest.mark.timeout(20)
@pytest.mark.parametrize("text", ["1" * 65_000 + "x", "1." + "1" * 65_000 + "x", "1_" * 32_000 + "x"])
def test_no_pattern_of_a_number_backtracks(text):
    # One call of a regular expression holds the interpreter's lock: these took minutes, not milliseconds.
    with pytest.raises(SpecError):
        parse_tree(text)


@pytest.mark.parametrize("number", ["1" + ":1" * 20_000, "0x" + "f" * 60_000, "9" * 400, "-" + "9" * 400])
@pytest.mark.parametrize(
    "place", ["a: {low: 0, high: %s}", "a: {low: %s, high: 0}", "a: %s", "a: {choice: [%s]}"]
)
def test_whole_numbers_are_bounded(place, number):
    with pytest.raises(SpecError):
        parse_tree(ESTIMATOR + place % number + "}}")


def test_a_number_in_place_of_text_may_have_any_size():
    raw = job().model_dump(mode="json", by_alias=True, exclude_none=True)
    raw["spec"]["targetColumn"] = 16**60_000
    with pytest.raises(SpecError, match="must be text"):
        parse_job(raw)
