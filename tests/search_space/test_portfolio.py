"""The portfolio: its order on each kind of table; every entry can be fitted."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

from trainingjob_trainer.encodings import Encoding
from trainingjob_trainer.search_space.individual import Operator, breed, translate
from trainingjob_trainer.search_space.pipeline import build, encoding_of, fingerprint, summarize
from trainingjob_trainer.search_space.portfolio import portfolio, seeds

TASKS = ("classification", "regression")
ROWS = (300, 8_000)


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("task", TASKS)
def test_the_portfolio_is_long_enough_and_its_first_six_entries_differ(task, rows, contexts):
    context = replace(contexts[task], n_rows=rows, min_class_rows=rows // 3)
    entries = portfolio(context)
    assert 12 <= len(entries) <= 20
    kinds = {(entry.predictor.name, entry.expansion and entry.expansion.name) for entry in entries[:6]}
    assert len(kinds) >= 5, "of two linear models one is regularised"
    assert entries[0].origin == "linear"
    assert len({entry.origin for entry in entries}) == len(entries)
    assert all(entry.source for entry in entries)


@pytest.mark.parametrize("preset", ["linear", "graph"])
@pytest.mark.parametrize("task", TASKS)
def test_every_entry_fits_and_is_another_pipeline(task, preset, compiled, contexts, tables):
    context, (table, target) = replace(contexts[task], min_class_rows=12), tables[task]
    keys = set()
    for seed in seeds(context, compiled(preset, task)):
        spec = translate(seed.individual, context)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            predicted = build(spec).fit(table[:120], target[:120]).predict(table[120:])
        assert len(predicted) == len(table) - 120, summarize(spec)
        keys.add(fingerprint(spec))
    assert len(keys) == len(portfolio(context))


def test_an_entry_takes_the_encoding_that_it_prefers_where_the_table_has_it(compiled, contexts):
    context = replace(
        contexts["classification"], encodings=("dense", "ordinal"), encoded_columns=(40, 9), n_features=40
    )
    found = {
        seed.origin: encoding_of(translate(seed.individual, context))
        for seed in seeds(context, compiled("linear", "classification"))
    }
    assert {found[name] for name in ("lightgbm", "xgboost_shallow")} == {Encoding.ORDINAL}
    assert {found[name] for name in ("linear", "catboost_shallow", "linear_splines")} == {Encoding.DENSE}


def test_a_rare_class_brings_entries_that_weigh_it(contexts):
    def weighted(rarest: int) -> set[str]:
        context = replace(contexts["classification"], n_rows=600, min_class_rows=rarest)
        return {entry.origin for entry in portfolio(context) if entry.origin.endswith("balanced")}

    assert weighted(150) == set()
    assert weighted(20) == {"lightgbm_balanced", "linear_balanced"}


def test_kernel_machines_are_for_few_rows_only(contexts):
    origins = {
        rows: {e.origin for e in portfolio(replace(contexts["regression"], n_rows=rows))} for rows in ROWS
    }
    assert "svm" in origins[300] - origins[8_000]


def test_a_child_keeps_the_encoding_unless_the_operator_changes_it(compiled, contexts):
    context = replace(contexts["classification"], encodings=("dense", "ordinal"), encoded_columns=(13, 9))
    parent = next(
        s.individual for s in seeds(context, compiled("linear", "classification")) if s.origin == "lightgbm"
    )
    rng = np.random.default_rng(0)
    for operator in (Operator.REFINE, Operator.MUTATE):
        assert breed([parent], rng, operator).encoding is Encoding.ORDINAL
    other = breed([parent], rng, Operator.ENCODE)
    assert other.encoding is Encoding.DENSE
    assert other.tree.unique_id() == parent.tree.unique_id()


@pytest.mark.parametrize("preset", ["linear", "graph"])
def test_refinement_keeps_the_steps_and_stays_near(preset, compiled, contexts):
    context = contexts["regression"]
    parent = next(
        s.individual for s in seeds(context, compiled(preset, "regression")) if s.origin == "lightgbm"
    )
    before = build(translate(parent, context)).get_params()
    rng = np.random.default_rng(0)
    moved = []
    for _ in range(30):
        after = build(translate(breed([parent], rng, Operator.REFINE), context)).get_params()
        assert after.keys() == before.keys()
        assert 0.3 < after["learning_rate"] / before["learning_rate"] < 3
        moved.append(sum(after[name] != before[name] for name in after))
    assert min(moved) >= 1
    assert np.mean(moved) < 8
