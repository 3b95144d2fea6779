import re
import string
from functools import partial

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from support.jobs import document, job
from trainingjob_api import (
    TABLE,
    ParallelMode,
    ResolvedRun,
    SpecError,
    TrainingJob,
    dump_tree,
    parse_job,
    parse_tree,
    resolve,
)
from trainingjob_api.load import parse_yaml
from trainingjob_api.search_space import MAX_TREE_DEPTH, MAX_TREE_NODES, walk

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(max_size=12), below, max_size=4),
    max_leaves=20,
)
field_names = st.sampled_from(
    [
        "dataset",
        "targetColumn",
        "budget",
        "searchSpace",
        "validation",
        "output",
        "parallelMode",
        "featureTypes",
        "x",
    ]
)
names = st.text(alphabet=string.ascii_letters, min_size=1, max_size=12)
scalars = (
    st.booleans() | st.integers(-(2**40), 2**40) | st.floats(-1e9, 1e9) | st.text(max_size=20) | st.none()
)
ranges = st.tuples(st.integers(-1000, 1000), st.integers(1, 1000)).map(
    lambda p: {"low": p[0], "high": p[0] + p[1]}
)
hyperparameters = st.dictionaries(
    names,
    scalars | ranges | st.fixed_dictionaries({"choice": st.lists(scalars, min_size=1, max_size=4)}),
    max_size=4,
)
leaves = st.fixed_dictionaries(
    {"type": st.just("estimator"), "name": names, "hyperparameters": hyperparameters}
) | st.fixed_dictionaries({"type": st.just("group"), "names": st.lists(names, min_size=1, max_size=3)})


def inner_nodes(below):
    some = st.lists(below, min_size=1, max_size=3)
    return (
        st.fixed_dictionaries({"type": st.just("sequential"), "steps": some})
        | st.fixed_dictionaries({"type": st.just("choice"), "options": some})
        | st.fixed_dictionaries({"type": st.just("union"), "members": some})
        | st.fixed_dictionaries({"type": st.just("dynamicUnion"), "member": below})
        | st.fixed_dictionaries({"type": st.just("wrapper"), "estimator": names, "inner": below})
        | st.fixed_dictionaries({"type": st.just("graph"), "root": below}, optional={"leaf": below})
    )


def attempt(call, *arguments):
    """Return what *call* returns and the SpecError that it raises; one of them is None."""
    try:
        return call(*arguments), None
    except SpecError as error:
        return None, error


trees = st.recursive(leaves, inner_nodes, max_leaves=12)


@given(st.dictionaries(field_names, json_values, max_size=6))
def test_any_spec_is_accepted_or_rejected_by_field(spec):
    parsed, error = attempt(parse_job, {**document(), "spec": spec})
    if error is None:
        assert isinstance(parsed, TrainingJob)
    else:
        assert all(problem.field.startswith("spec") and problem.message for problem in error.problems)


@given(st.text(max_size=300))
def test_any_text_is_yaml_or_a_spec_error(text):
    _, error = attempt(partial(parse_yaml, what="the text"), text)
    assert error is None or str(error).startswith("the text ")


class Yaml12(yaml.SafeDumper):
    """Quotes a text such as ``1e5``, which is a number in YAML 1.2 and none in 1.1."""


Yaml12.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\.\d+|\d+(\.\d*)?)[eE][-+]?\d+$"), list("-+.0123456789")
)


@example("0E0")
@given(json_values)
def test_written_yaml_is_read_back(value):
    assert parse_yaml(yaml.dump(value, Dumper=Yaml12), what="the text") == value


@given(json_values)
def test_any_value_is_a_tree_or_a_spec_error(value):
    with pytest.raises(SpecError):
        parse_tree(value)


@given(trees)
def test_trees_survive_a_round_trip_within_bounds(tree):
    node, error = attempt(parse_tree, tree)
    if node is None:
        assert "deeper than" in str(error)
        return
    assert parse_tree(dump_tree(node)) == node
    depths = [depth for depth, _ in walk(node)]
    assert max(depths) <= MAX_TREE_DEPTH
    assert len(depths) <= MAX_TREE_NODES


@given(trees)
def test_inline_trees_survive_yaml_and_the_run_config(tree):
    run, error = attempt(resolve, job(searchSpace={"inline": yaml.safe_dump(tree)}), {})
    if run is None:
        assert "deeper than" in str(error)
        return
    assert parse_tree(run.search_space.tree) == parse_tree(tree)
    assert ResolvedRun.model_validate_json(run.model_dump_json(by_alias=True)) == run


budget_numbers = st.none() | st.integers(1, 86_400)


@given(budget_numbers, budget_numbers, budget_numbers, budget_numbers, st.none() | st.integers(1, 2_592_000))
def test_limits_hold_for_any_job(time_left, per_run, env_time_left, env_per_run, deadline):
    budget = {"timeLeftSeconds": time_left, "perRunLimitSeconds": per_run}
    spec = {"budget": {key: value for key, value in budget.items() if value is not None}}
    if deadline is not None:
        spec["activeDeadlineSeconds"] = deadline
    environment = {"TPOT__TIME_LEFT": env_time_left, "TPOT__PER_RUN_LIMIT": env_per_run}
    total = time_left or env_time_left or 600
    variables = {key: str(value) for key, value in environment.items() if value is not None}
    run, error = attempt(lambda: resolve(job(**spec), variables))
    if run is None:
        assert error.field == "spec.activeDeadlineSeconds"
        assert deadline < total
        return
    assert run.budget.time_left_seconds == total
    assert run.budget.per_run_limit_seconds == min(per_run or env_per_run or 60, total)
    assert run.active_deadline_seconds >= total


@given(st.dictionaries(st.sampled_from([row.variable for row in TABLE]), st.text(max_size=20), max_size=4))
def test_any_environment_resolves_or_names_its_variable(environment):
    run, error = attempt(resolve, job(), environment)
    if run is None:
        assert all(problem.field in environment for problem in error.problems)
        return
    assert run.budget.per_run_limit_seconds <= run.budget.time_left_seconds
    assert isinstance(run.parallel_mode, ParallelMode)
    assert set(run.sources.values()) <= {"environment", "default"}
