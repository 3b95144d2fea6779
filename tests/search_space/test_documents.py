"""The examples of docs/tpot.md and examples/ compile and run, and the lists of names are right."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from tpot.config.get_configspace import GROUPNAMES

from trainingjob_api.resolved import ResolvedSearchSpace
from trainingjob_trainer.search_space.allow_list import CATALOGUE
from trainingjob_trainer.search_space.context import SpaceContext
from trainingjob_trainer.search_space.individual import translate
from trainingjob_trainer.search_space.pipeline import build, summarize
from trainingjob_trainer.search_space.space import compile_space, kind_of
from trainingjob_trainer.search_space.tpot_fixes.transformers import EXCLUDED, REPLACED

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "tpot.md").read_text()
EXAMPLES = re.findall(r"<!-- example: (\w+) -->\n```yaml\n(.*?)```", TEXT, flags=re.DOTALL)


def test_the_document_has_examples():
    assert len(EXAMPLES) >= 6


@pytest.mark.parametrize(("task", "text"), EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_compiles_and_its_pipelines_fit(task, text, compiled, contexts, tables):
    space, rng = compiled(yaml.safe_load(text), task), np.random.default_rng(0)
    numbers, target = tables[task]
    names = [f"c{number % 5}__{number}" for number in range(numbers.shape[1])]
    frame = pd.DataFrame(numbers, columns=names) if space.uses_feature_sets else numbers
    for _ in range(5):
        spec = translate(space.generate(rng), contexts[task])
        predicted = build(spec).fit(frame, target).predict(frame)
        assert len(predicted) == len(target), summarize(spec)


COLUMNS = {
    "symbolic-regression.yaml": ("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6"),
}


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda path: path.name)
def test_the_search_spaces_of_the_examples_compile(path):
    spec = yaml.safe_load(path.read_text())["spec"]
    inline = spec.get("searchSpace", {}).get("inline")
    if inline is None:
        pytest.skip("it uses a preset")
    task = spec["task"]
    context = SpaceContext(
        task=task,
        n_rows=300,
        n_features=10,
        n_classes=3 if task == "classification" else 0,
        random_state=0,
        columns=COLUMNS.get(path.name, ()),
    )
    tree = yaml.safe_load(inline)
    space, rng = (
        compile_space(ResolvedSearchSpace(tree=tree, source="example"), context),
        np.random.default_rng(0),
    )
    for _ in range(10):
        build(translate(space.generate(rng), context))


def test_every_allowed_name_is_documented_and_every_documented_name_is_allowed():
    section = TEXT.partition("## Names that may be used")[2].partition("## What differs")[0]
    names, excluded = section.split("**Excluded:**")
    words = set(re.findall(r"\b[A-Za-z][A-Za-z_0-9]+\b", names))
    listed = {item.name for item in CATALOGUE.values() if not item.internal} | (
        REPLACED - {"FeatureSetSelector"}
    )
    assert listed <= words
    rows = "\n".join(line for line in names.splitlines() if line.startswith("| ") and "---" not in line)
    shown = {name for row in rows.splitlines()[1:] for name in re.findall(r"\b\w+\b", row.split("|")[2])}
    known = {name for name in shown if name[0].isupper() and kind_of(name)} | {"mul_neg_1_Transformer"}
    assert known >= listed
    assert all(name in excluded for name in EXCLUDED)
    assert all(
        group in GROUPNAMES for group in re.findall(r"`(\w+)`", names.partition("**Estimators**")[0])[1:]
    )
