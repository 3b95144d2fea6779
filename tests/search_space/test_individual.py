"""Generation and breeding depend on the given source of chance alone; seeds can be bred."""

import numpy as np
import pytest

from trainingjob_trainer.search_space.individual import breed, clone, translate
from trainingjob_trainer.search_space.pipeline import fingerprint, summarize
from trainingjob_trainer.search_space.portfolio import seeds

PRESETS = ("linear", "linear-light", "graph", "graph-light")

TREE = """
type: graph
root: {type: group, names: [regressors]}
leaf: {type: featureSets, sets: {one: [age, city], two: [plan], three: [income]}}
inner:
  type: choice
  options:
  - {type: dynamicUnion, member: {type: group, names: [transformers]}, maxMembers: 3}
  - {type: dynamicLinear, step: {type: group, names: [scalers, arithmatic]}, maxLength: 3}
  - {type: wrapper, estimator: RFE, inner: {type: group, names: [ExtraTreesRegressor]}}
maxSize: 9
"""

EVOLVE = """
import sys, yaml, numpy as np
from trainingjob_api.resolved import ResolvedSearchSpace
from trainingjob_trainer.search_space.context import SpaceContext, Untranslatable
from trainingjob_trainer.search_space.individual import breed, translate
from trainingjob_trainer.search_space.pipeline import fingerprint
from trainingjob_trainer.search_space.portfolio import seeds
from trainingjob_trainer.search_space.space import compile_space

for preset in sys.argv[2].split(","):
    for task in ("classification", "regression"):
        if preset == "tree" and task == "classification":
            continue
        context = SpaceContext(
            task=task, n_rows=300, n_features=20, n_classes=3 if task == "classification" else 0,
            random_state=0, columns=("age", "income", "city", "plan", "visits"),
        )
        wanted = {"tree": yaml.safe_load(sys.argv[1])} if preset == "tree" else {"preset": preset}
        space = compile_space(ResolvedSearchSpace(**wanted, source="test"), context)
        rng = np.random.default_rng(7)
        pool = [seed.individual for seed in seeds(context, space)]
        keys = []
        for number in range(60):
            if number < 20:
                child = space.generate(rng)
            else:
                places = rng.integers(len(pool), size=1 + number % 2)
                child = breed([pool[place] for place in places], rng)
            try:
                key = fingerprint(translate(child, context))
            except Untranslatable as error:
                key = str(error)
            pool.append(child)
            keys.append(key)
        print(preset, task, *keys)
"""


def test_two_processes_breed_the_same_individuals(python):
    names = ",".join([*PRESETS, "tree"])
    first = python(EVOLVE, TREE, names, PYTHONHASHSEED="1")
    other = python(EVOLVE, TREE, names, PYTHONHASHSEED="2")
    assert first.splitlines() == other.splitlines()
    for line in first.splitlines():
        keys = line.split()[2:]
        assert len(set(keys)) > 50, line


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("preset", PRESETS)
def test_breeding_leaves_the_parents_as_they_were(preset, task, compiled, contexts):
    space, context, rng = compiled(preset, task), contexts[task], np.random.default_rng(0)
    parents = [
        *(seed.individual for seed in seeds(context, space)),
        *(space.generate(rng) for _ in range(12)),
    ]
    before = [fingerprint(translate(parent, context)) for parent in parents]
    changed = 0
    for number in range(60):
        places = rng.integers(len(parents), size=1 + number % 2)
        child = breed([parents[place] for place in places], rng)
        changed += fingerprint(translate(child, context)) != before[places[0]]
    assert [fingerprint(translate(parent, context)) for parent in parents] == before
    assert changed > 45


def test_a_clone_shares_the_search_space_and_nothing_else(compiled, contexts):
    for preset in PRESETS:
        space = compiled(preset, "classification")
        parent = space.generate(np.random.default_rng(4))
        twin = clone(parent)
        assert fingerprint(translate(twin, contexts["classification"])) == fingerprint(
            translate(parent, contexts["classification"])
        )
        for name, value in vars(parent.tree).items():
            if name in {"search_spaces", "root_search_space", "inner_search_space"}:
                assert np.all(
                    [
                        mine is other
                        for mine, other in zip(
                            np.atleast_1d(value), np.atleast_1d(getattr(twin.tree, name)), strict=True
                        )
                    ]
                )
            elif name in {"pipeline", "graph", "node", "root"}:
                assert value is not getattr(twin.tree, name)


def test_a_child_has_one_parent_or_two(compiled):
    with pytest.raises(ValueError, match="one parent or two"):
        breed([], np.random.default_rng(0))


@pytest.mark.parametrize("preset", [*PRESETS, None, "classifiers"])
def test_seeds_are_strong_defaults_that_can_be_bred(preset, compiled, contexts):
    context = contexts["classification"]
    space = None if preset is None else compiled(preset, "classification")
    made = seeds(context, space)
    named = {seed.origin: summarize(translate(seed.individual, context)) for seed in made}
    assert next(iter(named.items())) == ("linear", "StandardScaler → LogisticRegression(max_iter=1000)")
    assert named["hist_gradient_boosting"].startswith("HistGradientBoostingClassifier")
    assert len(made) == (17 if preset in PRESETS else 4)
    rng = np.random.default_rng(0)
    for seed in made:
        for _ in range(5):
            translate(breed([seed.individual], rng), context)
    if preset in PRESETS:
        other = space.generate(rng)
        crossed = [translate(breed([seed.individual, other], rng), context) for seed in made]
        assert len({fingerprint(spec) for spec in crossed}) > 1


def test_the_legacy_regression_comes_first(contexts):
    first = seeds(contexts["regression"])[0]
    assert (
        summarize(translate(first.individual, contexts["regression"])) == "StandardScaler → LinearRegression"
    )
